//! OTLP log records to streams: every record is in a stream or counted, and the whole stays in bounds.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use model::Signal;
use wire::otlp;
use wire::otlp_to_loki::{OUTPUT_RATIO_MAX, Translator};

fuzz_target!(|payload: &[u8]| {
    let mut translator = Translator::default();
    let _ = translator.translate(payload, 1);
    let Ok(checked) = otlp::check(Signal::Logs, Bytes::copy_from_slice(payload)) else { return };
    let first = translator.translate(&checked.payload, 1).expect("checked");
    assert_eq!(first.report.stored + first.report.rejected_count(), checked.items);
    let entries = first.streams.iter().map(|(_, entries)| entries.len() as u64).sum::<u64>();
    assert_eq!(entries, first.report.stored);
    let bytes = first.streams.iter().map(|(_, entries)| entries.text_bytes()).sum::<usize>();
    assert!(bytes <= payload.len() * OUTPUT_RATIO_MAX + (9 << 20));
    let second = translator.translate(&checked.payload, 1).expect("checked");
    assert_eq!(first.streams, second.streams);
});
