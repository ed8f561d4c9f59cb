use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::{AppendReport, Signal};
use parking_lot::Mutex;
use runtime::{MemoryBudget, SystemClock, Tasks};
use serde_json::{Value, json};

use super::{Graph, GraphContext, PipelinesConfig, Registries};
use crate::testing::batch;
use crate::{
    Batch, ComponentConfig, ComponentId, ConfigError, Consumer, Exporter, ExporterContext, ExporterFactory,
    PipelineResult, Processor, ProcessorContext, ProcessorFactory, Stability,
};

/// What happened, in order, as `what id`.
type Diary = Arc<Mutex<Vec<String>>>;

struct Noted {
    id: String,
    diary: Diary,
    next: Option<Arc<dyn Consumer>>,
}

impl Noted {
    fn note(&self, what: &str) {
        self.diary.lock().push(format!("{what} {}", self.id));
    }
}

impl Consumer for Noted {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        self.note("consume");
        match &self.next {
            Some(next) => next.consume(batch),
            None => {
                Box::pin(std::future::ready(Ok(AppendReport { stored: batch.items, rejected: Vec::new() })))
            }
        }
    }
}

impl Processor for Noted {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        self.note("start");
        Box::pin(std::future::ready(Ok(())))
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.note("shutdown");
        Box::pin(std::future::ready(()))
    }
}

impl Exporter for Noted {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        self.note("start");
        Box::pin(std::future::ready(Ok(())))
    }

    fn shutdown(&self) -> BoxFuture<'_, PipelineResult<()>> {
        self.note("shutdown");
        if self.id == "out/hangs" {
            Box::pin(std::future::pending())
        } else {
            Box::pin(std::future::ready(Ok(())))
        }
    }
}

fn create_exporter(
    config: &ComponentConfig<'_>,
    _: &ExporterContext,
    diary: &Diary,
) -> Result<Arc<dyn Exporter>, ConfigError> {
    if !config.value.is_null() {
        return Err(ConfigError::at("endpoint", "must not be there"));
    }
    Ok(Arc::new(Noted { id: config.id.to_string(), diary: Arc::clone(diary), next: None }))
}

const EXPORTERS: &[ExporterFactory<Diary>] = &[
    ExporterFactory {
        kind: "out",
        aliases: &["exit"],
        signals: &Signal::ALL,
        stability: Stability::Alpha,
        create: create_exporter,
    },
    ExporterFactory {
        kind: "logs_only",
        aliases: &[],
        signals: &[Signal::Logs],
        stability: Stability::Alpha,
        create: create_exporter,
    },
];

fn create_processor(
    config: &ComponentConfig<'_>,
    signal: Signal,
    _: &ProcessorContext,
    next: Arc<dyn Consumer>,
) -> Result<Arc<dyn Processor>, ConfigError> {
    if !config.value.is_null() {
        return Err(ConfigError::at("limit", "must not be there"));
    }
    // A processor has no way to the diary but its successor; the tests that need one put it into the exporter.
    Ok(Arc::new(Noted { id: format!("{}@{signal}", config.id), diary: Diary::default(), next: Some(next) }))
}

const PROCESSORS: &[ProcessorFactory] = &[ProcessorFactory {
    kind: "through",
    signals: &Signal::ALL,
    stability: Stability::Alpha,
    create: create_processor,
}];

fn build(config: Value, diary: &Diary) -> Result<Graph, ConfigError> {
    let config = PipelinesConfig::parse(&config)?;
    let registries = Registries { processors: PROCESSORS, exporters: EXPORTERS, stores: diary };
    let context = GraphContext {
        clock: Arc::new(SystemClock),
        tasks: Tasks::new(),
        budget: MemoryBudget::new(u64::MAX),
        extensions: crate::Extensions::default(),
    };
    Graph::build(&config, &registries, &context)
}

fn id(text: &str) -> ComponentId {
    ComponentId::parse(text).expect("an id")
}

fn config(pipelines: Value) -> Value {
    json!({
        "receivers": {"otlp": null, "otlp/2": null},
        "processors": {"through": null, "through/2": null},
        "exporters": {"out": null, "exit/2": null, "out/hangs": null, "logs_only": null},
        "service": {"pipelines": pipelines},
    })
}

