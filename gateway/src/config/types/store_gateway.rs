//! `store_gateway`: the blocks of the bucket (`storage.bucket`), whoever wrote them, for queries and on the StoreAPI.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pipelines::ConfigError;
use serde::{Deserialize, Deserializer, de};
use thanos::{BucketStoreSettings, TimeBound};

use super::metrics_store;
use crate::duration;

/// Below the data folder: what is kept of blocks of the bucket.
const FOLDER: &str = "store-gateway";

/// Below it queries would fetch the same parts of a block again and again.
const CACHE_BYTES_MIN: u64 = 16 << 20;

/// `store_gateway`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreGatewayConfig {
    /// Whether queries are answered from the bucket as well. Default false.
    pub enabled: bool,
    /// Time between two listings of the bucket. Default 3m.
    #[serde(deserialize_with = "duration::deserialize")]
    pub sync_interval: Duration,
    /// Memory for parts of blocks, as a number of bytes or with a unit. Default 256MB.
    #[serde(deserialize_with = "metrics_store::bytes")]
    pub cache_bytes: u64,
    /// A block that is marked to be removed is served this much longer. Default 24h.
    #[serde(deserialize_with = "duration::deserialize")]
    pub ignore_deletion_marks_delay: Duration,
    /// Nothing older is served: a time as in RFC 3339, or how far from now, e.g. `-30d`. Default none.
    #[serde(deserialize_with = "time_bound")]
    pub min_time: Option<TimeBound>,
    /// Nothing newer is served, e.g. `-2d` where other stores have the last days. Default none.
    #[serde(deserialize_with = "time_bound")]
    pub max_time: Option<TimeBound>,
}

impl Default for StoreGatewayConfig {
    fn default() -> Self {
        let settings = BucketStoreSettings::default();
        Self {
            enabled: false,
            sync_interval: settings.sync_interval,
            cache_bytes: settings.cache_bytes,
            ignore_deletion_marks_delay: Duration::from_secs(24 * 3600),
            min_time: None,
            max_time: None,
        }
    }
}

impl StoreGatewayConfig {
    /// Refuses what cannot work.
    pub fn validate(&self, has_bucket: bool) -> Result<(), ConfigError> {
        if self.enabled && !has_bucket {
            return Err(ConfigError::at(
                "store_gateway.enabled",
                "it needs a bucket: storage.bucket is not set",
            ));
        }
        if self.cache_bytes < CACHE_BYTES_MIN {
            let text = format!("{} bytes are too few, at least 16MB are allowed", self.cache_bytes);
            return Err(ConfigError::at("store_gateway.cache_bytes", text));
        }
        if self.sync_interval < Duration::from_secs(1) {
            let text = format!("{:?} is too short, at least 1s is allowed", self.sync_interval);
            return Err(ConfigError::at("store_gateway.sync_interval", text));
        }
        Ok(())
    }

    /// What the store is made with, for a process with this data folder.
    pub fn settings(&self, directory: &Path) -> BucketStoreSettings {
        let delay = self.ignore_deletion_marks_delay.as_millis();
        BucketStoreSettings {
            folder: PathBuf::from(directory).join(FOLDER),
            cache_bytes: self.cache_bytes,
            sync_interval: self.sync_interval,
            deletion_delay_ms: i64::try_from(delay).unwrap_or(i64::MAX),
            min_time: self.min_time.unwrap_or(TimeBound::At(i64::MIN)),
            max_time: self.max_time.unwrap_or(TimeBound::At(i64::MAX)),
        }
    }
}

/// A time, or a duration with or without a minus in front of it.
fn time_bound<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TimeBound>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let (sign, distance) = text.strip_prefix('-').map_or((1, text.as_str()), |distance| (-1, distance));
    if let Some(distance) = duration::parse(distance) {
        let ms = i64::try_from(distance.as_millis()).unwrap_or(i64::MAX);
        return Ok(Some(TimeBound::FromNow(sign * ms)));
    }
    let time = chrono::DateTime::parse_from_rfc3339(&text).map_err(|_| {
        de::Error::custom(format!("invalid time {text:?}, want one as in RFC 3339 or a duration, e.g. -30d"))
    })?;
    Ok(Some(TimeBound::At(time.timestamp_millis())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use thanos::TimeBound;

    use super::StoreGatewayConfig;

    #[test]
    fn bounds_are_times_or_distances_from_now() {
        let read = |value| serde_json::from_value::<StoreGatewayConfig>(json!({ "min_time": value }));
        for (value, want) in [
            (json!("-30d"), TimeBound::FromNow(-30 * 86_400_000)),
            (json!("1h30m"), TimeBound::FromNow(5_400_000)),
            (json!("2024-01-02T03:04:05Z"), TimeBound::At(1_704_164_645_000)),
        ] {
            assert_eq!(read(value.clone()).expect("valid").min_time, Some(want), "{value}");
        }
        assert_eq!(read(json!(null)).expect("valid").min_time, None);
        let error = read(json!("yesterday")).expect_err("no time").to_string();
        assert!(error.contains("invalid time \"yesterday\""), "{error}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let of = |value| serde_json::from_value::<StoreGatewayConfig>(value).expect("the shape is right");
        let refused = |value, has_bucket| {
            let refused = of(value).validate(has_bucket);
            refused.map_or_else(|error| error.path.join("::"), |()| String::new())
        };
        assert_eq!(refused(json!({"enabled": true}), false), "store_gateway::enabled");
        assert_eq!(refused(json!({"cache_bytes": "1MB"}), true), "store_gateway::cache_bytes");
        assert_eq!(refused(json!({"sync_interval": "1ms"}), true), "store_gateway::sync_interval");
        assert_eq!(refused(json!({"enabled": true}), true), "");
    }
}
