//! `storage.logs`: the log store.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bucket::BucketConfig;
use logql::syntax::{self, Expr};
use logstore::{LogLimits, RetentionRules, StreamRetention, TenantRetention};
use model::{Matcher, TenantId};
use serde::{Deserialize, Deserializer, de};

use super::Durability;
use super::log_limits::LogLimitsConfig;
use crate::duration;

/// `storage.logs`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogStoreConfig {
    /// When a write is acknowledged. Default `group`.
    pub durability: Durability,
    /// The object store for data files, as Thanos configures it: type, config, prefix. Several processes may share it:
    /// each answers from all files. What is not flushed yet is in the write-ahead log in `storage.directory`. Default
    /// none: files are there, too.
    pub bucket: Option<BucketConfig>,
    /// Entries older than this are refused and removed. Default 31d; 0s keeps everything.
    #[serde(deserialize_with = "duration::deserialize")]
    pub retention: Duration,
    /// How long single streams are kept instead, as in Loki. Default none.
    pub retention_stream: Vec<StreamRetentionConfig>,
    /// Tenants with lines here at most; senders make up their names. Default 1000.
    pub tenants_max: usize,
    /// What is refused of each tenant.
    pub limits: LogLimitsConfig,
    /// By tenant, what it has of its own. Default none.
    pub overrides: BTreeMap<String, TenantConfig>,
    /// How long a request to delete lines may be taken back; then the lines go from the files. Default 24h.
    #[serde(deserialize_with = "duration::deserialize")]
    pub delete_request_cancel_period: Duration,
}

/// `storage.logs.overrides.<tenant>`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantConfig {
    /// In the place of `retention`; 0s keeps everything. Default: as `retention`.
    #[serde(deserialize_with = "optional_duration")]
    pub retention_period: Option<Duration>,
    /// Before the rules of all tenants. Default none.
    pub retention_stream: Vec<StreamRetentionConfig>,
    /// In the place of single limits of all tenants. Default none.
    pub limits: LogLimitsConfig,
}

/// How long the streams of a selector are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamRetentionConfig {
    /// Which streams: a selector such as `{namespace="dev"}`.
    #[serde(deserialize_with = "selector")]
    pub selector: Vec<Matcher>,
    /// Of the rules that a stream meets, the one with the highest holds; of equal ones the shortest. Default 0.
    #[serde(default)]
    pub priority: i32,
    /// How long; 0s for ever.
    #[serde(deserialize_with = "duration::deserialize")]
    pub period: Duration,
}

impl Default for LogStoreConfig {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            bucket: None,
            retention: Duration::from_secs(31 * 86_400),
            retention_stream: Vec::new(),
            tenants_max: 1000,
            limits: LogLimitsConfig::default(),
            overrides: BTreeMap::new(),
            delete_request_cancel_period: Duration::from_secs(86_400),
        }
    }
}

impl LogStoreConfig {
    /// How long everything is kept. The error names a tenant that can be none.
    pub fn retention_rules(&self) -> Result<RetentionRules, String> {
        let rule = |rule: &StreamRetentionConfig| StreamRetention {
            matchers: rule.selector.clone(),
            priority: rule.priority,
            period: rule.period,
        };
        let rules = |rules: &[StreamRetentionConfig]| rules.iter().map(rule).collect::<Vec<_>>();
        let mut all = RetentionRules {
            period: self.retention,
            streams: rules(&self.retention_stream),
            ..RetentionRules::default()
        };
        for (name, own) in &self.overrides {
            let tenant = tenant(name)?;
            let own = TenantRetention { period: own.retention_period, streams: rules(&own.retention_stream) };
            all.tenants.insert(tenant, own);
        }
        Ok(all)
    }

    /// The limits of all tenants, and of those that have their own. The error names a tenant that can be none.
    pub fn limits(&self) -> Result<(LogLimits, HashMap<TenantId, LogLimits>), String> {
        let all = self.limits.over(&LogLimits::default());
        let mut own = HashMap::new();
        for (name, config) in &self.overrides {
            own.insert(tenant(name)?, config.limits.over(&all));
        }
        Ok((all, own))
    }
}

fn tenant(name: &str) -> Result<TenantId, String> {
    TenantId::new(name).map_err(|error| error.to_string())
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(deserializer).map(Some)
}

fn selector<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Matcher>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |reason: String| de::Error::custom(format!("{text:?} is no stream selector: {reason}"));
    match syntax::parse(&text) {
        Ok(Expr::Log(log)) if log.stages.is_empty() => log
            .matchers
            .iter()
            .map(|matcher| matcher.to_matcher())
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(error.to_string())),
        Ok(_) => Err(wrong("it has more than labels".to_owned())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
