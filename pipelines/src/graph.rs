//! The pipelines of a config as connected components, with one life cycle.
//!
//! Rules of the collector (service/internal/graph/graph.go): one exporter instance for each id, shared by all pipelines
//! that name it; one processor instance for each pipeline; one entry for each (receiver id, signal), fanning out to all
//! pipelines that name the receiver. Components start from the back, so that nobody sends to one that is not ready, and
//! end from the front, each after everything before it ended, so that what was taken is delivered.

mod config;
mod connections;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use metrics::Counter;
use model::{AppendReport, ErrorKind, Signal};
use runtime::{Clock, MemoryBudget, Tasks};
use serde_json::Value;
use tokio::time::Instant;

use crate::connectors::Outputs;
use crate::extensions::{Lent, Renewal};
use crate::fan_out::FanOut;
use crate::telemetry::ProcessorItems;
use crate::{
    Batch, ComponentConfig, ComponentId, ConfigError, Consumer, Exporter, ExporterContext, ExporterFactory,
    Extensions, Page, PipelineError, PipelineResult, Processor, ProcessorContext, ProcessorFactory,
    RemoteWriteBatch, RemoteWriteConsumer, hand_on_remote_write,
};
use connections::Connections;

pub use config::{PipelineConfig, PipelineId, PipelinesConfig};

/// What the components of a graph may use of their surroundings.
#[derive(Clone)]
pub struct GraphContext {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where their tasks live.
    pub tasks: Tasks,
    /// The process' one memory budget.
    pub budget: Arc<MemoryBudget>,
    /// The extensions that their configs may name.
    pub extensions: Extensions,
}

/// Which components a config may name, and what the exporters among them get.
pub struct Registries<'a, S: 'static> {
    /// The processors.
    pub processors: &'a [ProcessorFactory],
    /// The exporters.
    pub exporters: &'a [ExporterFactory<S>],
    /// What the surroundings offer to exporters.
    pub stores: &'a S,
}

/// Connected pipelines.
pub struct Graph {
    entries: BTreeMap<(Signal, ComponentId), Arc<dyn Consumer>>,
    /// The pipelines, each after those that it leads to.
    processors: Vec<Chain>,
    exporters: Vec<RunningExporter>,
}

/// A pipeline's processors, front to back.
struct Chain {
    id: PipelineId,
    /// How many connectors are in front of it at most.
    depth: usize,
    processors: Vec<Arc<dyn Processor>>,
}

/// What connectors lead to: the pipelines that are made, and the connectors by id and signals in and out.
#[derive(Default)]
struct Behind {
    heads: BTreeMap<PipelineId, Arc<dyn Consumer>>,
    connectors: BTreeMap<(ComponentId, Signal, Signal), Arc<dyn Consumer>>,
}

/// An exporter that a pipeline names.
struct RunningExporter {
    id: ComponentId,
    /// Its section, by which a later graph tells whether it is the same.
    section: Value,
    instance: Arc<dyn Exporter>,
    /// What it has of extensions.
    lent: Lent,
    /// Of one that is taken over from another graph that runs: what it gets of this config's extensions.
    renewal: Option<Renewal>,
}

impl RunningExporter {
    /// Whether it was made for this graph.
    fn is_new(&self) -> bool {
        self.renewal.is_none()
    }
}

impl Graph {
    /// Makes and connects the components. Nothing runs yet. Sections of components that no pipeline names are checked
    /// too, as the collector does, and then left aside.
    pub fn build<S>(
        config: &PipelinesConfig,
        registries: &Registries<'_, S>,
        context: &GraphContext,
    ) -> Result<Self, ConfigError> {
        Self::build_beside(config, registries, context, None)
    }

    /// The same beside a graph that runs and is to end soon: exporters whose id and section are those of a running one
    /// are that one, with its connections and its queue; the credentials of its requests are exchanged in
    /// [`Self::hand_over_to`].
    pub fn build_beside<S>(
        config: &PipelinesConfig,
        registries: &Registries<'_, S>,
        context: &GraphContext,
        running: Option<&Self>,
    ) -> Result<Self, ConfigError> {
        let builder = Builder { config, registries, context, running };
        builder.check_unused_processors()?;
        let exporters = builder.exporters()?;
        let connections = Connections::of(config)?;
        builder.check_unused_connectors()?;
        let mut heads: BTreeMap<(Signal, ComponentId), Vec<Arc<dyn Consumer>>> = BTreeMap::new();
        let mut processors = Vec::new();
        let mut behind = Behind::default();
        for id in &connections.order {
            let pipeline = &config.pipelines[id];
            let (head, chain) = builder.pipeline(id, pipeline, &exporters, &mut behind)?;
            processors.push(Chain { id: id.clone(), depth: connections.depths[id], processors: chain });
            for receiver in pipeline.receivers.iter().filter(|id| !config.connectors.contains_key(id)) {
                heads.entry((id.signal, receiver.clone())).or_default().push(Arc::clone(&head));
            }
            behind.heads.insert(id.clone(), head);
        }
        let used =
            |id: &ComponentId| config.pipelines.values().any(|pipeline| pipeline.exporters.contains(id));
        Ok(Self {
            entries: heads.into_iter().map(|(key, heads)| (key, FanOut::over(heads))).collect(),
            processors,
            exporters: exporters
                .into_iter()
                .filter(|(id, _)| used(id))
                .map(|(id, built)| RunningExporter {
                    section: config.exporters[&id].clone(),
                    id,
                    instance: built.instance,
                    lent: built.lent,
                    renewal: built.renewal,
                })
                .collect(),
        })
    }

