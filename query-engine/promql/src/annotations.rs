//! Warnings and notes that come with a result, with Prometheus' texts (util/annotations/annotations.go).
//!
//! Invariant ANNOTATION-1: what is answered does not depend on the order in which threads met the events.

use std::collections::BTreeMap;

use crate::syntax::{Span, format_float_g, quote};

/// Which histogram operation an annotation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistogramOperation {
    Addition,
    Subtraction,
    Aggregation,
}

impl HistogramOperation {
    fn name(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

/// One annotation.
#[derive(Clone, Debug)]
pub(crate) struct Annotation {
    text: String,
    span: Span,
    is_warning: bool,
    monotonicity: Option<Monotonicity>,
}

/// How far the buckets of a classic histogram were from being monotonic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Monotonicity {
    pub(crate) timestamps_ms: (i64, i64),
    pub(crate) buckets: (f64, f64),
    pub(crate) max_diff: f64,
    pub(crate) samples: u64,
}

/// All annotations of a query, by text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Annotations {
    by_text: BTreeMap<String, Annotation>,
}

impl Annotations {
    /// Adds one. Of two with the same text the later position stays, as in Prometheus.
    pub(crate) fn add(&mut self, annotation: Annotation) {
        match self.by_text.get_mut(&annotation.text) {
            None => {
                self.by_text.insert(annotation.text.clone(), annotation);
            }
            Some(known) => {
                known.span = annotation.span;
                if let (Some(known), Some(new)) = (&mut known.monotonicity, annotation.monotonicity) {
                    known.merge(new);
                }
            }
        }
    }

    /// Warnings and notes as text, sorted.
    pub(crate) fn into_texts(self, query: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for annotation in self.by_text.into_values() {
            let text = annotation.render(query);
            if annotation.is_warning { warnings.push(text) } else { infos.push(text) }
        }
        (warnings, infos)
    }
}

impl Monotonicity {
    fn merge(&mut self, other: Self) {
        self.timestamps_ms.0 = self.timestamps_ms.0.min(other.timestamps_ms.0);
        self.timestamps_ms.1 = self.timestamps_ms.1.max(other.timestamps_ms.1);
        self.buckets.0 = self.buckets.0.min(other.buckets.0);
        self.buckets.1 = self.buckets.1.max(other.buckets.1);
        self.max_diff = self.max_diff.max(other.max_diff);
        self.samples += other.samples;
    }
}

impl Annotation {
    fn warning(span: Span, text: impl std::fmt::Display) -> Self {
        Self { text: format!("PromQL warning: {text}"), span, is_warning: true, monotonicity: None }
    }

    fn info(span: Span, text: impl std::fmt::Display) -> Self {
        Self { text: format!("PromQL info: {text}"), span, is_warning: false, monotonicity: None }
    }

    fn render(&self, query: &str) -> String {
        let position = self.span.position(query);
        let Some(m) = &self.monotonicity else { return format!("{} ({position})", self.text) };
        format!(
            "{}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {} ({position})",
            self.text,
            format_float_g(m.buckets.0),
            format_float_g(m.buckets.1),
            two_digits(m.max_diff),
            m.samples,
            rfc3339(m.timestamps_ms.0),
            rfc3339(m.timestamps_ms.1),
        )
    }

    pub(crate) fn invalid_ratio(span: Span, got: f64, capped: f64) -> Self {
        let (got, capped) = (format_float_g(got), format_float_g(capped));
        let text = format!("ratio value should be between -1 and 1, got {got}, capping to {capped}");
        Self::warning(span, text)
    }

    pub(crate) fn invalid_quantile(span: Span, got: f64) -> Self {
        let text = format!("quantile value should be between 0 and 1, got {}", format_float_g(got));
        Self::warning(span, text)
    }

    pub(crate) fn bad_bucket_label(span: Span, metric: &str, label: &str) -> Self {
        let text = format!("bucket label \"le\" is missing or has a malformed value of {}", quote(label));
        Self::warning(span, with_metric(text, metric))
    }

    pub(crate) fn mixed_floats_histograms(span: Span, metric: &str) -> Self {
        let text = format!("encountered a mix of histograms and floats for metric name {}", quote(metric));
        Self::warning(span, text)
    }

    pub(crate) fn mixed_floats_histograms_aggregation(span: Span) -> Self {
        Self::warning(span, "encountered a mix of histograms and floats for aggregation")
    }

    pub(crate) fn mixed_classic_native(span: Span, metric: &str) -> Self {
        let text = "vector contains a mix of classic and native histograms".to_owned();
        Self::warning(span, with_metric(text, metric))
    }

