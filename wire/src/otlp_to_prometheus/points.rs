//! The data points of one metric, by type: each is looked up or made, and given to the sink.

use model::{Exemplar, Labels, MetricMetadata, MetricType, NativeHistogram, stale_nan};

use super::exemplars::{self, Exemplars};
use super::labels::{ResourceLabels, SeriesLabels};
use super::native;
use super::{
    MetricContext, NS_PER_MS, Request, Resolved, ResourceContext, SampleSink, SeriesKey, SeriesResolver,
    Settings, quoted,
};
use crate::DecodeError;
use crate::otlp::{
    Attributes, ExponentialHistogramPoint, HistogramPoint, Metric, NumberPoint, SummaryPoint, Temporality,
    Views,
};
use crate::prometheus_names::{self, MetricKind};

/// One data point on its way to its series.
struct Point<'p, 'a> {
    key: SeriesKey,
    attributes: &'p Attributes<'a>,
    /// Which series it has.
    shape: Shape<'p>,
    time_ns: u64,
}

/// What a point needs besides its labels: which series it has.
enum Shape<'a> {
    /// One, under the family's name.
    Single,
    Histogram(&'a HistogramPoint<'a>),
    Summary(&'a SummaryPoint<'a>),
}

impl Point<'_, '_> {
    fn timestamp_ms(&self) -> i64 {
        timestamp_ms(self.time_ns)
    }
}

pub(super) fn timestamp_ms(time_ns: u64) -> i64 {
    time_ns as i64 / NS_PER_MS
}

