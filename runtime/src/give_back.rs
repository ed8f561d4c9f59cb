//! Gives memory back to the system that the process holds and does not use.
//!
//! Allocators keep freed pages for each thread, so that what one thread can give back is only its own share: the one who
//! wants memory gives back at once and asks, every other thread does so the next time it is about to sleep. What gives
//! back is the allocator's business and set by the binary; without it nothing happens.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

static GIVE_BACK: OnceLock<fn()> = OnceLock::new();
/// How often was asked.
static ASKED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// What of `ASKED` this thread has done.
    static DONE: Cell<u64> = const { Cell::new(0) };
}

/// Sets what gives back the calling thread's unused memory; the first call counts.
pub fn set_give_back(give_back: fn()) {
    GIVE_BACK.get_or_init(|| give_back);
}

/// Gives back what this thread does not use, and asks the others. Takes up to some milliseconds.
pub fn give_back_memory() {
    ASKED.fetch_add(1, Ordering::Relaxed);
    give_back_if_asked();
}

/// Gives back what this thread does not use, if somebody asked since it last did; for threads that are about to sleep.
pub fn give_back_if_asked() {
    let asked = ASKED.load(Ordering::Relaxed);
    if DONE.replace(asked) != asked
        && let Some(give_back) = GIVE_BACK.get()
    {
        give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{give_back_if_asked, give_back_memory, set_give_back};

    static CALLS: AtomicU64 = AtomicU64::new(0);

    #[test]
    fn every_thread_gives_back_once_for_each_time_that_it_is_asked() {
        set_give_back(|| {
            CALLS.fetch_add(1, Ordering::Relaxed);
        });
        give_back_if_asked();
        assert_eq!(CALLS.load(Ordering::Relaxed), 0, "nobody asked");
        give_back_memory();
        give_back_if_asked();
        assert_eq!(CALLS.load(Ordering::Relaxed), 1, "once on this thread");
        let other = std::thread::spawn(|| {
            give_back_if_asked();
            give_back_if_asked();
        });
        other.join().expect("it does not panic");
        assert_eq!(CALLS.load(Ordering::Relaxed), 2, "and once on the other");
    }
}
