//! Time: that of the day, which others may set, and that which passes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the Unix epoch.
    fn now_ns(&self) -> i64;

    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64 {
        self.now_ns().div_euclid(1_000_000)
    }

    /// Nanoseconds since a moment of the process. Goes neither back nor ahead when the clock is set, and stands while the
    /// machine sleeps.
    fn monotonic_ns(&self) -> i64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now_ns(&self) -> i64 {
        let now = SystemTime::now();
        match now.duration_since(UNIX_EPOCH) {
            Ok(after) => as_ns(after),
            Err(before) => -as_ns(before.duration()),
        }
    }

    fn monotonic_ns(&self) -> i64 {
        static BEGUN: OnceLock<Instant> = OnceLock::new();
        as_ns(BEGUN.get_or_init(Instant::now).elapsed())
    }
}

fn as_ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A clock that a test sets.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ns: AtomicI64,
    monotonic_ns: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `now_ns`.
    pub fn at_ns(now_ns: i64) -> Self {
        Self { now_ns: AtomicI64::new(now_ns), monotonic_ns: AtomicI64::new(0) }
    }

    /// Moves the clock to `now_ns`: ahead as time passes, back as somebody sets it.
    pub fn set_ns(&self, now_ns: i64) {
        // In this order, so that who asks for the monotonic time first never sees it ahead of the other.
        let before_ns = self.now_ns.swap(now_ns, Ordering::SeqCst);
        self.monotonic_ns.fetch_add(now_ns.saturating_sub(before_ns).max(0), Ordering::SeqCst);
    }

    /// Sets the clock to `now_ns` without any time passing.
    pub fn jump_to_ns(&self, now_ns: i64) {
        self.now_ns.store(now_ns, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> i64 {
        self.now_ns.load(Ordering::SeqCst)
    }

    fn monotonic_ns(&self) -> i64 {
        self.monotonic_ns.load(Ordering::SeqCst)
    }
}
