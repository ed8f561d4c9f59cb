//! A native histogram as JSON (util/jsonutil MarshalHistogram): count, sum, and every bucket that is not empty as
//! `[rule, lower, upper, count]`, the rule telling which bounds are inside: 0 the upper, 1 the lower, 2 none, 3 both.

use model::{Buckets, FloatHistogram};

use crate::api::json;

/// Appends the histogram.
pub(super) fn write(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    out.extend_from_slice(br#"{"count":""#);
    json::float(out, histogram.count);
    out.extend_from_slice(br#"","sum":""#);
    json::float(out, histogram.sum);
    out.push(b'"');
    let buckets = buckets(histogram);
    if !buckets.is_empty() {
        out.extend_from_slice(br#","buckets":["#);
        for (index, bucket) in buckets.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.push(b'[');
            json::integer(out, bucket.rule);
            for number in [bucket.lower, bucket.upper, bucket.count] {
                out.extend_from_slice(b",\"");
                json::float(out, number);
                out.push(b'"');
            }
            out.push(b']');
        }
        out.push(b']');
    }
    out.push(b'}');
}

struct Bucket {
    rule: u8,
    lower: f64,
    upper: f64,
    count: f64,
}

/// The buckets that hold something, in ascending order.
fn buckets(histogram: &FloatHistogram) -> Vec<Bucket> {
    let bound = |index: i32| match &histogram.custom_values {
        Some(bounds) if histogram.uses_custom_buckets() => match usize::try_from(index) {
            Ok(index) => bounds.get(index).copied().unwrap_or(f64::INFINITY),
            Err(_) => f64::NEG_INFINITY,
        },
        // Bucket i of schema s ends at 2^(i · 2^-s) (model/histogram/generic.go getBoundExponential).
        _ => 2.0_f64.powf(f64::from(index) * 2.0_f64.powi(-histogram.schema)),
    };
    let mut all = Vec::new();
    for (index, count) in indexed(&histogram.negative) {
        all.push(Bucket { rule: 1, lower: -bound(index), upper: -bound(index - 1), count });
    }
    all.reverse();
    if histogram.zero_count != 0.0 {
        let half = histogram.zero_threshold;
        all.push(Bucket { rule: 3, lower: -half, upper: half, count: histogram.zero_count });
    }
    for (index, count) in indexed(&histogram.positive) {
        let lower = bound(index - 1);
        // The first custom bucket begins at minus infinity, which is inside as far as it can be.
        let rule = if lower == f64::NEG_INFINITY { 3 } else { 0 };
        all.push(Bucket { rule, lower, upper: bound(index), count });
    }
    all.retain(|bucket| bucket.count != 0.0);
    all
}

/// Bucket indices with their counts.
fn indexed(buckets: &Buckets) -> impl Iterator<Item = (i32, f64)> {
    let mut next = 0_i32;
    let indices = buckets.spans.iter().flat_map(move |span| {
        let first = next.saturating_add(span.offset);
        next = first.saturating_add(i32::try_from(span.length).unwrap_or(i32::MAX));
        first..next
    });
    indices.zip(buckets.counts.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, FloatHistogram};

    use super::write;

    fn json(histogram: &FloatHistogram) -> String {
        let mut out = Vec::new();
        write(&mut out, histogram);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn buckets_have_bounds_rules_and_no_empty_ones() {
        let buckets = |spans: &[(i32, u32)], counts: &[f64]| Buckets {
            spans: spans
                .iter()
                .map(|(offset, length)| BucketSpan { offset: *offset, length: *length })
                .collect(),
            counts: counts.to_vec(),
        };
        let exponential = FloatHistogram {
            schema: 0,
            zero_threshold: 0.001,
            zero_count: 2.0,
            count: 9.0,
            sum: 18.4,
            positive: buckets(&[(0, 2), (1, 1)], &[1.0, 0.0, 3.0]),
            negative: buckets(&[(1, 1)], &[3.0]),
            ..FloatHistogram::default()
        };
        assert_eq!(
            json(&exponential),
            r#"{"count":"9","sum":"18.4","buckets":[[1,"-2","-1","3"],[3,"-0.001","0.001","2"],[0,"0.5","1","1"],[0,"4","8","3"]]}"#
        );
        let custom = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 3.0,
            sum: 4.0,
            positive: buckets(&[(0, 3)], &[1.0, 1.0, 1.0]),
            custom_values: Some(Arc::from([5.0, 10.0])),
            ..FloatHistogram::default()
        };
        assert_eq!(
            json(&custom),
            r#"{"count":"3","sum":"4","buckets":[[3,"-Inf","5","1"],[0,"5","10","1"],[0,"10","+Inf","1"]]}"#
        );
        assert_eq!(json(&FloatHistogram::default()), r#"{"count":"0","sum":"0"}"#);
    }
}
