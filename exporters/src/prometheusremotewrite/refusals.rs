//! When to log what was not sent: each reason at most once a minute, with the count since the last time.

use hashbrown::HashMap;

/// Shortest time between two logs of one reason, ms.
const QUIET_MS: i64 = 60_000;

/// What was refused and not logged yet, by reason.
#[derive(Default)]
pub(super) struct Refusals(HashMap<&'static str, Reason>);

struct Reason {
    untold: u64,
    told_ms: i64,
}

impl Refusals {
    /// Adds `count` refused points; gives the count to log if a log is due at `now_ms`.
    pub(super) fn add(&mut self, reason: &'static str, count: u64, now_ms: i64) -> Option<u64> {
        let Some(known) = self.0.get_mut(reason) else {
            self.0.insert(reason, Reason { untold: 0, told_ms: now_ms });
            return Some(count);
        };
        known.untold += count;
        // A clock that was set back must not silence a reason until it caught up.
        let is_due = !(known.told_ms..known.told_ms.saturating_add(QUIET_MS)).contains(&now_ms);
        is_due.then(|| {
            known.told_ms = now_ms;
            std::mem::take(&mut known.untold)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Refusals;

    #[test]
    fn each_reason_is_told_at_most_once_a_minute_and_no_count_is_lost() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.add("delta", 3, 1000), Some(3));
        assert_eq!(refusals.add("delta", 1, 1000), None);
        assert_eq!(refusals.add("other", 5, 2000), Some(5));
        assert_eq!(refusals.add("delta", 1, 60_999), None);
        assert_eq!(refusals.add("delta", 2, 61_000), Some(4));
        assert_eq!(refusals.add("delta", 7, 500), Some(7), "the clock was set back");
        assert_eq!(refusals.add("delta", 1, 600), None);
    }
}
