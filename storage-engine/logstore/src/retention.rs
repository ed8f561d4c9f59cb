//! How long entries are kept: by tenant and by stream, in the way of Loki's `retention_period` and `retention_stream`.
//!
//! Of the rules whose selector a stream meets, a tenant's own come before those of all tenants, then the one with the
//! highest priority rules, of equal ones the shortest period (pkg/compactor/retention/expiration.go). Without one the
//! tenant's period holds, then that of all tenants. A period of zero keeps entries for ever.

use std::time::Duration;

use hashbrown::HashMap;
use model::{Labels, Matcher, TenantId};

/// How long the streams of a selector are kept.
#[derive(Clone, Debug)]
pub struct StreamRetention {
    /// All must match the stream's labels.
    pub matchers: Vec<Matcher>,
    /// The rule with the highest one holds.
    pub priority: i32,
    /// How long; zero for ever.
    pub period: Duration,
}

/// What a tenant has of its own.
#[derive(Clone, Debug, Default)]
pub struct TenantRetention {
    /// In the place of the period of all tenants.
    pub period: Option<Duration>,
    /// Before the rules of all tenants.
    pub streams: Vec<StreamRetention>,
}

/// How long everything is kept.
#[derive(Clone, Debug, Default)]
pub struct RetentionRules {
    /// Of tenants and streams without a rule; zero for ever.
    pub period: Duration,
    /// Of streams of all tenants.
    pub streams: Vec<StreamRetention>,
    /// Of single tenants.
    pub tenants: HashMap<TenantId, TenantRetention>,
}

impl RetentionRules {
    /// The same for everything.
    pub fn uniform(period: Duration) -> Self {
        Self { period, ..Self::default() }
    }

    /// Whether streams of the tenant may differ.
    pub(crate) fn has_streams(&self, tenant: &TenantId) -> bool {
        !self.streams.is_empty() || self.tenants.get(tenant).is_some_and(|own| !own.streams.is_empty())
    }

    /// Nanoseconds that a stream without a rule is kept; `i64::MAX` for ever.
    pub(crate) fn of_tenant_ns(&self, tenant: &TenantId) -> i64 {
        as_ns(self.tenants.get(tenant).and_then(|own| own.period).unwrap_or(self.period))
    }

    /// Nanoseconds that a stream is kept; `i64::MAX` for ever.
    pub(crate) fn of_stream_ns(&self, tenant: &TenantId, labels: &Labels) -> i64 {
        let own = self.tenants.get(tenant).and_then(|own| best(&own.streams, labels));
        match own.or_else(|| best(&self.streams, labels)) {
            Some(rule) => as_ns(rule.period),
            None => self.of_tenant_ns(tenant),
        }
    }

    /// The shortest time that some stream of the tenant may be kept, nanoseconds.
    pub(crate) fn shortest_ns(&self, tenant: &TenantId) -> i64 {
        let own = self.tenants.get(tenant).map_or(&[][..], |own| &own.streams);
        let rules = own.iter().chain(&self.streams).map(|rule| as_ns(rule.period));
        rules.fold(self.of_tenant_ns(tenant), i64::min)
    }
}

/// The rule for a stream.
fn best<'a>(rules: &'a [StreamRetention], labels: &Labels) -> Option<&'a StreamRetention> {
    let matching =
        rules.iter().filter(|rule| rule.matchers.iter().all(|matcher| matcher.matches_labels(labels)));
    matching.max_by_key(|rule| (rule.priority, std::cmp::Reverse(as_ns(rule.period))))
}

fn as_ns(period: Duration) -> i64 {
    if period.is_zero() { i64::MAX } else { i64::try_from(period.as_nanos()).unwrap_or(i64::MAX) }
}

#[cfg(test)]
mod tests;
