//! `memory_limiter`: keeps the process under a memory limit by refusing data before it is read.
//!
//! Two guards on the process' one budget. By count: receivers reserve a request's bytes before they read it, and the
//! budget never grants more than was free below the soft limit when memory was last measured. By measurement: every
//! `check_interval` the resident size is read; at or above the soft limit the budget is closed, below it opened again.
//! Soft limit = limit − spike, as in the collector (internal/memorylimiter); unlike there a refusal costs no memory and
//! carries a retry hint. Before anything is refused the allocator gives back what it only holds; there is no garbage
//! collector to run, so the `*_gc_interval_*` keys are read and have no effect.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::{AppendReport, Signal};
use parking_lot::Mutex;
use runtime::{MemoryBudget, Tasks};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::telemetry::LimiterMetrics;
use crate::{
    Batch, ComponentConfig, ConfigDuration, ConfigError, Consumer, PipelineResult, Processor,
    ProcessorContext, ProcessorFactory, RemoteWriteBatch, RemoteWriteConsumer, Stability, admit,
    hand_on_remote_write,
};

pub(crate) const FACTORY: ProcessorFactory =
    ProcessorFactory { kind: "memory_limiter", signals: &Signal::ALL, stability: Stability::Beta, create };

const MIB: u64 = 1 << 20;

/// Share of the limit that is the default spike limit, percent.
const SPIKE_PERCENT_DEFAULT: u64 = 20;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Time between measurements; must be set, 1s is a good value.
    check_interval: ConfigDuration,
    /// Limit of the process' resident memory, MiB. One of this and `limit_percentage` must be set; this one wins.
    limit_mib: u64,
    /// Growth that may happen between two measurements, MiB. Default 20 % of the limit.
    spike_limit_mib: u64,
    /// Limit as percent of the memory of the cgroup, or else of the host.
    limit_percentage: u64,
    /// Growth that may happen between two measurements, as percent of that memory.
    spike_limit_percentage: u64,
    /// Read for compatibility, no effect.
    min_gc_interval_when_soft_limited: ConfigDuration,
    /// Read for compatibility, no effect.
    min_gc_interval_when_hard_limited: ConfigDuration,
    /// Read for compatibility, no effect.
    max_gc_interval_when_soft_limited: ConfigDuration,
    /// Read for compatibility, no effect.
    max_gc_interval_when_hard_limited: ConfigDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            check_interval: ConfigDuration::default(),
            limit_mib: 0,
            spike_limit_mib: 0,
            limit_percentage: 0,
            spike_limit_percentage: 0,
            min_gc_interval_when_soft_limited: ConfigDuration::from_secs(10),
            min_gc_interval_when_hard_limited: ConfigDuration::default(),
            max_gc_interval_when_soft_limited: ConfigDuration::from_secs(30),
            max_gc_interval_when_hard_limited: ConfigDuration::from_secs(30),
        }
    }
}

impl Config {
    fn validate(&self) -> Result<(), ConfigError> {
        let fault = |message: &str| Err(ConfigError::at("", message));
        if self.check_interval.0.is_zero() {
            return fault("'check_interval' must be greater than zero");
        }
        if self.min_gc_interval_when_soft_limited < self.min_gc_interval_when_hard_limited {
            return fault(
                "'min_gc_interval_when_soft_limited' should be larger than 'min_gc_interval_when_hard_limited'",
            );
        }
        if self.limit_mib == 0 && self.limit_percentage == 0 {
            return fault("'limit_mib' or 'limit_percentage' must be greater than zero");
        }
        if self.limit_percentage > 100 || self.spike_limit_percentage > 100 {
            return fault(
                "'limit_percentage' and 'spike_limit_percentage' must be greater than zero and less than or equal to hundred",
            );
        }
        if self.limit_mib > 0 && self.limit_mib <= self.spike_limit_mib {
            return fault("'spike_limit_mib' must be smaller than 'limit_mib'");
        }
        if self.limit_percentage > 0 && self.limit_percentage <= self.spike_limit_percentage {
            return fault("'spike_limit_percentage' must be smaller than 'limit_percentage'");
        }
        Ok(())
    }

    /// Bytes above which data is refused. `total_bytes` is the memory of the cgroup or host.
    fn soft_limit_bytes(&self, total_bytes: impl FnOnce() -> Option<u64>) -> Result<u64, ConfigError> {
        let (limit, spike) = if self.limit_mib > 0 {
            (self.limit_mib.saturating_mul(MIB), self.spike_limit_mib.saturating_mul(MIB))
        } else {
            let total = total_bytes().ok_or_else(|| {
                ConfigError::at(
                    "limit_percentage",
                    "the memory of this cgroup or host cannot be read, use limit_mib",
                )
            })?;
            let percent = |percentage: u64| total / 100 * percentage;
            (percent(self.limit_percentage), percent(self.spike_limit_percentage))
        };
        Ok(limit - if spike == 0 { limit / 100 * SPIKE_PERCENT_DEFAULT } else { spike })
    }
}

fn create(
    config: &ComponentConfig<'_>,
    _signal: Signal,
    context: &ProcessorContext,
    next: Arc<dyn Consumer>,
) -> Result<Arc<dyn Processor>, ConfigError> {
    let metrics = LimiterMetrics::new(config.id);
    let config: Config = config.parse()?;
    config.validate()?;
    let soft_limit_bytes = config.soft_limit_bytes(memory::total_bytes)?;
    Ok(Arc::new(MemoryLimiter {
        metrics,
        next,
        budget: Arc::clone(&context.budget),
        soft_limit_bytes,
        check_interval: config.check_interval.0,
        tasks: context.tasks.clone(),
        stop: CancellationToken::new(),
        checker: Mutex::default(),
    }))
}

