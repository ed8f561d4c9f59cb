//! Series descriptions of the test language: a metric and its values, `metric{a="b"} 0+10x100 _ stale`.

use std::sync::Arc;

use model::{BucketSpan, Buckets, CounterResetHint, FloatHistogram, Labels, stale_nan};
use promql::{parse_duration, parse_number, parse_selector};

/// One value of a sequence.
#[derive(Clone, Debug)]
pub enum Item {
    Omitted,
    Float(f64),
    Histogram {
        histogram: Arc<FloatHistogram>,
        /// Whether the description names a counter reset hint, so that it is compared.
        has_hint: bool,
    },
}

/// Parses a whole description.
pub fn parse_series(line: &str) -> Result<(Labels, Vec<Item>), String> {
    let end = metric_end(line);
    let (metric, values) = line.split_at(end);
    Ok((parse_metric(metric.trim())?, parse_values(values)?))
}

/// Where the metric ends: behind its braces, or at the first space.
fn metric_end(line: &str) -> usize {
    let mut in_braces = false;
    let mut quote = None;
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') if in_braces => quote = Some(c),
            (None, '{') => in_braces = true,
            (None, '}') => return at + 1,
            (None, ' ' | '\t') if !in_braces => {
                // Spaces may stand between the name and its braces.
                if line[at..].trim_start().starts_with('{') && !line[at..].trim_start().starts_with("{{") {
                    continue;
                }
                return at;
            }
            (None, _) => {}
        }
    }
    line.len()
}

pub fn parse_metric(text: &str) -> Result<Labels, String> {
    let matchers = parse_selector(text).map_err(|error| error.to_string())?;
    Ok(Labels::from_pairs(matchers.iter().map(|m| (m.name(), m.value()))))
}

fn parse_values(text: &str) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        rest = parse_item(rest, &mut items).map_err(|error| format!("{error} in {text:?}"))?.trim_start();
    }
    Ok(items)
}

fn parse_item<'t>(text: &'t str, items: &mut Vec<Item>) -> Result<&'t str, String> {
    if let Some(rest) = text.strip_prefix('_') {
        let (count, rest) = repeat(rest)?;
        items.extend(std::iter::repeat_n(Item::Omitted, count.unwrap_or(1)));
        return Ok(rest);
    }
    if text.starts_with("{{") {
        return parse_histograms(text, items);
    }
    if let Some(rest) = text.strip_prefix("stale") {
        let (count, rest) = repeat(rest)?;
        items.extend(std::iter::repeat_n(Item::Float(stale_nan()), count.map_or(1, |n| n + 1)));
        return Ok(rest);
    }
    let (mut value, rest) = number(text)?;
    if rest.starts_with(['+', '-']) {
        let (step, rest) = number(rest)?;
        let (count, rest) = repeat(rest)?;
        let count = count.ok_or("a step without a count")?;
        for _ in 0..=count {
            items.push(Item::Float(value));
            value += step;
        }
        return Ok(rest);
    }
    let (count, rest) = repeat(rest)?;
    items.extend(std::iter::repeat_n(Item::Float(value), count.map_or(1, |n| n + 1)));
    Ok(rest)
}

/// `xN`
fn repeat(text: &str) -> Result<(Option<usize>, &str), String> {
    let Some(rest) = text.strip_prefix('x') else { return Ok((None, text)) };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let count = rest[..digits].parse().map_err(|_| format!("a bad count at {rest:?}"))?;
    Ok((Some(count), &rest[digits..]))
}

/// A number with its sign at the start of `text`.
fn number(text: &str) -> Result<(f64, &str), String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    let mut end = 0;
    let bytes = unsigned.as_bytes();
    let lower = unsigned.to_ascii_lowercase();
    if lower.starts_with("inf") || lower.starts_with("nan") {
        end = 3;
    } else {
        while end < bytes.len() {
            let is_exponent_sign =
                matches!(bytes[end], b'+' | b'-') && end > 0 && matches!(bytes[end - 1], b'e' | b'E');
            let is_number = bytes[end].is_ascii_digit() || matches!(bytes[end], b'.' | b'e' | b'E' | b'_');
            if !is_number && !is_exponent_sign {
                break;
            }
            end += 1;
        }
        let units = unsigned[end..].find(|c: char| !matches!(c, 's' | 'm' | 'h' | 'd' | 'w' | 'y'));
        let units = units.unwrap_or(unsigned.len() - end);
        if units > 0 {
            let ms = parse_duration(&unsigned[..end + units])?;
            let value = ms as f64 / 1000.0;
            return Ok((if negative { -value } else { value }, &unsigned[end + units..]));
        }
    }
    let value = parse_number(&unsigned[..end]).ok_or_else(|| format!("a bad number at {text:?}"))?;
    Ok((if negative { -value } else { value }, &unsigned[end..]))
}

