use super::{linear_scale, log_scale, short, time_text};

#[test]
fn axes_have_round_values_around_what_is_drawn() {
    assert_eq!(linear_scale(13.1), (0.0, 15.0, vec![0.0, 5.0, 10.0, 15.0]));
    assert_eq!(linear_scale(20_000.0).2, [0.0, 5000.0, 10_000.0, 15_000.0, 20_000.0]);
    assert_eq!(linear_scale(0.9).1, 1.0);
    assert_eq!(log_scale(28.0, 3710.0).2, [20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0]);
    assert_eq!(log_scale(10.0, 10.0).2, [10.0, 20.0]);
    assert_eq!(log_scale(0.5, 20_000.0).2.len(), 7);
}

#[test]
fn figures_have_as_many_digits_as_say_something() {
    for (value, expected) in [
        (0.0, "0"),
        (0.25, "0.25"),
        (7.0, "7"),
        (5000.0, "5000"),
        (12_500.0, "12.5k"),
        (2e6, "2M"),
        (150.4, "150"),
    ] {
        assert_eq!(short(value), expected);
    }
    assert_eq!((time_text(3.456), time_text(1034.2)), ("3.46 ms".to_owned(), "1.03 s".to_owned()));
}
