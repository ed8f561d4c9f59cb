use super::MetricKind::{ExponentialHistogram, Gauge, Histogram, MonotonicSum, NonMonotonicSum, Summary};
use super::Strategy::{
    NoTranslation as Raw, NoUtf8EscapingWithSuffixes as Utf8, UnderscoreEscapingWithSuffixes as Escaped,
    UnderscoreEscapingWithoutSuffixes as Plain,
};
use super::{LabelNaming, MetricKind, Strategy, metric_name, unit_name};

/// The rows follow the behaviour that otlptranslator's metric_namer_test.go and Prometheus' OTLP documentation
/// describe; `None` stands for a refused name.
#[test]
fn metric_names_are_those_of_prometheus() {
    type Row = (Strategy, &'static str, &'static str, &'static str, MetricKind, Option<&'static str>);
    const ROWS: &[Row] = &[
        // Escaping alone.
        (Plain, "", "queue_depth", "", Gauge, Some("queue_depth")),
        (Plain, "", "queue@with#odd$signs", "", Gauge, Some("queue_with_odd_signs")),
        (Plain, "", "queue@@##$$depth", "", Gauge, Some("queue_depth")),
        (Plain, "", "queue__depth", "s", MonotonicSum, Some("queue__depth")),
        (Plain, "", "4xx", "", Gauge, Some("_4xx")),
        (Plain, "shop", "4xx", "", Gauge, Some("shop_4xx")),
        (Plain, "my@shop!!??", "orders", "", Gauge, Some("my_shop_orders")),
        (Plain, "", "", "", Gauge, None),
        (Plain, "", "@#$%", "", Gauge, None),
        (Plain, "", "@_#_$_%", "", Gauge, None),
        (Plain, "", "___", "", Gauge, Some("___")),
        // Types.
        (Escaped, "", "orders", "", MonotonicSum, Some("orders_total")),
        (Escaped, "", "orders_total", "", MonotonicSum, Some("orders_total")),
        (Escaped, "", "total_orders", "", MonotonicSum, Some("orders_total")),
        (Escaped, "", "orders", "1", MonotonicSum, Some("orders_total")),
        (Escaped, "", "fill", "1", Gauge, Some("fill_ratio")),
        (Escaped, "", "fill_ratio", "1", Gauge, Some("fill_ratio")),
        (Escaped, "", "ratio.fill", "1", Gauge, Some("fill_ratio")),
        (Escaped, "", "connections", "", NonMonotonicSum, Some("connections")),
        (Escaped, "", "connections", "1", NonMonotonicSum, Some("connections")),
        (Escaped, "", "request.duration", "s", Histogram, Some("request_duration_seconds")),
        (Escaped, "", "request.size", "By", ExponentialHistogram, Some("request_size_bytes")),
        (Escaped, "", "response.time", "ms", Summary, Some("response_time_milliseconds")),
        // Units already there, unknown, annotated, per something.
        (Escaped, "", "response_time_seconds", "s", Gauge, Some("response_time_seconds")),
        (Escaped, "", "seconds.spent", "s", MonotonicSum, Some("seconds_spent_total")),
        (Escaped, "", "jobs", "custom_unit", Gauge, Some("jobs_custom_unit")),
        (Escaped, "", "jobs", "{job}", Gauge, Some("jobs")),
        (Escaped, "", "jobs", "By/{job}", Gauge, Some("jobs_bytes")),
        (Escaped, "", "jobs", "{job}/s", Gauge, Some("jobs_per_second")),
        (Escaped, "", "jobs", "1/s", MonotonicSum, Some("jobs_per_second_total")),
        (Escaped, "", "jobs_per_second", "1/s", Gauge, Some("jobs_per_second_per_second")),
        (Escaped, "", "disk.io", "By/s", Gauge, Some("disk_io_bytes_per_second")),
        (Escaped, "", "disk.io", " By / s ", Gauge, Some("disk_io_bytes_per_second")),
        (Escaped, "", "disk.io", "By/", Gauge, Some("disk_io_bytes")),
        (Escaped, "", "disk.io", "/", Gauge, Some("disk_io")),
        (Escaped, "", "disk.io", "odd@with#signs/things", Gauge, Some("disk_io_odd_with_signs_per_things")),
        (Escaped, "", "a__b__c", "d__e__f", Gauge, Some("a_b_c_d_e_f")),
        (Escaped, "shop", "orders", "1/s", MonotonicSum, Some("shop_orders_per_second_total")),
        (Escaped, "shop", "4xx", "", MonotonicSum, Some("shop_4xx_total")),
        (Escaped, "", "4xx", "", MonotonicSum, Some("_4xx_total")),
        (Escaped, "", "rate:sum", "", Gauge, Some("rate:sum")),
        (Escaped, "", "@#$%", "", Gauge, None),
        (Escaped, "", "@#$%", "", MonotonicSum, Some("total")),
        // Suffixes on names that are kept as they are.
        (Utf8, "", "requêtes", "", MonotonicSum, Some("requêtes_total")),
        (Utf8, "", "requêtes_total", "", MonotonicSum, Some("requêtes_total")),
        (Utf8, "", "cpu_usagé", "1", Gauge, Some("cpu_usagé_ratio")),
        (Utf8, "", "dauer", "ms", Gauge, Some("dauer_milliseconds")),
        (Utf8, "", "dauer_seconds", "s", Gauge, Some("dauer_seconds")),
        (Utf8, "", "cpu_seconds_total", "s", MonotonicSum, Some("cpu_seconds_total")),
        (Utf8, "", "cpu_seconds", "s", MonotonicSum, Some("cpu_seconds_total")),
        (Utf8, "", "requêtes", "1/s", Gauge, Some("requêtes_per_second")),
        (Utf8, "ñame", "requêtes", "1/s", MonotonicSum, Some("ñame_requêtes_per_second_total")),
        (Utf8, "", "@#$%", "", MonotonicSum, Some("@#$%_total")),
        (Utf8, "my@shop", "orders", "", MonotonicSum, Some("my@shop_orders_total")),
        (Utf8, "", "total", "", MonotonicSum, Some("total_total")),
        (Utf8, "", "", "", Gauge, None),
        // Names as they are.
        (Raw, "", "http.request.duration", "ms", Histogram, Some("http.request.duration")),
        (Raw, "", "http.requests", "1", MonotonicSum, Some("http.requests")),
        (Raw, "shop", "métrique", "", Gauge, Some("shop_métrique")),
        (Raw, "", "___", "", Gauge, Some("___")),
    ];
    for (strategy, namespace, name, unit, kind, expected) in ROWS.iter().copied() {
        let got = metric_name(strategy, namespace, name, unit, kind);
        let row = format!("{strategy:?} {namespace:?} {name:?} {unit:?} {kind:?}");
        assert_eq!(got.ok().as_deref(), expected, "{row}");
    }
}

