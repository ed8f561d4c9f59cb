//! Loki pushes as protobuf and JSON, and what becomes of them as OTLP. The first byte chooses the form.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use model::Signal;
use wire::{loki_push, loki_to_otlp, otlp, otlp_to_loki};

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    let request = match choice % 2 {
        0 => loki_push::decode_proto(body),
        _ => loki_push::decode_json(body),
    };
    let Ok(request) = request else { return };
    assert_eq!(loki_push::decode_proto(&loki_push::encode_proto(&request)).as_ref(), Ok(&request));

    let entries = request.streams.iter().map(|stream| stream.entries.len() as u64).sum::<u64>();
    let logs = loki_to_otlp::translate(&request, &loki_to_otlp::Settings::default());
    assert_eq!(logs.report.stored + logs.report.rejected_count(), entries);
    let direct = loki_to_otlp::translate_proto(&loki_push::encode_proto(&request), &loki_to_otlp::Settings::default());
    let (direct, streams) = direct.expect("our own protobuf");
    assert_eq!((&direct.payload, streams), (&logs.payload, request.streams.len()));
    let checked = otlp::check(Signal::Logs, Bytes::from(logs.payload)).expect("our own protobuf");
    assert_eq!(checked.items, logs.report.stored);

    let back = otlp_to_loki::Translator::default().translate(&checked.payload, 1).expect("checked");
    assert_eq!(back.report.stored + back.report.rejected_count(), checked.items);
    for (labels, entries) in &back.streams {
        assert!(labels.get("service_name").is_some() || labels.iter().any(|(name, _)| name.starts_with("__")));
        assert!(!entries.is_empty());
    }
});
