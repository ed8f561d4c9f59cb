use runtime::{Clock, ManualClock};

use super::ExpiryClock;

const MINUTE: i64 = 60_000_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const START: i64 = 20_000 * DAY;

/// What happens to a clock before a look.
enum Event {
    /// Time passes.
    Pass(i64),
    /// Somebody sets it, so much ahead.
    Jump(i64),
}
use Event::{Jump, Pass};

#[test]
fn a_jump_ahead_is_believed_when_it_has_lasted_and_everything_else_at_once() {
    let cases: [(&str, &[Event], &[i64]); 7] = [
        ("time that passes", &[Pass(MINUTE), Pass(40 * DAY)], &[MINUTE, 40 * DAY + MINUTE]),
        ("a small step", &[Jump(HOUR), Pass(MINUTE)], &[HOUR, HOUR + MINUTE]),
        ("a step back", &[Jump(-DAY), Pass(MINUTE)], &[-DAY, MINUTE - DAY]),
        (
            "a jump that is put right",
            &[Jump(40 * DAY), Pass(30 * MINUTE), Jump(-40 * DAY), Pass(HOUR)],
            &[0, 30 * MINUTE, 30 * MINUTE, 90 * MINUTE],
        ),
        (
            "a jump that lasts",
            &[Jump(40 * DAY), Pass(59 * MINUTE), Pass(MINUTE), Pass(MINUTE)],
            &[0, 59 * MINUTE, 40 * DAY + HOUR, 40 * DAY + HOUR + MINUTE],
        ),
        (
            "a jump within a jump",
            &[Jump(DAY), Pass(50 * MINUTE), Jump(40 * DAY), Pass(50 * MINUTE), Pass(10 * MINUTE)],
            &[0, 50 * MINUTE, 50 * MINUTE, 100 * MINUTE, 41 * DAY + 110 * MINUTE],
        ),
        (
            "a second jump after one that was put right",
            &[Jump(DAY), Pass(50 * MINUTE), Jump(-DAY), Jump(DAY), Pass(50 * MINUTE)],
            &[0, 50 * MINUTE, 50 * MINUTE, 50 * MINUTE, 100 * MINUTE],
        ),
    ];
    for (name, events, expected) in cases {
        let clock = ManualClock::at_ns(START);
        let mut expiry = ExpiryClock::new(&clock);
        let mut seen = Vec::new();
        for event in events {
            match event {
                Pass(ns) => clock.set_ns(clock.now_ns() + ns),
                Jump(ns) => clock.jump_to_ns(clock.now_ns() + ns),
            }
            seen.push(expiry.look(&clock) - START);
        }
        assert_eq!(seen, expected, "{name}");
    }
}
