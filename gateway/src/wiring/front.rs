//! What runs in front of the stores, made by the same steps for a start and for a reload.
//!
//! Nothing of it takes data before its listeners are committed and its workers started.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use pipelines::{Graph, GraphContext, PipelineResult};
use runtime::Limits;

use super::generation::Generation;
use super::listeners::{self, Open};
use super::wanted::wanted;
use super::{ApiRoutes, build, end, for_exporters};
use crate::api::process::ProcessInfo;
use crate::config::Config;
use crate::receivers::Worker;
use crate::stores::OpenStores;

/// What it stands on.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) stores: Option<&'a OpenStores>,
    pub(super) context: &'a GraphContext,
    pub(super) apis: &'a ApiRoutes,
    pub(super) process: &'a Arc<ProcessInfo>,
}

/// What runs already, of which the new parts take over what did not change.
#[derive(Clone, Copy)]
pub(super) struct Running<'a> {
    pub(super) graph: &'a Graph,
    pub(super) open: &'a [Open],
}

/// The parts of a config: pipelines that run, workers that do not yet, listeners that nobody reaches yet.
pub(super) struct Front {
    pub(super) graph: Graph,
    pub(super) generation: Arc<Generation>,
    pub(super) workers: Vec<Arc<dyn Worker>>,
    pub(super) listeners: listeners::Prepared,
}

impl Front {
    /// Makes and starts the parts of a config whose pipelines `accept` does not refuse. On an error nothing of them is
    /// left.
    pub(super) async fn make(
        config: &Config,
        ground: Ground<'_>,
        running: Option<Running<'_>>,
        accept: impl FnOnce(&Graph) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let Ground { stores, context, apis, process } = ground;
        let (old_graph, open) =
            running.map_or((None, &[][..]), |Running { graph, open }| (Some(graph), open));
        let mut parts = build::build(config, &for_exporters(stores), context, process, old_graph)?;
        accept(&parts.graph)?;
        for (id, start) in &parts.extensions.starts {
            start().with_context(|| format!("failed to start extension {id}"))?;
        }
        let generation = Arc::new(Generation::default());
        let workers = parts.take_workers();
        let has_data = stores.is_some() || config.store_gateway.enabled;
        let wanted = wanted(config, &mut parts, apis, has_data)?;
        let listeners = listeners::prepare(wanted, open, &generation).await?;
        let mut graph = parts.graph;
        if let Err(error) = start(&graph, context).await {
            graph.hand_back();
            end("pipelines", graph.shutdown(config.server.shutdown_timeout).await);
            return Err(anyhow!("{error}"));
        }
        Ok(Self { graph, generation, workers, listeners })
    }
}

/// Starts pipelines.
async fn start(graph: &Graph, context: &GraphContext) -> PipelineResult<()> {
    graph.start_exporters().await?;
    // Limiters ask for their limits when they start. What runs keeps its own until then: exporters may take long.
    let limits = context.budget.exchange_limits(Limits::NONE);
    graph.start_processors().await.inspect_err(|_| {
        context.budget.exchange_limits(limits);
    })
}

#[cfg(test)]
mod tests;
