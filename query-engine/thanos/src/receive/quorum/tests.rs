use model::ErrorKind::{self, Conflict, Internal, Unavailable};

use super::{Quorum, Verdict};

/// One series with these answers; what is told, and after how many answers it is decided.
fn check(
    replicas: usize,
    answers: &[Result<(), ErrorKind>],
    want: Result<(), Verdict>,
    decided: Option<usize>,
) {
    let mut quorum = Quorum::new(1, replicas);
    let mut after = None;
    for (index, answer) in answers.iter().enumerate() {
        quorum.add(&[0], *answer);
        after = after.or(quorum.is_decided().then_some(index + 1));
    }
    assert_eq!((quorum.verdict(), after), (want, decided), "{replicas} {answers:?}");
}

#[test]
fn a_series_is_written_when_a_quorum_has_it() {
    let (ok, conflict, away, broken) = (Ok(()), Err(Conflict), Err(Unavailable), Err(Internal));
    let (is_conflict, is_away) = (Err(Verdict::Conflict), Err(Verdict::Unavailable));
    check(1, &[ok], Ok(()), Some(1));
    check(1, &[conflict], is_conflict, Some(1));
    check(1, &[away], is_away, None);
    check(1, &[broken], is_away, None);
    // Of two, one is enough.
    check(2, &[ok], Ok(()), Some(1));
    check(2, &[away, ok], Ok(()), Some(2));
    check(2, &[away, away], is_away, None);
    check(2, &[conflict, conflict], is_conflict, Some(2));
    // Of three, two.
    check(3, &[ok, ok], Ok(()), Some(2));
    check(3, &[away, ok, ok], Ok(()), Some(3));
    check(3, &[conflict, ok, ok], Ok(()), Some(3));
    check(3, &[conflict, conflict], is_conflict, Some(2));
    check(3, &[conflict, away, ok], is_away, None);
    check(3, &[ok, away, away], is_away, None);
    check(5, &[ok, ok, away, away, ok], Ok(()), Some(5));
}

#[test]
fn every_series_counts_by_itself() {
    let mut quorum = Quorum::new(3, 3);
    quorum.add(&[0, 1], Ok(()));
    quorum.add(&[0, 2], Ok(()));
    assert!(!quorum.is_decided());
    quorum.add(&[1, 2], Err(Conflict));
    quorum.add(&[1], Err(Conflict));
    assert!(!quorum.is_decided(), "series 2 has one of two");
    quorum.add(&[2], Ok(()));
    assert!(quorum.is_decided());
    assert_eq!(quorum.verdict(), Err(Verdict::Conflict));
}
