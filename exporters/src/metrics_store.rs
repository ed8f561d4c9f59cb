//! `metrics_store`: this process' own metrics store as a destination.
//!
//! OTLP metrics are translated as Prometheus' OTLP endpoint does and appended, remote write requests as they are; a batch
//! is acknowledged when the store has it durably, so there is no queue. The steady state hashes each point's bytes, looks its series up in a bounded
//! cache and fills three columns; labels are made on a miss only. When the store has forgotten a series that the cache
//! knows, the batch is walked once more and just those samples are resolved and appended again.

mod columns;
mod series_cache;
mod series_taker;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use model::{AppendReport, ErrorKind, Rejection, Signal};
use parking_lot::Mutex;
use pipelines::{
    Batch, ComponentConfig, ComponentId, ConfigError, Consumer, Exporter, ExporterContext, ExporterFactory,
    ExporterMetrics, PipelineError, PipelineResult, RemoteWriteBatch, RemoteWriteConsumer, Stability,
    off_thread,
};
use runtime::Tasks;
use serde::Deserialize;
use storage_api::{AppendOutcome, MetricsAppender};
use wire::delta_to_cumulative::DeltaStreams;
use wire::otlp_to_prometheus::{Settings, Translator};
use wire::prometheus_names::Strategy;
use wire::remote_write::{self, Version};

use self::columns::{Columns, Resend, Sink};
use self::series_cache::{ResolveError, SeriesCache, StoreResolver};
use self::series_taker::SeriesTaker;
use crate::Stores;
use crate::storage_error::pipeline_error;
use crate::store_gate::StoreGate;

pub(crate) const FACTORY: ExporterFactory<Stores> = ExporterFactory {
    kind: "metrics_store",
    aliases: &[],
    signals: &[Signal::Metrics],
    stability: Stability::Beta,
    create,
};

/// How names are carried over, in the words of prometheus.yml.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum TranslationStrategy {
    #[default]
    UnderscoreEscapingWithSuffixes,
    UnderscoreEscapingWithoutSuffixes,
    NoUTF8EscapingWithSuffixes,
    NoTranslation,
}

/// What becomes of points of delta temporality.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Delta {
    #[default]
    Refuse,
    Cumulative,
    Native,
}

/// Keys and defaults are those of the `otlp` section of prometheus.yml.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Default UnderscoreEscapingWithSuffixes.
    translation_strategy: TranslationStrategy,
    /// Resource attributes that become labels of every series of the resource. Default none.
    promote_resource_attributes: Vec<String>,
    /// Whether all of them do, but those of `ignore_resource_attributes`. Default false.
    promote_all_resource_attributes: bool,
    /// Exceptions of `promote_all_resource_attributes`. Default none.
    ignore_resource_attributes: Vec<String>,
    /// Whether service.name, service.namespace and service.instance.id stay labels of target_info. Default false.
    keep_identifying_resource_attributes: bool,
    /// Whether histograms with explicit bounds are stored as native ones with custom buckets. Default false.
    convert_histograms_to_nhcb: bool,
    /// What becomes of points of delta temporality: `refuse`; `cumulative`: added up by series, which begins again at a
    /// restart, as a counter does; or `native`: stored as they are, of unknown type. Default refuse. Prometheus has
    /// feature flags for the other two.
    delta: Delta,
    /// Whether scope name, version, schema URL and attributes become `otel_scope_*` labels. Default false.
    promote_scope_metadata: bool,
    /// Whether label names that start with a single `_` get `key` before it. Default true.
    label_name_underscore_sanitization: bool,
    /// Whether runs of `_` in label names are kept. Default true.
    label_name_preserve_multiple_underscores: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            translation_strategy: TranslationStrategy::default(),
            promote_resource_attributes: Vec::new(),
            promote_all_resource_attributes: false,
            ignore_resource_attributes: Vec::new(),
            keep_identifying_resource_attributes: false,
            convert_histograms_to_nhcb: false,
            delta: Delta::default(),
            promote_scope_metadata: false,
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
        }
    }
}

