//! The connectors, one file each, and their registry: what ends one pipeline and begins others.
//!
//! A connector is an exporter to the pipelines that name it at their end and a receiver to those that name it at their
//! front. It acknowledges when what it leads to did (PIPE-1).

mod count;
mod forward;
mod routing;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Signal;

use crate::fan_out::FanOut;
use crate::{ComponentConfig, ConfigError, Consumer, PipelineId, ProcessorContext, Stability};

/// Every connector. The name of a row is its type in configs, its file and its example under `configs/connectors/`.
pub const CONNECTORS: &[ConnectorFactory] = &[count::FACTORY, forward::FACTORY, routing::FACTORY];

/// The pipelines behind a connector.
#[derive(Clone)]
pub struct Outputs {
    /// What flows in.
    pub from: Signal,
    /// What flows out.
    pub to: Signal,
    /// First consumers of the pipelines of `to` that name the connector as a receiver.
    pub heads: BTreeMap<PipelineId, Arc<dyn Consumer>>,
}

/// A row of the connector registry.
pub struct ConnectorFactory {
    /// The type in configs.
    pub kind: &'static str,
    /// Which signals it takes and what it makes of them.
    pub pairs: &'static [(Signal, Signal)],
    /// How far it is.
    pub stability: Stability,
    /// Checks the config of one that no pipeline names.
    pub check: fn(&ComponentConfig<'_>, &ProcessorContext) -> Result<(), ConfigError>,
    /// Checks the config and puts the connector in front of its pipelines.
    #[expect(clippy::type_complexity, reason = "a row of a plain table")]
    pub create:
        fn(&ComponentConfig<'_>, &ProcessorContext, Outputs) -> Result<Arc<dyn Consumer>, ConfigError>,
}

/// Pairs of connectors that hand on what they get.
const SAME_SIGNAL: &[(Signal, Signal)] =
    &[(Signal::Metrics, Signal::Metrics), (Signal::Logs, Signal::Logs), (Signal::Traces, Signal::Traces)];

impl Outputs {
    /// Those of a connector that is only checked: none.
    fn none(from: Signal, to: Signal) -> Self {
        Self { from, to, heads: BTreeMap::new() }
    }

    /// All pipelines behind it.
    fn all(self) -> Arc<dyn Consumer> {
        FanOut::over(self.heads.into_values().collect())
    }
}