impl<R: SeriesResolver, S: SampleSink<R::Handle>> Request<'_, R, S> {
    pub(super) fn number_points(
        &mut self,
        points: Views<'_, NumberPoint<'_>>,
        metric: &mut MetricContext<'_>,
        resource: &mut ResourceContext<'_>,
    ) -> Result<u64, R::Error> {
        let mut count = 0;
        for point in points {
            let point = point?;
            count += 1;
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
            let (attributes, time_ns) = (&point.attributes, point.time_unix_nano);
            // Upstream keeps the exemplars of sums and leaves those of gauges.
            let exemplars = match metric.kind {
                MetricKind::Gauge if !metric.is_verbatim => Vec::new(),
                _ => {
                    let exemplars =
                        exemplars::of_point(point.exemplars(), time_ns, point.has_no_recorded_value())?;
                    self.with_value(exemplars, metric)
                }
            };
            let given = Point { key, attributes, shape: Shape::Single, time_ns };
            self.give(&given, metric, resource, |sink, handles, timestamp_ms| {
                sink.point(handles, timestamp_ms, &[value]);
                give_exemplars(sink, handles, exemplars);
            })?;
        }
        Ok(count)
    }

    pub(super) fn histogram_points(
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
            histogram_values(&point, &mut values);
            if point.has_no_recorded_value() {
                values.fill(stale_nan());
            }
            let attributes = self.attributes_hash(&point.attributes)?;
            let bounds = self.hash(point.explicit_bounds.encoded());
            let run = (values.len() as u64) << 1 | point.sum.is_some() as u64;
            let key = self.point_key(metric.key, attributes, bounds, run);
            let (attributes, time_ns) = (&point.attributes, point.time_unix_nano);
            let exemplars = exemplars::of_point(point.exemplars(), time_ns, point.has_no_recorded_value())?;
            let exemplars = self.with_value(exemplars, metric);
            let given = Point { key, attributes, shape: Shape::Histogram(&point), time_ns };
            self.give(&given, metric, resource, |sink, handles, timestamp_ms| {
                sink.point(handles, timestamp_ms, &values);
                give_to_buckets(sink, handles, exemplars, &point);
            })?;
        }
        self.scratch.values = values;
        Ok(count)
    }

    /// Histograms with explicit bounds as native ones with custom buckets.
    pub(super) fn custom_bucket_points(
        &mut self,
        points: Views<'_, HistogramPoint<'_>>,
        metric: &mut MetricContext<'_>,
        resource: &mut ResourceContext<'_>,
    ) -> Result<u64, R::Error> {
        let mut count = 0;
        for point in points {
            let point = point?;
            count += 1;
            let made = native::of_explicit(&point, metric.reset_hint());
            let exemplars =
                exemplars::of_point(point.exemplars(), point.time_unix_nano, point.has_no_recorded_value())?;
            self.native_point(made, exemplars, &point.attributes, point.time_unix_nano, metric, resource)?;
        }
        Ok(count)
    }

    pub(super) fn exponential_points(
        &mut self,
        points: Views<'_, ExponentialHistogramPoint<'_>>,
        metric: &mut MetricContext<'_>,
        resource: &mut ResourceContext<'_>,
    ) -> Result<u64, R::Error> {
        let mut count = 0;
        for point in points {
            let point = point?;
            count += 1;
            let threshold = if metric.is_verbatim { point.zero_threshold } else { native::ZERO_THRESHOLD };
            let made = native::of_exponential(&point, metric.reset_hint(), threshold);
            let exemplars =
                exemplars::of_point(point.exemplars(), point.time_unix_nano, point.has_no_recorded_value())?;
            self.native_point(made, exemplars, &point.attributes, point.time_unix_nano, metric, resource)?;
        }
        Ok(count)
    }

    fn native_point(
        &mut self,
        made: Result<NativeHistogram, DecodeError>,
        exemplars: Exemplars,
        attributes: &Attributes<'_>,
        time_ns: u64,
        metric: &mut MetricContext<'_>,
        resource: &mut ResourceContext<'_>,
    ) -> Result<(), R::Error> {
        let histogram = match made {
            Ok(histogram) => histogram,
            Err(error) => {
                let name = quoted(metric.metric);
                self.report.reject("invalid_histogram", 1, || format!("metric {name}: {error}"));
                return Ok(());
            }
        };
        let is_empty = matches!(&histogram, NativeHistogram::Integer(histogram) if histogram.count == 0);
        if is_empty && histogram.sum() != 0.0 && !histogram.is_stale() {
            let (name, sum) = (quoted(metric.metric), histogram.sum());
            self.report.reject("histogram_zero_count_non_zero_sum", 0, || {
                format!("metric {name}: a histogram point has zero count, but non-zero sum: {sum}")
            });
        }
        let hash = self.attributes_hash(attributes)?;
        let key = self.point_key(metric.key, hash, 0, 0);
        let exemplars = self.with_value(exemplars, metric);
        let given = Point { key, attributes, shape: Shape::Single, time_ns };
        self.give(&given, metric, resource, |sink, handles, timestamp_ms| {
            if let Some(&handle) = handles.first() {
                sink.histogram(handle, timestamp_ms, histogram);
            }
            give_exemplars(sink, handles, exemplars);
        })
    }

    pub(super) fn summary_points(
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
            let (attributes, time_ns) = (&point.attributes, point.time_unix_nano);
            let given = Point { key, attributes, shape: Shape::Summary(&point), time_ns };
            self.give(&given, metric, resource, |sink, handles, timestamp_ms| {
                sink.point(handles, timestamp_ms, &values);
            })?;
        }
        self.scratch.values = values;
        Ok(count)
    }

    /// The exemplars that can be kept; the others are told as a warning.
    #[inline]
    fn with_value(&mut self, exemplars: Exemplars, metric: &MetricContext<'_>) -> Vec<Exemplar> {
        if exemplars.without_value > 0 {
            let name = quoted(metric.metric);
            self.report.reject("exemplar_without_value", 0, || {
                format!("metric {name}: exemplars without a value were left out")
            });
        }
        exemplars.list
    }

    /// Gives one point to the sink, if there are series for it.
    #[inline]
    fn give(
        &mut self,
        point: &Point<'_, '_>,
        metric: &mut MetricContext<'_>,
        resource: &mut ResourceContext<'_>,
        deliver: impl FnOnce(&mut S, &[R::Handle], i64),
    ) -> Result<(), R::Error> {
        match self.resolver.lookup(point.key) {
            Some(handles) => deliver(self.sink, handles, point.timestamp_ms()),
            None => {
                let series = match self.series(point, metric, resource) {
                    Ok(series) => series,
                    Err((reason, error)) => {
                        let name = quoted(metric.metric);
                        self.report.reject(reason, 1, || format!("metric {name}: {error}"));
                        return Ok(());
                    }
                };
                match self.resolver.insert(point.key, &series)? {
                    Resolved::Handles(handles) => deliver(self.sink, handles, point.timestamp_ms()),
                    Resolved::Refused { reason, message } => {
                        self.report.reject(reason, 1, || message);
                        return Ok(());
                    }
                }
            }
        }
        self.report.stored += 1;
        if !metric.is_verbatim {
            resource.saw(point.time_ns);
        }
        Ok(())
    }

    /// Builds the label sets of a point whose key is not known; an error is a reason and its sentence.
    #[cold]
    fn series(
        &mut self,
        point: &Point<'_, '_>,
        metric: &mut MetricContext<'_>,
        resource: &mut ResourceContext<'_>,
    ) -> Result<Vec<Labels>, (&'static str, DecodeError)> {
        let told = metric.family.is_none().then(|| metadata(metric));
        let family = metric
            .family
            .get_or_insert_with(|| family(self.settings, metric.metric, metric.kind, metric.is_verbatim))
            .as_deref()
            .map_err(|error| ("invalid_metric_name", error.clone()))?;
        let labels = if metric.is_verbatim {
            SeriesLabels::verbatim(point.attributes, self.settings, &resource.group)
        } else {
            let resource_labels = resource
                .labels
                .get_or_insert_with(|| ResourceLabels::new(&resource.group, self.settings))
                .as_ref()
                .map_err(|error| ("invalid_labels", error.clone()))?;
            SeriesLabels::of_point(point.attributes, self.settings, resource_labels, metric.scope)
        };
        let mut labels = labels.map_err(|error| ("invalid_labels", error))?;
        for collision in labels.take_collisions() {
            self.report.reject("label_name_collision", 0, || collision);
        }
        let series = match point.shape {
            Shape::Single => vec![labels.with_name(family, "")],
            Shape::Histogram(point) => {
                labels.of_histogram(family, point).map_err(|error| ("invalid_bounds", error))?
            }
            Shape::Summary(point) => {
                labels.of_summary(family, point).map_err(|error| ("invalid_quantiles", error))?
            }
        };
        if let Some(told) = told {
            self.resolver.metadata(family, &told);
        }
        Ok(series)
    }
}

