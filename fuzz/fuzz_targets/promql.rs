//! PromQL: any text parses or is refused; what parses prints to a query that parses to the same query, on one line and
//! laid out over several.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promql::{ParseOptions, parse_expr, parse_selector, prettify};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = parse_selector(text);
    let _ = parse_expr(text, ParseOptions::default());
    let Ok(expr) = parse_expr(text, ParseOptions::ALL) else { return };
    let printed = expr.to_string();
    for again in [printed.clone(), prettify(&expr)] {
        match parse_expr(&again, ParseOptions::ALL) {
            Ok(reread) => assert_eq!(reread.to_string(), printed, "{text:?}"),
            Err(error) => panic!("{text:?} prints as {again:?}: {error}"),
        }
    }
});
