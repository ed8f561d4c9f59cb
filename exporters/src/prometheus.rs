//! `prometheus`: a page of the last value of every series, for Prometheus to scrape.
//!
//! Keys: exporter/prometheusexporter of the collector's contrib repository. Metrics become series as everywhere here; a
//! series that gets no value for `metric_expiration` leaves the page. A batch is delivered when the page has its values.
//! Native histograms cannot be written in the text format: they are counted and refused. The process listens for the page
//! and knows the keys about that (`tls`, `auth`, `cors` and the like).

mod page;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use model::{AppendReport, Signal};
use parking_lot::Mutex;
use pipelines::{
    Batch, ComponentConfig, ComponentId, ConfigDuration, ConfigError, Consumer, Exporter, ExporterContext,
    ExporterFactory, ExporterMetrics, PAGE_SERVER_KEYS, Page, PipelineResult, Stability, off_thread, split,
};
use runtime::{Clock, Tasks};
use serde::Deserialize;
use serde_json::Value;
use wire::otlp_to_prometheus::{Settings, Translator};
use wire::prometheus_names::Strategy;
use wire::prometheus_text;

use self::page::{SeriesPage, Values};
use crate::Stores;
use crate::client::unsupported;

pub(crate) const FACTORY: ExporterFactory<Stores> = ExporterFactory {
    kind: "prometheus",
    aliases: &[],
    signals: &[Signal::Metrics],
    stability: Stability::Beta,
    create,
};

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Put before every metric name, with an `_`. Default none.
    namespace: String,
    /// Labels of every series. Default none.
    const_labels: BTreeMap<String, String>,
    /// Whether samples have their times. Default false.
    send_timestamps: bool,
    /// How long a series without a new value stays. Default 5m.
    metric_expiration: ConfigDuration,
    /// Series that the page holds at most; points of further ones are refused. Default 200000.
    max_series: usize,
    /// Whether names get unit and type suffixes. Default true.
    add_metric_suffixes: bool,
    /// Whether all resource attributes become labels. Default off.
    resource_to_telemetry_conversion: Switch,
    enable_open_metrics: bool,
    without_scope_info: bool,
    translation_strategy: Option<Value>,
}

/// A section with the one key `enabled`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Switch {
    /// Default false.
    enabled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            namespace: String::new(),
            const_labels: BTreeMap::new(),
            send_timestamps: false,
            metric_expiration: ConfigDuration::from_secs(300),
            max_series: 200_000,
            add_metric_suffixes: true,
            resource_to_telemetry_conversion: Switch::default(),
            enable_open_metrics: false,
            without_scope_info: false,
            translation_strategy: None,
        }
    }
}

impl Config {
    fn validate(&self) -> Result<(), ConfigError> {
        if self.max_series == 0 {
            return Err(ConfigError::at("max_series", "must be greater than zero"));
        }
        unsupported(&[
            ("enable_open_metrics", self.enable_open_metrics),
            ("without_scope_info", self.without_scope_info),
            ("translation_strategy", self.translation_strategy.is_some()),
        ])
    }

    fn translation(&self) -> Settings {
        Settings {
            strategy: Strategy::escaping(self.add_metric_suffixes),
            namespace: self.namespace.clone(),
            external_labels: self.const_labels.clone().into_iter().collect(),
            promote_all_resource_attributes: self.resource_to_telemetry_conversion.enabled,
            key_seed: rand::random(),
            ..Settings::default()
        }
    }
}

fn create(
    config: &ComponentConfig<'_>,
    context: &ExporterContext,
    _stores: &Stores,
) -> Result<Arc<dyn Exporter>, ConfigError> {
    let id = config.id;
    let (server, own) = split(config.value, PAGE_SERVER_KEYS);
    let endpoint = listening_at(&server)?;
    let config: Config = ComponentConfig { id, value: &own }.parse()?;
    config.validate()?;
    let shared = Shared {
        state: Mutex::new(State {
            translator: Translator::new(config.translation()),
            page: SeriesPage::new(config.max_series),
        }),
        expiration_ms: i64::try_from(config.metric_expiration.0.as_millis()).unwrap_or(i64::MAX),
        send_timestamps: config.send_timestamps,
        clock: Arc::clone(&context.clock),
        tasks: context.tasks.clone(),
    };
    Ok(Arc::new(PrometheusPage {
        id: id.clone(),
        endpoint,
        server,
        shared: Arc::new(shared),
        metrics: ExporterMetrics::new(id),
    }))
}