fn give_exemplars<H: Copy>(sink: &mut impl SampleSink<H>, handles: &[H], exemplars: Vec<Exemplar>) {
    if let Some(&handle) = handles.first() {
        exemplars.into_iter().for_each(|exemplar| sink.exemplar(handle, exemplar));
    }
}

/// Each exemplar goes to the first bucket that holds it, but never to one before that of the exemplar before it.
fn give_to_buckets<H: Copy>(
    sink: &mut impl SampleSink<H>,
    handles: &[H],
    exemplars: Vec<Exemplar>,
    point: &HistogramPoint<'_>,
) {
    if exemplars.is_empty() {
        return;
    }
    let buckets = point.bucket_counts.len();
    let mut bounds =
        point.explicit_bounds.iter().take(buckets).filter(|bound| *bound != f64::INFINITY).peekable();
    let mut bucket = 0;
    for exemplar in exemplars {
        while bounds.peek().is_some_and(|bound| exemplar.value > *bound) {
            bounds.next();
            bucket += 1;
        }
        if let Some(&handle) = handles.get(bucket) {
            sink.exemplar(handle, exemplar);
        }
    }
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

fn family(
    settings: &Settings,
    metric: &Metric<'_>,
    kind: MetricKind,
    is_verbatim: bool,
) -> Result<String, DecodeError> {
    let name = metric.name()?;
    if is_verbatim {
        return match name {
            "" => Err(DecodeError::invalid("metric name is empty")),
            name => Ok(name.to_owned()),
        };
    }
    prometheus_names::metric_name(settings.strategy, &settings.namespace, name, metric.unit()?, kind)
}

fn metadata(context: &MetricContext<'_>) -> MetricMetadata {
    let metric = context.metric;
    let metric_type = match context.kind {
        _ if context.temporality == Temporality::Delta => MetricType::Unknown,
        MetricKind::MonotonicSum => MetricType::Counter,
        MetricKind::NonMonotonicSum | MetricKind::Gauge => MetricType::Gauge,
        MetricKind::Histogram | MetricKind::ExponentialHistogram => MetricType::Histogram,
        MetricKind::Summary => MetricType::Summary,
    };
    let unit = metric.unit().unwrap_or_default();
    MetricMetadata {
        metric_type: context.told_type().unwrap_or(metric_type),
        help: metric.description().unwrap_or_default().to_owned(),
        unit: if context.is_verbatim { unit.to_owned() } else { prometheus_names::unit_name(unit, false) },
    }
}
