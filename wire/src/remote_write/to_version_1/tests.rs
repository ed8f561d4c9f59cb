use model::{Exemplar, FloatHistogram, Labels, MetricMetadata, NativeHistogram, Sample};

use super::{Version1, to_version_1};
use crate::protobuf::{put_bytes_field, put_message, put_varint};
use crate::remote_write::{RequestWriter, SeriesParts, put_series};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

#[test]
fn the_same_series_are_what_the_writer_of_version_1_makes_of_them() {
    let samples =
        [(5, 1.5), (-1, f64::NEG_INFINITY)].map(|(timestamp_ms, value)| Sample { timestamp_ms, value });
    let histogram = FloatHistogram { count: 2.0, sum: 3.0, ..FloatHistogram::default() };
    let histograms = [(7, NativeHistogram::Float(histogram.into()))];
    let exemplars = [Exemplar { labels: labels(&[("trace_id", "abc")]), value: 0.25, timestamp_ms: 6 }];
    let series = [
        (
            labels(&[("__name__", "up"), ("job", "up")]),
            SeriesParts { samples: &samples, ..SeriesParts::default() },
        ),
        (labels(&[("__name__", "h")]), SeriesParts { histograms: &histograms, ..SeriesParts::default() }),
        (labels(&[("__name__", "e")]), SeriesParts { exemplars: &exemplars, ..SeriesParts::default() }),
        (labels(&[("__name__", "empty")]), SeriesParts::default()),
    ];
    let metadata = MetricMetadata { help: "left out".to_owned(), ..MetricMetadata::default() };
    let (mut writer, mut want) = (RequestWriter::default(), Vec::new());
    for (labels, parts) in &series {
        writer.put_series(labels, *parts, Some(&metadata));
        put_series(&mut want, labels, *parts);
    }
    let found = to_version_1(&writer.finish(), 1 << 20).expect("sound");
    assert_eq!(found, Version1 { bytes: want, samples: 2, histograms: 1, exemplars: 1 });
}

/// A request of these symbols with one series of these references.
fn request(symbols: &[&str], refs: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for symbol in symbols {
        put_bytes_field(&mut out, 4, symbol.as_bytes());
    }
    let mut packed = Vec::new();
    refs.iter().for_each(|number| put_varint(&mut packed, *number));
    put_message(&mut out, 5, |out| put_bytes_field(out, 1, &packed));
    out
}

#[test]
fn references_that_name_nothing_are_refused() {
    for (refs, want) in [
        (&[0, 1, 2][..], "invalid labels_refs length 3"),
        (&[0, 9], "symbol 9 is outside of the symbols table (size 2)"),
        (&[u64::MAX, 0], "symbol 18446744073709551615 is outside of the symbols table (size 2)"),
    ] {
        let error = to_version_1(&request(&["", "a"], refs), 1 << 20).expect_err("refused");
        assert_eq!(error.to_string(), want);
    }
}

#[test]
fn few_symbols_do_not_become_many_bytes() {
    let long = "x".repeat(10_000);
    let refs: Vec<u64> = [0, 1].repeat(50_000);
    let bomb = request(&["a", &long], &refs);
    assert!(bomb.len() < 200_000);
    let error = to_version_1(&bomb, 1 << 20).expect_err("it would be 500 MB");
    assert!(error.to_string().contains("more than 1048576 bytes"), "{error}");
}