    /// Exporters of this graph that `next` has under the same id and made anew, with their sections here.
    pub fn replaced_by<'a>(&'a self, next: &'a Self) -> impl Iterator<Item = (&'a ComponentId, &'a Value)> {
        self.exporters.iter().filter_map(|own| {
            let other = next.exporters.iter().find(|other| other.id == own.id)?;
            (!Arc::ptr_eq(&own.instance, &other.instance)).then_some((&own.id, &own.section))
        })
    }

    /// Leaves the exporters that `next` took over to it, so that the end of this graph is not theirs. They authenticate
    /// themselves by its extensions from here on, with what waits in their queues too.
    pub fn hand_over_to(&mut self, next: &Self) {
        next.exporters.iter().filter_map(|own| own.renewal.as_ref()).for_each(Renewal::put);
        let is_taken = |own: &RunningExporter| {
            next.exporters.iter().any(|other| Arc::ptr_eq(&own.instance, &other.instance))
        };
        self.exporters.retain(|own| !is_taken(own));
    }

    /// Leaves the exporters that it took over from a running graph there, when this graph does not come to run.
    pub fn hand_back(&mut self) {
        self.exporters.retain(RunningExporter::is_new);
    }

    /// Starts the exporters that do not run yet, then the processors.
    pub async fn start(&self) -> PipelineResult<()> {
        self.start_exporters().await?;
        self.start_processors().await
    }

    /// Starts the exporters that do not run yet, which may take long: those with queues on disk read them.
    pub async fn start_exporters(&self) -> PipelineResult<()> {
        for RunningExporter { id, instance, .. } in self.exporters.iter().filter(|own| own.is_new()) {
            let failed = |error: PipelineError| {
                PipelineError::new(error.kind(), format!("failed to start exporter {id}: {error}"))
            };
            instance.start().await.map_err(failed)?;
        }
        Ok(())
    }

    /// Starts the processors from the back, behind which the exporters run.
    pub async fn start_processors(&self) -> PipelineResult<()> {
        for Chain { id, processors, .. } in &self.processors {
            let failed = |error: PipelineError| {
                PipelineError::new(
                    error.kind(),
                    format!("failed to start a processor of pipeline {id}: {error}"),
                )
            };
            for processor in processors.iter().rev() {
                processor.start().await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Where receiver `receiver` gives batches of `signal`; `None` when no pipeline of that signal names it.
    pub fn entry(&self, signal: Signal, receiver: &ComponentId) -> Option<Arc<dyn Consumer>> {
        self.entries.get(&(signal, receiver.clone())).cloned()
    }

    /// The receivers that pipelines name, each once for each signal, by signal and id.
    pub fn receivers(&self) -> impl Iterator<Item = (Signal, &ComponentId)> {
        self.entries.keys().map(|(signal, id)| (*signal, id))
    }

    /// The pages of its exporters.
    pub fn pages(&self) -> impl Iterator<Item = Page> {
        self.exporters.iter().filter_map(|own| own.instance.page())
    }

    /// Delivers what is inside and ends everything, front to back; call it when the receivers have ended. What is not
    /// done within `deadline` is given up, and the error says where.
    pub async fn shutdown(&self, deadline: Duration) -> PipelineResult<()> {
        let end = Instant::now() + deadline;
        let mut late = Vec::new();
        let depths = self.processors.iter().map(|chain| chain.depth + 1).max().unwrap_or(0);
        for depth in 0..depths {
            let pipelines = self.processors.iter().filter(|chain| chain.depth == depth);
            let pipelines = pipelines.map(|Chain { id, processors, .. }| async move {
                for processor in processors {
                    if tokio::time::timeout_at(end, processor.shutdown()).await.is_err() {
                        return Some(format!("pipeline {id}"));
                    }
                }
                None
            });
            late.extend(join_all(pipelines).await.into_iter().flatten());
        }
        let exporters = self.exporters.iter().map(|RunningExporter { id, instance, .. }| async move {
            match tokio::time::timeout_at(end, instance.shutdown()).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("exporter {id}: {error}")),
                Err(_) => Some(format!("exporter {id}")),
            }
        });
        late.extend(join_all(exporters).await.into_iter().flatten());
        if late.is_empty() {
            return Ok(());
        }
        let message = format!("not drained within {deadline:?}: {}", late.join(", "));
        Err(PipelineError::new(ErrorKind::Timeout, message))
    }
}

