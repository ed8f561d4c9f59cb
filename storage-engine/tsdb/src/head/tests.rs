//! What the log, the flush and old references rely on.

use format::decode_chunk;
use model::{Labels, Matcher, SampleColumns, TenantId, TimeRange};

use super::{Head, Place, SHARDS, shard_of};
use crate::TsdbSettings;
use crate::error::TsdbError;
use crate::metrics::HeadMetrics;
use storage_api::{SampleBatch, SeriesRef};

#[test]
fn label_sets_stay_in_the_shards_that_logs_name() {
    // A change here makes existing logs unreadable: their records name the shard.
    let shards: Vec<_> =
        (0..12).map(|i| shard_of(&Labels::from_pairs([("__name__", "up"), ("i", &i.to_string())]))).collect();
    assert_eq!(shards, SHARDS_OF_UP);
    let mut seen = [0; SHARDS as usize];
    for i in 0..8000 {
        seen[shard_of(&Labels::from_pairs([("i", i.to_string())])) as usize] += 1;
    }
    assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
}

const SHARDS_OF_UP: [u32; 12] = [7, 7, 1, 5, 7, 6, 2, 5, 0, 0, 3, 0];

#[test]
fn references_name_places_and_impossible_ones_none() {
    let place = Place { shard: 7, local: u32::MAX };
    assert_eq!(Place::of(place.to_ref()), Some(place));
    assert_eq!(Place::of(SeriesRef(u64::from(SHARDS) << 32)), None);
    assert_eq!(Place::of(SeriesRef(u64::MAX)), None);
}

/// A head with blocks of a second.
fn head() -> Head {
    let settings =
        TsdbSettings { block_duration_ms: 1000, out_of_order_window_ms: 10_000, ..TsdbSettings::default() };
    Head::new(TenantId::default(), settings, HeadMetrics::new())
}

fn append(head: &Head, name: &str, times: &[i64]) -> Place {
    let place = head.series(&Labels::from_pairs([("__name__", name)]), |_| ()).expect("within limits");
    let mut batch = SampleBatch::default();
    times.iter().for_each(|time| batch.push(place.to_ref(), *time, *time as f64));
    let epoch = *head.begin_append();
    let applied = head.apply(&batch, epoch, i64::MAX, &mut |_| ());
    assert_eq!(applied.report.stored, times.len() as u64, "{:?}", applied.report);
    place
}

/// Names and times of what a flush of `range` would write.
fn written(head: &Head, range: TimeRange) -> (Vec<(String, Vec<i64>)>, super::flush::Written) {
    let mut found = Vec::new();
    let written = head
        .write_range(range, |labels, chunks| {
            let mut columns = SampleColumns::default();
            for chunk in chunks {
                decode_chunk(chunk.encoding, chunk.data, u16::MAX, TimeRange::ALL, &mut columns)
                    .expect("a chunk of the head");
            }
            found.push((labels.metric_name().unwrap_or_default().to_owned(), columns.timestamps_ms));
            Ok::<(), TsdbError>(())
        })
        .expect("decodes");
    (found, written)
}

fn times(head: &Head, name: &str) -> Vec<i64> {
    let mut columns = SampleColumns::default();
    for series in head.select(&[Matcher::equal("__name__", name)], TimeRange::ALL) {
        series.chunks.decode(TimeRange::ALL, &mut columns).expect("decodes");
    }
    columns.timestamps_ms
}

#[test]
fn a_flush_takes_the_oldest_block_in_label_order_and_leaves_what_came_meanwhile() {
    let head = head();
    for name in ["b", "a", "c"] {
        append(&head, name, &[100, 900, 1100]);
    }
    append(&head, "d", &[1500]);
    assert_eq!(head.due(), None, "one and a half blocks are not full");
    append(&head, "d", &[1601]);
    let range = head.due().expect("due");
    assert_eq!(range, TimeRange::new(0, 999));
    let (found, done) = written(&head, range);
    let all = |name: &str| (name.to_owned(), vec![100, 900]);
    assert_eq!(found, [all("a"), all("b"), all("c")]);
    // Comes while the block is written.
    append(&head, "b", &[500]);
    head.remove_written(&done);
    assert_eq!(times(&head, "a"), [1100]);
    assert_eq!(times(&head, "b"), [100, 500, 900, 1100], "a chunk that changed stays whole");
    assert_eq!(head.stats().range, Some(TimeRange::new(100, 1601)));
    let (found, done) = written(&head, range);
    assert_eq!(found, [("b".to_owned(), vec![100, 500, 900])]);
    head.remove_written(&done);
    assert_eq!(head.stats().range, Some(TimeRange::new(1100, 1601)));
    assert_eq!(times(&head, "b"), [1100]);
}

#[test]
fn series_without_samples_leave_and_their_references_are_reported_as_stale() {
    let head = head();
    let places: Vec<_> = (0..5000).map(|i| append(&head, &format!("m{i}"), &[100])).collect();
    let kept = append(&head, "kept", &[100, 2000]);
    let full = head.stats();
    let (found, done) = written(&head, TimeRange::new(0, 999));
    assert_eq!(found.len(), 5001);
    head.remove_written(&done);
    assert_eq!(head.forget_empty_series(), 5000);
    let left = head.stats();
    assert_eq!((left.series, left.chunks), (1, 1));
    assert!(left.memory_bytes * 8 < full.memory_bytes, "{left:?} of {full:?}");
    assert_eq!(head.label_values("__name__", &[], TimeRange::ALL), ["kept"]);
    assert_eq!(head.series_labels(&[], TimeRange::ALL).len(), 1);
    let mut batch = SampleBatch::default();
    batch.push(places[17].to_ref(), 3000, 1.0);
    batch.push(kept.to_ref(), 3000, 1.0);
    let epoch = *head.begin_append();
    let applied = head.apply(&batch, epoch, i64::MAX, &mut |_| ());
    assert_eq!((applied.report.stored, applied.stale_refs), (1, vec![0]));
    // The same labels are a new series, and their texts are there again.
    let again = append(&head, "m17", &[3100]);
    assert_ne!(again, places[17]);
    assert_eq!(times(&head, "m17"), [3100]);
    assert_eq!(times(&head, "kept"), [2000, 3000]);
    assert_eq!(head.label_values("__name__", &[], TimeRange::ALL), ["kept", "m17"]);
}

#[test]
fn cardinality_names_who_has_the_most() {
    let head = head();
    for (name, pods) in [("up", 3), ("load", 2)] {
        for pod in 0..pods {
            let labels = Labels::from_pairs([("__name__", name), ("pod", &format!("pod-{pod}"))]);
            head.series(&labels, |_| ()).expect("within limits");
        }
    }
    let stats = head.cardinality(2);
    assert_eq!((stats.series, stats.label_pairs), (5, 5));
    let list = |pairs: &[(&str, u64)]| pairs.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect::<Vec<_>>();
    assert_eq!(stats.series_by_metric_name, list(&[("up", 3), ("load", 2)]));
    assert_eq!(stats.values_by_label_name, list(&[("pod", 3), ("__name__", 2)]));
    assert_eq!(stats.bytes_by_label_name, list(&[("pod", 25), ("__name__", 14)]));
    assert_eq!(stats.series_by_label_pair, list(&[("__name__=up", 3), ("__name__=load", 2)]));
}