struct MemoryLimiter {
    metrics: LimiterMetrics,
    next: Arc<dyn Consumer>,
    budget: Arc<MemoryBudget>,
    soft_limit_bytes: u64,
    check_interval: Duration,
    tasks: Tasks,
    stop: CancellationToken,
    checker: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl MemoryLimiter {
    fn count(&self, batch: &mut Batch) -> PipelineResult<()> {
        let (signal, items) = (batch.signal, batch.items);
        if batch.reservation.is_none() {
            // A receiver that could not know the size beforehand: count the batch now.
            match admit(&self.budget, batch.payload.len() as u64) {
                Ok(reservation) => batch.reservation = Some(Arc::new(reservation)),
                Err(refusal) => {
                    self.metrics.refused(signal, items);
                    return Err(refusal);
                }
            }
        }
        self.metrics.accepted(signal, items);
        Ok(())
    }
}

impl Consumer for MemoryLimiter {
    fn consume(&self, mut batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        match self.count(&mut batch) {
            Ok(()) => self.next.consume(batch),
            Err(refusal) => Box::pin(std::future::ready(Err(refusal))),
        }
    }

    fn remote_write(&self) -> Option<&dyn RemoteWriteConsumer> {
        self.next.remote_write().map(|_| self as _)
    }
}

impl RemoteWriteConsumer for MemoryLimiter {
    fn consume_remote_write(
        &self,
        mut request: RemoteWriteBatch,
    ) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        match self.count(&mut request.batch) {
            Ok(()) => hand_on_remote_write(&*self.next, request),
            Err(refusal) => Box::pin(std::future::ready(Err(refusal))),
        }
    }
}

impl Processor for MemoryLimiter {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        let (budget, stop) = (Arc::clone(&self.budget), self.stop.clone());
        // Every limiter of the process acts on the one budget, so all of them keep the lowest limit. One that is made
        // and not started limits nothing.
        self.budget.lower_ceiling(self.soft_limit_bytes);
        let interval = self.check_interval;
        let checker = self.tasks.spawn("memory limiter", async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut was_closed = false;
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = stop.cancelled() => return,
                }
                let Some(mut resident_bytes) = memory::resident_bytes() else { continue };
                // Others may have lowered the limit since, or a reload have raised it.
                let soft_limit_bytes = budget.ceiling_bytes();
                if resident_bytes >= soft_limit_bytes {
                    // Freed memory that the allocator holds for later is no reason to refuse anything.
                    runtime::give_back_memory();
                    resident_bytes = memory::resident_bytes().unwrap_or(resident_bytes);
                }
                let closed = apply(&budget, soft_limit_bytes, resident_bytes);
                if closed != was_closed {
                    report(closed, soft_limit_bytes, resident_bytes);
                }
                was_closed = closed;
            }
        });
        *self.checker.lock() = Some(checker);
        Box::pin(std::future::ready(Ok(())))
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.stop.cancel();
            let checker = self.checker.lock().take();
            if let Some(checker) = checker {
                // The checker cannot fail; a runtime that is going away has ended it already.
                let _ = checker.await;
            }
        })
    }
}

/// Sets the budget by a measurement: what is reserved already plus what is free below the soft limit may be used.
/// Returns whether it is closed.
fn apply(budget: &MemoryBudget, soft_limit_bytes: u64, resident_bytes: u64) -> bool {
    let free = soft_limit_bytes.saturating_sub(resident_bytes);
    let closed = free == 0;
    budget.set_closed(closed);
    budget.set_limit_bytes(budget.reserved_bytes().saturating_add(free).min(soft_limit_bytes));
    closed
}

fn report(closed: bool, soft_limit_bytes: u64, resident_bytes: u64) {
    let (soft_limit_mib, resident_mib) = (soft_limit_bytes / MIB, resident_bytes / MIB);
    if closed {
        tracing::warn!(resident_mib, soft_limit_mib, "memory usage is above soft limit, refusing data");
    } else {
        tracing::info!(
            resident_mib,
            soft_limit_mib,
            "memory usage back within limits, resuming normal operation"
        );
    }
}

/// Where the numbers come from: procfs and cgroup files of Linux.
mod memory {
    /// Resident size of this process (`VmRSS` of proc(5), in KiB and so free of the page size).
    pub(super) fn resident_bytes() -> Option<u64> {
        status_kib(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
    }

    /// Memory that this process may use: the lowest limit of its cgroup (v2, v1) and those above it, or else that of
    /// the host.
    pub(super) fn total_bytes() -> Option<u64> {
        let host = status_kib(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let limits = limit_files(&own);
        let limits = limits.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
        // A file says "max" (v2) or a number near 2^63 (v1) for no limit.
        Some(limits.fold(host, u64::min))
    }

    /// The files that may hold a limit, given the text of `/proc/self/cgroup` (lines `id:controllers:path`, see
    /// cgroups(7)).
    pub(super) fn limit_files(own: &str) -> Vec<String> {
        let mut files = Vec::new();
        for line in own.lines() {
            let mut parts = line.splitn(3, ':');
            let (_, Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let (root, file) = match controllers {
                "" => ("/sys/fs/cgroup", "memory.max"),
                _ if controllers.split(',').any(|name| name == "memory") => {
                    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
                }
                _ => continue,
            };
            let mut path = path.trim_end_matches('/');
            loop {
                files.push(format!("{root}{path}/{file}"));
                let Some((parent, _)) = path.rsplit_once('/') else { break };
                path = parent;
            }
        }
        files
    }

    /// The value of a `Name:   123 kB` line, in bytes.
    pub(super) fn status_kib(text: &str, name: &str) -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }
}

#[cfg(test)]
mod tests;