impl Config {
    fn settings(self) -> Result<Settings, ConfigError> {
        if self.promote_all_resource_attributes && !self.promote_resource_attributes.is_empty() {
            let message = "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured \
                           simultaneously";
            return Err(ConfigError::at("", message));
        }
        if !self.promote_all_resource_attributes && !self.ignore_resource_attributes.is_empty() {
            let message =
                "'ignore_resource_attributes' can only be set when 'promote_all_resource_attributes' is true";
            return Err(ConfigError::at("", message));
        }
        Ok(Settings {
            strategy: match self.translation_strategy {
                TranslationStrategy::UnderscoreEscapingWithSuffixes => {
                    Strategy::UnderscoreEscapingWithSuffixes
                }
                TranslationStrategy::UnderscoreEscapingWithoutSuffixes => {
                    Strategy::UnderscoreEscapingWithoutSuffixes
                }
                TranslationStrategy::NoUTF8EscapingWithSuffixes => Strategy::NoUtf8EscapingWithSuffixes,
                TranslationStrategy::NoTranslation => Strategy::NoTranslation,
            },
            promote_resource_attributes: self.promote_resource_attributes,
            promote_all_resource_attributes: self.promote_all_resource_attributes,
            ignore_resource_attributes: self.ignore_resource_attributes,
            keep_identifying_resource_attributes: self.keep_identifying_resource_attributes,
            convert_histograms_to_nhcb: self.convert_histograms_to_nhcb,
            allow_delta_temporality: self.delta == Delta::Native,
            promote_scope_metadata: self.promote_scope_metadata,
            label_name_underscore_sanitization: self.label_name_underscore_sanitization,
            label_name_preserve_multiple_underscores: self.label_name_preserve_multiple_underscores,
            key_seed: rand::random(),
            ..Settings::default()
        })
    }
}

fn create(
    config: &ComponentConfig<'_>,
    context: &ExporterContext,
    stores: &Stores,
) -> Result<Arc<dyn Exporter>, ConfigError> {
    let id = config.id.clone();
    let config: Config = config.parse()?;
    let adds_deltas = config.delta == Delta::Cumulative;
    let settings = config.settings()?;
    let Some(appender) = &stores.metrics else {
        return Err(ConfigError::at("", "this process has no metrics store"));
    };
    let metrics = ExporterMetrics::new(&id);
    let shared = Shared {
        id,
        appender: Arc::clone(appender),
        cache: SeriesCache::new(REFS_CACHED_MAX),
        deltas: adds_deltas.then(|| Mutex::new(DeltaStreams::new(DELTA_CELLS_MAX, settings.key_seed))),
        settings,
        translators: Mutex::default(),
        gate: StoreGate::new(&context.budget),
        metrics,
    };
    Ok(Arc::new(MetricsStore { shared: Arc::new(shared), tasks: context.tasks.clone() }))
}

/// Series that the cache holds in each of its two generations: some 200 MB when every one is in use, while the store
/// needs ten times that for the same series.
const REFS_CACHED_MAX: usize = 4 << 20;

/// Streams of deltas and their buckets that are added up in each of two generations: some 150 MB when all are in use.
const DELTA_CELLS_MAX: usize = 1 << 20;

/// Payloads above this are translated off the async threads: about 1000 points, 300 µs.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// Idle translators that are kept; each holds a few kilobytes of scratch memory.
const TRANSLATORS_IDLE_MAX: usize = 64;

/// Rounds of resolving series that the store forgot meanwhile. One is the rule; more only if it forgets in between.
const RESEND_ROUNDS_MAX: u32 = 3;

struct MetricsStore {
    shared: Arc<Shared>,
    tasks: Tasks,
}

