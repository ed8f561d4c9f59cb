use super::{Missing, Outcome};

#[test]
fn a_request_taken_in_part_may_miss_what_was_refused_and_no_more() {
    let partly = Outcome::Partly { rejected: 2 };
    assert_eq!([Outcome::Acked, partly, Outcome::Uncertain].map(|outcome| outcome.required(10)), [10, 8, 0]);
    assert_eq!(Outcome::Partly { rejected: 11 }.required(10), 0);
    let mut missing = Missing::default();
    assert!(missing.add(1, Outcome::Acked), "an acknowledged item is lost by itself");
    assert!(!missing.add(2, Outcome::Uncertain));
    for _ in 0..2 {
        assert!(!missing.add(3, partly));
    }
    assert_eq!(missing.lost(), 0);
    for request in [3, 4, 4] {
        missing.add(request, partly);
    }
    assert_eq!(missing.lost(), 1, "one request lost one, the other none");
}
