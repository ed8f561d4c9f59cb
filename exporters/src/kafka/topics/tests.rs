use super::{NAME_BYTES_MAX, TOPICS_MAX, Topics};

#[test]
fn only_names_that_brokers_take_are_passed_on() {
    let topics = Topics::default();
    let long = "a".repeat(NAME_BYTES_MAX);
    for good in ["a", "otlp_logs", "team-1.logs", "...", long.as_str()] {
        assert_eq!(topics.check(good), Ok(()), "{good}");
    }
    let longer = "a".repeat(NAME_BYTES_MAX + 1);
    for bad in ["", ".", "..", "a b", "a/b", "a\n", "ä", longer.as_str()] {
        assert!(topics.check(bad).is_err_and(|fault| fault.contains("is not a name")), "{bad:?}");
    }
}

#[test]
fn there_is_an_end_to_the_topics_that_senders_choose() {
    let topics = Topics::default();
    for n in 0..TOPICS_MAX {
        assert_eq!(topics.check(&format!("t{n}")), Ok(()));
    }
    assert!(topics.check("more").is_err_and(|fault| fault.contains("one more than 10000")));
    assert_eq!(topics.check("t7"), Ok(()), "what is known goes on");
}