struct Shared {
    id: ComponentId,
    appender: Arc<dyn MetricsAppender>,
    cache: SeriesCache,
    settings: Settings,
    /// Sums of the deltas so far, if they are to be added up.
    deltas: Option<Mutex<DeltaStreams>>,
    translators: Mutex<Vec<Translator>>,
    gate: StoreGate,
    metrics: ExporterMetrics,
}

/// What the payload of a batch is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Otlp,
    RemoteWrite(Version),
}

impl MetricsStore {
    async fn store(&self, batch: Batch, form: Form) -> PipelineResult<AppendReport> {
        let shared = &self.shared;
        let _room = shared.gate.enter(batch.payload.len()).await;
        let (batch, dropped) = match form {
            Form::Otlp => self.add_deltas(batch).await?,
            Form::RemoteWrite(_) => (batch, AppendReport::default()),
        };
        shared.appender.prepare(&batch.tenant).await;
        let (mut columns, mut report) = self.translate(&batch, form, None).await?;
        report.merge(dropped);
        let points = columns.points;
        let mut refused = Vec::new();
        let mut resend = shared.append(&batch, &mut columns, &mut refused).await?;
        let mut exemplars = std::mem::take(&mut columns.exemplars);
        for _ in 0..RESEND_ROUNDS_MAX {
            if resend.is_empty() {
                break;
            }
            let (mut columns, _) = self.translate(&batch, form, Some(resend)).await?;
            resend = shared.append(&batch, &mut columns, &mut refused).await?;
            exemplars.merge(std::mem::take(&mut columns.exemplars));
        }
        if !resend.is_empty() {
            let message = format!("exporter {}: the store keeps forgetting series of the batch", shared.id);
            return Err(PipelineError::new(ErrorKind::Unavailable, message));
        }
        report.stored = points;
        for Rejection { reason, count, message } in by_point(refused) {
            report.stored = report.stored.saturating_sub(count);
            report.reject(reason, count, || message);
        }
        // The points of these exemplars are stored, so that their senders are warned and nothing counts as refused.
        for Rejection { reason, count, message } in exemplars.rejected {
            report.reject(reason, 0, || format!("{count} exemplars were not stored: {message}"));
        }
        Ok(report)
    }

    /// The batch with its deltas made cumulative, if that is asked for, and which points went.
    async fn add_deltas(&self, batch: Batch) -> PipelineResult<(Batch, AppendReport)> {
        if self.shared.deltas.is_none() {
            return Ok((batch, AppendReport::default()));
        }
        if batch.payload.len() <= INLINE_BYTES_MAX {
            return self.shared.add_deltas(batch);
        }
        let shared = Arc::clone(&self.shared);
        off_thread(&self.tasks, &self.shared.id, "add up deltas", move || shared.add_deltas(batch)).await
    }

    /// The samples of a batch, or only those of `resend`, and the report of the translation.
    async fn translate(
        &self,
        batch: &Batch,
        form: Form,
        resend: Option<Resend>,
    ) -> PipelineResult<(Columns, AppendReport)> {
        if batch.payload.len() <= INLINE_BYTES_MAX {
            return self.shared.translate(batch, form, resend);
        }
        let (shared, batch) = (Arc::clone(&self.shared), batch.clone());
        let work = move || shared.translate(&batch, form, resend);
        off_thread(&self.tasks, &self.shared.id, "translate metrics", work).await
    }
}

/// A point of which the store refused at least one sample.
struct PointRefusal {
    ordinal: u32,
    reason: &'static str,
    message: String,
}

/// Counts each point once, for the first reason that was given for one of its samples.
fn by_point(mut refused: Vec<PointRefusal>) -> Vec<Rejection> {
    refused.sort_by_key(|refusal| refusal.ordinal);
    refused.dedup_by_key(|refusal| refusal.ordinal);
    let mut counted: Vec<Rejection> = Vec::new();
    for PointRefusal { reason, message, .. } in refused {
        match counted.iter_mut().find(|known| known.reason == reason) {
            Some(known) => known.count += 1,
            None => counted.push(Rejection { reason, count: 1, message }),
        }
    }
    counted
}

