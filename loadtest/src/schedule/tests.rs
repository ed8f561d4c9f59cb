use std::time::Duration;

use super::{Schedule, Stage};

fn due_ms(schedule: &Schedule, items: f64) -> Option<u128> {
    schedule.due(items).map(|due| (due.as_secs_f64() * 1000.0).round() as u128)
}

#[test]
fn a_constant_rate_spaces_items_evenly_and_ends_at_the_duration() {
    let schedule = Schedule::constant(10.0, Duration::from_secs(3));
    assert_eq!(due_ms(&schedule, 0.0), Some(0));
    assert_eq!(due_ms(&schedule, 29.0), Some(2900));
    assert_eq!(due_ms(&schedule, 30.0), None);
    assert_eq!(schedule.items(), 30.0);
    assert_eq!(schedule.duration(), Duration::from_secs(3));
}

#[test]
fn a_ramp_sends_the_area_under_its_line() {
    // From 0 to 100 in 10 s: 500 items, half of them after 10·√½ s.
    let stage = |seconds, to| Stage { length: Duration::from_secs(seconds), to };
    let schedule = Schedule::new(0.0, &[stage(10, 100.0), stage(5, 100.0), stage(0, 10.0), stage(10, 10.0)]);
    assert_eq!(schedule.items(), 500.0 + 500.0 + 100.0);
    assert_eq!(due_ms(&schedule, 250.0), Some(7071));
    assert_eq!(due_ms(&schedule, 600.0), Some(11_000));
    assert_eq!(due_ms(&schedule, 1050.0), Some(20_000));
    assert_eq!(schedule.rate_at(Duration::from_secs(5)), 50.0);
    assert_eq!(schedule.rate_at(Duration::from_secs(16)), 10.0);
    assert_eq!(schedule.rate_at(Duration::from_secs(26)), 0.0);
    assert_eq!(schedule.rate_max(), 100.0);
}

#[test]
fn a_pause_sends_nothing_and_the_plan_goes_on_behind_it() {
    let stage = |seconds, to| Stage { length: Duration::from_secs(seconds), to };
    let schedule =
        Schedule::new(10.0, &[stage(1, 10.0), stage(0, 0.0), stage(5, 0.0), stage(0, 10.0), stage(1, 10.0)]);
    assert_eq!(due_ms(&schedule, 9.0), Some(900));
    assert_eq!(due_ms(&schedule, 10.0), Some(6000));
    assert_eq!(due_ms(&schedule, 19.0), Some(6900));
}
