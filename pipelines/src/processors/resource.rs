//! `resource`: changes the attributes of resources.
//!
//! Works on the wire bytes: each resource is looked up by its bytes in a bounded memory of earlier edits, so that the
//! actions run once for each resource, not once for each request. A request in which nothing changes goes on as it came.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{AppendReport, Signal};
use parking_lot::Mutex;
use runtime::Tasks;
use serde::Deserialize;
use wire::DecodeError;
use wire::otlp::edit::{ResourceMemo, edit_resources};

use super::hand_on::{edit_and_hand_on, refused};
use crate::attributes::{ActionConfig, Actions};
use crate::{
    Batch, ComponentConfig, ConfigError, Consumer, PipelineResult, Processor, ProcessorContext,
    ProcessorFactory, Stability,
};

pub(crate) const FACTORY: ProcessorFactory =
    ProcessorFactory { kind: "resource", signals: &Signal::ALL, stability: Stability::Beta, create };

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Actions on resource attributes, in order; at least one.
    attributes: Vec<ActionConfig>,
}

/// Bytes of resources that are remembered: some ten thousand resources of 200 bytes, before and after.
const MEMO_BYTES_MAX: usize = 4 << 20;

/// Field of `Resource` that holds the attributes (opentelemetry/proto/resource/v1/resource.proto).
const ATTRIBUTES_FIELD: u32 = 1;

fn create(
    config: &ComponentConfig<'_>,
    _signal: Signal,
    context: &ProcessorContext,
    next: Arc<dyn Consumer>,
) -> Result<Arc<dyn Processor>, ConfigError> {
    let config: Config = config.parse()?;
    if config.attributes.is_empty() {
        return Err(ConfigError::at("attributes", "missing required field \"attributes\""));
    }
    let actions = Actions::new(&config.attributes).map_err(|error| error.under(&["attributes"]))?;
    // What depends on the sender differs from request to request and is not remembered.
    let memo = (!actions.depends_on_client()).then(|| Mutex::new(ResourceMemo::new(MEMO_BYTES_MAX)));
    let edits = Arc::new(Edits { actions, memo });
    Ok(Arc::new(ResourceProcessor { edits, tasks: context.tasks.clone(), next }))
}

struct Edits {
    actions: Actions,
    memo: Option<Mutex<ResourceMemo>>,
}

struct ResourceProcessor {
    edits: Arc<Edits>,
    tasks: Tasks,
    next: Arc<dyn Consumer>,
}

impl Edits {
    fn edit(&self, batch: &Batch) -> Result<Bytes, DecodeError> {
        let edit = |resource: &[u8], out: &mut Vec<u8>| {
            self.actions.apply(resource, ATTRIBUTES_FIELD, &batch.client, out)
        };
        // When another request has the memory, doing the work once more is shorter than waiting.
        match self.memo.as_ref().and_then(|memo| memo.try_lock()) {
            Some(mut memo) => memo.edit_resources(&batch.payload, edit),
            None => edit_resources(&batch.payload, edit),
        }
    }
}

impl Consumer for ResourceProcessor {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        let edits = Arc::clone(&self.edits);
        edit_and_hand_on(&*self.next, &self.tasks, "resource processor", batch, move |batch| {
            edits.edit(batch).map_err(|error| refused("resource", error.kind(), &error))
        })
    }
}

impl Processor for ResourceProcessor {}

#[cfg(test)]
mod tests;
