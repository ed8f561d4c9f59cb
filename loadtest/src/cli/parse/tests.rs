use std::time::Duration;

use super::{Rate, parse_duration, parse_header, parse_length, parse_rate, parse_stages, parse_url};

#[test]
fn rates_and_durations_read_as_people_write_them() {
    assert_eq!(parse_rate("max"), Ok(Rate::Max));
    assert_eq!(parse_rate("2.5e6"), Ok(Rate::Items(2_500_000.0)));
    assert!(parse_rate("0").is_err() && parse_rate("fast").is_err() && parse_rate("inf").is_err());
    assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
    assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(parse_length("250ms"), Ok(Duration::from_millis(250)));
    assert!(parse_length("0s").is_err() && parse_duration("0s").is_ok());
    assert!(
        parse_duration("10").is_err() && parse_duration("-1s").is_err() && parse_duration("1e9h").is_err()
    );
}

#[test]
fn stages_have_a_length_and_a_rate_each() {
    let stages = parse_stages("10s:5000, 1m:20000,0s:0").expect("valid").0;
    let read: Vec<_> = stages.iter().map(|stage| (stage.length.as_secs(), stage.to)).collect();
    assert_eq!(read, [(10, 5000.0), (60, 20000.0), (0, 0.0)]);
    for refused in ["", "10s", "10s:-1", "10:5", "0s:5", "10s:5;"] {
        assert!(parse_stages(refused).is_err(), "{refused:?}");
    }
}

#[test]
fn addresses_and_headers_are_refused_before_the_run() {
    assert_eq!(parse_url("localhost:4317"), Ok("http://localhost:4317".to_owned()));
    assert_eq!(parse_url("https://a.test"), Ok("https://a.test".to_owned()));
    assert!(parse_url("http://").is_err() && parse_url("ftp://a").is_err());
    assert_eq!(parse_header("X-A: b: c"), Ok(("x-a".to_owned(), "b: c".to_owned())));
    assert!(parse_header("nothing").is_err() && parse_header("a b: c").is_err());
}
