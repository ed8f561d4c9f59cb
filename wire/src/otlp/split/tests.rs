use bytes::Bytes;
use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, NumberDataPoint};
use proptest::prelude::*;
use prost::Message;

use super::{item_count, merge, split};
use crate::otlp::check;
use crate::otlp::tests::rewrite;
use crate::otlp::tests::samples::{self, Samples};

/// Every item of a request with everything that is said about it elsewhere, in order: what must survive a split.
fn items(signal: Signal, bytes: &[u8]) -> Vec<String> {
    let mut items = Vec::new();
    match signal {
        Signal::Logs => {
            for resource in ExportLogsServiceRequest::decode(bytes).expect("valid").resource_logs {
                for scope in &resource.scope_logs {
                    let around = format!(
                        "{:?}",
                        (&resource.resource, &resource.schema_url, &scope.scope, &scope.schema_url)
                    );
                    items.extend(scope.log_records.iter().map(|record| format!("{around} {record:?}")));
                }
            }
        }
        Signal::Metrics => {
            for resource in ExportMetricsServiceRequest::decode(bytes).expect("valid").resource_metrics {
                for scope in &resource.scope_metrics {
                    for metric in &scope.metrics {
                        let around = format!(
                            "{:?}",
                            (&resource.resource, &resource.schema_url, &scope.scope, &scope.schema_url)
                        );
                        items.extend(points(metric).into_iter().map(|point| format!("{around} {point}")));
                    }
                }
            }
        }
        Signal::Traces => unreachable!("has the shape of logs"),
    }
    items
}

/// One copy of the metric for each point, holding only that point.
fn points(metric: &Metric) -> Vec<String> {
    fn each(metric: &Metric, len: usize, keep: impl Fn(&mut Data, usize)) -> Vec<String> {
        (0..len)
            .map(|index| {
                let mut one = metric.clone();
                keep(one.data.as_mut().expect("has points"), index);
                format!("{one:?}")
            })
            .collect()
    }
    let Some(data) = &metric.data else { return Vec::new() };
    match data {
        Data::Gauge(gauge) => each(metric, gauge.data_points.len(), |data, index| {
            if let Data::Gauge(data) = data {
                data.data_points = vec![data.data_points.swap_remove(index)];
            }
        }),
        Data::Sum(sum) => each(metric, sum.data_points.len(), |data, index| {
            if let Data::Sum(data) = data {
                data.data_points = vec![data.data_points.swap_remove(index)];
            }
        }),
        Data::Histogram(histogram) => each(metric, histogram.data_points.len(), |data, index| {
            if let Data::Histogram(data) = data {
                data.data_points = vec![data.data_points.swap_remove(index)];
            }
        }),
        Data::ExponentialHistogram(histogram) => each(metric, histogram.data_points.len(), |data, index| {
            if let Data::ExponentialHistogram(data) = data {
                data.data_points = vec![data.data_points.swap_remove(index)];
            }
        }),
        Data::Summary(summary) => each(metric, summary.data_points.len(), |data, index| {
            if let Data::Summary(data) = data {
                data.data_points = vec![data.data_points.swap_remove(index)];
            }
        }),
    }
}

proptest! {
    #[test]
    fn parts_hold_every_item_once_with_what_surrounds_it(
        choices in samples::choices(),
        metrics in any::<bool>(),
        descending in any::<bool>(),
        items_max in 1u64..9,
    ) {
        let signal = if metrics { Signal::Metrics } else { Signal::Logs };
        let mut bytes = Samples::new(&choices).request(signal);
        if descending {
            bytes = rewrite::descending(signal, &bytes);
        }
        let expected = items(signal, &bytes);
        let bytes = Bytes::from(bytes);
        prop_assert_eq!(item_count(signal, &bytes), Ok(expected.len() as u64));
        let parts = split(signal, &bytes, items_max).expect("well-formed");
        let mut found = Vec::new();
        for (index, (part, count)) in parts.iter().enumerate() {
            let checked = check(signal, part.clone()).expect("well-formed");
            prop_assert_eq!(checked.items, *count);
            prop_assert!(index + 1 == parts.len() || *count == items_max, "all parts but the last are full");
            prop_assert!(*count <= items_max);
            found.extend(items(signal, part));
        }
        prop_assert_eq!(found, expected.clone());
        let parts: Vec<_> = parts.into_iter().map(|(part, _)| part).collect();
        prop_assert_eq!(items(signal, &merge(&parts)), expected);
    }
}

#[test]
fn a_payload_that_fits_is_not_copied() {
    for signal in Signal::ALL {
        let bytes = Bytes::from(samples::full_request(signal));
        let items = item_count(signal, &bytes).expect("valid");
        for items_max in [0, items, items + 1] {
            let parts = split(signal, &bytes, items_max).expect("valid");
            assert_eq!(parts, [(bytes.clone(), items)]);
            assert_eq!(parts[0].0.as_ptr(), bytes.as_ptr());
        }
    }
}

#[test]
fn whole_groups_stay_slices_of_the_payload() {
    let group = Bytes::from(samples::full_request(Signal::Traces));
    let items = item_count(Signal::Traces, &group).expect("valid");
    let two = merge(&[group.clone(), group.clone()]);
    let parts = split(Signal::Traces, &two, items).expect("valid");
    assert_eq!(parts, [(group.clone(), items), (group, items)]);
    assert_eq!(parts[1].0.as_ptr(), two[two.len() / 2..].as_ptr());
}

#[test]
fn one_metric_with_many_points_is_split_between_them() {
    let mut request = ExportMetricsServiceRequest::default();
    request.resource_metrics.resize_with(1, Default::default);
    request.resource_metrics[0].scope_metrics.resize_with(1, Default::default);
    let point = |index| NumberDataPoint { time_unix_nano: index, ..NumberDataPoint::default() };
    let gauge = Gauge { data_points: (0..1000).map(point).collect() };
    let metric = Metric { name: "up".into(), data: Some(Data::Gauge(gauge)), ..Metric::default() };
    request.resource_metrics[0].scope_metrics[0].metrics.push(metric);
    let parts = split(Signal::Metrics, &request.encode_to_vec().into(), 300).expect("valid");
    let counts: Vec<_> = parts.iter().map(|(_, items)| *items).collect();
    assert_eq!(counts, [300, 300, 300, 100]);
    let last = ExportMetricsServiceRequest::decode(parts[3].0.clone()).expect("valid");
    let metric = &last.resource_metrics[0].scope_metrics[0].metrics[0];
    assert_eq!(metric.name, "up");
    assert!(matches!(&metric.data, Some(Data::Gauge(gauge)) if gauge.data_points[0].time_unix_nano == 900));
}

#[test]
fn merging_nothing_is_an_empty_request() {
    assert!(merge(&[]).is_empty());
}

#[test]
fn a_large_resource_is_not_repeated_around_each_of_many_records() {
    let resource = vec![b'x'; 1 << 20];
    let mut group = Vec::new();
    crate::protobuf::put_bytes_field(&mut group, 1, &resource);
    // 200 empty records.
    crate::protobuf::put_bytes_field(&mut group, 2, &[0x12, 0].repeat(200));
    let mut payload = Vec::new();
    crate::protobuf::put_bytes_field(&mut payload, 1, &group);
    let payload = Bytes::from(payload);
    let error = split(Signal::Logs, &payload, 1).expect_err("200 MiB of a payload of one");
    assert_eq!(error.kind(), model::ErrorKind::Invalid);
    assert!(error.to_string().contains("the parts of the payload would have more than"), "{error}");
    assert_eq!(split(Signal::Logs, &payload, 10).expect("20 MiB").len(), 20);
}