fn parse_histograms<'t>(text: &'t str, items: &mut Vec<Item>) -> Result<&'t str, String> {
    let (first, has_hint, rest) = parse_histogram(text)?;
    let item = |histogram: &FloatHistogram, has_hint| Item::Histogram {
        histogram: Arc::new(histogram.clone()),
        has_hint,
    };
    if rest.starts_with("+{{") || rest.starts_with("-{{") {
        let subtracts = rest.starts_with('-');
        let (step, has_hint, rest) = parse_histogram(&rest[1..])?;
        let (count, rest) = repeat(rest)?;
        let mut current = first;
        items.push(item(&current, has_hint));
        for _ in 0..count.ok_or("a step without a count")? {
            if current.schema > step.schema {
                return Err(format!(
                    "error combining histograms: cannot merge from schema {} to {}",
                    step.schema, current.schema
                ));
            }
            let combined = if subtracts { current.subtract(&step) } else { current.add(&step) };
            combined.map_err(|error| error.to_string())?;
            items.push(item(&current, has_hint));
        }
        return Ok(rest);
    }
    let (count, rest) = repeat(rest)?;
    for _ in 0..count.map_or(1, |n| n + 1) {
        items.push(item(&first, has_hint));
    }
    Ok(rest)
}

fn parse_histogram(text: &str) -> Result<(FloatHistogram, bool, &str), String> {
    let inner = text.strip_prefix("{{").ok_or("no histogram")?;
    let (inner, rest) = inner.split_once("}}").ok_or("an open histogram")?;
    let mut histogram = FloatHistogram::default();
    let mut has_hint = false;
    let (mut offset, mut negative_offset) = (0, 0);
    let (mut buckets, mut negative_buckets) = (Vec::new(), Vec::new());
    let mut rest_of = inner.trim();
    while !rest_of.is_empty() {
        let (key, tail) = rest_of.split_once(':').ok_or_else(|| format!("no value at {rest_of:?}"))?;
        let (value, tail) = match tail.strip_prefix('[') {
            Some(list) => list.split_once(']').ok_or("an open list")?,
            None => tail.split_at(tail.find(' ').unwrap_or(tail.len())),
        };
        let float = || number(value).map(|(value, _)| value);
        let integer = || value.parse::<i32>().map_err(|_| format!("a bad integer {value:?}"));
        let list = || -> Result<Vec<f64>, String> {
            value.split_whitespace().map(|v| number(v).map(|(v, _)| v)).collect()
        };
        match key.trim() {
            "schema" => histogram.schema = integer()?,
            "sum" => histogram.sum = float()?,
            "count" => histogram.count = float()?,
            "z_bucket" => histogram.zero_count = float()?,
            "z_bucket_w" => histogram.zero_threshold = float()?,
            "custom_values" => histogram.custom_values = Some(list()?.into()),
            "buckets" => buckets = list()?,
            "offset" => offset = integer()?,
            "n_buckets" => negative_buckets = list()?,
            "n_offset" => negative_offset = integer()?,
            "counter_reset_hint" => {
                has_hint = true;
                histogram.counter_reset_hint = match value {
                    "unknown" => CounterResetHint::Unknown,
                    "reset" => CounterResetHint::Reset,
                    "not_reset" => CounterResetHint::NotReset,
                    "gauge" => CounterResetHint::Gauge,
                    other => return Err(format!("a bad counter reset hint {other:?}")),
                };
            }
            other => return Err(format!("a bad histogram key {other:?}")),
        }
        rest_of = tail.trim_start();
    }
    histogram.positive = dense(offset, buckets);
    histogram.negative = dense(negative_offset, negative_buckets);
    Ok((histogram, has_hint, rest))
}

fn dense(offset: i32, counts: Vec<f64>) -> Buckets {
    if counts.is_empty() {
        return Buckets::default();
    }
    Buckets { spans: vec![BucketSpan { offset, length: counts.len() as u32 }], counts }
}
