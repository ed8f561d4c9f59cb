//! Data points of all types as rows of one table; columns that a type does not have are empty.

use std::io::Write;

use parquet::data_type::ByteArray;
use pipelines::{Batch, PipelineResult};
use serde_json::json;
use wire::DecodeError;
use wire::otlp::{
    Attributes, Buckets, Exemplar, ExponentialHistogramPoint, HistogramPoint, Metric, MetricData,
    NumberPoint, NumberValue, SummaryPoint, Temporality, Views, resources,
};

use super::columns::{
    DoubleLists, Int64Lists, Int64s, Maps, OptionalBools, OptionalDoubles, OptionalInt32s, OptionalInt64s,
    OptionalTexts, Pairs, RowGroup, Texts, count, id, json_list, object, text, time,
};
use super::files::{Partitions, Rows};
use super::origin::{Origin, Origins};

/// The columns of `metrics`.
#[derive(Default)]
pub(super) struct Points {
    time: Int64s,
    start_time: OptionalInt64s,
    name: Texts,
    kind: Texts,
    unit: OptionalTexts,
    description: OptionalTexts,
    temporality: OptionalTexts,
    is_monotonic: OptionalBools,
    attributes: Maps,
    flags: Int64s,
    value_double: OptionalDoubles,
    value_int: OptionalInt64s,
    count: OptionalInt64s,
    sum: OptionalDoubles,
    min: OptionalDoubles,
    max: OptionalDoubles,
    explicit_bounds: DoubleLists,
    bucket_counts: Int64Lists,
    scale: OptionalInt32s,
    zero_count: OptionalInt64s,
    zero_threshold: OptionalDoubles,
    positive_offset: OptionalInt32s,
    positive_bucket_counts: Int64Lists,
    negative_offset: OptionalInt32s,
    negative_bucket_counts: Int64Lists,
    quantiles: DoubleLists,
    quantile_values: DoubleLists,
    exemplars: OptionalTexts,
    origins: Origins,
}

/// What all points of a metric share.
struct Series<'a> {
    name: &'a ByteArray,
    unit: Option<&'a ByteArray>,
    description: Option<&'a ByteArray>,
    kind: &'static str,
    temporality: Option<Temporality>,
    is_monotonic: Option<bool>,
    origin: &'a Origin,
    /// What all of this adds to the weight of each row.
    weight: u64,
}

/// A point of any type; what its type lacks is empty.
#[derive(Default)]
struct Point<'a> {
    time_ns: i64,
    start_time: u64,
    flags: u32,
    value: Option<NumberValue>,
    count: Option<u64>,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    explicit_bounds: Vec<f64>,
    bucket_counts: Vec<u64>,
    exponential: Option<ExponentialHistogramPoint<'a>>,
    quantiles: Vec<(f64, f64)>,
    exemplars: Option<ByteArray>,
}

impl Points {
    fn push(
        &mut self,
        series: &Series<'_>,
        attributes: &Attributes<'_>,
        point: Point<'_>,
    ) -> Result<(), DecodeError> {
        self.time.push(point.time_ns);
        self.start_time.push(time(point.start_time));
        self.name.push(series.name.clone());
        self.kind.push(series.kind);
        self.unit.push(series.unit.cloned());
        self.description.push(series.description.cloned());
        self.temporality.push(series.temporality.map(|temporality| match temporality {
            Temporality::Delta => "delta",
            Temporality::Cumulative => "cumulative",
            Temporality::Unspecified => "unspecified",
        }));
        self.is_monotonic.push(series.is_monotonic);
        self.attributes.push(Pairs::read(attributes)?);
        self.flags.push(i64::from(point.flags));
        let (double, int) = match point.value {
            Some(NumberValue::Double(value)) => (Some(value), None),
            Some(NumberValue::Int(value)) => (None, Some(value)),
            None => (None, None),
        };
        self.value_double.push(double);
        self.value_int.push(int);
        self.count.push(point.count.map(count));
        self.sum.push(point.sum);
        self.min.push(point.min);
        self.max.push(point.max);
        self.explicit_bounds.push(point.explicit_bounds);
        self.bucket_counts.push(point.bucket_counts.into_iter().map(count));
        self.push_exponential(point.exponential.as_ref())?;
        self.quantiles.push(point.quantiles.iter().map(|(quantile, _)| *quantile));
        self.quantile_values.push(point.quantiles.iter().map(|(_, value)| *value));
        self.exemplars.push(point.exemplars);
        self.origins.push(series.origin);
        Ok(())
    }

