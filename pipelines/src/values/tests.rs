use std::time::Duration;

use serde_json::json;

use super::{ConfigDuration, Opaque};

#[test]
fn durations_follow_go_notation() {
    let check = |text: &str, want: Duration| {
        assert_eq!(ConfigDuration::parse(text), Ok(ConfigDuration(want)), "{text}");
    };
    check("0", Duration::ZERO);
    check("0s", Duration::ZERO);
    check("200ms", Duration::from_millis(200));
    check("1m30s", Duration::from_secs(90));
    check("1.5h", Duration::from_secs(5400));
    check("100us", Duration::from_micros(100));
    check("2h45m0.5s", Duration::from_millis(9_900_500));
    for wrong in ["", "10", "1d", "abc", "-1s", ".", "1..5s", "1e3s", "300000000h"] {
        assert!(ConfigDuration::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_bare_integer_counts_nanoseconds() {
    let read = |value| serde_json::from_value::<ConfigDuration>(value);
    assert_eq!(read(json!(1_000_000)).expect("1 ms"), ConfigDuration::from_millis(1));
    assert!(read(json!(-1)).is_err());
    assert!(read(json!(true)).is_err());
}

#[test]
fn an_opaque_string_does_not_show_in_debug_output() {
    let token: Opaque = serde_json::from_value(json!("s3cret")).expect("a text");
    assert_eq!(format!("{token:?}"), "[REDACTED]");
    assert_eq!(token.reveal(), "s3cret");
    let number: Opaque = serde_json::from_value(json!(12)).expect("a scalar");
    assert_eq!(number.reveal(), "12");
}
