//! Remote read requests: any bytes are read or refused, and matchers stay within their cap.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::remote_read::ReadRequest;

fuzz_target!(|data: &[u8]| {
    let Ok(request) = ReadRequest::decode(data) else { return };
    let matchers: usize = request.queries.iter().map(|query| query.matchers.len()).sum();
    assert!(request.queries.len() + matchers <= 1000);
});