struct BuiltExporter {
    signals: &'static [Signal],
    instance: Arc<dyn Exporter>,
    lent: Lent,
    renewal: Option<Renewal>,
}

struct Builder<'a, S: 'static> {
    config: &'a PipelinesConfig,
    registries: &'a Registries<'a, S>,
    context: &'a GraphContext,
    running: Option<&'a Graph>,
}

impl<S> Builder<'_, S> {
    fn exporters(&self) -> Result<BTreeMap<ComponentId, BuiltExporter>, ConfigError> {
        let mut built = BTreeMap::new();
        for (id, value) in &self.config.exporters {
            let rows = self.registries.exporters;
            let row = rows.iter().find(|row| row.kind == id.kind || row.aliases.contains(&id.kind.as_str()));
            let Some(row) = row else {
                return Err(unknown_type("exporters", id, rows.iter().map(|row| row.kind)));
            };
            let running = self.running.into_iter().flat_map(|graph| &graph.exporters);
            let same = running.into_iter().find(|running| running.id == *id && running.section == *value);
            let made = match same {
                Some(running) => running
                    .lent
                    .renewed_by(&self.context.extensions)
                    .map(|renewal| (Arc::clone(&running.instance), running.lent.clone(), Some(renewal))),
                None => {
                    let (context, lent) = self.exporter_context();
                    (row.create)(&ComponentConfig { id, value }, &context, self.registries.stores)
                        .map(|instance| (instance, lent, None))
                }
            };
            let (instance, lent, renewal) =
                made.map_err(|error| error.under(&["exporters", &id.to_string()]))?;
            built.insert(id.clone(), BuiltExporter { signals: row.signals, instance, lent, renewal });
        }
        Ok(built)
    }

    /// The surroundings of one exporter, and what it gets of extensions.
    fn exporter_context(&self) -> (ExporterContext, Lent) {
        let (extensions, lent) = self.context.extensions.lending();
        let context = ExporterContext {
            clock: Arc::clone(&self.context.clock),
            tasks: self.context.tasks.clone(),
            budget: Arc::clone(&self.context.budget),
            extensions,
        };
        (context, lent)
    }

    fn processor(
        &self,
        id: &ComponentId,
        value: &Value,
        signal: Option<Signal>,
        next: Arc<dyn Consumer>,
    ) -> Result<Arc<dyn Processor>, ConfigError> {
        let rows = self.registries.processors;
        let Some(row) = rows.iter().find(|row| row.kind == id.kind) else {
            return Err(unknown_type("processors", id, rows.iter().map(|row| row.kind)));
        };
        let signal = signal.or(row.signals.first().copied()).unwrap_or(Signal::Metrics);
        if !row.signals.contains(&signal) {
            return Err(not_supported("processor", id, signal, row.signals));
        }
        (row.create)(&ComponentConfig { id, value }, signal, &self.processor_context(), next)
            .map_err(|error| error.under(&["processors", &id.to_string()]))
    }

    /// The connector as the end of pipelines of signal `from`: one consumer for each signal that it turns it into.
    fn connector(
        &self,
        id: &ComponentId,
        value: &Value,
        from: Signal,
        behind: &mut Behind,
    ) -> Result<Vec<Arc<dyn Consumer>>, ConfigError> {
        let row = connections::row(id)?;
        let mut consumers = Vec::new();
        for (_, to) in row.pairs.iter().filter(|(taken, _)| *taken == from) {
            let pipelines = self.config.pipelines.iter();
            let heads: BTreeMap<_, _> = pipelines
                .filter(|(pipeline, section)| pipeline.signal == *to && section.receivers.contains(id))
                .map(|(pipeline, _)| (pipeline.clone(), Arc::clone(&behind.heads[pipeline])))
                .collect();
            if heads.is_empty() {
                continue;
            }
            let key = (id.clone(), from, *to);
            if let Some(made) = behind.connectors.get(&key) {
                consumers.push(Arc::clone(made));
                continue;
            }
            let outputs = Outputs { from, to: *to, heads };
            let made = (row.create)(&ComponentConfig { id, value }, &self.processor_context(), outputs)
                .map_err(|error| error.under(&["connectors", &id.to_string()]))?;
            behind.connectors.insert(key, Arc::clone(&made));
            consumers.push(made);
        }
        Ok(consumers)
    }

    /// Checks the sections of connectors that no pipeline names.
    fn check_unused_connectors(&self) -> Result<(), ConfigError> {
        let pipelines = || self.config.pipelines.values();
        let is_used = |id: &ComponentId| {
            pipelines().any(|pipeline| pipeline.receivers.contains(id) || pipeline.exporters.contains(id))
        };
        for (id, value) in self.config.connectors.iter().filter(|(id, _)| !is_used(id)) {
            let row = connections::row(id)?;
            (row.check)(&ComponentConfig { id, value }, &self.processor_context())
                .map_err(|error| error.under(&["connectors", &id.to_string()]))?;
        }
        Ok(())
    }

    fn processor_context(&self) -> ProcessorContext {
        ProcessorContext {
            clock: Arc::clone(&self.context.clock),
            tasks: self.context.tasks.clone(),
            budget: Arc::clone(&self.context.budget),
        }
    }

    fn check_unused_processors(&self) -> Result<(), ConfigError> {
        let pipelines = &self.config.pipelines;
        for (id, value) in &self.config.processors {
            if !pipelines.values().any(|pipeline| pipeline.processors.contains(id)) {
                self.processor(id, value, None, FanOut::over(Vec::new()))?;
            }
        }
        Ok(())
    }

    /// The first consumer of a pipeline and its processors, front to back.
    #[expect(clippy::type_complexity, reason = "a pair with one caller")]
    fn pipeline(
        &self,
        id: &PipelineId,
        pipeline: &PipelineConfig,
        exporters: &BTreeMap<ComponentId, BuiltExporter>,
        behind: &mut Behind,
    ) -> Result<(Arc<dyn Consumer>, Vec<Arc<dyn Processor>>), ConfigError> {
        let at_pipeline = |error: ConfigError| error.under(&["service", "pipelines", &id.to_string()]);
        let mut destinations: Vec<Arc<dyn Consumer>> = Vec::new();
        for exporter in &pipeline.exporters {
            if let Some(value) = self.config.connectors.get(exporter) {
                destinations.extend(self.connector(exporter, value, id.signal, behind)?);
                continue;
            }
            let built = &exporters[exporter];
            if !built.signals.contains(&id.signal) {
                return Err(at_pipeline(not_supported("exporter", exporter, id.signal, built.signals)));
            }
            destinations.push(Arc::clone(&built.instance) as Arc<dyn Consumer>);
        }
        let mut head = FanOut::over(destinations);
        let mut chain = Vec::new();
        for processor_id in pipeline.processors.iter().rev() {
            let value = &self.config.processors[processor_id];
            let items = ProcessorItems::new(processor_id, id.signal);
            let next = Arc::new(Counted { counter: items.outgoing, inner: head });
            let processor = self.processor(processor_id, value, Some(id.signal), next)?;
            chain.push(Arc::clone(&processor));
            head = Arc::new(Counted { counter: items.incoming, inner: processor });
        }
        chain.reverse();
        Ok((head, chain))
    }
}

