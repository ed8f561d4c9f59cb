//! `attributes`: changes the attributes of log records, spans and data points.
//!
//! The actions are those of `resource`; `include` and `exclude` choose the records. A record that no action changes keeps
//! its bytes, and a request in which nothing changes goes on as it came.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{AppendReport, Signal};
use runtime::Tasks;
use serde::Deserialize;
use wire::DecodeError;
use wire::otlp::edit::{Edited, Fate, edit_points, edit_records};

use super::hand_on::{edit_and_hand_on, refused};
use super::matching::{MatchProperties, Selection};
use crate::attributes::{ActionConfig, Actions};
use crate::{
    Batch, ComponentConfig, ConfigError, Consumer, PipelineResult, Processor, ProcessorContext,
    ProcessorFactory, Stability,
};

pub(crate) const FACTORY: ProcessorFactory =
    ProcessorFactory { kind: "attributes", signals: &Signal::ALL, stability: Stability::Beta, create };

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Only records that match are changed. Default all.
    include: Option<MatchProperties>,
    /// Records that match are not changed. Default none.
    exclude: Option<MatchProperties>,
    /// Actions on attributes, in order; at least one.
    actions: Vec<ActionConfig>,
}

fn create(
    config: &ComponentConfig<'_>,
    signal: Signal,
    context: &ProcessorContext,
    next: Arc<dyn Consumer>,
) -> Result<Arc<dyn Processor>, ConfigError> {
    let config: Config = config.parse()?;
    if config.actions.is_empty() {
        return Err(ConfigError::at("actions", "missing required field \"actions\""));
    }
    let actions = Actions::new(&config.actions).map_err(|error| error.under(&["actions"]))?;
    let selection = Selection::new(signal, config.include.as_ref(), config.exclude.as_ref())
        .map_err(|message| ConfigError::at("", message))?;
    let edits = Arc::new(Edits { actions, selection });
    Ok(Arc::new(AttributesProcessor { edits, tasks: context.tasks.clone(), next }))
}

struct Edits {
    actions: Actions,
    selection: Selection,
}

struct AttributesProcessor {
    edits: Arc<Edits>,
    tasks: Tasks,
    next: Arc<dyn Consumer>,
}

/// Field of a log record or span that holds its attributes.
const LOG_ATTRIBUTES: u32 = 6;
const SPAN_ATTRIBUTES: u32 = 9;

/// Field of a data point that holds its attributes, by the field of the metric that holds the points.
fn point_attributes(data: u32) -> u32 {
    match data {
        9 => 9,
        10 => 1,
        _ => 7,
    }
}

impl Edits {
    fn edit(&self, batch: &Batch) -> Result<Bytes, DecodeError> {
        let signal = batch.signal;
        let apply = |message: &[u8], field: u32, out: &mut Vec<u8>| {
            Ok(match self.actions.apply(message, field, &batch.client, out)? {
                Edited::Unchanged => Fate::Kept,
                Edited::Replaced => Fate::Replaced,
            })
        };
        edit_records(&batch.payload, |place, record, out| {
            if !self.selection.is_everything() && !self.selection.takes(signal, place, record)? {
                return Ok(Fate::Kept);
            }
            match signal {
                Signal::Logs => apply(record, LOG_ATTRIBUTES, out),
                Signal::Traces => apply(record, SPAN_ATTRIBUTES, out),
                Signal::Metrics => {
                    edit_points(record, out, |data, point, out| apply(point, point_attributes(data), out))
                }
            }
        })
    }
}

impl Consumer for AttributesProcessor {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        let edits = Arc::clone(&self.edits);
        edit_and_hand_on(&*self.next, &self.tasks, "attributes processor", batch, move |batch| {
            edits.edit(batch).map_err(|error| refused("attributes", error.kind(), &error))
        })
    }
}

impl Processor for AttributesProcessor {}

#[cfg(test)]
mod tests;
