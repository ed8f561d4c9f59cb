//! Progress of work on blocks on the terminal; on no terminal nothing is shown but what is done.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use compactor::Watch;
use indicatif::{ProgressBar, ProgressStyle};

use crate::bucket_work::Cancel;

/// A bar.
pub(super) struct Bar {
    bar: ProgressBar,
    sent_bytes: AtomicU64,
    is_canceled: AtomicBool,
}

impl Bar {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new(0);
        let style =
            ProgressStyle::with_template("{msg} [{bar:30}] {human_pos}/{human_len} series, {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, sent_bytes: AtomicU64::new(0), is_canceled: AtomicBool::new(false) }
    }
}

impl Watch for Bar {
    fn begin(&self, what: &str, series: u64) {
        self.bar.set_length(series);
        self.bar.set_position(0);
        self.bar.set_message(what.to_owned());
        self.sent_bytes.store(0, Ordering::Relaxed);
    }

    fn series_done(&self, series: u64) {
        self.bar.inc(series);
    }

    fn bytes_sent(&self, bytes: u64) {
        let sent = self.sent_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bar.set_message(format!("sent {}", super::text::size(sent)));
    }

    fn end(&self, outcome: &str) {
        self.bar.println(outcome);
    }

    fn is_canceled(&self) -> bool {
        self.is_canceled.load(Ordering::Relaxed)
    }
}

impl Cancel for Bar {
    fn cancel(&self) {
        self.is_canceled.store(true, Ordering::Relaxed);
    }
}
