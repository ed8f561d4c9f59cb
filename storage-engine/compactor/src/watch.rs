//! Who looks on while the compactor works: a progress bar, a log, a shutdown.

/// Told about work as it goes on, and asked whether it should. Called from the thread that works; must not block.
pub trait Watch: Send + Sync {
    /// Something began; `series` of it, about, are to come.
    fn begin(&self, what: &str, series: u64) {
        let _ = (what, series);
    }

    /// Series that were done since the last call.
    fn series_done(&self, series: u64) {
        let _ = series;
    }

    /// Bytes that were uploaded since the last call.
    fn bytes_sent(&self, bytes: u64) {
        let _ = bytes;
    }

    /// What began is done.
    fn end(&self, outcome: &str) {
        let _ = outcome;
    }

    /// Whether to stop as soon as that is possible.
    fn is_canceled(&self) -> bool {
        false
    }
}

/// Looks at nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}
