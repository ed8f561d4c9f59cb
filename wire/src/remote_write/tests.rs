use std::sync::Arc;

use model::{
    BucketSpan, Buckets, CounterResetHint, Exemplar, FloatHistogram, IntegerBuckets, IntegerHistogram,
    Labels, MetricMetadata, MetricType, NativeHistogram, Sample,
};
use prost::Message;

use super::{
    Contents, Refused, Request, RequestWriter, Series, SeriesParts, Taker, Version, contents, family_of,
    put_metadata, put_series, read_histogram, walk,
};
use crate::DecodeError;

/// `prometheus.WriteRequest` written down a second time, for prost.
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub(super) timeseries: Vec<TimeSeries>,
        #[prost(message, repeated, tag = "3")]
        pub(super) metadata: Vec<Metadata>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub(super) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(super) exemplars: Vec<Exemplar>,
        #[prost(message, repeated, tag = "4")]
        pub(super) histograms: Vec<Histogram>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<Label>,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
        #[prost(int64, tag = "3")]
        pub(super) timestamp: i64,
    }

    /// Either version's; the oneofs as optional fields.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Histogram {
        #[prost(uint64, optional, tag = "1")]
        pub(super) count_int: Option<u64>,
        #[prost(double, optional, tag = "2")]
        pub(super) count_float: Option<f64>,
        #[prost(double, tag = "3")]
        pub(super) sum: f64,
        #[prost(sint32, tag = "4")]
        pub(super) schema: i32,
        #[prost(double, tag = "5")]
        pub(super) zero_threshold: f64,
        #[prost(uint64, optional, tag = "6")]
        pub(super) zero_count_int: Option<u64>,
        #[prost(double, optional, tag = "7")]
        pub(super) zero_count_float: Option<f64>,
        #[prost(message, repeated, tag = "8")]
        pub(super) negative_spans: Vec<Span>,
        #[prost(sint64, repeated, tag = "9")]
        pub(super) negative_deltas: Vec<i64>,
        #[prost(double, repeated, tag = "10")]
        pub(super) negative_counts: Vec<f64>,
        #[prost(message, repeated, tag = "11")]
        pub(super) positive_spans: Vec<Span>,
        #[prost(sint64, repeated, tag = "12")]
        pub(super) positive_deltas: Vec<i64>,
        #[prost(double, repeated, tag = "13")]
        pub(super) positive_counts: Vec<f64>,
        #[prost(int32, tag = "14")]
        pub(super) reset_hint: i32,
        #[prost(int64, tag = "15")]
        pub(super) timestamp: i64,
        #[prost(double, repeated, tag = "16")]
        pub(super) custom_values: Vec<f64>,
        #[prost(int64, tag = "17")]
        pub(super) start_timestamp: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Span {
        #[prost(sint32, tag = "1")]
        pub(super) offset: i32,
        #[prost(uint32, tag = "2")]
        pub(super) length: u32,
    }

    /// `io.prometheus.write.v2.Request`.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RequestV2 {
        #[prost(string, repeated, tag = "4")]
        pub(super) symbols: Vec<String>,
        #[prost(message, repeated, tag = "5")]
        pub(super) timeseries: Vec<TimeSeriesV2>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TimeSeriesV2 {
        #[prost(uint32, repeated, tag = "1")]
        pub(super) labels_refs: Vec<u32>,
        #[prost(message, repeated, tag = "2")]
        pub(super) samples: Vec<SampleV2>,
        #[prost(message, repeated, tag = "3")]
        pub(super) histograms: Vec<Histogram>,
        #[prost(message, repeated, tag = "4")]
        pub(super) exemplars: Vec<ExemplarV2>,
        #[prost(message, optional, tag = "5")]
        pub(super) metadata: Option<MetadataV2>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct SampleV2 {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
        #[prost(int64, tag = "2")]
        pub(super) timestamp: i64,
        #[prost(int64, tag = "3")]
        pub(super) start_timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ExemplarV2 {
        #[prost(uint32, repeated, tag = "1")]
        pub(super) labels_refs: Vec<u32>,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
        #[prost(int64, tag = "3")]
        pub(super) timestamp: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct MetadataV2 {
        #[prost(int32, tag = "1")]
        pub(super) metric_type: i32,
        #[prost(uint32, tag = "3")]
        pub(super) help_ref: u32,
        #[prost(uint32, tag = "4")]
        pub(super) unit_ref: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Label {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) value: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Sample {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
        #[prost(int64, tag = "2")]
        pub(super) timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Metadata {
        #[prost(int32, tag = "1")]
        pub(super) metric_type: i32,
        #[prost(string, tag = "2")]
        pub(super) metric_family_name: String,
        #[prost(string, tag = "4")]
        pub(super) help: String,
        #[prost(string, tag = "5")]
        pub(super) unit: String,
    }
}

const T: i64 = 1_700_000_000_000;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn summary() -> MetricMetadata {
    let (help, unit) = ("What it is.".to_owned(), "seconds".to_owned());
    MetricMetadata { metric_type: MetricType::Summary, help, unit }
}

/// One with integer counts, one with float counts and custom bounds.
fn histograms() -> [(i64, NativeHistogram); 2] {
    let span = |offset, length| BucketSpan { offset, length };
    let integer = IntegerHistogram {
        counter_reset_hint: CounterResetHint::NotReset,
        schema: -2,
        zero_threshold: 0.001,
        zero_count: 2,
        count: 9,
        sum: -1.5,
        positive: IntegerBuckets { spans: vec![span(-3, 1), span(7, 2)], deltas: vec![1, 2, -2] },
        negative: IntegerBuckets { spans: vec![span(0, 1)], deltas: vec![2] },
        custom_values: None,
    };
    let float = FloatHistogram {
        counter_reset_hint: CounterResetHint::Gauge,
        schema: -53,
        count: 1.5,
        sum: f64::INFINITY,
        positive: Buckets { spans: vec![span(1, 1)], counts: vec![1.5] },
        custom_values: Some(Arc::from([0.5, 1.0])),
        ..FloatHistogram::default()
    };
    [(T, NativeHistogram::Integer(Arc::new(integer))), (T + 1, NativeHistogram::Float(Arc::new(float)))]
}

fn proto_histograms() -> Vec<proto::Histogram> {
    let span = |offset, length| proto::Span { offset, length };
    let integer = proto::Histogram {
        count_int: Some(9),
        sum: -1.5,
        schema: -2,
        zero_threshold: 0.001,
        zero_count_int: Some(2),
        negative_spans: vec![span(0, 1)],
        negative_deltas: vec![2],
        positive_spans: vec![span(-3, 1), span(7, 2)],
        positive_deltas: vec![1, 2, -2],
        // RESET_HINT_NO.
        reset_hint: 2,
        timestamp: T,
        ..Default::default()
    };
    let float = proto::Histogram {
        count_float: Some(1.5),
        sum: f64::INFINITY,
        schema: -53,
        zero_count_float: Some(0.0),
        positive_spans: vec![span(1, 1)],
        positive_counts: vec![1.5],
        // RESET_HINT_GAUGE.
        reset_hint: 3,
        timestamp: T + 1,
        custom_values: vec![0.5, 1.0],
        ..Default::default()
    };
    vec![integer, float]
}

fn exemplar() -> Exemplar {
    Exemplar { labels: labels(&[("trace_id", "abc")]), value: 0.25, timestamp_ms: T }
}

/// A request of version 1 from the writer, and the same as objects.
fn example_v1() -> (Vec<u8>, proto::WriteRequest) {
    let mut out = Vec::new();
    let samples =
        [(T, 1.5), (-1, f64::NEG_INFINITY)].map(|(timestamp_ms, value)| Sample { timestamp_ms, value });
    let (up, empty) = (labels(&[("job", "x"), ("__name__", "up")]), labels(&[("__name__", "empty")]));
    let (histograms, exemplars) = (&histograms(), &[exemplar()]);
    put_series(&mut out, &up, SeriesParts { samples: &samples, ..SeriesParts::default() });
    put_series(&mut out, &empty, SeriesParts { histograms, exemplars, ..SeriesParts::default() });
    put_metadata(&mut out, "latency_seconds", &summary());
    let label = |name: &str, value: &str| proto::Label { name: name.into(), value: value.into() };
    let expected = proto::WriteRequest {
        timeseries: vec![
            proto::TimeSeries {
                labels: vec![label("__name__", "up"), label("job", "x")],
                samples: vec![
                    proto::Sample { value: 1.5, timestamp: T },
                    proto::Sample { value: f64::NEG_INFINITY, timestamp: -1 },
                ],
                ..Default::default()
            },
            proto::TimeSeries {
                labels: vec![label("__name__", "empty")],
                exemplars: vec![proto::Exemplar {
                    labels: vec![label("trace_id", "abc")],
                    value: 0.25,
                    timestamp: T,
                }],
                histograms: proto_histograms(),
                ..Default::default()
            },
        ],
        metadata: vec![proto::Metadata {
            // SUMMARY in types.proto.
            metric_type: 5,
            metric_family_name: "latency_seconds".into(),
            help: "What it is.".into(),
            unit: "seconds".into(),
        }],
    };
    (out, expected)
}

fn example_v2() -> (Vec<u8>, proto::RequestV2) {
    let mut writer = RequestWriter::default();
    let samples = [Sample { timestamp_ms: T, value: 1.5 }];
    let (histograms, exemplars) = (&histograms(), &[exemplar()]);
    let up = labels(&[("job", "up"), ("__name__", "up")]);
    writer.put_series(&up, SeriesParts { samples: &samples, exemplars, histograms: &[] }, Some(&summary()));
    writer.put_series(
        &labels(&[("__name__", "h")]),
        SeriesParts { histograms, ..SeriesParts::default() },
        None,
    );
    let symbols = ["", "__name__", "up", "job", "trace_id", "abc", "What it is.", "seconds", "h"];
    let expected = proto::RequestV2 {
        symbols: symbols.map(str::to_owned).into(),
        timeseries: vec![
            proto::TimeSeriesV2 {
                labels_refs: vec![1, 2, 3, 2],
                samples: vec![proto::SampleV2 { value: 1.5, timestamp: T, start_timestamp: 0 }],
                exemplars: vec![proto::ExemplarV2 { labels_refs: vec![4, 5], value: 0.25, timestamp: T }],
                // METRIC_TYPE_SUMMARY in write/v2/types.proto.
                metadata: Some(proto::MetadataV2 { metric_type: 5, help_ref: 6, unit_ref: 7 }),
                ..Default::default()
            },
            proto::TimeSeriesV2 {
                labels_refs: vec![1, 8],
                histograms: proto_histograms(),
                ..Default::default()
            },
        ],
    };
    (writer.finish(), expected)
}

#[test]
fn what_is_written_is_what_the_protocols_say() {
    let (written, expected) = example_v1();
    assert_eq!(proto::WriteRequest::decode(&written[..]).unwrap(), expected);
    let (written, expected) = example_v2();
    assert_eq!(proto::RequestV2::decode(&written[..]).unwrap(), expected);
}

/// Everything in a request as text.
fn read(version: Version, bytes: &[u8]) -> Result<Vec<String>, DecodeError> {
    let request = Request::new(version, bytes, 7)?;
    let mut series = Series::default();
    let mut lines = Vec::new();
    for encoded in request.series() {
        request.read(encoded?, &mut series)?;
        request.key(&mut series)?;
        let labels = request.labels(&series)?;
        for sample in &series.samples {
            lines.push(format!(
                "{labels} {} @{} from {}",
                sample.sample.value, sample.sample.timestamp_ms, sample.start_ms
            ));
        }
        for histogram in &series.histograms {
            let timed = read_histogram(histogram)?;
            let known = histograms().into_iter().position(|(time, known)| {
                timed.timestamp_ms == time && timed.histogram.as_ref() == Ok(&known)
            });
            lines.push(format!("{labels} histogram {known:?} from {}", timed.start_ms));
        }
        for bytes in &series.exemplars {
            let exemplar = request.exemplar(bytes)?;
            lines.push(format!(
                "{labels} exemplar {} {} @{}",
                exemplar.labels, exemplar.value, exemplar.timestamp_ms
            ));
        }
        if let Some(metadata) = request.series_metadata(&series)? {
            let family = family_of(&labels, metadata.metric_type);
            lines.push(format!("{family} {} {} {}", metadata.metric_type, metadata.unit, metadata.help));
        }
    }
    for metadata in request.metadata() {
        let (family, metadata) = metadata?;
        lines.push(format!("{family} {} {} {}", metadata.metric_type, metadata.unit, metadata.help));
    }
    Ok(lines)
}

#[test]
fn requests_of_both_versions_are_read() {
    let (_, request) = example_v1();
    assert_eq!(
        read(Version::V1, &request.encode_to_vec()).unwrap(),
        [
            r#"{__name__="up", job="x"} 1.5 @1700000000000 from 0"#,
            r#"{__name__="up", job="x"} -inf @-1 from 0"#,
            r#"{__name__="empty"} histogram Some(0) from 0"#,
            r#"{__name__="empty"} histogram Some(1) from 0"#,
            r#"{__name__="empty"} exemplar {trace_id="abc"} 0.25 @1700000000000"#,
            "latency_seconds summary seconds What it is.",
        ]
    );
    let (_, mut request) = example_v2();
    request.timeseries[0].samples[0].start_timestamp = 5;
    request.timeseries[1].histograms[1].start_timestamp = 6;
    assert_eq!(
        read(Version::V2, &request.encode_to_vec()).unwrap(),
        [
            r#"{__name__="up", job="up"} 1.5 @1700000000000 from 5"#,
            r#"{__name__="up", job="up"} exemplar {trace_id="abc"} 0.25 @1700000000000"#,
            "up summary seconds What it is.",
            r#"{__name__="h"} histogram Some(0) from 0"#,
            r#"{__name__="h"} histogram Some(1) from 6"#,
        ]
    );
}

#[test]
fn cut_requests_are_errors_and_never_panic() {
    for (version, written, borders) in
        // Nothing at all, each series, and in version 2 each symbol end a request too.
        [(Version::V1, example_v1().0, 3), (Version::V2, example_v2().0, 1 + 9 + 1)]
    {
        assert!(read(version, &written).is_ok());
        let sound = (0..written.len()).filter(|len| read(version, &written[..*len]).is_ok()).count();
        assert_eq!(sound, borders, "{version:?}");
    }
}

#[test]
fn bad_labels_are_refused_with_the_reason() {
    let check = |pairs: &[(&str, &str)], want: &str| {
        let labels =
            pairs.iter().map(|(name, value)| proto::Label { name: (*name).into(), value: (*value).into() });
        let series = proto::TimeSeries { labels: labels.collect(), ..Default::default() };
        let bytes = proto::WriteRequest { timeseries: vec![series], ..Default::default() }.encode_to_vec();
        let error = read(Version::V1, &bytes).expect_err("bad labels").to_string();
        assert_eq!(error, want);
    };
    check(&[("job", "x")], r#"invalid metric name or labels, got {job="x"}"#);
    check(&[("__name__", "")], "invalid metric name or labels, got {}");
    check(&[("__name__", "up"), ("", "x")], r#"invalid metric name or labels, got {="x", __name__="up"}"#);
    check(
        &[("__name__", "up"), ("b", "1"), ("a", "2"), ("b", "1")],
        r#"invalid labels for series, labels {__name__="up", a="2", b="1"}, duplicated label b"#,
    );
    let refs = |labels_refs: Vec<u32>| {
        let series = proto::TimeSeriesV2 { labels_refs, ..Default::default() };
        let symbols = vec![String::new(), "__name__".into(), "up".into()];
        let bytes = proto::RequestV2 { symbols, timeseries: vec![series] }.encode_to_vec();
        read(Version::V2, &bytes).expect_err("bad labels").to_string()
    };
    assert_eq!(refs(vec![1]), "invalid labels_refs length 1");
    assert_eq!(refs(vec![1, 9]), "symbol 9 is outside of the symbols table (size 3)");
    // Labels with an empty value are as good as absent, and their order does not matter.
    let (_, mut request) = example_v1();
    request.timeseries.truncate(1);
    request.metadata.clear();
    request.timeseries[0].labels.insert(0, proto::Label { name: "z".into(), value: String::new() });
    assert!(
        read(Version::V1, &request.encode_to_vec()).unwrap()[0].starts_with(r#"{__name__="up", job="x"}"#)
    );
}

#[test]
fn equal_series_have_equal_keys_wherever_they_are_in_a_request() {
    let key_of = |symbols: &[&str], labels_refs: Vec<u32>| {
        let series = proto::TimeSeriesV2 { labels_refs, ..Default::default() };
        let symbols = symbols.iter().map(|text| (*text).to_owned()).collect();
        let bytes = proto::RequestV2 { symbols, timeseries: vec![series] }.encode_to_vec();
        let request = Request::new(Version::V2, &bytes, 1).unwrap();
        let mut series = Series::default();
        request.read(request.series().next().unwrap().unwrap(), &mut series).unwrap();
        request.key(&mut series).unwrap()
    };
    let first = key_of(&["", "__name__", "up"], vec![1, 2]);
    assert_eq!(key_of(&["", "up", "x", "__name__"], vec![3, 1]), first);
    assert_ne!(key_of(&["", "__name__", "down"], vec![1, 2]), first);
    assert_ne!(key_of(&["", "__name__", "up"], vec![2, 1]), first);
}

#[test]
fn the_media_type_says_the_version() {
    let check = |content_type: &str, want: Result<Version, &str>| {
        let version = Version::from_content_type(content_type);
        assert_eq!(
            version.as_ref().map_err(String::as_str),
            want.as_ref().map_err(|text| *text),
            "{content_type}"
        );
    };
    check("application/x-protobuf", Ok(Version::V1));
    check("application/x-protobuf;proto=prometheus.WriteRequest", Ok(Version::V1));
    check(Version::V2.content_type(), Ok(Version::V2));
    check("application/x-protobuf;v=1;proto=io.prometheus.write.v2.Request", Ok(Version::V2));
    check(
        "text/plain",
        Err("expected application/x-protobuf as the first (media) part, got text/plain content-type"),
    );
    check(
        "application/x-protobuf;proto=x",
        Err(
            "got application/x-protobuf;proto=x content type; unknown type for remote write protobuf message x, \
             supported: prometheus.WriteRequest, io.prometheus.write.v2.Request",
        ),
    );
    check(
        "application/x-protobuf;x",
        Err(
            "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, got x in \
             application/x-protobuf;x content-type",
        ),
    );
}

/// Writes down what it takes; knows the keys that it took before.
#[derive(Default)]
struct Notes {
    known: std::collections::HashMap<u128, String>,
    at: String,
    lines: Vec<String>,
}

impl Taker for Notes {
    type Error = DecodeError;

    fn lookup(&mut self, key: u128, _points: u32) -> bool {
        self.known.get(&key).map(|labels| self.at.clone_from(labels)).is_some()
    }

    fn insert(&mut self, key: u128, labels: &Labels) -> Result<Option<Refused>, DecodeError> {
        if labels.get("refuse").is_some() {
            return Ok(Some(Refused { reason: "series_limit", message: "no more".to_owned() }));
        }
        self.at = labels.to_string();
        self.lines.push(format!("new {labels}"));
        self.known.insert(key, self.at.clone());
        Ok(None)
    }

    fn metadata(&mut self, family: &str, metadata: &MetricMetadata) {
        self.lines.push(format!("{family} is {}", metadata.metric_type));
    }

    fn sample(&mut self, timestamp_ms: i64, value: f64) {
        self.lines.push(format!("{} {value} @{timestamp_ms}", self.at));
    }

    fn histogram(&mut self, timestamp_ms: i64, _histogram: NativeHistogram) {
        self.lines.push(format!("{} histogram @{timestamp_ms}", self.at));
    }

    fn exemplar(&mut self, exemplar: Exemplar) {
        self.lines.push(format!("{} exemplar {} @{}", self.at, exemplar.value, exemplar.timestamp_ms));
    }
}

#[test]
fn a_walk_gives_every_series_and_makes_labels_of_new_ones_only() {
    let up = r#"{__name__="up", job="up"}"#;
    let (_, first) = example_v1();
    for (version, bytes, of_up, metadata_first) in [
        (Version::V1, first.encode_to_vec(), r#"{__name__="up", job="x"}"#, false),
        (Version::V2, example_v2().0, up, true),
    ] {
        let mut notes = Notes::default();
        let report = walk(version, &bytes, 7, &mut notes).unwrap();
        assert_eq!(
            notes.lines.iter().filter(|line| line.starts_with("new")).count(),
            notes.known.len(),
            "{:?}",
            notes.lines
        );
        assert!(notes.lines.contains(&format!("new {of_up}")), "{:?}", notes.lines);
        assert!(notes.lines.contains(&format!("{of_up} 1.5 @{T}")), "{:?}", notes.lines);
        let metadata = notes.lines.iter().position(|line| line.contains(" is ")).expect("there is metadata");
        let sample = notes.lines.iter().position(|line| line.contains(" 1.5 ")).expect("there is a sample");
        assert_eq!(metadata < sample, metadata_first);
        let found = contents(version, &bytes).unwrap();
        assert_eq!((report.stored, report.rejected), (found.points(), vec![]));
        notes.lines.clear();
        walk(version, &bytes, 7, &mut notes).unwrap();
        assert!(!notes.lines.iter().any(|line| line.starts_with("new")), "{:?}", notes.lines);
    }
    assert_eq!(
        contents(Version::V2, &example_v2().0).unwrap(),
        Contents { samples: 1, histograms: 2, exemplars: 1, families: 0 }
    );
}

#[test]
fn a_walk_counts_what_it_leaves_out() {
    let sample = proto::Sample { value: 1.0, timestamp: T };
    let label = |name: &str| proto::Label { name: name.into(), value: "v".into() };
    let series = |names: &[&str], samples: usize, histograms: Vec<proto::Histogram>| proto::TimeSeries {
        labels: names.iter().map(|name| label(name)).collect(),
        samples: vec![sample.clone(); samples],
        histograms,
        ..Default::default()
    };
    let faulty = proto::Histogram { count_int: Some(99), ..proto_histograms().remove(0) };
    let timeseries = vec![
        series(&["job"], 2, vec![]),
        series(&["__name__", "refuse"], 3, vec![]),
        series(&["__name__"], 1, vec![faulty]),
        series(&["__name__"], 0, vec![]),
    ];
    let bytes = proto::WriteRequest { timeseries, metadata: vec![] }.encode_to_vec();
    let report = walk(Version::V1, &bytes, 7, &mut Notes::default()).unwrap();
    let told: Vec<_> = report.rejected.iter().map(|rejection| (rejection.reason, rejection.count)).collect();
    assert_eq!(report.stored, 1);
    assert_eq!(told, [("invalid_labels", 2), ("series_limit", 3), ("invalid_histogram", 1)]);
    assert!(report.rejected[2].message.ends_with(r#"for series {__name__="v"}"#), "{report:?}");
    for cut in 1..bytes.len() {
        // Whatever is cut off: an error or what is left, never a panic.
        let _ = walk(Version::V1, &bytes[..cut], 7, &mut Notes::default());
        let _ = contents(Version::V1, &bytes[..cut]);
    }
}

#[test]
fn labels_that_lie_apart_are_the_same_series() {
    let mut together = Vec::new();
    let one = [Sample { timestamp_ms: T, value: 1.0 }];
    put_series(
        &mut together,
        &labels(&[("__name__", "up"), ("a", "b")]),
        SeriesParts { samples: &one, ..SeriesParts::default() },
    );
    // Tag and length of the series, its two labels of 14 and 8 bytes, and the sample.
    let series = &together[2..];
    let apart = [&series[..16], &series[24..], &series[16..24]].concat();
    let apart = [&together[..2], &apart[..]].concat();
    let mut notes = Notes::default();
    for bytes in [&together, &apart] {
        walk(Version::V1, bytes, 7, &mut notes).unwrap();
    }
    let text = r#"{__name__="up", a="b"}"#;
    let line = format!("{text} 1 @{T}");
    assert_eq!(notes.lines, [format!("new {text}"), line.clone(), line]);
}
