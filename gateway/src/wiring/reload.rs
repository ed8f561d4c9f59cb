//! Another config for a running process.
//!
//! First everything that can fail, beside what runs; then the exchange, which cannot; then the receivers that fetch by
//! themselves, for which the way back is the same exchange with the old config. Exporters whose section did not change
//! stay with their connections and queues, listeners whose endpoint did not change stay open. Invariant RELOAD-1: an
//! error leaves what ran as it was.
//!
//! The old pipelines end behind the answer: a request that is inside them, which may be the one that asked for the
//! reload, holds up the next reload and the shutdown, and not this one.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use pipelines::Graph;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::front::{Front, Ground, Running};
use super::{Gateway, check, describe, listeners, needs_stores, start_workers, stop_workers};
use crate::api::process::Described;
use crate::config::Config;
use crate::receivers::Worker;

/// Sections of which a change needs a restart: open stores and query engines depend on them, and the log of the process
/// and what names it are set once.
const FIXED: [&str; 9] = [
    "/server",
    "/compactor",
    "/store_gateway",
    "/receive",
    "/storage",
    "/query",
    "/service/telemetry/logs",
    "/service/telemetry/resource",
    "/service/telemetry/metrics/level",
];

/// A config with its parts made, in front of the exchange.
struct Next {
    config: Config,
    described: Described,
    front: Front,
}

/// How far a config came.
enum Outcome {
    /// It runs.
    Runs,
    /// It runs but for a receiver that fetches by itself.
    WorkersFailed(anyhow::Error),
}

impl Gateway {
    /// Runs another config from now on. On an error the old one goes on. Once `interrupted` is cancelled nothing more is
    /// waited for: the process is to end, whichever config runs.
    pub async fn reload(&mut self, config: Config, interrupted: &CancellationToken) -> anyhow::Result<()> {
        let done = self.try_reload(config, interrupted).await;
        match &done {
            Ok(()) => crate::telemetry::reloaded(true, self.context.clock.now_ms()),
            Err(_) => self.refuse_reload(),
        }
        done
    }

    /// Notes that a config could not be used, also one that could not be read.
    pub fn refuse_reload(&self) {
        self.process.reloaded(None);
        crate::telemetry::reloaded(false, self.context.clock.now_ms());
    }

    async fn try_reload(&mut self, config: Config, interrupted: &CancellationToken) -> anyhow::Result<()> {
        check(&config)?;
        self.refuse_fixed(&config)?;
        // Two generations at a time are enough: one that runs and one that drains.
        while let Some(retiring) = self.retiring.last_mut() {
            tokio::select! {
                _ = retiring => { self.retiring.pop(); }
                () = interrupted.cancelled() => bail!("the process is ending"),
            }
        }
        let before = self.config.clone();
        let Outcome::WorkersFailed(error) = self.run_instead(config, interrupted).await? else {
            return Ok(());
        };
        if interrupted.is_cancelled() {
            return Err(error);
        }
        match self.run_instead(before, interrupted).await {
            Ok(Outcome::Runs) => {}
            Ok(Outcome::WorkersFailed(again)) | Err(again) => {
                tracing::error!(
                    error = format!("{again:#}"),
                    "the receivers of the old config do not start again"
                );
            }
        }
        Err(error)
    }

    /// Exchanges what runs for a config and starts its receivers.
    async fn run_instead(
        &mut self,
        config: Config,
        interrupted: &CancellationToken,
    ) -> anyhow::Result<Outcome> {
        let next = self.prepare(config).await?;
        let new_workers = self.exchange(next);
        let deadline = self.config.server.shutdown_timeout;
        // One after the other: two members of a group with the same name would shut each other out.
        let old_workers = std::mem::take(&mut self.workers);
        let mut stopping = self.context.tasks.spawn("reload_workers", async move {
            report_late(stop_workers(&old_workers, deadline).await.into_iter().collect());
        });
        tokio::select! {
            // It cannot fail; a panic in it is a receiver's that is gone with it.
            _ = &mut stopping => {}
            () = interrupted.cancelled() => {
                self.retiring.push(stopping);
                return Ok(Outcome::WorkersFailed(anyhow!("the process is ending")));
            }
        }
        Ok(match start_workers(&new_workers, deadline).await {
            Ok(()) => {
                self.workers = new_workers;
                Outcome::Runs
            }
            Err(error) => Outcome::WorkersFailed(error.context("a receiver does not start")),
        })
    }

