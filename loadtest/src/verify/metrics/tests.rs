use super::{Expected, Verdict, compare_series};
use crate::ledger::Outcome;

fn check(found: &[(f64, &str)], lost: u64, duplicated: u64, wrong: u64) {
    let expected: Expected =
        [(1000, (1.0, Outcome::Acked)), (2000, (2.0, Outcome::Acked)), (3000, (3.0, Outcome::Uncertain))]
            .into();
    let mut verdict = Verdict::default();
    let found = found.iter().map(|(time, value)| (*time, (*value).to_owned())).collect();
    compare_series(&mut verdict, "a", expected, found);
    assert_eq!(
        (verdict.checked, verdict.lost, verdict.duplicated, verdict.wrong),
        (2, lost, duplicated, wrong),
        "{verdict:?}"
    );
}

#[test]
fn every_kind_of_fault_is_counted_as_such() {
    check(&[(1.0, "1"), (2.0, "2"), (3.0, "3")], 0, 0, 0);
    // What was not acknowledged may be there or not.
    check(&[(1.0, "1"), (2.0, "2")], 0, 0, 0);
    check(&[(1.0, "1")], 1, 0, 0);
    check(&[(1.0, "1"), (2.0, "2"), (2.0, "2")], 0, 1, 0);
    check(&[(1.0, "1"), (2.0, "2.5")], 0, 0, 1);
    check(&[(1.0, "1"), (1.5, "1"), (2.0, "2")], 0, 0, 1);
}
