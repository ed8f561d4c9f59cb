//! `query.frontend`: range queries day by day, with answers that are kept, as Thanos' query frontend.

use std::time::Duration;

use pipelines::ConfigError;
use serde::Deserialize;
use thanos::FrontendSettings;

use super::metrics_store;
use crate::duration;

/// Shortest interval: below it a query becomes very many.
const INTERVAL_MIN: Duration = Duration::from_secs(60);
/// Most parts of a query that run at a time.
const PARALLELISM_MAX: usize = 256;

/// `query.frontend`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FrontendConfig {
    /// Whether range queries go through it. Default false.
    pub enabled: bool,
    /// Length of the parts of a range query; 0s leaves queries whole. Default 24h.
    #[serde(deserialize_with = "duration::deserialize")]
    pub split_interval: Duration,
    /// Memory for answers, as a number of bytes or with a unit; 0 keeps none. Default 100MB.
    #[serde(deserialize_with = "metrics_store::bytes")]
    pub cache_bytes: u64,
    /// What is newer than this is asked for each time: samples may still come. Default 1m, or
    /// `storage.metrics.out_of_order_window` if that is longer.
    #[serde(deserialize_with = "freshness")]
    pub max_freshness: Option<Duration>,
    /// How often a part runs again whose store was out of service. Default 5.
    pub retries: usize,
    /// Parts of a query that run at a time. Default 14.
    pub parallelism: usize,
}

impl Default for FrontendConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            split_interval: Duration::from_secs(24 * 3600),
            cache_bytes: 100 << 20,
            max_freshness: None,
            retries: 5,
            parallelism: 14,
        }
    }
}

impl FrontendConfig {
    /// Refuses what cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refused = |key: &str, text: String| Err(ConfigError::at(&format!("query.frontend.{key}"), text));
        if !self.split_interval.is_zero() && self.split_interval < INTERVAL_MIN {
            let text =
                format!("{:?} is too short, at least {INTERVAL_MIN:?} or 0s is allowed", self.split_interval);
            return refused("split_interval", text);
        }
        if !(1..=PARALLELISM_MAX).contains(&self.parallelism) {
            return refused(
                "parallelism",
                format!("{}, allowed are 1 to {PARALLELISM_MAX}", self.parallelism),
            );
        }
        Ok(())
    }

    /// What the frontend is made with, over a store that takes samples as late as `out_of_order_window`.
    pub fn settings(&self, out_of_order_window: Duration) -> FrontendSettings {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let freshness = self.max_freshness.unwrap_or(out_of_order_window.max(Duration::from_secs(60)));
        FrontendSettings {
            split_interval_ms: ms(self.split_interval),
            cache_bytes: self.cache_bytes,
            max_freshness_ms: ms(freshness),
            retries: self.retries,
            parallelism: self.parallelism,
        }
    }
}

fn freshness<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::FrontendConfig;

    #[test]
    fn what_may_still_change_is_fresh_unless_the_config_says_otherwise() {
        let of = |value| serde_json::from_value::<FrontendConfig>(value).expect("the shape is right");
        let window = Duration::from_secs(1800);
        assert_eq!(of(json!({})).settings(window).max_freshness_ms, 1_800_000);
        assert_eq!(of(json!({})).settings(Duration::ZERO).max_freshness_ms, 60_000);
        assert_eq!(of(json!({"max_freshness": "5s"})).settings(window).max_freshness_ms, 5000);
        for (value, key) in [
            (json!({"split_interval": "1s"}), "query::frontend::split_interval"),
            (json!({"parallelism": 0}), "query::frontend::parallelism"),
        ] {
            assert_eq!(of(value).validate().expect_err("refused").path.join("::"), key);
        }
        assert!(of(json!({"split_interval": "0s"})).validate().is_ok());
    }
}
