//! There and back: what `otlp_to_prometheus` makes of the translation is what was written.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use model::{
    BucketSpan, Buckets, CounterResetHint, Exemplar, FloatHistogram, IntegerBuckets, IntegerHistogram,
    Labels, MetricMetadata, MetricType, NativeHistogram, STALE_NAN_BITS, Sample, Signal, stale_nan,
};

use super::translate;
use crate::DecodeError;
use crate::otlp;
use crate::otlp_to_prometheus::{Resolved, SampleSink, SeriesKey, SeriesResolver, Settings, Translator};
use crate::remote_write::{RequestWriter, SeriesParts, Version, put_series};

const T: i64 = 1_700_000_000_000;

#[derive(Default)]
struct Table {
    runs: HashMap<SeriesKey, Vec<usize>>,
    labels: Vec<Labels>,
    metadata: Vec<(String, MetricMetadata)>,
}

impl SeriesResolver for Table {
    type Handle = usize;
    type Error = DecodeError;

    fn lookup(&mut self, key: SeriesKey) -> Option<&[usize]> {
        self.runs.get(&key).map(Vec::as_slice)
    }

    fn insert(&mut self, key: SeriesKey, series: &[Labels]) -> Result<Resolved<'_, usize>, DecodeError> {
        self.labels.extend_from_slice(series);
        Ok(Resolved::Handles(self.runs.entry(key).or_insert(vec![self.labels.len() - 1])))
    }

    fn metadata(&mut self, family: &str, metadata: &MetricMetadata) {
        self.metadata.push((family.to_owned(), metadata.clone()));
    }
}

#[derive(Default)]
struct Arrived {
    samples: Vec<(usize, i64, u64)>,
    histograms: Vec<(usize, i64, NativeHistogram)>,
    exemplars: Vec<(usize, Exemplar)>,
}

impl SampleSink<usize> for Arrived {
    fn point(&mut self, handles: &[usize], timestamp_ms: i64, values: &[f64]) {
        self.samples.push((handles[0], timestamp_ms, values[0].to_bits()));
    }

    fn histogram(&mut self, handle: usize, timestamp_ms: i64, histogram: NativeHistogram) {
        self.histograms.push((handle, timestamp_ms, histogram));
    }

    fn exemplar(&mut self, handle: usize, exemplar: Exemplar) {
        self.exemplars.push((handle, exemplar));
    }

