//! OTTL: any text is read as a statement or refused with a message, and what is read runs over any payload of its signal
//! without ending the process. Up to the first NUL a statement, up to the second a condition, then the payload; the first
//! byte chooses the signal.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use model::Signal;
use ottl::{Context, ErrorMode, Statements};

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut text = || std::str::from_utf8(parts.next().unwrap_or_default());
    let (Ok(statement), Ok(condition)) = (text(), text()) else { return };
    let payload = Bytes::copy_from_slice(parts.next().unwrap_or_default());
    let (signal, own) = match choice % 6 {
        0 => (Signal::Logs, Some(Context::Log)),
        1 => (Signal::Metrics, Some(Context::DataPoint)),
        2 => (Signal::Traces, Some(Context::Span)),
        3 => (Signal::Logs, None),
        4 => (Signal::Metrics, None),
        _ => (Signal::Traces, None),
    };
    let conditions: &[String] = if condition.is_empty() { &[] } else { &[condition.to_owned()] };
    match Statements::new(signal, own, &[statement.to_owned()], conditions, ErrorMode::Propagate) {
        Ok(program) => {
            let _ = program.run(signal, &payload, 1_700_000_000_000_000_000, &|_, _| ());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