/// Where to listen; required. The other keys of the listener are for the process.
fn listening_at(server: &Value) -> Result<String, ConfigError> {
    let endpoint = server.get("endpoint").and_then(Value::as_str).unwrap_or_default();
    let is_socket = endpoint.starts_with("unix:")
        || server.get("transport").and_then(Value::as_str).is_some_and(|transport| transport == "unix");
    let port = endpoint.rsplit_once(':').map_or("", |(_, port)| port);
    match !endpoint.is_empty() && (is_socket || port.parse::<u16>().is_ok()) {
        true => Ok(endpoint.to_owned()),
        false => Err(ConfigError::at("endpoint", format!("{endpoint:?}: want host:port to listen on"))),
    }
}

struct PrometheusPage {
    id: ComponentId,
    endpoint: String,
    server: Value,
    shared: Arc<Shared>,
    metrics: ExporterMetrics,
}

struct Shared {
    state: Mutex<State>,
    expiration_ms: i64,
    send_timestamps: bool,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
}

struct State {
    translator: Translator,
    page: SeriesPage,
}

/// Payloads above this are translated off the async threads: about 500 points.
const INLINE_BYTES_MAX: usize = 128 << 10;

impl Shared {
    /// Puts the values of a payload on the page.
    fn take(&self, payload: &[u8]) -> PipelineResult<AppendReport> {
        let now_ms = self.clock.now_ms();
        let State { translator, page } = &mut *self.state.lock();
        page.expire_when_due(now_ms, self.expiration_ms);
        let mut values = Values::default();
        let mut report = translator.translate(payload, page, &mut values)?;
        let natives = values.natives.min(report.stored);
        report.stored -= natives;
        if natives > 0 {
            report.reject("native_histogram", natives, || {
                "exponential histograms cannot be written in the text format".to_owned()
            });
        }
        page.put(values, now_ms);
        Ok(report)
    }

    fn render(&self) -> String {
        let now_ms = self.clock.now_ms();
        let snapshot = {
            let State { page, .. } = &mut *self.state.lock();
            page.expire(now_ms.saturating_sub(self.expiration_ms));
            page.snapshot()
        };
        // Without the lock: writing a large page takes long, and batches must not wait for scrapes.
        snapshot.render(self.send_timestamps)
    }
}

impl PrometheusPage {
    async fn take(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let shared = Arc::clone(&self.shared);
        if batch.payload.len() <= INLINE_BYTES_MAX {
            return shared.take(&batch.payload);
        }
        let work = move || shared.take(&batch.payload);
        off_thread(&self.shared.tasks, &self.id, "translate metrics", work).await
    }
}

impl Consumer for PrometheusPage {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(async move {
            let items = batch.items;
            let outcome = self.take(batch).await;
            self.metrics.count(Signal::Metrics, items, &outcome);
            outcome
        })
    }
}

impl Exporter for PrometheusPage {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn shutdown(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn page(&self) -> Option<Page> {
        let shared = Arc::clone(&self.shared);
        let render = move || -> BoxFuture<'static, Option<String>> {
            let (tasks, shared) = (shared.tasks.clone(), Arc::clone(&shared));
            Box::pin(
                async move { tasks.spawn_blocking("render metrics", move || shared.render()).await.ok() },
            )
        };
        Some(Page {
            id: self.id.clone(),
            server: self.server.clone(),
            endpoint: self.endpoint.clone(),
            path: "/metrics",
            content_type: prometheus_text::CONTENT_TYPE,
            render: Arc::new(render),
        })
    }
}

#[cfg(test)]
mod tests;
