//! The views against prost: whatever prost encodes, in whatever field order, they read as prost does.

use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;

use super::{
    ANY_VALUE_DEPTH_MAX, AnyValue, Attributes, LogRecord, MetricData, NumberPoint, NumberValue, View, check,
    resources,
};
use crate::protobuf::{put_bytes_field, put_message};

mod objects;
pub(super) mod rewrite;
pub(super) mod samples;

use samples::Samples;

/// The request as prost reads and writes it.
pub(super) fn reencoded(signal: Signal, bytes: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    Ok(match signal {
        Signal::Metrics => ExportMetricsServiceRequest::decode(bytes)?.encode_to_vec(),
        Signal::Logs => ExportLogsServiceRequest::decode(bytes)?.encode_to_vec(),
        Signal::Traces => ExportTraceServiceRequest::decode(bytes)?.encode_to_vec(),
    })
}

proptest! {
    #[test]
    fn views_read_what_prost_wrote(choices in samples::choices(), signal in samples::signal()) {
        let mut samples = Samples::new(&choices);
        samples.always_present = true;
        let bytes = samples.request(signal);
        prop_assert_eq!(objects::through_views(signal, &bytes), bytes);
    }

    #[test]
    fn field_order_packing_and_unknown_fields_change_nothing(choices in samples::choices(), signal in samples::signal()) {
        let mut samples = Samples::new(&choices);
        samples.always_present = true;
        let bytes = samples.request(signal);
        for rewritten in [rewrite::descending(signal, &bytes), rewrite::unpacked_with_unknown_fields(signal, &bytes)] {
            prop_assert_eq!(&objects::through_views(signal, &rewritten), &bytes);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), signal in samples::signal()) {
        let _ = objects::try_through_views(signal, &bytes);
    }
}

#[test]
fn every_prefix_of_a_request_is_walked_without_panic() {
    for signal in Signal::ALL {
        let bytes = samples::full_request(signal);
        for len in 0..bytes.len() {
            let _ = objects::try_through_views(signal, &bytes[..len]);
        }
        assert_eq!(objects::through_views(signal, &bytes), bytes);
    }
}

#[test]
fn of_a_singular_field_that_occurs_twice_the_last_counts() {
    // severity_text = "a", then "b"; time 1, then 2.
    let bytes =
        [b"\x1a\x01a\x09\x01\0\0\0\0\0\0\0".as_slice(), b"\x1a\x01b\x09\x02\0\0\0\0\0\0\0".as_slice()]
            .concat();
    let record = LogRecord::parse(&bytes).expect("valid");
    assert_eq!((record.severity_text(), record.time_unix_nano), (Ok("b"), 2));
    // as_double = 1.0, then as_int = 7.
    let bytes = b"\x21\0\0\0\0\0\0\xf0\x3f\x31\x07\0\0\0\0\0\0\0";
    assert_eq!(NumberPoint::parse(bytes).expect("valid").value, Some(NumberValue::Int(7)));
}

#[test]
fn attributes_tell_whether_they_lie_in_one_run() {
    let mut together = Vec::new();
    for key in ["a", "b"] {
        put_message(&mut together, 7, |out| put_bytes_field(out, 1, key.as_bytes()));
    }
    let attributes = together.clone();
    together.extend_from_slice(b"\x40\x01"); // flags
    let point = NumberPoint::parse(&together).expect("valid");
    assert_eq!(point.attributes.contiguous_bytes(), Some(attributes.as_slice()));
    let apart = [together.as_slice(), attributes.as_slice()].concat();
    let point = NumberPoint::parse(&apart).expect("valid");
    assert_eq!(point.attributes.contiguous_bytes(), None);
    let keys: Vec<_> = point.attributes.iter().map(|pair| pair.and_then(|pair| pair.key())).collect();
    assert_eq!(keys, [Ok("a"), Ok("b"), Ok("a"), Ok("b")]);
}

#[test]
fn the_first_attribute_with_a_key_is_found() {
    let mut bytes = Vec::new();
    for (key, value) in [("service.name", "a"), ("x", "b"), ("x", "c")] {
        put_message(&mut bytes, 6, |out| {
            put_bytes_field(out, 1, key.as_bytes());
            put_message(out, 2, |out| put_bytes_field(out, 1, value.as_bytes()));
        });
    }
    let record = LogRecord::parse(&bytes).expect("valid");
    assert!(matches!(record.attributes.get("x"), Ok(Some(AnyValue::String("b")))));
    assert!(matches!(record.attributes.get("y"), Ok(None)));
}

#[test]
fn values_nest_up_to_the_cap_and_no_deeper() {
    let depth_of = |levels: usize| {
        let bytes = samples::nested_value(levels);
        let mut value = AnyValue::parse(&bytes);
        let mut depth = 0;
        loop {
            depth += 1;
            match value {
                Ok(AnyValue::Array(array)) => value = array.iter().next().expect("one element"),
                Ok(AnyValue::Map(map)) => {
                    let pair: Result<_, _> = map.iter().next().expect("one entry");
                    value = pair.and_then(|pair| pair.value());
                }
                Ok(_) => return Ok(depth),
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    let max = ANY_VALUE_DEPTH_MAX as usize;
    assert_eq!(depth_of(1), Ok(1));
    assert_eq!(depth_of(max), Ok(max));
    assert_eq!(depth_of(max + 1), Err("attribute values nest deeper than 64".into()));
}

#[test]
fn a_metric_without_data_has_no_points() {
    let mut bytes = Vec::new();
    put_message(&mut bytes, 1, |out| {
        put_message(out, 2, |out| put_message(out, 2, |out| put_bytes_field(out, 1, b"name")));
    });
    let group = resources(&bytes).next().expect("one").expect("valid");
    let scope = group.scopes().next().expect("one").expect("valid");
    let metric = scope.metrics().next().expect("one").expect("valid");
    assert_eq!(metric.name(), Ok("name"));
    assert!(matches!(metric.data(), Ok(MetricData::Empty)));
    assert!(group.resource().expect("valid").attributes.is_empty());
}

/// Both of these are data to someone: nothing may turn one into the other.
#[test]
fn an_empty_string_is_not_an_empty_value() {
    assert!(matches!(AnyValue::parse(b"\x0a\x00"), Ok(AnyValue::String(""))));
    assert!(matches!(AnyValue::parse(b""), Ok(AnyValue::Empty)));
    let kvlist = opentelemetry_proto::tonic::common::v1::KeyValueList::default().encode_to_vec();
    assert!(kvlist.is_empty());
    let map: AnyValue<'_> = AnyValue::parse(b"\x32\x00").expect("valid");
    assert!(matches!(map, AnyValue::Map(map) if Attributes::is_empty(&map)));
}

#[test]
fn samples_are_well_formed() {
    for signal in Signal::ALL {
        let bytes = samples::full_request(signal);
        let checked = check(signal, bytes.into()).expect("well-formed");
        assert!(checked.items > 0 && checked.report.rejected.is_empty());
    }
}
