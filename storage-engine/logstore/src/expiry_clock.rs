//! What time it is for retention: files that go by a wrong clock do not come back.
//!
//! A clock that is suddenly far ahead (a machine that was asleep, a bad time server) is believed only when it has been so
//! for a while of monotonic time; until then time goes on from where it was. One that is put back is believed at once,
//! since nothing goes by it. EXPIRY-1: nothing goes by a jump of the clock that is put right within [`TRIAL_NS`]. A clock
//! that is wrong from the start is not noticed.

use runtime::Clock;

/// How far the clock may go ahead of the time that passed between two looks, ns.
const JUMP_MIN_NS: i64 = HOUR_NS;
/// How long a jump must last to be believed, ns.
const TRIAL_NS: i64 = HOUR_NS;

const HOUR_NS: i64 = 3_600_000_000_000;

/// The clock as far as it is believed.
#[derive(Debug)]
pub(crate) struct ExpiryClock {
    /// The last look that was believed.
    now_ns: i64,
    monotonic_ns: i64,
    /// A jump that is not believed yet.
    doubt: Option<Doubt>,
}

#[derive(Debug)]
struct Doubt {
    /// How far it went.
    ahead_ns: i64,
    /// When it was seen, of the monotonic clock.
    since_ns: i64,
}

impl ExpiryClock {
    /// Believes the clock as it is now.
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        let monotonic_ns = clock.monotonic_ns();
        Self { now_ns: clock.now_ns(), monotonic_ns, doubt: None }
    }

    /// The time, ns since the Unix epoch. Its owner looks often, whether or not there is something to expire: a jump is
    /// told from time that passed by what the last look saw.
    pub(crate) fn look(&mut self, clock: &dyn Clock) -> i64 {
        let monotonic_ns = clock.monotonic_ns();
        let now_ns = clock.now_ns();
        let expected_ns = self.now_ns.saturating_add(monotonic_ns.saturating_sub(self.monotonic_ns));
        let ahead_ns = now_ns.saturating_sub(expected_ns);
        if ahead_ns > JUMP_MIN_NS && !self.has_lasted(ahead_ns, monotonic_ns) {
            return expected_ns;
        }
        *self = Self { now_ns, monotonic_ns, doubt: None };
        now_ns
    }

    /// Whether a jump has been there for long enough; one that went on meanwhile begins anew.
    fn has_lasted(&mut self, ahead_ns: i64, monotonic_ns: i64) -> bool {
        match &self.doubt {
            Some(doubt) if ahead_ns <= doubt.ahead_ns.saturating_add(JUMP_MIN_NS) => {
                monotonic_ns.saturating_sub(doubt.since_ns) >= TRIAL_NS
            }
            _ => {
                tracing::warn!(
                    ahead_seconds = ahead_ns / 1_000_000_000,
                    "the clock went ahead at once: retention of logs goes by it when it has stayed so for an hour"
                );
                self.doubt = Some(Doubt { ahead_ns, since_ns: monotonic_ns });
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
