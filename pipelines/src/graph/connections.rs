//! Which pipelines lead to which, by the connectors between them.
//!
//! Rules and texts: service/internal/graph/graph.go and otelcol/config.go of the collector. A connector is at the end of
//! one pipeline and at the front of another, of signals that it can turn into each other, and no way leads back.

use std::collections::{BTreeMap, BTreeSet};

use super::{PipelineId, PipelinesConfig, unknown_type};
use crate::connectors::{CONNECTORS, ConnectorFactory};
use crate::{ComponentId, ConfigError};

/// The pipelines, each after all that it leads to, and how far each is from a receiver.
pub(super) struct Connections {
    pub(super) order: Vec<PipelineId>,
    pub(super) depths: BTreeMap<PipelineId, usize>,
}

/// The row of a connector's type.
pub(super) fn row(id: &ComponentId) -> Result<&'static ConnectorFactory, ConfigError> {
    let row = CONNECTORS.iter().find(|row| row.kind == id.kind);
    row.ok_or_else(|| unknown_type("connectors", id, CONNECTORS.iter().map(|row| row.kind)))
}

impl Connections {
    /// Checks the connectors of a config and orders its pipelines.
    pub(super) fn of(config: &PipelinesConfig) -> Result<Self, ConfigError> {
        for id in config.connectors.keys() {
            check_use(config, id)?;
        }
        let mut search = Search { config, order: Vec::new(), path: Vec::new(), done: BTreeSet::new() };
        for id in config.pipelines.keys() {
            search.visit(id)?;
        }
        let order = search.order;
        let mut depths: BTreeMap<PipelineId, usize> = BTreeMap::new();
        for id in order.iter().rev() {
            let depth = *depths.entry(id.clone()).or_default();
            for next in leads_to(config, id) {
                let known = depths.entry(next).or_default();
                *known = (depth + 1).max(*known);
            }
        }
        Ok(Self { order, depths })
    }
}

/// A connector that is used is used on both sides.
fn check_use(config: &PipelinesConfig, id: &ComponentId) -> Result<(), ConfigError> {
    let row = row(id)?;
    let named = |as_receiver: bool| {
        config.pipelines.iter().filter(move |(_, pipeline)| {
            if as_receiver { pipeline.receivers.contains(id) } else { pipeline.exporters.contains(id) }
        })
    };
    let fault = |side: &str, other: &str, pipeline: &PipelineId| {
        ConfigError::at(
            "service.pipelines",
            format!(
                "connector \"{id}\" used as {side} in [{pipeline}] pipeline but not used in any supported {other} pipeline"
            ),
        )
    };
    for (pipeline, _) in named(false) {
        let fits = |to: &PipelineId| row.pairs.contains(&(pipeline.signal, to.signal));
        if !named(true).any(|(to, _)| fits(to)) {
            return Err(fault("exporter", "receiver", pipeline));
        }
    }
    for (pipeline, _) in named(true) {
        let fits = |from: &PipelineId| row.pairs.contains(&(from.signal, pipeline.signal));
        if !named(false).any(|(from, _)| fits(from)) {
            return Err(fault("receiver", "exporter", pipeline));
        }
    }
    Ok(())
}

/// The pipelines behind the connectors of a pipeline.
fn leads_to(config: &PipelinesConfig, id: &PipelineId) -> Vec<PipelineId> {
    let Some(pipeline) = config.pipelines.get(id) else { return Vec::new() };
    let connectors = pipeline.exporters.iter().filter(|exporter| config.connectors.contains_key(exporter));
    let mut next = BTreeSet::new();
    for connector in connectors {
        let pairs = row(connector).map_or(&[][..], |row| row.pairs);
        let behind = config.pipelines.iter().filter(|(to, behind)| {
            behind.receivers.contains(connector) && pairs.contains(&(id.signal, to.signal))
        });
        next.extend(behind.map(|(to, _)| to.clone()));
    }
    next.into_iter().collect()
}

struct Search<'a> {
    config: &'a PipelinesConfig,
    order: Vec<PipelineId>,
    /// From where the search came.
    path: Vec<PipelineId>,
    done: BTreeSet<PipelineId>,
}

impl Search<'_> {
    fn visit(&mut self, id: &PipelineId) -> Result<(), ConfigError> {
        if self.done.contains(id) {
            return Ok(());
        }
        if let Some(start) = self.path.iter().position(|known| known == id) {
            let cycle = self.path[start..].iter().chain([id]);
            let cycle: Vec<String> = cycle.map(|id| format!("pipeline {:?}", id.to_string())).collect();
            let message = format!("cycle detected: {}", cycle.join(" -> "));
            return Err(ConfigError::at("service.pipelines", message));
        }
        self.path.push(id.clone());
        for next in leads_to(self.config, id) {
            self.visit(&next)?;
        }
        self.path.pop();
        self.done.insert(id.clone());
        self.order.push(id.clone());
        Ok(())
    }
}