fn unknown_type(kind: &str, id: &ComponentId, rows: impl Iterator<Item = &'static str>) -> ConfigError {
    let mut known: Vec<&str> = rows.collect();
    known.sort_unstable();
    let message =
        format!("unknown type: {:?} for id: \"{id}\" (valid values: [{}])", id.kind, known.join(" "));
    ConfigError::at("", message).under(&[kind, &id.to_string()])
}

fn not_supported(kind: &str, id: &ComponentId, signal: Signal, signals: &[Signal]) -> ConfigError {
    let signals: Vec<&str> = signals.iter().map(|signal| signal.name()).collect();
    let message = format!(
        "{kind} \"{id}\" does not take {signal}: telemetry type is not supported, it takes {}",
        signals.join(", ")
    );
    ConfigError::at("", message)
}

/// Counts the items that pass.
struct Counted {
    counter: Counter,
    inner: Arc<dyn Consumer>,
}

impl Consumer for Counted {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        self.counter.increment(batch.items);
        self.inner.consume(batch)
    }

    fn remote_write(&self) -> Option<&dyn RemoteWriteConsumer> {
        self.inner.remote_write().map(|_| self as _)
    }
}

impl RemoteWriteConsumer for Counted {
    fn consume_remote_write(&self, request: RemoteWriteBatch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        self.counter.increment(request.batch.items);
        hand_on_remote_write(&*self.inner, request)
    }
}

#[cfg(test)]
mod tests;