#[test]
fn faulty_configs_are_refused_with_the_collectors_texts() {
    let check = |pipelines: Value, want: &str| {
        let error = build(config(pipelines), &Diary::default()).err().expect("a fault");
        assert_eq!(error.to_string(), want);
    };
    check(json!({}), "service::pipelines: service must have at least one pipeline");
    check(
        json!({"traces": {"receivers": ["nope"], "exporters": ["out"]}}),
        "service::pipelines::traces: references receiver \"nope\" which is not configured",
    );
    check(
        json!({"traces": {"receivers": ["otlp"], "processors": ["batch"], "exporters": ["out"]}}),
        "service::pipelines::traces: references processor \"batch\" which is not configured",
    );
    check(
        json!({"logs/x": {"receivers": ["otlp"], "exporters": ["out/9"]}}),
        "service::pipelines::logs/x: references exporter \"out/9\" which is not configured",
    );
    check(
        json!({"logs": {"receivers": ["otlp"], "processors": ["through", "through"], "exporters": ["out"]}}),
        "service::pipelines::logs: references processor \"through\" multiple times",
    );
    check(
        json!({"logs": {"exporters": ["out"]}}),
        "service::pipelines::logs: must have at least one receiver",
    );
    check(
        json!({"logs": {"receivers": ["otlp"]}}),
        "service::pipelines::logs: must have at least one exporter",
    );
    check(
        json!({"spans": {"receivers": ["otlp"], "exporters": ["out"]}}),
        "service::pipelines::spans: pipeline \"spans\": unknown signal \"spans\"",
    );
    check(
        json!({"metrics": {"receivers": ["otlp"], "exporters": ["logs_only"]}}),
        "service::pipelines::metrics: exporter \"logs_only\" does not take metrics: \
         telemetry type is not supported, it takes logs",
    );
    let unknown_key = build(config(json!({"logs": {"receiver": ["otlp"]}})), &Diary::default()).err();
    let unknown_key = unknown_key.expect("a fault").to_string();
    assert!(
        unknown_key.starts_with("service::pipelines::logs::receiver: unknown field `receiver`"),
        "{unknown_key}"
    );
}

#[test]
fn faults_of_components_are_named_with_their_path_even_when_no_pipeline_uses_them() {
    let check = |kind: &str, sections: Value, want: &str| {
        let mut config = config(json!({"logs": {"receivers": ["otlp"], "exporters": ["out"]}}));
        for (id, section) in sections.as_object().expect("a map") {
            config[kind][id] = section.clone();
        }
        let error = build(config, &Diary::default()).err().expect("a fault");
        assert_eq!(error.to_string(), want);
    };
    check("exporters", json!({"out/x": {}}), "exporters::out/x::endpoint: must not be there");
    check("processors", json!({"through/x": {}}), "processors::through/x::limit: must not be there");
    check(
        "exporters",
        json!({"kafka/x": null}),
        "exporters::kafka/x: unknown type: \"kafka\" for id: \"kafka/x\" (valid values: [logs_only out])",
    );
    check(
        "processors",
        json!({"filter": null}),
        "processors::filter: unknown type: \"filter\" for id: \"filter\" (valid values: [through])",
    );
    let nothing = PipelinesConfig::parse(&json!({})).expect_err("a fault").to_string();
    assert_eq!(nothing, "no receiver configuration specified in config");
}

#[tokio::test]
async fn a_receiver_feeds_all_its_pipelines_and_shared_exporters_exist_once() {
    let diary = Diary::default();
    let graph = build(
        config(json!({
            "logs": {"receivers": ["otlp"], "processors": ["through"], "exporters": ["out", "logs_only", "out"]},
            "logs/b": {"receivers": ["otlp", "otlp/2"], "exporters": ["out"]},
            "traces": {"receivers": ["otlp/2"], "exporters": ["exit/2"]},
        })),
        &diary,
    )
    .expect("a good config");
    graph.start().await.expect("starts");
    assert_eq!(diary.lock().split_off(0), ["start exit/2", "start logs_only", "start out"]);
    let entry = graph.entry(Signal::Logs, &id("otlp")).expect("in two pipelines");
    assert_eq!(entry.consume(batch("a", 4)).await.expect("delivered").stored, 4);
    let mut notes = diary.lock().split_off(0);
    notes.sort();
    assert_eq!(notes, ["consume logs_only", "consume out", "consume out"]);
    assert!(graph.entry(Signal::Traces, &id("otlp")).is_none());
    assert!(graph.entry(Signal::Traces, &id("otlp/2")).is_some());
    let receivers: Vec<String> = graph.receivers().map(|(signal, id)| format!("{signal} {id}")).collect();
    assert_eq!(receivers, ["logs otlp", "logs otlp/2", "traces otlp/2"]);
    graph.shutdown(Duration::from_secs(1)).await.expect("drained");
    assert_eq!(diary.lock().split_off(0), ["shutdown exit/2", "shutdown logs_only", "shutdown out"]);
}

