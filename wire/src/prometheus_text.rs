//! Writes the Prometheus text exposition format, version 0.0.4 (prometheus/docs, "Exposition formats").
//!
//! A page is families one after the other: a head with HELP and TYPE, then the samples. What order samples have inside
//! of a family is the caller's business. Names must be valid already: this format knows no others.

use std::fmt::Write as _;

use model::{Labels, METRIC_NAME, MetricMetadata, MetricType};

/// Content type of a page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the head of a family. Types that the format does not know become `untyped`.
pub fn put_family(out: &mut String, family: &str, metadata: &MetricMetadata) {
    if !metadata.help.is_empty() {
        out.push_str("# HELP ");
        out.push_str(family);
        out.push(' ');
        put_escaped(out, &metadata.help, false);
        out.push('\n');
    }
    let kind = match metadata.metric_type {
        MetricType::Counter => "counter",
        MetricType::Gauge | MetricType::Info | MetricType::StateSet => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::Summary => "summary",
        _ => "untyped",
    };
    // Writing to a text cannot fail.
    let _ = writeln!(out, "# TYPE {family} {kind}");
}

/// Writes a sample; with `timestamp_ms` its time.
pub fn put_sample(out: &mut String, labels: &Labels, value: f64, timestamp_ms: Option<i64>) {
    out.push_str(labels.metric_name().unwrap_or_default());
    let mut is_first = true;
    for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
        out.push_str(if is_first { "{" } else { "," });
        is_first = false;
        out.push_str(name);
        out.push_str("=\"");
        put_escaped(out, value, true);
        out.push('"');
    }
    out.push_str(if is_first { " " } else { "} " });
    match value {
        value if value.is_nan() => out.push_str("NaN"),
        f64::INFINITY => out.push_str("+Inf"),
        f64::NEG_INFINITY => out.push_str("-Inf"),
        value => {
            let _ = write!(out, "{value}");
        }
    }
    if let Some(timestamp_ms) = timestamp_ms {
        let _ = write!(out, " {timestamp_ms}");
    }
    out.push('\n');
}

fn put_escaped(out: &mut String, text: &str, is_label: bool) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if is_label => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Labels, MetricMetadata, MetricType};

    use super::{put_family, put_sample};

    #[test]
    fn a_page_is_written_as_the_format_says() {
        let mut page = String::new();
        let metadata = MetricMetadata {
            metric_type: MetricType::Counter,
            help: "Back\\slash and\nnewline \"quoted\"".to_owned(),
            unit: String::new(),
        };
        put_family(&mut page, "a_total", &metadata);
        let labels = [("__name__", "a_total"), ("path", "C:\\d\n\"q\"")];
        put_sample(&mut page, &Labels::from_pairs(labels), 1.5, Some(-7));
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e21] {
            put_sample(&mut page, &Labels::from_pairs([("__name__", "a_total")]), value, None);
        }
        let want = "# HELP a_total Back\\\\slash and\\nnewline \"quoted\"\n# TYPE a_total counter\n\
                    a_total{path=\"C:\\\\d\\n\\\"q\\\"\"} 1.5 -7\n\
                    a_total NaN\na_total +Inf\na_total -Inf\na_total 1000000000000000000000\n";
        assert_eq!(page, want);
    }
}
