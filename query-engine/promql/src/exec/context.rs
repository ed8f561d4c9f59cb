//! What every operator of one query shares: limits, cancellation, annotations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use model::ErrorKind;
use parking_lot::Mutex;

use crate::annotations::{Annotation, Annotations};
use crate::error::{PromqlError, PromqlResult};

/// Tells a running query to stop. Clones share the signal.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Stops the query at its next check.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the query was told to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// State shared by the operators of one query.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) cancel: Cancel,
    pub(crate) deadline: Instant,
    pub(crate) samples_max: u64,
    pub(crate) memory_bytes_max: u64,
    pub(crate) threads: usize,
    pub(crate) cells_per_thread_min: usize,
    pub(crate) lookback_ms: i64,
    pub(crate) subquery_step_ms: i64,
    pub(crate) delayed_name_removal: bool,
    pub(crate) type_and_unit_labels: bool,
    samples: AtomicU64,
    samples_peak: AtomicU64,
    samples_read: AtomicU64,
    memory_bytes: AtomicU64,
    annotations: Mutex<Annotations>,
}

/// The settings of a [`Context`].
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) cancel: Cancel,
    pub(crate) deadline: Instant,
    pub(crate) samples_max: u64,
    pub(crate) memory_bytes_max: u64,
    pub(crate) threads: usize,
    pub(crate) cells_per_thread_min: usize,
    pub(crate) lookback_ms: i64,
    pub(crate) subquery_step_ms: i64,
    pub(crate) delayed_name_removal: bool,
    pub(crate) type_and_unit_labels: bool,
}

impl Context {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            cancel: limits.cancel,
            deadline: limits.deadline,
            samples_max: limits.samples_max,
            memory_bytes_max: limits.memory_bytes_max,
            threads: limits.threads,
            cells_per_thread_min: limits.cells_per_thread_min,
            lookback_ms: limits.lookback_ms,
            subquery_step_ms: limits.subquery_step_ms,
            delayed_name_removal: limits.delayed_name_removal,
            type_and_unit_labels: limits.type_and_unit_labels,
            samples: AtomicU64::new(0),
            samples_peak: AtomicU64::new(0),
            samples_read: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            annotations: Mutex::new(Annotations::default()),
        }
    }

    /// Fails once the query was cancelled or its time is over.
    pub(crate) fn check(&self) -> PromqlResult<()> {
        if self.cancel.is_cancelled() {
            let text = "query was canceled in expression evaluation";
            return Err(PromqlError::of_kind(ErrorKind::Canceled, text));
        }
        if Instant::now() > self.deadline {
            let text = "query timed out in expression evaluation";
            return Err(PromqlError::of_kind(ErrorKind::Timeout, text));
        }
        Ok(())
    }

    /// Counts samples that are held from now on.
    pub(crate) fn hold_samples(&self, count: u64) -> PromqlResult<()> {
        let now = self.samples.fetch_add(count, Ordering::Relaxed) + count;
        self.samples_peak.fetch_max(now, Ordering::Relaxed);
        if now > self.samples_max {
            let text = "query processing would load too many samples into memory in query execution";
            return Err(PromqlError::execution(text));
        }
        Ok(())
    }

    /// Number of samples held now, to be given to [`Context::release_to`] when an operator's inputs are gone.
    pub(crate) fn held(&self) -> (u64, u64) {
        (self.samples.load(Ordering::Relaxed), self.memory_bytes.load(Ordering::Relaxed))
    }

    /// Forgets everything that was counted since [`Context::held`].
    pub(crate) fn release_to(&self, (samples, bytes): (u64, u64)) {
        self.samples.store(samples, Ordering::Relaxed);
        self.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Counts `columns` columns of `steps` steps before they are made.
    pub(crate) fn hold_columns(&self, columns: usize, steps: usize) -> PromqlResult<()> {
        let bytes = (columns as u64).saturating_mul(steps as u64).saturating_mul(8);
        let now = self.memory_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if now > self.memory_bytes_max {
            return Err(PromqlError::execution(format!(
                "query would need more than {} bytes of memory for {columns} series at {steps} steps",
                self.memory_bytes_max
            )));
        }
        Ok(())
    }

    /// Counts text that labels were given, bytes: nested calls may double it each time.
    pub(crate) fn hold_text(&self, bytes: usize) -> PromqlResult<()> {
        let now = self.memory_bytes.fetch_add(bytes as u64, Ordering::Relaxed).saturating_add(bytes as u64);
        if now > self.memory_bytes_max {
            let most = self.memory_bytes_max;
            return Err(PromqlError::execution(format!(
                "query would need more than {most} bytes of memory for labels"
            )));
        }
        Ok(())
    }

    pub(crate) fn count_read(&self, samples: usize) {
        self.samples_read.fetch_add(samples as u64, Ordering::Relaxed);
    }

    /// Peak of held samples, and samples read.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.samples_peak.load(Ordering::Relaxed), self.samples_read.load(Ordering::Relaxed))
    }

    pub(crate) fn annotate(&self, annotation: Annotation) {
        self.annotations.lock().add(annotation);
    }

    pub(crate) fn take_annotations(&self) -> Annotations {
        std::mem::take(&mut *self.annotations.lock())
    }
}
