//! Classic histograms as native ones with custom buckets, for `load_with_nhcb`.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Labels, METRIC_NAME, SampleColumns};
use promql::parse_number;

#[derive(Default)]
struct Classic {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// The native histograms of all classic ones in `series`.
pub fn convert(series: &[(Labels, SampleColumns)]) -> Result<Vec<(Labels, SampleColumns)>, String> {
    let mut classics: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for (labels, samples) in series {
        let name = labels.metric_name().unwrap_or("");
        let Some((base, suffix)) = name.rsplit_once('_') else { continue };
        if !matches!(suffix, "bucket" | "count" | "sum") {
            continue;
        }
        let upper = labels.get("le").and_then(parse_number).filter(|le| !le.is_nan());
        if suffix == "bucket" && upper.is_none() {
            continue;
        }
        let key = labels.to_builder().set(METRIC_NAME, base).remove("le").build();
        let by_time = classics.entry(key).or_default();
        for (index, (time, value)) in samples.timestamps_ms.iter().zip(&samples.values).enumerate() {
            if samples.histograms.iter().any(|(at, _)| *at == index) {
                continue;
            }
            let classic = by_time.entry(*time).or_default();
            match suffix {
                "bucket" => classic.buckets.push((upper.expect("checked above"), *value)),
                "count" => classic.count = Some(*value),
                _ => classic.sum = *value,
            }
        }
    }
    Ok(classics
        .into_iter()
        .map(|(labels, by_time)| {
            let mut columns = SampleColumns::default();
            for (time, classic) in by_time {
                columns.push_histogram(time, Arc::new(native(classic)));
            }
            (labels, columns)
        })
        .collect())
}

fn native(mut classic: Classic) -> FloatHistogram {
    classic.buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    // A bound that is written in two ways counts once, the first time.
    classic.buckets.dedup_by(|(a, _), (b, _)| a == b);
    let count = classic.count.or(classic.buckets.last().map(|(_, count)| *count)).unwrap_or(0.0);
    if classic.buckets.last().is_none_or(|(upper, _)| *upper != f64::INFINITY) {
        classic.buckets.push((f64::INFINITY, count));
    }
    let bounds: Vec<f64> =
        classic.buckets.iter().map(|(upper, _)| *upper).filter(|upper| upper.is_finite()).collect();
    let mut before = 0.0;
    let mut counts = Vec::new();
    for (_, cumulative) in &classic.buckets {
        counts.push(cumulative - before);
        before = *cumulative;
    }
    let mut histogram = FloatHistogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count,
        sum: classic.sum,
        positive: Buckets { spans: vec![BucketSpan { offset: 0, length: counts.len() as u32 }], counts },
        custom_values: Some(bounds.into()),
        ..FloatHistogram::default()
    };
    histogram.compact();
    histogram
}
