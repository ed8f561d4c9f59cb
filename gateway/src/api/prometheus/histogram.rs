//! A native histogram as JSON (util/jsonutil MarshalHistogram): count, sum, and every bucket that is not empty as
//! `[rule, lower, upper, count]`, the rule telling which bounds are inside: 0 the upper, 1 the lower, 2 none, 3 both.

use model::{Bucket, FloatHistogram};

use crate::api::json;

/// Appends the histogram.
pub(super) fn write(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    out.extend_from_slice(br#"{"count":""#);
    json::float(out, histogram.count);
    out.extend_from_slice(br#"","sum":""#);
    json::float(out, histogram.sum);
    out.push(b'"');
    let mut buckets = histogram.all_buckets();
    buckets.retain(|bucket| bucket.count != 0.0);
    if !buckets.is_empty() {
        out.extend_from_slice(br#","buckets":["#);
        for (index, bucket) in buckets.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.push(b'[');
            json::integer(out, rule(bucket));
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

/// Which bounds are inside.
fn rule(bucket: &Bucket) -> u8 {
    match (bucket.lower_inclusive, bucket.upper_inclusive) {
        (false, true) => 0,
        (true, false) => 1,
        (false, false) => 2,
        (true, true) => 3,
    }
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
        // Of a difference only buckets may be negative; the bounds are those of Prometheus' table, to the last digit.
        let negative = FloatHistogram {
            schema: 1,
            zero_threshold: 0.001,
            zero_count: -2.0,
            count: -3.0,
            positive: buckets(&[(0, 1)], &[-1.0]),
            ..FloatHistogram::default()
        };
        assert_eq!(
            json(&negative),
            r#"{"count":"-3","sum":"0","buckets":[[0,"0.7071067811865475","1","-1"]]}"#
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