#[test]
fn units_have_prometheus_words() {
    for (unit, expected) in [
        ("", ""),
        ("1", ""),
        ("{request}", ""),
        ("d", "days"),
        ("h", "hours"),
        ("min", "minutes"),
        ("s", "seconds"),
        ("ms", "milliseconds"),
        ("us", "microseconds"),
        ("ns", "nanoseconds"),
        ("By", "bytes"),
        ("KiBy", "kibibytes"),
        ("MiBy", "mebibytes"),
        ("GiBy", "gibibytes"),
        ("TiBy", "tibibytes"),
        ("KBy", "kilobytes"),
        ("MBy", "megabytes"),
        ("GBy", "gigabytes"),
        ("TBy", "terabytes"),
        ("m", "meters"),
        ("V", "volts"),
        ("A", "amperes"),
        ("J", "joules"),
        ("W", "watts"),
        ("g", "grams"),
        ("Cel", "celsius"),
        ("Hz", "hertz"),
        ("%", "percent"),
        ("1/s", "per_second"),
        ("1/m", "per_minute"),
        ("1/h", "per_hour"),
        ("1/d", "per_day"),
        ("1/w", "per_week"),
        ("1/mo", "per_month"),
        ("1/y", "per_year"),
        ("m/s", "meters_per_second"),
        ("By/{packet}", "bytes"),
        ("packets", "packets"),
        ("odd@@unit_", "odd_unit"),
        ("@odd", "odd"),
    ] {
        assert_eq!(unit_name(unit, false), expected, "{unit:?}");
    }
    assert_eq!(unit_name("größe/s", true), "größe_per_second");
}

/// Columns: the attribute key, the label with runs of `_` collapsed, and with them kept.
#[test]
fn label_names_are_those_of_prometheus_and_loki() {
    let keeping =
        LabelNaming { utf8: false, underscore_sanitization: false, preserve_multiple_underscores: true };
    for (key, collapsed, kept) in [
        ("http.request.method", Some("http_request_method"), Some("http_request_method")),
        ("UpperCase", Some("UpperCase"), Some("UpperCase")),
        ("with:colons", Some("with_colons"), Some("with_colons")),
        ("with!odd&signs)", Some("with_odd_signs_"), Some("with_odd_signs_")),
        ("ends_in_字符", Some("ends_in_"), Some("ends_in___")),
        ("9lives", Some("key_9lives"), Some("key_9lives")),
        ("_private", Some("_private"), Some("_private")),
        ("__very_private", Some("_very_private"), Some("__very_private")),
        ("a__b__c", Some("a_b_c"), Some("a__b__c")),
        ("a.b__c&&d##e", Some("a_b_c_d_e"), Some("a_b__c__d__e")),
        ("__meta__name__", Some("__meta_name__"), Some("__meta__name__")),
        ("trailing___", Some("trailing_"), Some("trailing___")),
        ("ようこそ", None, None),
        ("__", None, None),
        (".", None, None),
        ("", None, None),
    ] {
        assert_eq!(LabelNaming::LOKI.name(key).ok().as_deref(), collapsed, "{key:?}");
        assert_eq!(keeping.name(key).ok().as_deref(), kept, "{key:?}");
    }
    for (key, expected) in [
        ("_private", "key_private"),
        ("__private", "__private"),
        (".dot", "key_dot"),
        ("9lives", "key_9lives"),
    ] {
        assert_eq!(LabelNaming::PROMETHEUS.name(key).unwrap(), expected, "{key:?}");
    }
    let utf8 = LabelNaming { utf8: true, ..LabelNaming::PROMETHEUS };
    assert_eq!(utf8.name("http.Méthode").unwrap(), "http.Méthode");
    assert!(utf8.name("___").is_err() && utf8.name("").is_err());
}

#[test]
fn a_refused_label_leaves_the_buffer_alone() {
    let mut out = String::from("before ");
    assert!(LabelNaming::PROMETHEUS.append("...", &mut out).is_err());
    LabelNaming::PROMETHEUS.append("k8s.pod", &mut out).unwrap();
    assert_eq!(out, "before k8s_pod");
}