    /// Makes and starts the parts of a config beside what runs, listeners and receivers aside. On an error nothing of it
    /// is left.
    async fn prepare(&self, config: Config) -> anyhow::Result<Next> {
        let described = describe(&config, self.context.clock.now_ms())?;
        let ground = Ground {
            stores: self.stores.as_ref(),
            context: &self.context,
            apis: &self.apis,
            process: &self.process,
        };
        let running = Running { graph: &self.graph, open: &self.open };
        let accept = |graph: &Graph| self.refuse_shared_queues(&config, graph);
        let front = Front::make(&config, ground, Some(running), accept).await?;
        Ok(Next { config, described, front })
    }

    /// Lets the new parts take over, leaves the old ones to a task that ends them, and gives the new workers, which do
    /// not run yet.
    fn exchange(&mut self, next: Next) -> Vec<Arc<dyn Worker>> {
        let Next { config, described, front } = next;
        let Front { graph, generation, workers, listeners } = front;
        let bound = listeners.bound(&self.open);
        let closed = listeners.commit(&mut self.open);
        let mut graph = std::mem::replace(&mut self.graph, graph);
        graph.hand_over_to(&self.graph);
        let generation = std::mem::replace(&mut self.generation, generation);
        (self.bound, self.config) = (bound, config);
        self.process.reloaded(Some(described));
        let deadline = self.config.server.shutdown_timeout;
        let budget = Arc::clone(&self.context.budget);
        let retire = async move {
            let until = Instant::now() + deadline;
            let mut late = listeners::stop(&closed, None, deadline).await;
            // Requests that entered before the exchange are answered by the old pipelines.
            if tokio::time::timeout_at(until, generation.empty()).await.is_err() {
                late.push("requests in the old pipelines".to_owned());
            }
            let left = until.saturating_duration_since(Instant::now());
            if let Err(error) = graph.shutdown(left).await {
                late.push(error.to_string());
            }
            // The old limiters wrote what they measured until now.
            budget.lift_limits_without_ceiling();
            report_late(late);
        };
        self.retiring.push(self.context.tasks.spawn("reload_drain", retire));
        workers
    }

    /// Sections that cannot change while the process runs.
    fn refuse_fixed(&self, config: &Config) -> anyhow::Result<()> {
        let mut differ = Vec::new();
        for section in FIXED {
            let (old, new) = (self.config.value().pointer(section), config.value().pointer(section));
            if old.unwrap_or(&Value::Null) == new.unwrap_or(&Value::Null) {
                continue;
            }
            let name = section.trim_start_matches('/').replace('/', "::");
            let keys = changed(old, new);
            if keys.is_empty() {
                differ.push(name);
            } else {
                differ.extend(keys.into_iter().map(|key| format!("{name}::{key}")));
            }
        }
        if !differ.is_empty() {
            bail!("{} changed, which needs a restart", differ.join(", "));
        }
        if self.stores.is_none() && needs_stores(config) {
            bail!("a pipeline leads to a store now, which needs a restart");
        }
        Ok(())
    }

    /// Two exporters cannot have one queue on disk, and the old one still drains when the new one starts. An exporter
    /// that goes on keeps its queue where it is, so that storage which moved would be found empty after a restart.
    fn refuse_shared_queues(&self, config: &Config, next: &Graph) -> anyhow::Result<()> {
        let faults: Vec<String> = self
            .graph
            .replaced_by(next)
            .filter(|(_, section)| queue_storage(section).is_some())
            .map(|(id, _)| format!("exporter {id} has a queue on disk and changed, which needs a restart"))
            .chain(self.moved_queues(config))
            .collect();
        if !faults.is_empty() {
            bail!("{}", faults.join("; "));
        }
        Ok(())
    }

    /// Exporters that stay although the storage of their queue does not.
    fn moved_queues<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = String> + 'a {
        let sections = |config: &'a Config, kind: &str| config.value().get(kind)?.as_object();
        let exporters = sections(&self.config, "exporters").into_iter().flatten();
        exporters.filter_map(move |(id, section)| {
            let storage = queue_storage(section)?;
            let extension = |config: &'a Config| sections(config, "extensions")?.get(storage);
            let stays = sections(config, "exporters")?.get(id) == Some(section);
            (stays && extension(&self.config) != extension(config)).then(|| {
                format!(
                    "extension {storage} changed, where the queue of exporter {id} is, which needs a restart"
                )
            })
        })
    }
}

/// The extension that keeps the queue of an exporter with this section.
fn queue_storage(section: &Value) -> Option<&str> {
    let queues = ["/sending_queue/storage", "/remote_write_queue/storage"];
    queues.into_iter().find_map(|queue| section.pointer(queue)?.as_str())
}

/// Says which parts of the old config did not end in time; the new one runs all the same.
fn report_late(late: Vec<String>) {
    if !late.is_empty() {
        tracing::warn!("the new config runs; of the old one did not end in time: {}", late.join("; "));
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
