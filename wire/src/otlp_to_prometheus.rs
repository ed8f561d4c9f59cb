//! OTLP metrics to Prometheus samples, as Prometheus' own OTLP endpoint translates them
//! (storage/remote/otlptranslator/prometheusremotewrite), made for series that were seen before.
//!
//! A point is looked up by a 128-bit key over the bytes that decide its labels: resource, metric name, unit, type,
//! and the point's attributes (for histograms and summaries their bounds too). Only a miss builds label sets, so that
//! the steady state hashes some 200 bytes a point and allocates nothing.
//!
//! - O2P-1: every data point is either given to the sink or counted in the report with a reason; a warning is a
//!   rejection of 0 points with a message, which is how OTLP's `partial_success` spells it.
//! - O2P-2: points that this store cannot hold are refused by name: delta temporality unless it is allowed, temporality
//!   that is not said, points without a value, histograms that are not sound.
//! - O2P-3: equal keys mean equal label sets under equal [`Settings`]; a cache belongs to one `Settings`.
//!
//! Where Prometheus refuses the whole request for one bad point, this refuses the point.

//!
//! Metrics in the scope [`VERBATIM_SCOPE`] were Prometheus series before they became OTLP (`remote_write_to_otlp`): their
//! names and attributes are names and labels already and are taken as they are.

mod exemplars;
mod keys;
mod labels;
mod native;
mod points;
mod settings;
mod target_info;

use hashbrown::HashSet;
use model::{AppendReport, CounterResetHint, Exemplar, Labels, MetricMetadata, MetricType, NativeHistogram};

use self::labels::{ResourceLabels, ScopeLabels};
pub use self::settings::Settings;
use crate::DecodeError;
use crate::otlp::{self, AnyValue, Metric, MetricData, ResourceGroup, ScopeGroup, Temporality};
use crate::prometheus_names::MetricKind;

/// Name of the scope whose metrics are Prometheus series as they are.
pub const VERBATIM_SCOPE: &str = "tidegate.prometheus";

/// Key in a metric's metadata that says which Prometheus type it had (OpenTelemetry specification,
/// compatibility/prometheus_and_openmetrics).
pub const TYPE_KEY: &str = "prometheus.type";

/// The family that carries resource attributes.
pub const TARGET_INFO: &str = "target_info";

const NS_PER_MS: i64 = 1_000_000;

/// `target_info` samples between the first and last point of a resource that any request may cause, besides one for
/// every eight of its bytes: two points far apart must not cost millions of samples.
const TARGET_INFO_GAP_SAMPLES: usize = 1024;

/// Identifies the series of one point, or of one resource's `target_info`. All bits are equally random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeriesKey(pub u128);

/// Knows the series: a cache in front of a store, or a label table.
///
/// A number point has one series. A histogram point has a run of them: the buckets in the order of their bounds, the
/// bucket `+Inf`, `_sum` if the point has a sum, `_count`. A summary point has its quantiles in wire order, `_sum`,
/// `_count`. A resource has its `target_info`, or an empty run if there is none to write.
pub trait SeriesResolver {
    /// What the sink wants to know a series by.
    type Handle: Copy;
    /// Failure of a whole request.
    type Error: From<DecodeError>;

    /// The handles of a key that was inserted before. May forget. Called once for each point that has its series and
    /// once for each resource, in the same order whenever a request is translated.
    fn lookup(&mut self, key: SeriesKey) -> Option<&[Self::Handle]>;

    /// Makes handles for the series of a key and remembers them in this order.
    fn insert(
        &mut self,
        key: SeriesKey,
        series: &[Labels],
    ) -> Result<Resolved<'_, Self::Handle>, Self::Error>;

    /// Tells what is known about a metric family, before the first insert of one of its keys in a request.
    fn metadata(&mut self, family: &str, metadata: &MetricMetadata);
}

/// Answer of [`SeriesResolver::insert`].
#[derive(Debug)]
pub enum Resolved<'a, H> {
    /// A handle for each series.
    Handles(&'a [H]),
    /// The series are not to be: the point is refused with this reason.
    Refused {
        /// Short stable name for metrics, e.g. `series_limit`.
        reason: &'static str,
        /// Sentence for the sender.
        message: String,
    },
}

/// Takes the samples.
pub trait SampleSink<H> {
    /// One data point: a sample for each handle of its run, all at one time (ms since the Unix epoch).
    fn point(&mut self, handles: &[H], timestamp_ms: i64, values: &[f64]);

    /// One data point that is a native histogram.
    fn histogram(&mut self, handle: H, timestamp_ms: i64, histogram: NativeHistogram);

    /// An exemplar of the point that was given last, for one of its series.
    fn exemplar(&mut self, handle: H, exemplar: Exemplar);

