//! Answers of stores on the StoreAPI, compressed or not and in any pieces, as bodies and as messages, down to the samples of
//! their chunks; and those of name servers. The first byte chooses.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    match (choice % 4, rest) {
        (0, _) => thanos::fuzzing::read_series_answer(rest),
        (1, [first, second, count, answers @ ..]) => {
            thanos::fuzzing::read_name_server_answer([*first, *second], *count, answers);
        }
        _ => thanos::fuzzing::read_series_message(&Bytes::copy_from_slice(rest)),
    }
});
