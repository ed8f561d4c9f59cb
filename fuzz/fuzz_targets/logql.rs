//! LogQL: any text parses or is refused; what parses prints to a query that parses to the same query.
#![no_main]

use libfuzzer_sys::fuzz_target;
use logql::syntax::{parse, parse_selector};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = parse_selector(text);
    let Ok(expr) = parse(text) else { return };
    let printed = expr.to_string();
    match parse(&printed) {
        Ok(reread) => assert_eq!(reread.to_string(), printed, "{text:?}"),
        Err(error) => panic!("{text:?} prints as {printed:?}: {error}"),
    }
});