    /// A sample of value 1 that belongs to no data point.
    fn target_info(&mut self, handle: H, timestamp_ms: i64);
}

/// Translates requests. Holds scratch memory only: use one per thread, over whatever resolver is at hand.
#[derive(Clone, Debug, Default)]
pub struct Translator {
    settings: Settings,
    scratch: Scratch,
}

#[derive(Clone, Debug, Default)]
struct Scratch {
    key: Vec<u8>,
    values: Vec<f64>,
}

impl Translator {
    /// A translator with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings, scratch: Scratch::default() }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Translates one `ExportMetricsServiceRequest`. The report counts the points that the sink got as stored.
    ///
    /// Malformed bytes and failures of the resolver are errors of the whole request; what the sink got up to then
    /// is to be thrown away.
    pub fn translate<R: SeriesResolver, S: SampleSink<R::Handle>>(
        &mut self,
        payload: &[u8],
        resolver: &mut R,
        sink: &mut S,
    ) -> Result<AppendReport, R::Error> {
        let mut request = Request {
            settings: &self.settings,
            scratch: &mut self.scratch,
            resolver,
            sink,
            report: AppendReport::default(),
            info_sent: HashSet::new(),
            info_gap_samples_left: TARGET_INFO_GAP_SAMPLES + payload.len() / 8,
        };
        for group in otlp::resources(payload) {
            request.resource(group?)?;
        }
        Ok(request.report)
    }
}

/// A request on its way through.
struct Request<'t, R, S> {
    settings: &'t Settings,
    scratch: &'t mut Scratch,
    resolver: &'t mut R,
    sink: &'t mut S,
    report: AppendReport,
    /// `target_info` samples of this request: the same resource often comes many times in a batch.
    info_sent: HashSet<(SeriesKey, i64)>,
    info_gap_samples_left: usize,
}

/// A resource, with labels made on the first miss.
struct ResourceContext<'a> {
    group: ResourceGroup<'a>,
    hash: u128,
    labels: Option<Result<ResourceLabels, DecodeError>>,
    /// Times of the points that were taken, ns.
    times: Option<(u64, u64)>,
}

impl ResourceContext<'_> {
    fn saw(&mut self, time_ns: u64) {
        let (earliest, latest) = self.times.unwrap_or((time_ns, time_ns));
        self.times = Some((earliest.min(time_ns), latest.max(time_ns)));
    }
}

/// A metric, with its name made on the first miss.
struct MetricContext<'a> {
    metric: &'a Metric<'a>,
    kind: MetricKind,
    temporality: Temporality,
    key: u128,
    scope: Option<&'a ScopeLabels>,
    /// Whether it comes from [`VERBATIM_SCOPE`].
    is_verbatim: bool,
    family: Option<Result<String, DecodeError>>,
}

impl MetricContext<'_> {
    /// The type that [`TYPE_KEY`] says.
    fn told_type(&self) -> Option<MetricType> {
        match self.metric.metadata.get(TYPE_KEY) {
            Ok(Some(AnyValue::String(name))) => MetricType::from_name(name),
            _ => None,
        }
    }

    /// What a native histogram of this metric says about resets. Upstream says nothing for cumulative ones, which is
    /// always safe, and takes deltas for gauges, so that chunks are not cut at each.
    fn reset_hint(&self) -> CounterResetHint {
        let is_gauge = self.is_verbatim && self.told_type() == Some(MetricType::GaugeHistogram);
        match self.temporality {
            Temporality::Delta => CounterResetHint::Gauge,
            _ if is_gauge => CounterResetHint::Gauge,
            _ => CounterResetHint::Unknown,
        }
    }
}

/// What the metrics of a scope share.
struct ScopeContext<'a> {
    labels: Option<&'a ScopeLabels>,
    hash: u128,
    is_verbatim: bool,
}