impl Shared {
    fn add_deltas(&self, batch: Batch) -> PipelineResult<(Batch, AppendReport)> {
        let Some(deltas) = &self.deltas else { return Ok((batch, AppendReport::default())) };
        let (payload, report) = deltas.lock().convert(batch.tenant.as_str(), &batch.payload)?;
        Ok((Batch { payload, ..batch }, report))
    }

    fn translate(
        &self,
        batch: &Batch,
        form: Form,
        resend: Option<Resend>,
    ) -> PipelineResult<(Columns, AppendReport)> {
        let mut resolver =
            StoreResolver::new(&self.cache, self.appender.as_ref(), &batch.tenant, resend.as_ref());
        let mut sink = Sink::new(batch.items as usize, resend.as_ref());
        if let Form::RemoteWrite(version) = form {
            let mut taker = SeriesTaker::new(resolver, sink);
            let walked = remote_write::walk(version, &batch.payload, self.settings.key_seed, &mut taker);
            let report = walked.map_err(|ResolveError(error)| error)?;
            return Ok((taker.into_columns(), report));
        }
        let translator = self.translators.lock().pop();
        let mut translator = translator.unwrap_or_else(|| Translator::new(self.settings.clone()));
        let translated = translator.translate(&batch.payload, &mut resolver, &mut sink);
        let mut idle = self.translators.lock();
        if idle.len() < TRANSLATORS_IDLE_MAX {
            idle.push(translator);
        }
        drop(idle);
        let mut report = translated.map_err(|ResolveError(error)| error)?;
        for delta in report.rejected.iter_mut().filter(|rejection| rejection.reason == "delta_temporality") {
            delta.message.push_str(", unless `delta` of the exporter is `cumulative` or `native`");
        }
        Ok((sink.into_columns(), report))
    }

    /// Appends the samples of `columns`, notes what was refused for good, and says what to resolve and send again.
    async fn append(
        &self,
        batch: &Batch,
        columns: &mut Columns,
        refusals: &mut Vec<PointRefusal>,
    ) -> PipelineResult<Resend> {
        let samples = std::mem::take(&mut columns.samples);
        if samples.is_empty() {
            return Ok(Resend::default());
        }
        let outcome = self.appender.append(&batch.tenant, samples).await.map_err(pipeline_error)?;
        let AppendOutcome { report, stale_refs, refused, exemplars, stale_exemplar_refs } = outcome;
        columns.exemplars = exemplars;
        for (position, reason) in refused {
            let point = columns.point_at(position).zip(report.rejected.get(reason as usize));
            if let Some((ordinal, rejection)) = point {
                let Rejection { reason, message, .. } = rejection.clone();
                refusals.push(PointRefusal { ordinal, reason, message });
            }
        }
        Ok(columns.resend(&stale_refs, &stale_exemplar_refs))
    }
}

impl MetricsStore {
    async fn take(&self, batch: Batch, form: Form) -> PipelineResult<AppendReport> {
        let items = batch.items;
        let outcome = self.store(batch, form).await;
        self.shared.metrics.count(Signal::Metrics, items, &outcome);
        outcome
    }
}

impl Consumer for MetricsStore {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(self.take(batch, Form::Otlp))
    }

    fn remote_write(&self) -> Option<&dyn RemoteWriteConsumer> {
        Some(self)
    }
}

impl RemoteWriteConsumer for MetricsStore {
    fn consume_remote_write(&self, request: RemoteWriteBatch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(self.take(request.batch, Form::RemoteWrite(request.version)))
    }
}

impl Exporter for MetricsStore {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn shutdown(&self) -> BoxFuture<'_, PipelineResult<()>> {
        // Nothing is held back: whatever was acknowledged is in the store, which its owner closes.
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests;
