use model::{Labels, MetricMetadata, MetricType, Sample};
use prost::Message;

use super::{WriteRequest, put_metadata, put_series};

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
        pub(super) exemplars: Vec<Label>,
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

fn example() -> (Vec<u8>, proto::WriteRequest) {
    let mut out = Vec::new();
    let labels = Labels::from_pairs([("job", "x"), ("__name__", "up")]);
    let sample = |timestamp_ms, value| Sample { timestamp_ms, value };
    put_series(&mut out, &labels, [sample(1_700_000_000_000, 1.5), sample(-1, f64::NEG_INFINITY)]);
    put_series(&mut out, &Labels::from_pairs([("__name__", "empty")]), []);
    let metadata = MetricMetadata {
        metric_type: MetricType::Summary,
        help: "What it is.".to_owned(),
        unit: "seconds".to_owned(),
    };
    put_metadata(&mut out, "latency_seconds", &metadata);
    let label = |name: &str, value: &str| proto::Label { name: name.into(), value: value.into() };
    let expected = proto::WriteRequest {
        timeseries: vec![
            proto::TimeSeries {
                labels: vec![label("__name__", "up"), label("job", "x")],
                samples: vec![
                    proto::Sample { value: 1.5, timestamp: 1_700_000_000_000 },
                    proto::Sample { value: f64::NEG_INFINITY, timestamp: -1 },
                ],
                exemplars: vec![],
            },
            proto::TimeSeries { labels: vec![label("__name__", "empty")], ..Default::default() },
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

#[test]
fn what_is_written_is_a_write_request() {
    let (written, expected) = example();
    assert_eq!(proto::WriteRequest::decode(&written[..]).unwrap(), expected);
}

#[test]
fn a_write_request_is_read() {
    let (_, mut request) = example();
    request.timeseries[1].exemplars.push(proto::Label::default());
    let encoded = request.encode_to_vec();
    let view = WriteRequest::new(&encoded);
    let series: Vec<_> = view.series().map(Result::unwrap).collect();
    let labels: Vec<_> = series[0].labels().map(Result::unwrap).collect();
    assert_eq!(labels, [("__name__", "up"), ("job", "x")]);
    let samples: Vec<_> = series[0].samples().map(Result::unwrap).collect();
    assert_eq!(samples[0], Sample { timestamp_ms: 1_700_000_000_000, value: 1.5 });
    assert_eq!(samples[1], Sample { timestamp_ms: -1, value: f64::NEG_INFINITY });
    assert_eq!((series.len(), series[1].samples().count(), series[1].others().unwrap()), (2, 0, 1));
    let (family, metadata) = view.metadata().next().unwrap().unwrap();
    assert_eq!(
        (family, metadata.metric_type, metadata.unit.as_str()),
        ("latency_seconds", MetricType::Summary, "seconds")
    );
}

#[test]
fn cut_requests_are_errors_and_never_panic() {
    let (written, _) = example();
    let read = |bytes: &[u8]| -> Result<usize, crate::DecodeError> {
        let view = WriteRequest::new(bytes);
        let mut count = 0;
        for series in view.series() {
            let series = series?;
            for label in series.labels() {
                label?;
            }
            for sample in series.samples() {
                sample?;
                count += 1;
            }
        }
        for metadata in view.metadata() {
            metadata?;
        }
        Ok(count)
    };
    assert_eq!(read(&written).unwrap(), 2);
    let borders = (0..written.len()).filter(|len| read(&written[..*len]).is_ok()).count();
    // Nothing at all, one series, and two series are requests too.
    assert_eq!(borders, 3);
}
