use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::{AppendReport, ErrorKind, Signal};
use parking_lot::Mutex;
use pipelines::{
    Batch, ComponentConfig, ConfigError, Consumer, Exporter, ExporterContext, ExporterFactory, Graph,
    GraphContext, PROCESSORS, PipelineError, PipelineResult, PipelinesConfig, Registries, Stability,
};
use runtime::{MemoryBudget, SystemClock, Tasks};
use serde_json::json;

use super::start;

/// The memory limits that held when exporters started.
type Seen = Arc<Mutex<Vec<u64>>>;

/// An exporter that looks at the limit when it starts.
struct Probe {
    budget: Arc<MemoryBudget>,
    seen: Seen,
    fails: bool,
}

const PROBES: &[ExporterFactory<Seen>] = &[ExporterFactory {
    kind: "probe",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Stability::Stable,
    create,
}];

fn create(
    config: &ComponentConfig<'_>,
    context: &ExporterContext,
    seen: &Seen,
) -> Result<Arc<dyn Exporter>, ConfigError> {
    let (budget, seen, fails) =
        (Arc::clone(&context.budget), Arc::clone(seen), config.value["fails"] == true);
    Ok(Arc::new(Probe { budget, seen, fails }))
}

impl Consumer for Probe {
    fn consume(&self, _batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(std::future::ready(Ok(AppendReport::default())))
    }
}

impl Exporter for Probe {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        self.seen.lock().push(self.budget.ceiling_bytes());
        let error = PipelineError::new(ErrorKind::Unavailable, "not now");
        Box::pin(std::future::ready(if self.fails { Err(error) } else { Ok(()) }))
    }

    fn shutdown(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What the limit of 100 bytes of a running config is after another one started, or failed to.
async fn limit_after(fails: bool) -> u64 {
    let context = GraphContext {
        clock: Arc::new(SystemClock),
        tasks: Tasks::new(),
        budget: MemoryBudget::new(u64::MAX),
        extensions: pipelines::Extensions::default(),
    };
    context.budget.lower_ceiling(100);
    let seen = Seen::default();
    let config = PipelinesConfig::parse(&json!({
        "receivers": {"otlp": null},
        "exporters": {"probe": {"fails": fails}},
        "service": {"pipelines": {"logs": {"receivers": ["otlp"], "exporters": ["probe"]}}},
    }));
    let registries = Registries { processors: PROCESSORS, exporters: PROBES, stores: &seen };
    let graph = Graph::build(&config.expect("a good config"), &registries, &context).expect("a good config");
    assert_eq!(start(&graph, &context).await.is_err(), fails);
    assert_eq!(*seen.lock(), [100], "exporters start under the old limit");
    graph.shutdown(Duration::from_secs(10)).await.expect("ends");
    context.budget.ceiling_bytes()
}

#[tokio::test]
async fn the_old_memory_limit_holds_until_the_new_exporters_run() {
    assert_eq!(limit_after(false).await, u64::MAX, "no limiter asked for one");
    assert_eq!(limit_after(true).await, 100, "the old config goes on");
}
