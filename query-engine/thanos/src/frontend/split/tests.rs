use super::{Allowed, Steps, allowed};

const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;

fn steps(first: i64, last: i64, step: i64) -> Steps {
    Steps { first, last, step }
}

#[test]
fn a_range_is_cut_where_days_begin_and_every_step_is_in_one_part() {
    let check = |range: Steps, want: &[(i64, i64)]| {
        let parts = range.split(DAY);
        let found: Vec<_> = parts.iter().map(|part| (part.first, part.last)).collect();
        assert_eq!(found, want);
        let all: Vec<i64> =
            parts.iter().flat_map(|part| (part.first..=part.last).step_by(part.step as usize)).collect();
        let whole: Vec<i64> = (range.first..=range.last).step_by(range.step as usize).collect();
        assert_eq!(all, whole);
    };
    check(steps(0, DAY - HOUR, HOUR), &[(0, DAY - HOUR)]);
    check(steps(0, DAY, HOUR), &[(0, DAY - HOUR), (DAY, DAY)]);
    check(
        steps(HOUR, 2 * DAY + HOUR, HOUR),
        &[(HOUR, DAY - HOUR), (DAY, 2 * DAY - HOUR), (2 * DAY, 2 * DAY + HOUR)],
    );
    // A step that does not fit into a day, and one that is longer.
    check(steps(0, 2 * DAY, 5 * HOUR), &[(0, 20 * HOUR), (25 * HOUR, 45 * HOUR)]);
    check(steps(0, 6 * DAY, 3 * DAY), &[(0, 0), (3 * DAY, 3 * DAY), (6 * DAY, 6 * DAY)]);
    check(steps(-HOUR, HOUR, HOUR), &[(-HOUR, -HOUR), (0, HOUR)]);
    assert_eq!(steps(0, 3 * DAY, HOUR).split(0).len(), 1);
}

#[test]
fn the_last_step_is_the_last_that_fits() {
    assert_eq!(Steps::new(5, 29, 10), Some(steps(5, 25, 10)));
    assert_eq!(Steps::new(5, 5, 10), Some(steps(5, 5, 10)));
    assert_eq!(Steps::new(5, 4, 10), None);
    let all = steps(5, 95, 10);
    assert_eq!(all.between(15, 40), Some(steps(15, 35, 10)));
    assert_eq!(all.between(16, 25), Some(steps(25, 25, 10)));
    assert_eq!(all.between(16, 24), None);
    assert_eq!(all.between(i64::MIN, i64::MAX), Some(all));
}

#[test]
fn queries_whose_steps_depend_on_the_range_stay_whole() {
    let (both, neither) = (Allowed { split: true, cache: true }, Allowed { split: false, cache: false });
    for (query, want) in [
        ("sum(rate(up[5m]))", both),
        ("up offset 5m", both),
        ("up offset -5m", Allowed { split: true, cache: false }),
        ("rate(up[5m] smoothed)", Allowed { split: true, cache: false }),
        ("up smoothed", Allowed { split: true, cache: false }),
        ("rate(up[5m] anchored)", both),
        ("up @ start()", neither),
        ("up @ 100", neither),
        ("sum(rate(up[5m])", neither),
    ] {
        assert_eq!(allowed(query), want, "{query}");
    }
}
