//! OTLP metrics to Prometheus samples, as Prometheus' own OTLP endpoint translates them
//! (storage/remote/otlptranslator/prometheusremotewrite), made for series that were seen before.
//!
//! A point is looked up by a 128-bit key over the bytes that decide its labels: resource, metric name, unit, type,
//! and the point's attributes (for histograms and summaries their bounds too). Only a miss builds label sets, so that
//! the steady state hashes some 200 bytes a point and allocates nothing.
//!
//! - O2P-1: every data point is either given to the sink or counted in the report with a reason; a warning is a
//!   rejection of 0 points with a message, which is how OTLP's `partial_success` spells it.
//! - O2P-2: points that this store cannot hold are refused by name: exponential histograms, temporality other than
//!   cumulative, points without a value. Exemplars are not stored: a warning counts them, their points are kept.
//! - O2P-3: equal keys mean equal label sets under equal [`Settings`]; a cache belongs to one `Settings`.
//!
//! Where Prometheus refuses the whole request for one bad point, this refuses the point.

mod labels;

use hashbrown::HashSet;
use model::{AppendReport, Labels, MetricMetadata, MetricType, stale_nan};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use self::labels::{ResourceLabels, ScopeLabels, SeriesLabels};
use crate::DecodeError;
use crate::otlp::{
    self, Attributes, HistogramPoint, Metric, MetricData, NumberPoint, ResourceGroup, ScopeGroup,
    SummaryPoint, Temporality, Views,
};
use crate::prometheus_names::{self, LabelNaming, MetricKind, Strategy};

/// The family that carries resource attributes.
pub const TARGET_INFO: &str = "target_info";

const NS_PER_MS: i64 = 1_000_000;

/// `target_info` samples between the first and last point of a resource that any request may cause, besides one for
/// every eight of its bytes: two points far apart must not cost millions of samples.
const TARGET_INFO_GAP_SAMPLES: usize = 1024;

/// How metrics are translated; keys, defaults and meaning are those of the `otlp` section of prometheus.yml.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How names are carried over.
    pub strategy: Strategy,
    /// Put before every metric name, with an `_`; empty for none.
    pub namespace: String,
    /// Added where a series has no such label.
    pub external_labels: Vec<(String, String)>,
    /// Resource attributes that become labels of every series of the resource.
    pub promote_resource_attributes: Vec<String>,
    /// All resource attributes become labels, but those of `ignore_resource_attributes`.
    pub promote_all_resource_attributes: bool,
    /// Exceptions of `promote_all_resource_attributes`.
    pub ignore_resource_attributes: Vec<String>,
    /// Keep `service.name`, `service.namespace` and `service.instance.id` as labels of `target_info`.
    pub keep_identifying_resource_attributes: bool,
    /// Add scope name, version, schema URL and attributes as `otel_scope_*` labels.
    pub promote_scope_metadata: bool,
    /// Put `key` before label names that start with a single `_`.
    pub label_name_underscore_sanitization: bool,
    /// Keep runs of `_` in label names.
    pub label_name_preserve_multiple_underscores: bool,
    /// Write `target_info`.
    pub target_info: bool,
    /// The query engine's lookback, ms; `target_info` has a sample every half of it.
    pub lookback_delta_ms: i64,
    /// Seed of the series keys. A random one per process keeps senders from making colliding keys.
    pub key_seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            namespace: String::new(),
            external_labels: Vec::new(),
            promote_resource_attributes: Vec::new(),
            promote_all_resource_attributes: false,
            ignore_resource_attributes: Vec::new(),
            keep_identifying_resource_attributes: false,
            promote_scope_metadata: false,
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
            target_info: true,
            lookback_delta_ms: 5 * 60 * 1000,
            key_seed: 0,
        }
    }
}

impl Settings {
    fn label_naming(&self) -> LabelNaming {
        LabelNaming {
            utf8: !self.strategy.escapes(),
            underscore_sanitization: self.label_name_underscore_sanitization,
            preserve_multiple_underscores: self.label_name_preserve_multiple_underscores,
        }
    }

