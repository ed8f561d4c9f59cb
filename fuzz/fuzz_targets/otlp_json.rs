//! OTLP requests as JSON: what is read passes `check`, and is at most a small multiple of the input. The first byte
//! chooses the signal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::Signal;
use wire::otlp::{self, json};

fuzz_target!(|data: &[u8]| {
    let Some((choice, text)) = data.split_first() else { return };
    let signal = Signal::ALL[usize::from(choice % 3)];
    let Ok(payload) = json::to_protobuf(signal, text) else { return };
    assert!(payload.len() <= 4 * text.len());
    // Two kinds of data in one metric are valid JSON, and refused there.
    if let Ok(checked) = otlp::check(signal, payload.into()) {
        let mut text = Vec::new();
        json::from_protobuf(signal, &checked.payload, &mut text).expect("checked");
        json::to_protobuf(signal, &text).expect("our own json");
    }
});
