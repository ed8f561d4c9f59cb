use super::{
    format_bytes, format_go_duration, format_prometheus_duration, parse_bytes, parse_go_duration,
    parse_go_float, parse_prometheus_duration,
};

const SECOND: i64 = 1_000_000_000;

#[test]
fn prometheus_durations_read_as_in_prometheus() {
    let check = |text: &str, expected: Result<i64, &str>| {
        assert_eq!(parse_prometheus_duration(text), expected.map_err(str::to_owned), "{text}");
    };
    check("5m", Ok(300 * SECOND));
    check("1h30m", Ok(5400 * SECOND));
    check("1d", Ok(86_400 * SECOND));
    check("90ms", Ok(90_000_000));
    check("0", Ok(0));
    check("5minutes", Err("unknown unit \"minutes\" in duration \"5minutes\""));
    check("30m1h", Err("not a valid duration string: \"30m1h\""));
    check("1.5h", Err("unknown unit \".\" in duration \"1.5h\""));
    check("", Err("empty duration string"));
    check("300y", Err("duration out of range"));
}

#[test]
fn go_durations_read_as_in_go() {
    let check = |text: &str, expected: Result<i64, &str>| {
        assert_eq!(parse_go_duration(text), expected.map_err(str::to_owned), "{text}");
    };
    check("1.5s", Ok(1_500_000_000));
    check("-1h2m3.25s", Ok(-3_723_250_000_000));
    check("10\u{b5}s", Ok(10_000));
    check("0", Ok(0));
    check("10", Err("time: missing unit in duration \"10\""));
    check("1d", Err("time: unknown unit \"d\" in duration \"1d\""));
    check("abc", Err("time: invalid duration \"abc\""));
    check("", Err("time: invalid duration \"\""));
    check("9999999h", Err("time: invalid duration \"9999999h\""));
}

#[test]
fn durations_print_as_prometheus_and_go_print_them() {
    for (ns, prometheus, go) in [
        (300 * SECOND, "5m", "5m0s"),
        (5400 * SECOND, "1h30m", "1h30m0s"),
        (86_400 * SECOND, "1d", "24h0m0s"),
        (30 * 86_400 * SECOND, "30d", "720h0m0s"),
        (1_500_000_000, "1s500ms", "1.5s"),
        (250_000_000, "250ms", "250ms"),
        (0, "0s", "0s"),
    ] {
        assert_eq!(format_prometheus_duration(ns), prometheus);
        assert_eq!(format_go_duration(ns), go);
    }
    assert_eq!(format_go_duration(-90 * SECOND), "-1m30s");
    assert_eq!(format_go_duration(1_500), "1.5\u{b5}s");
}

#[test]
fn byte_sizes_read_as_in_go_humanize() {
    let check = |text: &str, expected: Result<u64, &str>| {
        assert_eq!(parse_bytes(text), expected.map_err(str::to_owned), "{text}");
    };
    check("42MB", Ok(42_000_000));
    check("1.5 KiB", Ok(1536));
    check("1,024", Ok(1024));
    check("5kb", Ok(5000));
    check("3 parsecs", Err("unhandled size name: parsecs"));
    check("abc", Err("strconv.ParseFloat: parsing \"\": invalid syntax"));
}

#[test]
fn printed_byte_sizes_never_change_the_value() {
    assert_eq!(format_bytes(2500), "2.5kB");
    assert_eq!(format_bytes(42_000_000), "42MB");
    assert_eq!(format_bytes(1234), "1234B");
    assert_eq!(format_bytes(999), "999B");
}

#[test]
fn floats_read_as_in_go() {
    assert_eq!(parse_go_float("1e3"), Ok(1000.0));
    assert_eq!(parse_go_float("-Inf"), Ok(f64::NEG_INFINITY));
    assert_eq!(
        parse_go_float("1e999"),
        Err("strconv.ParseFloat: parsing \"1e999\": value out of range".to_owned())
    );
    assert_eq!(parse_go_float("x"), Err("strconv.ParseFloat: parsing \"x\": invalid syntax".to_owned()));
}