    fn push_exponential(&mut self, point: Option<&ExponentialHistogramPoint<'_>>) -> Result<(), DecodeError> {
        self.scale.push(point.map(|point| point.scale));
        self.zero_count.push(point.map(|point| count(point.zero_count)));
        self.zero_threshold.push(point.map(|point| point.zero_threshold));
        self.positive_offset.push(point.map(|point| point.positive.offset));
        self.positive_bucket_counts.push(counts(point.map(|point| &point.positive))?);
        self.negative_offset.push(point.map(|point| point.negative.offset));
        self.negative_bucket_counts.push(counts(point.map(|point| &point.negative))?);
        Ok(())
    }
}

fn counts(buckets: Option<&Buckets<'_>>) -> Result<Vec<i64>, DecodeError> {
    let counts = buckets.into_iter().flat_map(Buckets::counts);
    counts.map(|bucket| bucket.map(count)).collect()
}

/// Exemplars as JSON.
fn exemplars(list: Views<'_, Exemplar<'_>>) -> Result<Option<ByteArray>, DecodeError> {
    let hex = |bytes: &[u8]| id(bytes).map(|id| String::from_utf8_lossy(id.data()).into_owned());
    let mut objects = Vec::new();
    for exemplar in list {
        let exemplar = exemplar?;
        let value = match exemplar.value {
            Some(NumberValue::Double(value)) => json!(value),
            Some(NumberValue::Int(value)) => json!(value),
            None => serde_json::Value::Null,
        };
        objects.push(json!({
            "time_unix_nano": exemplar.time_unix_nano,
            "value": value,
            "trace_id": hex(exemplar.trace_id),
            "span_id": hex(exemplar.span_id),
            "attributes": object(&exemplar.filtered_attributes)?,
        }));
    }
    Ok(json_list(&objects))
}

fn number<'a>(point: &NumberPoint<'_>) -> Result<Point<'a>, DecodeError> {
    Ok(Point {
        start_time: point.start_time_unix_nano,
        flags: point.flags,
        value: point.value,
        exemplars: exemplars(point.exemplars())?,
        ..Point::default()
    })
}

fn histogram<'a>(point: &HistogramPoint<'_>) -> Result<Point<'a>, DecodeError> {
    Ok(Point {
        start_time: point.start_time_unix_nano,
        flags: point.flags,
        count: Some(point.count),
        sum: point.sum,
        min: point.min,
        max: point.max,
        explicit_bounds: point.explicit_bounds.iter().collect(),
        bucket_counts: point.bucket_counts.iter().collect(),
        exemplars: exemplars(point.exemplars())?,
        ..Point::default()
    })
}

fn exponential<'a>(point: &ExponentialHistogramPoint<'a>) -> Result<Point<'a>, DecodeError> {
    Ok(Point {
        start_time: point.start_time_unix_nano,
        flags: point.flags,
        count: Some(point.count),
        sum: point.sum,
        min: point.min,
        max: point.max,
        exponential: Some(point.clone()),
        exemplars: exemplars(point.exemplars())?,
        ..Point::default()
    })
}

fn summary<'a>(point: &SummaryPoint<'_>) -> Result<Point<'a>, DecodeError> {
    let mut quantiles = Vec::new();
    for pair in point.quantile_values() {
        let pair = pair?;
        quantiles.push((pair.quantile, pair.value));
    }
    Ok(Point {
        start_time: point.start_time_unix_nano,
        flags: point.flags,
        count: Some(point.count),
        sum: Some(point.sum),
        quantiles,
        ..Point::default()
    })
}

/// Gives all points of a metric to their partitions.
macro_rules! each {
    ($points:expr, $make:expr, $series:expr, $now_ns:expr, $partitions:expr) => {
        for point in $points {
            let point = point?;
            let time_ns = time(point.time_unix_nano).unwrap_or($now_ns);
            let row = Point { time_ns, ..$make(&point)? };
            $partitions.at(time_ns, $series.weight)?.push($series, &point.attributes, row)?;
        }
    };
}