    pub(crate) fn not_a_counter(span: Span, metric: &str) -> Self {
        Self::warning(span, format!("this native histogram metric is not a counter: {}", quote(metric)))
    }

    pub(crate) fn not_a_gauge(span: Span, metric: &str) -> Self {
        Self::warning(span, format!("this native histogram metric is not a gauge: {}", quote(metric)))
    }

    pub(crate) fn mixed_exponential_custom(span: Span, metric: &str) -> Self {
        let text = format!(
            "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {}",
            quote(metric)
        );
        Self::warning(span, text)
    }

    pub(crate) fn incompatible_bucket_layout(span: Span, operator: &str) -> Self {
        let text = format!("incompatible bucket layout encountered for binary operator {operator}");
        Self::warning(span, text)
    }

    pub(crate) fn sort_in_range_query(span: Span) -> Self {
        let text = "sort is ineffective for range queries since results are always ordered by labels";
        Self::warning(span, text)
    }

    pub(crate) fn counter_reset_collision(span: Span, operation: HistogramOperation) -> Self {
        let text = format!("conflicting counter resets during histogram {}", operation.name());
        Self::warning(span, text)
    }

    pub(crate) fn possible_non_counter(span: Span, metric: &str) -> Self {
        let text = format!(
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
            quote(metric)
        );
        Self::info(span, text)
    }

    pub(crate) fn possible_non_counter_label(span: Span, metric: &str, type_label: &str) -> Self {
        let text = format!(
            "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {}: {}",
            quote(type_label),
            quote(metric)
        );
        Self::info(span, text)
    }

    pub(crate) fn forced_monotonicity(span: Span, metric: &str, detail: Monotonicity) -> Self {
        let text = "input to histogram_quantile needed to be fixed for monotonicity (see \
                    https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
        let mut annotation = Self::info(span, with_metric(text.to_owned(), metric));
        annotation.monotonicity = Some(detail);
        annotation
    }

    pub(crate) fn incompatible_types(span: Span, left: &str, operator: &str, right: &str) -> Self {
        let text = format!(
            "incompatible sample types encountered for binary operator {}: {left} {operator} {right}",
            quote(operator)
        );
        Self::info(span, text)
    }

    pub(crate) fn histogram_ignored_in_aggregation(span: Span, aggregation: &str) -> Self {
        Self::info(span, format!("ignored histogram in {aggregation} aggregation"))
    }

    pub(crate) fn histogram_ignored_in_mixed_range(span: Span, metric: &str) -> Self {
        let text = format!(
            "ignored histograms in a range containing both floats and histograms for metric name {}",
            quote(metric)
        );
        Self::info(span, text)
    }

    pub(crate) fn quantile_nan_result(span: Span, metric: &str) -> Self {
        let text = "input to histogram_quantile has NaN observations, result is NaN".to_owned();
        Self::info(span, with_metric(text, metric))
    }

    pub(crate) fn quantile_nan_skew(span: Span, metric: &str) -> Self {
        let text = "input to histogram_quantile has NaN observations, result is skewed higher".to_owned();
        Self::info(span, with_metric(text, metric))
    }

    pub(crate) fn fraction_nans(span: Span, metric: &str) -> Self {
        let text = "input to histogram_fraction has NaN observations, which are excluded from all fractions";
        Self::info(span, with_metric(text.to_owned(), metric))
    }

    pub(crate) fn mismatched_custom_buckets(span: Span, operation: HistogramOperation) -> Self {
        let text = format!("mismatched custom buckets were reconciled during {}", operation.name());
        Self::info(span, text)
    }
}

fn with_metric(text: String, metric: &str) -> String {
    if metric.is_empty() { text } else { format!("{text} for metric name {}", quote(metric)) }
}

/// Go's `%.2g`.
fn two_digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format_float_g(value);
    }
    let rounded = format!("{value:.1e}");
    let (mantissa, exponent) = rounded.split_once('e').expect("the e format has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if (-4..2).contains(&exponent) {
        let value: f64 = rounded.parse().expect("just printed");
        return format_float_g(value);
    }
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// A time as Go's RFC 3339 layout prints it, in whole seconds.
fn rfc3339(timestamp_ms: i64) -> String {
    let seconds = timestamp_ms / 1000;
    let date = crate::exec::calendar::Civil::from_unix_seconds(seconds);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year, date.month, date.day, date.hour, date.minute, date.second
    )
}
