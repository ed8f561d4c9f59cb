//! A union reads as the union of its samples, whatever overlaps.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{FloatHistogram, Labels, SampleColumns, TimeRange};
use proptest::prelude::*;
use storage_api::{EncodedChunk, Series, SeriesChunks, StorageResult};

use super::{merge_series, merge_sorted};

/// Samples of a source; odd times are histograms.
struct Fixed(Vec<(i64, f64)>);

impl SeriesChunks for Fixed {
    fn decode(&self, range: TimeRange, out: &mut SampleColumns) -> StorageResult<()> {
        for &(time, value) in self.0.iter().filter(|sample| range.contains(sample.0)) {
            if time % 2 == 0 {
                out.push(time, value);
            } else {
                out.push_histogram(
                    time,
                    Arc::new(FloatHistogram { count: value, ..FloatHistogram::default() }),
                );
            }
        }
        Ok(())
    }

    fn encoded(&self) -> StorageResult<Vec<EncodedChunk>> {
        Ok(Vec::new())
    }
}

fn series(name: &str, samples: Vec<(i64, f64)>) -> Series {
    Series { labels: Labels::from_pairs([("__name__", name)]), chunks: Arc::new(Fixed(samples)) }
}

fn read(series: &Series, range: TimeRange) -> Vec<(i64, f64)> {
    // Something is there before: it stays.
    let mut columns = SampleColumns::default();
    columns.push(9999, 0.5);
    series.chunks.decode(range, &mut columns).expect("decodes");
    let mut samples: Vec<_> = columns.timestamps_ms.iter().copied().zip(columns.values).collect();
    columns.histograms.iter().for_each(|(at, histogram)| samples[*at].1 = histogram.count);
    assert_eq!(samples.remove(0), (9999, 0.5));
    samples
}

#[test]
fn series_come_once_in_label_order_and_the_first_source_wins() {
    let blocks = vec![series("a", vec![(1, 1.0), (2, 1.0)]), series("c", vec![(1, 1.0)])];
    let head = vec![series("a", vec![(2, 2.0), (3, 2.0)]), series("b", vec![(5, 2.0)])];
    let merged = merge_series(vec![blocks, Vec::new(), head]);
    let found: Vec<_> = merged
        .iter()
        .map(|series| (series.labels.metric_name().expect("named"), read(series, TimeRange::ALL)))
        .collect();
    let a = vec![(1, 1.0), (2, 1.0), (3, 2.0)];
    assert_eq!(found, [("a", a), ("b", vec![(5, 2.0)]), ("c", vec![(1, 1.0)])]);
    assert_eq!(merge_sorted(vec![vec![2, 3], vec![1, 3], Vec::new()]), [1, 2, 3]);
}

proptest! {
    #[test]
    fn samples_of_overlapping_sources_read_as_from_a_map(
        sources in prop::collection::vec(prop::collection::btree_map(0i64..60, 0..9i32, 0..30), 1..5),
        bounds in (0i64..60, 0i64..60),
    ) {
        let mut expected = BTreeMap::new();
        for source in &sources {
            for (time, value) in source {
                expected.entry(*time).or_insert(f64::from(*value));
            }
        }
        let range = TimeRange::new(bounds.0, bounds.1);
        let parts = sources.into_iter().map(|source| {
            vec![series("a", source.into_iter().map(|(time, value)| (time, f64::from(value))).collect())]
        });
        let merged = merge_series(parts.collect());
        let expected: Vec<_> = expected.into_iter().filter(|sample| range.contains(sample.0)).collect();
        prop_assert_eq!(read(&merged[0], range), expected);
    }
}