    fn promotes(&self, key: &str) -> bool {
        let listed = |list: &[String]| list.iter().any(|listed| listed == key);
        match self.promote_all_resource_attributes {
            true => !listed(&self.ignore_resource_attributes),
            false => listed(&self.promote_resource_attributes),
        }
    }
}

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
            exemplars: 0,
            info_sent: HashSet::new(),
            info_gap_samples_left: TARGET_INFO_GAP_SAMPLES + payload.len() / 8,
        };
        for group in otlp::resources(payload) {
            request.resource(group?)?;
        }
        if request.exemplars > 0 {
            let exemplars = request.exemplars;
            request.report.reject("exemplars_not_stored", 0, || {
                format!("{exemplars} exemplars were not stored: storing exemplars is not supported")
            });
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
    exemplars: usize,
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
    key: u128,
    scope: Option<&'a ScopeLabels>,
    family: Option<Result<String, DecodeError>>,
}

/// What a point needs besides its labels: which series it has.
enum Shape<'a> {
    Number,
    Histogram(&'a HistogramPoint<'a>),
    Summary(&'a SummaryPoint<'a>),
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
            let scope_hash = promoted.as_ref().map_or(0, |labels| labels.hash(self.settings.key_seed));
            for metric in scope.metrics() {
                self.metric(&metric?, &mut resource, promoted.as_ref(), scope_hash)?;
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
        scope: Option<&ScopeLabels>,
        scope_hash: u128,
    ) -> Result<(), R::Error> {
        let context = |request: &mut Self, kind: MetricKind| MetricContext {
            metric,
            kind,
            key: request.metric_key(metric, kind, resource.hash, scope_hash),
            scope,
            family: None,
        };
        let cumulative = Temporality::Cumulative;
        let points = match metric.data()? {
            MetricData::Gauge { points } => {
                let mut context = context(self, MetricKind::Gauge);
                self.number_points(points, &mut context, resource)?
            }
            MetricData::Sum { points, temporality, monotonic } if temporality == cumulative => {
                let kind = if monotonic { MetricKind::MonotonicSum } else { MetricKind::NonMonotonicSum };
                let mut context = context(self, kind);
                self.number_points(points, &mut context, resource)?
            }
            MetricData::Histogram { points, temporality } if temporality == cumulative => {
                let mut context = context(self, MetricKind::Histogram);
                self.histogram_points(points, &mut context, resource)?
            }
            MetricData::Summary { points } => {
                let mut context = context(self, MetricKind::Summary);
                self.summary_points(points, &mut context, resource)?
            }
            MetricData::ExponentialHistogram { points, .. } => {
                let count = points.encoded().count() as u64;
                self.report.reject("exponential_histogram", count, || {
                    format!("metric {}: exponential histograms are not supported", quoted(metric))
                });
                count
            }
            MetricData::Sum { points, temporality, .. } => {
                self.reject_temporality(metric, temporality, points.encoded().count())
            }
            MetricData::Histogram { points, temporality } => {
                self.reject_temporality(metric, temporality, points.encoded().count())
            }
            MetricData::Empty => 0,
        };
        if points == 0 {
            self.report.reject("empty_metric", 0, || format!("metric {} has no data points", quoted(metric)));
        }
        Ok(())
    }

    #[cold]
    fn reject_temporality(&mut self, metric: &Metric<'_>, temporality: Temporality, count: usize) -> u64 {
        let (reason, name) = match temporality {
            Temporality::Delta => ("delta_temporality", "delta"),
            _ => ("unspecified_temporality", "unspecified"),
        };
        self.report.reject(reason, count as u64, || {
            format!("metric {} has {name} temporality, only cumulative is supported", quoted(metric))
        });
        count as u64
    }

    fn number_points(
        &mut self,
        points: Views<'_, NumberPoint<'_>>,
        metric: &mut MetricContext<'_>,
        resource: &mut ResourceContext<'_>,
    ) -> Result<u64, R::Error> {
        let mut count = 0;
        for point in points {
            let point = point?;
            count += 1;
            self.exemplars += point.exemplars().encoded().count();
            let value = match point.value {
                _ if point.has_no_recorded_value() => stale_nan(),
                Some(value) => value.as_f64(),
                None => {
                    self.report.reject("no_value", 1, || {
                        format!("a point of metric {} has no value", quoted(metric.metric))
                    });
                    continue;
                }
            };
            let attributes = self.attributes_hash(&point.attributes)?;
            let key = self.point_key(metric.key, attributes, 0, 0);
            let shape = Shape::Number;
            self.give(key, &point.attributes, &shape, metric, resource, point.time_unix_nano, &[value])?;
        }
        Ok(count)
    }

    fn histogram_points(
        &mut self,
        points: Views<'_, HistogramPoint<'_>>,
        metric: &mut MetricContext<'_>,
        resource: &mut ResourceContext<'_>,
    ) -> Result<u64, R::Error> {
        let mut count = 0;
        let mut values = std::mem::take(&mut self.scratch.values);
        for point in points {
            let point = point?;
            count += 1;
            self.exemplars += point.exemplars().encoded().count();
            histogram_values(&point, &mut values);
            if point.has_no_recorded_value() {
                values.fill(stale_nan());
            }
            let attributes = self.attributes_hash(&point.attributes)?;
            let bounds = self.hash(point.explicit_bounds.encoded());
            let run = (values.len() as u64) << 1 | point.sum.is_some() as u64;
            let key = self.point_key(metric.key, attributes, bounds, run);
            let shape = Shape::Histogram(&point);
            self.give(key, &point.attributes, &shape, metric, resource, point.time_unix_nano, &values)?;
        }
        self.scratch.values = values;
        Ok(count)
    }

    fn summary_points(
        &mut self,
        points: Views<'_, SummaryPoint<'_>>,
        metric: &mut MetricContext<'_>,
        resource: &mut ResourceContext<'_>,
    ) -> Result<u64, R::Error> {
        let mut count = 0;
        let mut values = std::mem::take(&mut self.scratch.values);
        for point in points {
            let point = point?;
            count += 1;
            values.clear();
            self.scratch.key.clear();
            for pair in point.quantile_values() {
                let pair = pair?;
                self.scratch.key.extend_from_slice(&pair.quantile.to_bits().to_le_bytes());
                values.push(pair.value);
            }
            let quantiles = self.hash(&self.scratch.key);
            values.extend([point.sum, point.count as f64]);
            if point.has_no_recorded_value() {
                values.fill(stale_nan());
            }
            let attributes = self.attributes_hash(&point.attributes)?;
            let key = self.point_key(metric.key, attributes, quantiles, 0);
            let shape = Shape::Summary(&point);
            self.give(key, &point.attributes, &shape, metric, resource, point.time_unix_nano, &values)?;
        }
        self.scratch.values = values;
        Ok(count)
    }

    /// Gives one point to the sink, if there are series for it.
    #[inline]
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one point, of which a struct would say no more"
    )]
    fn give(
        &mut self,
        key: SeriesKey,
        attributes: &Attributes<'_>,
        shape: &Shape<'_>,
        metric: &mut MetricContext<'_>,
        resource: &mut ResourceContext<'_>,
        time_ns: u64,
        values: &[f64],
    ) -> Result<(), R::Error> {
        let timestamp_ms = time_ns as i64 / NS_PER_MS;
        match self.resolver.lookup(key) {
            Some(handles) => {
                debug_assert_eq!(handles.len(), values.len(), "O2P-3");
                self.sink.point(handles, timestamp_ms, values);
            }
            None => {
                let series = match self.series(attributes, shape, metric, resource) {
                    Ok(series) => series,
                    Err((reason, error)) => {
                        let name = quoted(metric.metric);
                        self.report.reject(reason, 1, || format!("metric {name}: {error}"));
                        return Ok(());
                    }
                };
                match self.resolver.insert(key, &series)? {
                    Resolved::Handles(handles) => self.sink.point(handles, timestamp_ms, values),
                    Resolved::Refused { reason, message } => {
                        self.report.reject(reason, 1, || message);
                        return Ok(());
                    }
                }
            }
        }
        self.report.stored += 1;
        resource.saw(time_ns);
        Ok(())
    }

    /// Builds the label sets of a point whose key is not known; an error is a reason and its sentence.
    #[cold]
    fn series(
        &mut self,
        attributes: &Attributes<'_>,
        shape: &Shape<'_>,
        metric: &mut MetricContext<'_>,
        resource: &mut ResourceContext<'_>,
    ) -> Result<Vec<Labels>, (&'static str, DecodeError)> {
        let is_new = metric.family.is_none();
        let family = metric
            .family
            .get_or_insert_with(|| family(self.settings, metric.metric, metric.kind))
            .as_deref()
            .map_err(|error| ("invalid_metric_name", error.clone()))?;
        let resource_labels = resource
            .labels
            .get_or_insert_with(|| ResourceLabels::new(&resource.group, self.settings))
            .as_ref()
            .map_err(|error| ("invalid_labels", error.clone()))?;
        let labels = SeriesLabels::of_point(attributes, self.settings, resource_labels, metric.scope)
            .map_err(|error| ("invalid_labels", error))?;
        let series = match shape {
            Shape::Number => vec![labels.with_name(family, "")],
            Shape::Histogram(point) => {
                labels.of_histogram(family, point).map_err(|error| ("invalid_bounds", error))?
            }
            Shape::Summary(point) => {
                labels.of_summary(family, point).map_err(|error| ("invalid_quantiles", error))?
            }
        };
        if is_new {
            self.resolver.metadata(family, &metadata(metric.metric, metric.kind));
        }
        Ok(series)
    }

    /// Writes `target_info` for the time that the points of a resource cover.
    fn target_info(
        &mut self,
        resource: &mut ResourceContext<'_>,
        earliest_ns: i64,
        latest_ns: i64,
    ) -> Result<(), R::Error> {
        let key = self.point_key(resource.hash, self.hash(TARGET_INFO.as_bytes()), 0, 0);
        let known = self.resolver.lookup(key).map(|run| run.first().copied());
        let handle = match known {
            Some(handle) => handle,
            None => self.new_target_info(key, resource)?,
        };
        let Some(handle) = handle else { return Ok(()) };
        let interval_ns = (self.settings.lookback_delta_ms / 2).max(1).saturating_mul(NS_PER_MS);
        let gap_samples = (latest_ns.saturating_sub(earliest_ns) as usize).div_ceil(interval_ns as usize);
        if earliest_ns < latest_ns && gap_samples <= self.info_gap_samples_left {
            self.info_gap_samples_left -= gap_samples;
            for index in 0..gap_samples as i64 {
                self.target_info_sample(key, handle, earliest_ns + index * interval_ns);
            }
        }
        self.target_info_sample(key, handle, latest_ns);
        Ok(())
    }

    fn target_info_sample(&mut self, key: SeriesKey, handle: R::Handle, time_ns: i64) {
        let timestamp_ms = time_ns.div_euclid(NS_PER_MS);
        if self.info_sent.insert((key, timestamp_ms)) {
            self.sink.target_info(handle, timestamp_ms);
        }
    }

    #[cold]
    fn new_target_info(
        &mut self,
        key: SeriesKey,
        resource: &mut ResourceContext<'_>,
    ) -> Result<Option<R::Handle>, R::Error> {
        let error = match self.target_info_series(resource) {
            Ok(series) => match self.resolver.insert(key, series.as_slice())? {
                Resolved::Handles(run) => return Ok(run.first().copied()),
                Resolved::Refused { message, .. } => message,
            },
            Err(error) => error.to_string(),
        };
        self.report.reject("no_target_info", 0, || format!("target_info was not written: {error}"));
        Ok(None)
    }

    fn target_info_series(
        &mut self,
        resource: &mut ResourceContext<'_>,
    ) -> Result<Option<Labels>, DecodeError> {
        let resource_labels = resource
            .labels
            .get_or_insert_with(|| ResourceLabels::new(&resource.group, self.settings))
            .as_ref()
            .map_err(DecodeError::clone)?;
        let family = match self.settings.namespace.as_str() {
            "" => TARGET_INFO.to_owned(),
            namespace => format!("{namespace}_{TARGET_INFO}"),
        };
        let labels = SeriesLabels::of_target_info(&resource.group, self.settings, resource_labels)?;
        if labels.is_some() {
            let (metric_type, help, unit) = (MetricType::Gauge, "Target metadata".to_owned(), String::new());
            self.resolver.metadata(&family, &MetricMetadata { metric_type, help, unit });
        }
        Ok(labels.map(|labels| labels.with_name(&family, "")))
    }

    #[inline]
    fn hash(&self, bytes: &[u8]) -> u128 {
        xxh3_128_with_seed(bytes, self.settings.key_seed)
    }

    fn metric_key(&mut self, metric: &Metric<'_>, kind: MetricKind, resource: u128, scope: u128) -> u128 {
        let key = &mut self.scratch.key;
        key.clear();
        key.extend_from_slice(&resource.to_le_bytes());
        key.extend_from_slice(&scope.to_le_bytes());
        key.push(kind as u8);
        key.extend_from_slice(&(metric.unit_bytes().len() as u64).to_le_bytes());
        key.extend_from_slice(metric.unit_bytes());
        key.extend_from_slice(metric.name_bytes());
        xxh3_128_with_seed(key, self.settings.key_seed)
    }

    #[inline]
    fn point_key(&self, metric: u128, attributes: u128, bounds: u128, run: u64) -> SeriesKey {
        let mut parts = [0; 56];
        parts[..16].copy_from_slice(&metric.to_le_bytes());
        parts[16..32].copy_from_slice(&attributes.to_le_bytes());
        parts[32..48].copy_from_slice(&bounds.to_le_bytes());
        parts[48..].copy_from_slice(&run.to_le_bytes());
        SeriesKey(self.hash(&parts))
    }

    #[inline]
    fn attributes_hash(&mut self, attributes: &Attributes<'_>) -> Result<u128, DecodeError> {
        if let Some(bytes) = attributes.contiguous_bytes() {
            return Ok(self.hash(bytes));
        }
        self.scratch.key.clear();
        for attribute in attributes.encoded() {
            let attribute = attribute?;
            self.scratch.key.extend_from_slice(&(attribute.len() as u64).to_le_bytes());
            self.scratch.key.extend_from_slice(attribute);
        }
        Ok(self.hash(&self.scratch.key))
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

/// The values of a histogram point's run: cumulative buckets, all, sum, count.
fn histogram_values(point: &HistogramPoint<'_>, values: &mut Vec<f64>) {
    values.clear();
    let mut cumulative = 0u64;
    for (bound, count) in point.explicit_bounds.iter().zip(point.bucket_counts.iter()) {
        cumulative = cumulative.wrapping_add(count);
        // An explicit bound of +Inf would be the bucket that always comes last.
        if bound != f64::INFINITY {
            values.push(cumulative as f64);
        }
    }
    values.push(point.count as f64);
    values.extend(point.sum);
    values.push(point.count as f64);
}

fn family(settings: &Settings, metric: &Metric<'_>, kind: MetricKind) -> Result<String, DecodeError> {
    let (name, unit) = (metric.name()?, metric.unit()?);
    prometheus_names::metric_name(settings.strategy, &settings.namespace, name, unit, kind)
}

fn metadata(metric: &Metric<'_>, kind: MetricKind) -> MetricMetadata {
    let metric_type = match kind {
        MetricKind::MonotonicSum => MetricType::Counter,
        MetricKind::NonMonotonicSum | MetricKind::Gauge => MetricType::Gauge,
        MetricKind::Histogram | MetricKind::ExponentialHistogram => MetricType::Histogram,
        MetricKind::Summary => MetricType::Summary,
    };
    MetricMetadata {
        metric_type,
        help: metric.description().unwrap_or_default().to_owned(),
        unit: prometheus_names::unit_name(metric.unit().unwrap_or_default(), false),
    }
}

/// The metric's name for a message: damaged or endless names must not make the message so.
fn quoted(metric: &Metric<'_>) -> String {
    const SHOWN_BYTES_MAX: usize = 200;
    let name = metric.name_bytes();
    format!("{:?}", String::from_utf8_lossy(&name[..name.len().min(SHOWN_BYTES_MAX)]))
}

#[cfg(test)]
mod tests;
