use super::{Metric, Threshold};

fn check(text: &str, value: f64, expected: bool) {
    let threshold: Threshold = text.parse().expect("valid");
    assert_eq!(threshold.check(Some(value)).passed, expected, "{text} with {value}");
}

#[test]
fn thresholds_compare_in_milliseconds_shares_and_counts() {
    check("p(99)<200ms", 199.9, true);
    check("p(99)<200ms", 200.0, false);
    check("p(99.9) <= 0.2s", 200.0, true);
    check("max<250", 249.0, true);
    check("rate>=5000", 5000.0, true);
    check("errors<0.01", 0.01, false);
    check("lost==0", 0.0, true);
    check("lost==0", 1.0, false);
    check("unsent!=3", 3.0, false);
    assert_eq!("p(50)<1".parse::<Threshold>().expect("valid").metric, Metric::Quantile(0.5));
}

#[test]
fn what_the_run_does_not_know_fails() {
    assert!(!"lost==0".parse::<Threshold>().expect("valid").check(None).passed);
}

#[test]
fn mistakes_are_named() {
    for (text, part) in [
        ("p99<1", "no figure is called"),
        ("p(101)<1", "no figure is called"),
        ("rate", "want a comparison"),
        ("rate=5", "want one of"),
        ("rate<fast", "not a number"),
        ("p(9)<5parsec", "not a duration"),
    ] {
        let error = text.parse::<Threshold>().expect_err("invalid");
        assert!(error.contains(part), "{error}");
    }
}