    fn target_info(&mut self, _: usize, _: i64) {
        panic!("remote write brings its own target_info");
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn there_and_back(version: Version, request: &[u8]) -> (Table, Arrived, Vec<(&'static str, u64)>) {
    let translated = translate(version, request, |_| true).expect("well-formed");
    let payload = Bytes::from(translated.payload);
    let checked = otlp::check(Signal::Metrics, payload.clone()).expect("well-formed OTLP");
    assert_eq!((checked.items, &checked.payload), (translated.items, &payload), "nothing was cut out");
    let (mut table, mut arrived) = (Table::default(), Arrived::default());
    let report =
        Translator::new(Settings::default()).translate(&payload, &mut table, &mut arrived).expect("OTLP");
    assert_eq!((report.stored, report.rejected_count()), (translated.items, 0), "{report:?}");
    let refused = translated.report.rejected.iter().map(|refused| (refused.reason, refused.count)).collect();
    (table, arrived, refused)
}

#[test]
fn series_values_and_stale_markers_arrive_bit_by_bit() {
    let odd = labels(&[
        ("__name__", "raw.näme_total"),
        ("le", "0.5"),
        ("job", "j"),
        ("a b", "ü"),
        ("instance", "i:1"),
    ]);
    let values = [1.5, -0.0, f64::NAN, stale_nan(), f64::INFINITY, f64::from_bits(0x7ff8_0000_0000_0abc)];
    let samples: Vec<Sample> =
        (T..).zip(values).map(|(timestamp_ms, value)| Sample { timestamp_ms, value }).collect();
    let exemplars = [Exemplar {
        labels: labels(&[("trace_id", "0af7651916cd43dd8448eb211c80319c"), ("other", "x")]),
        value: 0.5,
        timestamp_ms: T + 7,
    }];
    let parts = SeriesParts { samples: &samples, exemplars: &exemplars, histograms: &[] };
    let counter = MetricMetadata { metric_type: MetricType::Counter, help: "Help.".into(), unit: "s".into() };
    let mut v1 = Vec::new();
    put_series(&mut v1, &odd, parts);
    let mut v2 = RequestWriter::default();
    v2.put_series(&odd, parts, Some(&counter));
    for (version, request) in [(Version::V1, v1), (Version::V2, v2.finish())] {
        let (table, arrived, refused) = there_and_back(version, &request);
        assert_eq!((table.labels.as_slice(), refused.as_slice()), ([odd.clone()].as_slice(), [].as_slice()));
        let want: Vec<_> =
            samples.iter().map(|sample| (0, sample.timestamp_ms, sample.value.to_bits())).collect();
        assert_eq!(arrived.samples, want);
        assert_eq!(arrived.samples[3].2, STALE_NAN_BITS);
        assert_eq!(arrived.exemplars, [(0, exemplars[0].clone())]);
        if version == Version::V2 {
            assert_eq!(table.metadata, [("raw.näme_total".to_owned(), counter.clone())]);
        }
    }
}

#[test]
fn native_histograms_arrive_and_what_otlp_cannot_carry_is_refused() {
    let span = |offset, length| BucketSpan { offset, length };
    let exponential = IntegerHistogram {
        counter_reset_hint: CounterResetHint::Gauge,
        schema: 3,
        zero_threshold: 0.001,
        zero_count: 2,
        count: u64::MAX / 4 + 5,
        sum: 2.5,
        positive: IntegerBuckets {
            spans: vec![span(-2, 2), span(5, 1)],
            deltas: vec![1, 1, i64::try_from(u64::MAX / 4).expect("fits") - 2],
        },
        negative: IntegerBuckets { spans: vec![span(0, 1)], deltas: vec![0] },
        custom_values: None,
    };
    let custom = IntegerHistogram {
        schema: -53,
        count: 3,
        sum: 9.0,
        positive: IntegerBuckets { spans: vec![span(1, 2)], deltas: vec![1, 1] },
        custom_values: Some(Arc::from([1.0, 2.0])),
        ..IntegerHistogram::default()
    };
    let stale = IntegerHistogram { sum: stale_nan(), ..IntegerHistogram::default() };
    let whole = FloatHistogram {
        count: 2.0,
        positive: Buckets { spans: vec![span(0, 1)], counts: vec![2.0] },
        ..FloatHistogram::default()
    };
    let fraction = FloatHistogram { count: 0.5, ..FloatHistogram::default() };
    let sparse = IntegerHistogram {
        count: 2,
        positive: IntegerBuckets { spans: vec![span(0, 1), span(1_000_000_000, 1)], deltas: vec![1, 0] },
        ..IntegerHistogram::default()
    };
    let integer = |histogram: IntegerHistogram| NativeHistogram::Integer(Arc::new(histogram));
    let float = |histogram: FloatHistogram| NativeHistogram::Float(Arc::new(histogram));
    let sent = [
        integer(exponential),
        integer(custom),
        integer(stale),
        float(whole),
        float(fraction),
        integer(sparse),
    ];
    let histograms: Vec<_> = (T..).zip(sent).collect();
    let mut request = Vec::new();
    let series = labels(&[("__name__", "h"), ("job", "j")]);
    put_series(&mut request, &series, SeriesParts { histograms: &histograms, ..SeriesParts::default() });
    let (table, arrived, refused) = there_and_back(Version::V1, &request);
    assert_eq!(refused, [("invalid_histogram", 2)]);
    assert!(table.labels.iter().all(|labels| *labels == series));
    let times: Vec<i64> = arrived.histograms.iter().map(|(_, time, _)| *time).collect();
    assert_eq!(times, (T..T + 4).collect::<Vec<_>>());
    for ((time, sent), (_, _, got)) in histograms.iter().zip(&arrived.histograms) {
        let (sent, got) = (sent.to_float(), got.to_float());
        assert_eq!(sent.sum.to_bits(), got.sum.to_bits(), "{time}");
        assert_eq!((sent.schema, sent.count, sent.zero_count), (got.schema, got.count, got.zero_count));
        assert_eq!(sent.custom_bounds(), got.custom_bounds());
        let buckets = |side: &Buckets| side.iter().filter(|(_, count)| *count != 0.0).collect::<Vec<_>>();
        assert_eq!(buckets(&sent.positive), buckets(&got.positive));
        assert_eq!(buckets(&sent.negative), buckets(&got.negative));
        let is_gauge = sent.counter_reset_hint == CounterResetHint::Gauge;
        assert_eq!(got.counter_reset_hint == CounterResetHint::Gauge, is_gauge);
    }
    assert_eq!(arrived.histograms[0].2.to_float().zero_threshold, 0.001);
}

#[test]
fn series_with_bad_labels_are_refused_alone() {
    let sample = [Sample { timestamp_ms: T, value: 1.0 }];
    let parts = SeriesParts { samples: &sample, ..SeriesParts::default() };
    let mut request = Vec::new();
    put_series(&mut request, &labels(&[("job", "nameless")]), parts);
    put_series(&mut request, &labels(&[("__name__", "up")]), parts);
    let (table, arrived, refused) = there_and_back(Version::V1, &request);
    assert_eq!(
        (table.labels.len(), arrived.samples.len(), refused.as_slice()),
        (1, 1, [("invalid_labels", 1)].as_slice())
    );
}

#[test]
fn room_is_claimed_before_a_payload_grows_and_a_no_ends_it() {
    let long = labels(&[("__name__", "up"), ("text", &"x".repeat(1000))]);
    let samples: Vec<Sample> = (0..5000).map(|timestamp_ms| Sample { timestamp_ms, value: 0.5 }).collect();
    let exemplars: Vec<Exemplar> = (0..100)
        .map(|timestamp_ms| Exemplar { labels: labels(&[("trace", "a")]), value: 1.0, timestamp_ms })
        .collect();
    let mut request = Vec::new();
    put_series(
        &mut request,
        &long,
        SeriesParts { samples: &samples, exemplars: &exemplars, histograms: &[] },
    );
    put_series(
        &mut request,
        &labels(&[("__name__", "few")]),
        SeriesParts { samples: &samples[..2], ..SeriesParts::default() },
    );
    let mut claimed = 0;
    let whole = translate(Version::V1, &request, |bytes| {
        claimed = bytes;
        true
    });
    let whole = whole.expect("well-formed");
    assert_eq!(whole.items, 5002);
    assert!(whole.payload.len() > 5_000_000 && whole.payload.len() <= claimed, "{claimed}");
    let cut = translate(Version::V1, &request, |bytes| bytes < 1_000_000).expect("well-formed");
    assert_eq!((cut.items, cut.payload.len()), (0, 0));
}
