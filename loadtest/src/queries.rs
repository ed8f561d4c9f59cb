//! Queries of the `promql` and `logql` loads, drawn by weight in a seeded order.

use std::time::Duration;

use anyhow::{Context, bail};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;

use crate::cli::parse::parse_duration;
use crate::cli::{Load, QueryArgs};

/// A mix over what the `otlp` and `remote-write` loads send.
const PROMQL: [&str; 4] = [
    "sum by (http_route) (rate(loadtest_requests_total[1m]))",
    "topk(10, loadtest_queue_depth)",
    "histogram_quantile(0.99, sum by (le) (rate(loadtest_duration_seconds_bucket[1m])))",
    "count by (__name__) ({job=~\"loadtest.*\"})",
];
/// A mix over what the `otlp` and `loki-push` loads send.
const LOGQL: [&str; 4] = [
    "{service_name=\"loadtest\"} |= \"status=500\"",
    "sum(count_over_time({service_name=\"loadtest\"}[1m]))",
    "{service_name=\"loadtest\"} | json | took_ms > 1900",
    "sum(rate({service_name=\"loadtest\"} |~ \"(?i)checkout\" [1m]))",
];

/// An entry of a file of queries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    query: String,
    weight: Option<u32>,
    range: Option<String>,
    step: Option<String>,
}

/// A query to be asked.
#[derive(Clone, Debug)]
struct Query {
    text: String,
    range: Duration,
    step: Duration,
    /// Sum of the weights up to this one.
    weight_until: u32,
}

/// All queries of a load.
#[derive(Clone)]
pub(crate) struct QueryMix {
    is_log: bool,
    limit: u32,
    queries: Vec<Query>,
    rng: SmallRng,
}

impl QueryMix {
    /// The mix of a load; each connection draws in its own order.
    pub(crate) fn new(load: &Load, connection: u32) -> anyhow::Result<Self> {
        let (args, is_log) = match load {
            Load::Promql(args) => (args, false),
            Load::Logql(args) => (args, true),
            _ => bail!("{} asks no queries", load.kind()),
        };
        let seed = args.seed.wrapping_mul(7_368_787) ^ u64::from(connection);
        let queries = queries(args, if is_log { &LOGQL } else { &PROMQL })?;
        Ok(Self { is_log, limit: args.limit, queries, rng: SmallRng::seed_from_u64(seed) })
    }

    /// Path and query of the next request.
    pub(crate) fn next_path(&mut self, now_ns: i64) -> String {
        let total = self.queries.last().map_or(1, |last| last.weight_until);
        let drawn = self.rng.random_range(0..total);
        let index = self.queries.partition_point(|query| query.weight_until <= drawn);
        let query = &self.queries[index];
        let base = if self.is_log { "/loki/api/v1" } else { "/api/v1" };
        let mut parameters = vec![("query", query.text.clone())];
        // Loki reads whole numbers as nanoseconds when they are long, Prometheus reads seconds.
        let time = |ns: i64| if self.is_log { ns.to_string() } else { format!("{:.3}", ns as f64 / 1e9) };
        if self.is_log {
            parameters.push(("limit", self.limit.to_string()));
        }
        let path = if query.range.is_zero() {
            parameters.push(("time", time(now_ns)));
            "query"
        } else {
            let step_ns = i64::try_from(query.step.as_nanos()).unwrap_or(i64::MAX).max(1);
            let end_ns = now_ns.div_euclid(step_ns) * step_ns;
            let start_ns = end_ns.saturating_sub(i64::try_from(query.range.as_nanos()).unwrap_or(i64::MAX));
            parameters.push(("start", time(start_ns)));
            parameters.push(("end", time(end_ns)));
            parameters.push(("step", query.step.as_secs_f64().to_string()));
            "query_range"
        };
        let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value)));
        format!("{base}/{path}?{}", pairs.collect::<Vec<_>>().join("&"))
    }
}

fn queries(args: &QueryArgs, default: &[&str]) -> anyhow::Result<Vec<Query>> {
    let mut entries: Vec<Entry> = Vec::new();
    if let Some(path) = &args.queries {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        entries = serde_saphyr::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    }
    let plain = |text: &str| Entry { query: text.to_owned(), weight: None, range: None, step: None };
    entries.extend(args.query.iter().map(|text| plain(text)));
    if entries.is_empty() {
        entries.extend(default.iter().map(|text| plain(text)));
    }
    let mut weight_until = 0;
    let read = |text: &Option<String>, or: Duration| match text {
        Some(text) => parse_duration(text).map_err(anyhow::Error::msg),
        None => Ok(or),
    };
    entries
        .into_iter()
        .map(|entry| {
            weight_until += entry.weight.unwrap_or(1);
            if entry.weight == Some(0) {
                bail!("query {:?} has weight 0; want at least 1", entry.query);
            }
            let (range, step) = (read(&entry.range, args.range)?, read(&entry.step, args.step)?);
            Ok(Query { text: entry.query, range, step, weight_until })
        })
        .collect()
}

/// `application/x-www-form-urlencoded` for a query's value.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests;