#[tokio::test(start_paused = true)]
async fn a_component_that_does_not_end_is_named_and_does_not_keep_the_others() {
    let diary = Diary::default();
    let pipelines = json!({"logs": {"receivers": ["otlp"], "exporters": ["out/hangs", "out"]}});
    let graph = build(config(pipelines), &diary).expect("a good config");
    let error = graph.shutdown(Duration::from_secs(7)).await.expect_err("one hangs");
    assert_eq!(error.to_string(), "not drained within 7s: exporter out/hangs");
    assert!(diary.lock().contains(&"shutdown out".to_owned()));
}

fn with_connectors(connectors: Value, pipelines: Value) -> Value {
    let mut config = config(pipelines);
    config["connectors"] = connectors;
    config
}

#[tokio::test]
async fn a_connector_hands_on_to_every_pipeline_behind_it() {
    let diary = Diary::default();
    let pipelines = json!({
        "logs/in": {"receivers": ["otlp"], "processors": ["through"], "exporters": ["forward", "out"]},
        "logs/a": {"receivers": ["forward"], "exporters": ["logs_only"]},
        "logs/b": {"receivers": ["forward", "otlp/2"], "exporters": ["forward/on"]},
        "logs/c": {"receivers": ["forward/on"], "exporters": ["exit/2"]},
    });
    let config =
        with_connectors(json!({"forward": null, "forward/on": {}, "forward/unused": null}), pipelines);
    let graph = build(config, &diary).expect("a good config");
    graph.start().await.expect("starts");
    diary.lock().clear();
    let entry = graph.entry(Signal::Logs, &id("otlp")).expect("a receiver");
    assert_eq!(entry.consume(batch("a", 4)).await.expect("delivered").stored, 4);
    let mut notes = diary.lock().split_off(0);
    notes.sort();
    assert_eq!(notes, ["consume exit/2", "consume logs_only", "consume out"]);
    let receivers: Vec<String> = graph.receivers().map(|(signal, id)| format!("{signal} {id}")).collect();
    assert_eq!(receivers, ["logs otlp", "logs otlp/2"], "a connector is no receiver");
    graph.shutdown(Duration::from_secs(1)).await.expect("drained");
}

#[test]
fn connectors_must_be_used_on_both_sides_and_lead_nowhere_back() {
    let check = |connectors: Value, pipelines: Value, want: &str| {
        let error = build(with_connectors(connectors, pipelines), &Diary::default()).err().expect("a fault");
        assert_eq!(error.to_string(), want);
    };
    check(
        json!({"forward": null}),
        json!({"logs": {"receivers": ["otlp"], "exporters": ["forward"]}}),
        "service::pipelines: connector \"forward\" used as exporter in [logs] pipeline but not used in any supported \
         receiver pipeline",
    );
    check(
        json!({"forward": null}),
        json!({
            "logs": {"receivers": ["otlp"], "exporters": ["out"]},
            "traces": {"receivers": ["forward"], "exporters": ["out"]},
        }),
        "service::pipelines: connector \"forward\" used as receiver in [traces] pipeline but not used in any supported \
         exporter pipeline",
    );
    check(
        json!({"forward": null, "forward/2": null}),
        json!({
            "logs/a": {"receivers": ["otlp", "forward/2"], "exporters": ["forward"]},
            "logs/b": {"receivers": ["forward"], "exporters": ["forward/2"]},
        }),
        "service::pipelines: cycle detected: pipeline \"logs/a\" -> pipeline \"logs/b\" -> pipeline \"logs/a\"",
    );
    check(
        json!({"out": null}),
        json!({"logs": {"receivers": ["otlp"], "exporters": ["out"]}}),
        "connectors::out: ambiguous ID: Found both \"out\" exporter and \"out\" connector. Change one of the components' \
         IDs to eliminate ambiguity (e.g. rename \"out\" connector to \"out/connector\")",
    );
    check(
        json!({"spanmetrics": null}),
        json!({"logs": {"receivers": ["otlp"], "exporters": ["out"]}}),
        "connectors::spanmetrics: unknown type: \"spanmetrics\" for id: \"spanmetrics\" (valid values: [count forward routing])",
    );
    check(
        json!({"forward": {"x": 1}}),
        json!({
            "logs/a": {"receivers": ["otlp"], "exporters": ["forward"]},
            "logs/b": {"receivers": ["forward"], "exporters": ["out"]},
        }),
        "connectors::forward: forward has no settings, want an empty section",
    );
    // One that no pipeline names is checked all the same.
    let pipelines = || json!({"logs": {"receivers": ["otlp"], "exporters": ["out"]}});
    check(
        json!({"forward": {"x": 1}}),
        pipelines(),
        "connectors::forward: forward has no settings, want an empty section",
    );
    check(
        json!({"routing": {"table": []}}),
        pipelines(),
        "connectors::routing::table: invalid routing table: the routing table is empty",
    );
    let unused = json!({"routing": {"table": [{"statement": "route()", "pipelines": ["logs/elsewhere"]}]}, "count": null});
    assert!(build(with_connectors(unused, pipelines()), &Diary::default()).is_ok());
}