impl Rows for Points {
    const SCHEMA: &'static str = "message metrics {
        required int64 time (TIMESTAMP(NANOS,true));
        optional int64 start_time (TIMESTAMP(NANOS,true));
        required binary name (STRING);
        required binary type (STRING);
        optional binary unit (STRING);
        optional binary description (STRING);
        optional binary temporality (STRING);
        optional boolean is_monotonic;
        required group attributes (MAP) {
            repeated group key_value { required binary key (STRING); required binary value (STRING); } }
        required int64 flags;
        optional double value_double;
        optional int64 value_int;
        optional int64 count;
        optional double sum;
        optional double min;
        optional double max;
        required group explicit_bounds (LIST) { repeated group list { required double element; } }
        required group bucket_counts (LIST) { repeated group list { required int64 element; } }
        optional int32 scale;
        optional int64 zero_count;
        optional double zero_threshold;
        optional int32 positive_offset;
        required group positive_bucket_counts (LIST) { repeated group list { required int64 element; } }
        optional int32 negative_offset;
        required group negative_bucket_counts (LIST) { repeated group list { required int64 element; } }
        required group quantiles (LIST) { repeated group list { required double element; } }
        required group quantile_values (LIST) { repeated group list { required double element; } }
        optional binary exemplars (JSON);
        required group resource_attributes (MAP) {
            repeated group key_value { required binary key (STRING); required binary value (STRING); } }
        required binary scope_name (STRING);
        required binary scope_version (STRING);
        required group scope_attributes (MAP) {
            repeated group key_value { required binary key (STRING); required binary value (STRING); } }
    }";

    fn fill(batch: &Batch, now_ns: i64, partitions: &mut Partitions<Self>) -> PipelineResult<()> {
        for group in resources(&batch.payload) {
            let group = group?;
            let resource = Pairs::read(&group.resource()?.attributes)?;
            for scope_group in group.scopes() {
                let scope_group = scope_group?;
                let origin = Origin::read(&resource, &scope_group.scope()?)?;
                for metric in scope_group.metrics() {
                    fill_metric(&metric?, &origin, now_ns, partitions)?;
                }
            }
        }
        Ok(())
    }

    fn write<W: Write + Send>(&self, group: &mut RowGroup<'_, '_, W>) -> parquet::errors::Result<()> {
        self.time.write(group)?;
        self.start_time.write(group)?;
        self.name.write(group)?;
        self.kind.write(group)?;
        self.unit.write(group)?;
        self.description.write(group)?;
        self.temporality.write(group)?;
        self.is_monotonic.write(group)?;
        self.attributes.write(group)?;
        self.flags.write(group)?;
        self.value_double.write(group)?;
        self.value_int.write(group)?;
        self.count.write(group)?;
        self.sum.write(group)?;
        self.min.write(group)?;
        self.max.write(group)?;
        self.explicit_bounds.write(group)?;
        self.bucket_counts.write(group)?;
        self.scale.write(group)?;
        self.zero_count.write(group)?;
        self.zero_threshold.write(group)?;
        self.positive_offset.write(group)?;
        self.positive_bucket_counts.write(group)?;
        self.negative_offset.write(group)?;
        self.negative_bucket_counts.write(group)?;
        self.quantiles.write(group)?;
        self.quantile_values.write(group)?;
        self.exemplars.write(group)?;
        self.origins.write(group)
    }
}

fn fill_metric(
    metric: &Metric<'_>,
    origin: &Origin,
    now_ns: i64,
    partitions: &mut Partitions<Points>,
) -> PipelineResult<()> {
    let name = ByteArray::from(metric.name()?);
    let (unit, description) = (text(metric.unit()?), text(metric.description()?));
    let texts = [Some(&name), unit.as_ref(), description.as_ref()];
    let weight = origin.weight + texts.into_iter().flatten().map(|text| text.len() as u64).sum::<u64>();
    let series = |kind, temporality, is_monotonic| {
        let (name, unit, description) = (&name, unit.as_ref(), description.as_ref());
        Series { name, unit, description, kind, temporality, is_monotonic, origin, weight }
    };
    match metric.data()? {
        MetricData::Empty => {}
        MetricData::Gauge { points } => {
            each!(points, number, &series("gauge", None, None), now_ns, partitions);
        }
        MetricData::Sum { points, temporality, monotonic } => {
            let series = series("sum", Some(temporality), Some(monotonic));
            each!(points, number, &series, now_ns, partitions);
        }
        MetricData::Histogram { points, temporality } => {
            each!(points, histogram, &series("histogram", Some(temporality), None), now_ns, partitions);
        }
        MetricData::ExponentialHistogram { points, temporality } => {
            let series = series("exponential_histogram", Some(temporality), None);
            each!(points, exponential, &series, now_ns, partitions);
        }
        MetricData::Summary { points } => {
            each!(points, summary, &series("summary", None, None), now_ns, partitions);
        }
    }
    Ok(())
}
