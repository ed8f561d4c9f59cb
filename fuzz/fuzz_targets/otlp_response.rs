//! What peers answer: `google.rpc.Status` and export responses, as protobuf and JSON. What is read survives a round
//! trip. The first byte chooses the form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::Signal;
use wire::otlp::{response_from_json, response_from_protobuf, response_to_json, response_to_protobuf};
use wire::rpc_status::Status;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let signal = Signal::ALL[usize::from(choice / 4 % 3)];
    match choice % 4 {
        0 | 1 => {
            let status =
                if choice % 4 == 0 { Status::from_protobuf(bytes) } else { Status::from_json(bytes) };
            let Ok(status) = status else { return };
            assert_eq!(Status::from_protobuf(&status.to_protobuf()), Ok(status.clone()));
            assert_eq!(Status::from_json(&status.to_json()), Ok(status));
        }
        form => {
            let partial =
                if form == 2 { response_from_protobuf(bytes) } else { response_from_json(signal, bytes) };
            let Ok(partial) = partial else { return };
            assert_eq!(response_from_protobuf(&response_to_protobuf(partial.as_ref())), Ok(partial.clone()));
            assert_eq!(response_from_json(signal, &response_to_json(signal, partial.as_ref())), Ok(partial));
        }
    }
});
