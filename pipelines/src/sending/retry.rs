//! Retries of a failed delivery: when to try again, and when to give up.
//!
//! [`plan`] decides and knows no clock; [`retry`] waits. Keys and defaults are those of `configretry` in the collector,
//! the growth of the interval that of its exponential back-off.

use std::future::Future;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Outage;
use crate::{ConfigDuration, ConfigError, PipelineError, PipelineResult};

/// `retry_on_failure` of an exporter.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Whether a failed delivery is tried again at all. Default true.
    pub enabled: bool,
    /// Wait before the first retry. Default 5s.
    pub initial_interval: ConfigDuration,
    /// How far a wait may differ from its interval, as a share of it, 0 to 1. Default 0.5.
    pub randomization_factor: f64,
    /// By how much each interval is longer than the one before. Default 1.5.
    pub multiplier: f64,
    /// Longest interval. Default 30s.
    pub max_interval: ConfigDuration,
    /// A batch that could not be delivered for this long is dropped, counted and logged; 0 = never. Default 300s.
    pub max_elapsed_time: ConfigDuration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            initial_interval: ConfigDuration::from_secs(5),
            randomization_factor: 0.5,
            multiplier: 1.5,
            max_interval: ConfigDuration::from_secs(30),
            max_elapsed_time: ConfigDuration::from_secs(300),
        }
    }
}

impl RetryConfig {
    /// Checks the ranges that `configretry` checks.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let at = |key: &str, message: &str| Err(ConfigError::at(&format!("retry_on_failure.{key}"), message));
        if !(0.0..=1.0).contains(&self.randomization_factor) {
            return at("randomization_factor", "'randomization_factor' must be within [0, 1]");
        }
        if !self.multiplier.is_finite() || self.multiplier < 0.0 {
            return at("multiplier", "'multiplier' must be non-negative");
        }
        let max_elapsed = self.max_elapsed_time.0;
        if !max_elapsed.is_zero() {
            if max_elapsed < self.initial_interval.0 {
                return at("max_elapsed_time", "'max_elapsed_time' must not be less than 'initial_interval'");
            }
            if max_elapsed < self.max_interval.0 {
                return at("max_elapsed_time", "'max_elapsed_time' must not be less than 'max_interval'");
            }
        }
        Ok(())
    }
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again after this time.
    Wait(Duration),
    /// The error is permanent, or retries are off.
    Permanent,
    /// `max_elapsed_time` would pass before the next attempt.
    TooLate,
}

/// Decides what follows a failed attempt: `attempt` counts from 0, `elapsed` is the time since the first attempt began,
/// `jitter` is a random number in [0, 1). A destination's own hint makes the wait longer, never shorter.
pub fn plan(
    config: &RetryConfig,
    attempt: u32,
    elapsed: Duration,
    error: &PipelineError,
    jitter: f64,
) -> Next {
    if !config.enabled || !error.kind().is_retryable() {
        return Next::Permanent;
    }
    let max_secs = config.max_interval.0.as_secs_f64();
    let grown = config.initial_interval.0.as_secs_f64() * config.multiplier.max(1.0).powf(f64::from(attempt));
    let interval = grown.min(max_secs);
    let spread = 1.0 - config.randomization_factor + 2.0 * config.randomization_factor * jitter;
    let wait =
        Duration::from_secs_f64((interval * spread).max(0.0)).max(error.retry_after().unwrap_or_default());
    let max_elapsed = config.max_elapsed_time.0;
    if !max_elapsed.is_zero() && elapsed.saturating_add(wait) > max_elapsed {
        return Next::TooLate;
    }
    Next::Wait(wait)
}

/// Runs `attempt` until it succeeds, fails for good, or `give_up` is set. The last error is returned; those before it are
/// told as an outage of the destination.
pub async fn retry<T, F, A>(
    config: &RetryConfig,
    give_up: &CancellationToken,
    outage: &Outage,
    mut attempt: A,
) -> PipelineResult<T>
where
    A: FnMut() -> F,
    F: Future<Output = PipelineResult<T>>,
{
    let began = Instant::now();
    for number in 0.. {
        let error = match attempt().await {
            Ok(done) => {
                outage.works();
                return Ok(done);
            }
            Err(error) => error,
        };
        if give_up.is_cancelled() {
            return Err(error);
        }
        let wait = match plan(config, number, began.elapsed(), &error, rand::random()) {
            Next::Wait(wait) => wait,
            Next::Permanent => return Err(error),
            Next::TooLate => {
                let max_elapsed = config.max_elapsed_time.0;
                return Err(PipelineError::new(
                    error.kind(),
                    format!("no more retries left after {max_elapsed:?} (max_elapsed_time): {error}"),
                ));
            }
        };
        outage.failed(&error, wait);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = give_up.cancelled() => return Err(error),
        }
    }
    unreachable!("the loop above has no end")
}
