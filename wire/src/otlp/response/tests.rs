use model::{AppendReport, Signal};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use prost::Message;

use super::{
    PartialSuccess, response_from_json, response_from_protobuf, response_to_json, response_to_protobuf,
};

fn partial(rejected: u64, message: &str) -> PartialSuccess {
    PartialSuccess { rejected, message: message.into() }
}

#[test]
fn responses_are_those_of_the_protocol_and_read_back() {
    let check = |partial: Option<PartialSuccess>, json: &str| {
        let protobuf = response_to_protobuf(partial.as_ref());
        let by_prost = ExportMetricsServiceResponse {
            partial_success: partial.as_ref().map(|p| ExportMetricsPartialSuccess {
                rejected_data_points: p.rejected as i64,
                error_message: p.message.clone(),
            }),
        };
        assert_eq!(protobuf, by_prost.encode_to_vec());
        assert_eq!(response_from_protobuf(&protobuf), Ok(partial.clone()));
        let written = response_to_json(Signal::Metrics, partial.as_ref());
        assert_eq!(String::from_utf8_lossy(&written), json);
        assert_eq!(response_from_json(Signal::Metrics, &written), Ok(partial));
    };
    check(None, "{}");
    check(
        Some(partial(3, "out of \"order\"")),
        r#"{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"out of \"order\""}}"#,
    );
    check(Some(partial(0, "a warning")), r#"{"partialSuccess":{"errorMessage":"a warning"}}"#);
    check(Some(partial(7, "")), r#"{"partialSuccess":{"rejectedDataPoints":"7"}}"#);
}

#[test]
fn every_signal_has_its_own_name_in_json() {
    let names = Signal::ALL
        .map(|signal| String::from_utf8(response_to_json(signal, Some(&partial(1, "")))).expect("utf-8"));
    assert_eq!(
        names,
        [
            r#"{"partialSuccess":{"rejectedDataPoints":"1"}}"#,
            r#"{"partialSuccess":{"rejectedLogRecords":"1"}}"#,
            r#"{"partialSuccess":{"rejectedSpans":"1"}}"#,
        ]
    );
}

#[test]
fn what_other_servers_answer_is_understood() {
    let check = |json: &str, expected: Option<PartialSuccess>| {
        assert_eq!(response_from_json(Signal::Logs, json.as_bytes()), Ok(expected), "{json}");
    };
    check(r#"{"partialSuccess":{}}"#, None);
    check(r#"{"partialSuccess":null, "later":[1,{}]}"#, None);
    check(r#"{"partialSuccess":{"rejectedLogRecords":5}}"#, Some(partial(5, "")));
    check(r#"{"partialSuccess":{"rejectedLogRecords":"-5","errorMessage":"m"}}"#, Some(partial(0, "m")));
    assert_eq!(response_from_protobuf(b"\x0a\x00"), Ok(None));
    assert!(response_from_json(Signal::Logs, b"<html>").is_err());
    assert!(response_from_json(Signal::Logs, br#"{"partialSuccess":{"rejectedLogRecords":"x"}}"#).is_err());
    assert!(response_from_protobuf(b"\x0a\x05").is_err());
}

#[test]
fn a_report_becomes_counts_and_one_example_per_reason() {
    assert_eq!(PartialSuccess::from_report(&AppendReport { stored: 9, rejected: Vec::new() }), None);
    let mut report = AppendReport::default();
    report.reject("out_of_order", 2, || "series a at 5".into());
    report.reject("trace_id_length", 1, || "span 0".into());
    report.reject("exemplar_id_length", 0, || "left out".into());
    assert_eq!(
        PartialSuccess::from_report(&report),
        Some(partial(
            3,
            "2x out_of_order: series a at 5; trace_id_length: span 0; exemplar_id_length: left out"
        ))
    );
}
