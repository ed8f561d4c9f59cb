//! Another config for a running process.
//!
//! First everything that can fail, beside what runs; then the exchange, which cannot. Exporters whose section did not
//! change stay with their connections and queues, listeners whose endpoint did not change stay open. Invariant RELOAD-1:
//! an error leaves what ran as it was.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use runtime::Limits;
use serde_json::Value;
use tokio::time::Instant;

use super::generation::Generation;
use super::{
    Gateway, build, check, describe, end, for_exporters, listeners, needs_stores, start_workers,
    stop_workers, wanted,
};
use crate::config::Config;

/// Sections of which a change needs a restart: open stores and query engines depend on them, and the log of the process
/// and what names it are set once.
const FIXED: [&str; 7] = [
    "/server",
    "/compactor",
    "/storage",
    "/query",
    "/service/telemetry/logs",
    "/service/telemetry/resource",
    "/service/telemetry/metrics/level",
];

impl Gateway {
    /// Runs another config from now on. On an error the old one goes on untouched.
    pub async fn reload(&mut self, config: Config) -> anyhow::Result<()> {
        let done = self.try_reload(config).await;
        if done.is_err() {
            self.process.reloaded(None);
        }
        crate::telemetry::reloaded(done.is_ok(), self.context.clock.now_ms());
        done
    }

    async fn try_reload(&mut self, config: Config) -> anyhow::Result<()> {
        check(&config)?;
        self.refuse_fixed(&config)?;
        let described = describe(&config, self.context.clock.now_ms())?;
        let stores = for_exporters(self.stores.as_ref());
        let mut parts = build::build(&config, &stores, &self.context, &self.process, Some(&self.graph))?;
        self.refuse_shared_queues(&parts.graph)?;
        for (id, start) in &parts.extensions.starts {
            start().with_context(|| format!("failed to start extension {id}"))?;
        }
        let generation = Arc::new(Generation::default());
        let workers = parts.take_workers();
        let wanted = wanted(&config, &mut parts, &self.apis, self.stores.is_some())?;
        let prepared = listeners::prepare(wanted, &self.open, &generation).await?;
        let mut graph = parts.graph;
        // Limiters of the new pipelines ask for their limits when they start.
        let limits = self.context.budget.exchange_limits(Limits::NONE);
        if let Err(error) = graph.start().await {
            graph.hand_back();
            end("new pipelines", graph.shutdown(config.server.shutdown_timeout).await);
            self.context.budget.exchange_limits(limits);
            return Err(anyhow!("{error}"));
        }

        let bound = prepared.bound(&self.open);
        let closed = prepared.commit(&mut self.open);
        let mut old_graph = std::mem::replace(&mut self.graph, graph);
        let old_generation = std::mem::replace(&mut self.generation, generation);
        (self.bound, self.config) = (bound, config);
        self.process.reloaded(Some(described));

        let deadline = self.config.server.shutdown_timeout;
        let until = Instant::now() + deadline;
        let mut late = listeners::stop(&closed, None, deadline).await;
        // One after the other: two members of a group with the same name would shut each other out.
        let old_workers = std::mem::replace(&mut self.workers, workers);
        late.extend(stop_workers(&old_workers, deadline).await);
        if let Err(error) = start_workers(&self.workers, deadline).await {
            tracing::error!(%error, "the new config runs, but a receiver of it does not");
        }
        // Requests that entered before the exchange are answered by the old pipelines.
        if tokio::time::timeout_at(until, old_generation.empty()).await.is_err() {
            late.push("requests in the old pipelines".to_owned());
        }
        old_graph.hand_over_to(&self.graph);
        if let Err(error) = old_graph.shutdown(until.saturating_duration_since(Instant::now())).await {
            late.push(error.to_string());
        }
        // The old limiters wrote what they measured until now.
        self.context.budget.lift_limits_without_ceiling();
        if !late.is_empty() {
            tracing::warn!("the new config runs; of the old one did not end in time: {}", late.join("; "));
        }
        Ok(())
    }

    /// Sections that cannot change while the process runs.
    fn refuse_fixed(&self, config: &Config) -> anyhow::Result<()> {
        for section in FIXED {
            let (old, new) = (self.config.value().pointer(section), config.value().pointer(section));
            if old.unwrap_or(&Value::Null) == new.unwrap_or(&Value::Null) {
                continue;
            }
            let name = section.trim_start_matches('/').replace('/', "::");
            let keys: Vec<String> =
                changed(old, new).into_iter().map(|key| format!("{name}::{key}")).collect();
            let what = if keys.is_empty() { name } else { keys.join(", ") };
            bail!("{what} changed, which needs a restart");
        }
        if self.stores.is_none() && needs_stores(config) {
            bail!("a pipeline leads to a store now, which needs a restart");
        }
        Ok(())
    }

    /// Two exporters cannot have one queue on disk, and the old one still drains when the new one starts.
    fn refuse_shared_queues(&self, next: &pipelines::Graph) -> anyhow::Result<()> {
        for (id, section) in self.graph.replaced_by(next) {
            let is_kept = |queue: &str| section.pointer(queue).is_some_and(|storage| !storage.is_null());
            if is_kept("/sending_queue/storage") || is_kept("/remote_write_queue/storage") {
                bail!("exporter {id} has a queue on disk and changed, which needs a restart");
            }
        }
        Ok(())
    }
}

/// Keys below which two sections differ.
fn changed(old: Option<&Value>, new: Option<&Value>) -> BTreeSet<String> {
    let null = Value::Null;
    let (old, new) = (old.unwrap_or(&null), new.unwrap_or(&null));
    let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    let all = keys(old).into_iter().chain(keys(new)).flatten();
    all.filter(|key| old.get(key) != new.get(key)).collect()
}