/// An authenticator whose header has this value.
struct Token(&'static str);

impl crate::ClientAuth for Token {
    fn header(&self) -> PipelineResult<(String, crate::Opaque)> {
        Ok(("authorization".to_owned(), self.0.to_owned().into()))
    }
}

/// Notes the credentials that a delivery would have.
struct Authed {
    auth: Arc<dyn crate::ClientAuth>,
    diary: Diary,
}

impl Consumer for Authed {
    fn consume(&self, _: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        let (_, token) = self.auth.header().expect("a token");
        self.diary.lock().push(token.reveal().to_owned());
        Box::pin(std::future::ready(Ok(AppendReport::default())))
    }
}

impl Exporter for Authed {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn shutdown(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test]
async fn an_exporter_that_stays_over_a_reload_sends_the_credentials_of_the_new_config() {
    const ROWS: &[ExporterFactory<Diary>] = &[ExporterFactory {
        kind: "out",
        aliases: &[],
        signals: &Signal::ALL,
        stability: Stability::Alpha,
        create: |_, context, diary| {
            let auth = context.extensions.client_auth("bearer")?;
            Ok(Arc::new(Authed { auth, diary: Arc::clone(diary) }))
        },
    }];
    let diary = Diary::default();
    let beside = |token: Option<&'static str>, running: Option<&Graph>| {
        let offer = |token| crate::Offer { client_auth: Some(Arc::new(Token(token))), ..Default::default() };
        let context = GraphContext {
            clock: Arc::new(SystemClock),
            tasks: Tasks::new(),
            budget: MemoryBudget::new(u64::MAX),
            extensions: crate::Extensions::new(token.map(|token| (id("bearer"), offer(token)))),
        };
        let pipelines = json!({"logs": {"receivers": ["in"], "exporters": ["out"]}});
        let config = json!({"receivers": {"in": null}, "exporters": {"out": null}, "service": {"pipelines": pipelines}});
        let config = PipelinesConfig::parse(&config).expect("a good config");
        let registries = Registries { processors: PROCESSORS, exporters: ROWS, stores: &diary };
        Graph::build_beside(&config, &registries, &context, running)
    };
    let mut old = beside(Some("old"), None).expect("a good config");
    let entry = old.entry(Signal::Logs, &id("in")).expect("is fed");
    let sent = || async {
        entry.consume(batch("x", 1)).await.expect("taken");
        diary.lock().pop().expect("was noted")
    };
    assert_eq!(sent().await, "old");
    let gone = beside(None, Some(&old)).err().expect("its authenticator is gone");
    assert!(gone.to_string().contains("authenticator not found"), "{gone}");
    let new = beside(Some("new"), Some(&old)).expect("a good config");
    assert_eq!(sent().await, "old", "until the new config runs");
    old.hand_over_to(&new);
    assert_eq!(sent().await, "new", "with what is still in its queue");
    let mut new = new;
    new.hand_over_to(&beside(Some("third"), Some(&new)).expect("a good config"));
    assert_eq!(sent().await, "third");
}
