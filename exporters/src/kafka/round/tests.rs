use std::time::{Duration, Instant};

use super::Round;

/// Where the next four messages of a topic of four partitions go at `now`.
fn four(round: &Round, now: Instant, is_available: impl Fn(i32) -> bool) -> [i32; 4] {
    std::array::from_fn(|_| round.partition_at(now, "logs", 4, &is_available))
}

#[test]
fn messages_that_waited_for_their_topic_go_to_all_of_its_partitions() {
    let (round, now) = (Round::default(), Instant::now());
    assert_eq!(four(&round, now, |partition| partition == 0), [0, 1, 2, 3]);
    assert_eq!(four(&round, now, |_| true), [0, 1, 2, 3]);
    assert_eq!(four(&round, now, |_| false), [0, 1, 2, 3], "one is as good as another");
}

#[test]
fn a_partition_without_a_leader_is_passed_over() {
    let (round, now) = (Round::default(), Instant::now());
    assert_eq!(four(&round, now, |partition| partition != 1), [0, 1, 2, 3], "it may come");
    assert_eq!(
        four(&round, now, |partition| partition == 0 || partition == 1),
        [0, 1, 0, 0],
        "2 and 3 lost theirs"
    );
    let later = now + Duration::from_secs(3);
    let round = Round::default();
    assert_eq!(four(&round, now, |partition| partition != 1), [0, 1, 2, 3]);
    assert_eq!(four(&round, later, |partition| partition != 1), [0, 2, 2, 3], "it did not come");
}