impl<R: SeriesResolver, S: SampleSink<R::Handle>> Request<'_, R, S> {
    fn resource(&mut self, group: ResourceGroup<'_>) -> Result<(), R::Error> {
        let hash = self.hash(group.resource_bytes());
        let mut resource = ResourceContext { group, hash, labels: None, times: None };
        for scope in group.scopes() {
            let scope = scope?;
            let promoted = match self.settings.promote_scope_metadata {
                true => Some(ScopeLabels::new(&scope, self.settings)),
                false => None,
            };
            let promoted = match promoted.transpose() {
                Ok(promoted) => promoted,
                Err(error) => {
                    let count = count_points(&scope)?;
                    self.report.reject("invalid_labels", count, || format!("instrumentation scope: {error}"));
                    continue;
                }
            };
            let is_verbatim = scope.scope()?.name()? == VERBATIM_SCOPE;
            let context = ScopeContext {
                labels: promoted.as_ref().filter(|_| !is_verbatim),
                hash: match is_verbatim {
                    true => self.hash(VERBATIM_SCOPE.as_bytes()),
                    false => promoted.as_ref().map_or(0, |labels| labels.hash(self.settings.key_seed)),
                },
                is_verbatim,
            };
            for metric in scope.metrics() {
                self.metric(&metric?, &mut resource, &context)?;
            }
        }
        match resource.times {
            Some((earliest, latest)) if self.settings.target_info => {
                self.target_info(&mut resource, earliest as i64, latest as i64)
            }
            _ => Ok(()),
        }
    }

    fn metric(
        &mut self,
        metric: &Metric<'_>,
        resource: &mut ResourceContext<'_>,
        scope: &ScopeContext<'_>,
    ) -> Result<(), R::Error> {
        let (resource_hash, is_verbatim) = (resource.hash, scope.is_verbatim);
        let context = |request: &mut Self, kind: MetricKind, temporality: Temporality| MetricContext {
            metric,
            kind,
            temporality,
            key: request.metric_key(metric, kind, resource_hash, scope.hash),
            scope: scope.labels,
            is_verbatim,
            family: None,
        };
        let cumulative = Temporality::Cumulative;
        let has_nhcb = self.settings.convert_histograms_to_nhcb || is_verbatim;
        let points = match metric.data()? {
            MetricData::Gauge { points } => {
                let mut context = context(self, MetricKind::Gauge, cumulative);
                self.number_points(points, &mut context, resource)?
            }
            MetricData::Sum { points, temporality, monotonic } if self.takes(temporality) => {
                let kind = if monotonic { MetricKind::MonotonicSum } else { MetricKind::NonMonotonicSum };
                let mut context = context(self, kind, temporality);
                self.number_points(points, &mut context, resource)?
            }
            MetricData::Histogram { points, temporality } if self.takes(temporality) => {
                let mut context = context(self, MetricKind::Histogram, temporality);
                match has_nhcb {
                    true => self.custom_bucket_points(points, &mut context, resource)?,
                    false => self.histogram_points(points, &mut context, resource)?,
                }
            }
            MetricData::Summary { points } => {
                let mut context = context(self, MetricKind::Summary, cumulative);
                self.summary_points(points, &mut context, resource)?
            }
            MetricData::ExponentialHistogram { points, temporality } if self.takes(temporality) => {
                let mut context = context(self, MetricKind::ExponentialHistogram, temporality);
                self.exponential_points(points, &mut context, resource)?
            }
            MetricData::Sum { points, temporality, .. } => {
                self.reject_temporality(metric, temporality, points.encoded().count())
            }
            MetricData::Histogram { points, temporality } => {
                self.reject_temporality(metric, temporality, points.encoded().count())
            }
            MetricData::ExponentialHistogram { points, temporality } => {
                self.reject_temporality(metric, temporality, points.encoded().count())
            }
            MetricData::Empty => 0,
        };
        if points == 0 {
            self.report.reject("empty_metric", 0, || format!("metric {} has no data points", quoted(metric)));
        }
        Ok(())
    }

    fn takes(&self, temporality: Temporality) -> bool {
        match temporality {
            Temporality::Cumulative => true,
            Temporality::Delta => self.settings.allow_delta_temporality,
            Temporality::Unspecified => false,
        }
    }

    #[cold]
    fn reject_temporality(&mut self, metric: &Metric<'_>, temporality: Temporality, count: usize) -> u64 {
        let (reason, name) = match temporality {
            Temporality::Delta => ("delta_temporality", "delta"),
            _ => ("unspecified_temporality", "unspecified"),
        };
        self.report.reject(reason, count as u64, || {
            format!(
                "invalid temporality and type combination for metric {}: {name} temporality is not taken here",
                quoted(metric)
            )
        });
        count as u64
    }
}

fn count_points(scope: &ScopeGroup<'_>) -> Result<u64, DecodeError> {
    let mut count = 0;
    for metric in scope.metrics() {
        count += match metric?.data()? {
            MetricData::Empty => 0,
            MetricData::Gauge { points } | MetricData::Sum { points, .. } => points.encoded().count(),
            MetricData::Histogram { points, .. } => points.encoded().count(),
            MetricData::ExponentialHistogram { points, .. } => points.encoded().count(),
            MetricData::Summary { points } => points.encoded().count(),
        };
    }
    Ok(count as u64)
}

/// The metric's name for a message: damaged or endless names must not make the message so.
fn quoted(metric: &Metric<'_>) -> String {
    const SHOWN_BYTES_MAX: usize = 200;
    let name = metric.name_bytes();
    format!("{:?}", String::from_utf8_lossy(&name[..name.len().min(SHOWN_BYTES_MAX)]))
}

#[cfg(test)]
mod tests;
