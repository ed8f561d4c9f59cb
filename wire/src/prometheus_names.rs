//! Prometheus names for OTLP metrics, labels and units.
//!
//! The rules are those of the prometheus/otlptranslator module (metric_namer.go, label_namer.go, unit_namer.go,
//! strconv.go at v1.0.0), which Prometheus' OTLP endpoint and Loki use. Names are made when a series is first
//! seen, so this code is written for clarity; the callers cache what it returns.

use crate::DecodeError;

/// How metric and label names are carried over (`translation_strategy` of Prometheus' `otlp` section).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Characters outside the classic set become `_`; unit and type suffixes are added.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Characters outside the classic set become `_`; no suffixes.
    UnderscoreEscapingWithoutSuffixes,
    /// Names as they are, with unit and type suffixes.
    NoUtf8EscapingWithSuffixes,
    /// Names as they are.
    NoTranslation,
}

impl Strategy {
    /// Names escaped to the classic character set, with or without suffixes: what `add_metric_suffixes` chooses from.
    pub fn escaping(adds_suffixes: bool) -> Self {
        if adds_suffixes {
            Self::UnderscoreEscapingWithSuffixes
        } else {
            Self::UnderscoreEscapingWithoutSuffixes
        }
    }

    /// Whether names are escaped to the classic character set.
    pub fn escapes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes)
    }

    /// Whether metric names get unit and type suffixes.
    pub fn adds_suffixes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes)
    }
}

/// What an OTLP metric is, as far as its name depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A sum that only goes up.
    MonotonicSum,
    /// A sum that goes up and down.
    NonMonotonicSum,
    /// A gauge.
    Gauge,
    /// A histogram with explicit bounds.
    Histogram,
    /// An exponential histogram.
    ExponentialHistogram,
    /// A summary.
    Summary,
}

/// How label names are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelNaming {
    /// Keep names as they are.
    pub utf8: bool,
    /// Put `key` before a name that starts with a single `_`.
    pub underscore_sanitization: bool,
    /// Keep runs of `_`; otherwise a run becomes one.
    pub preserve_multiple_underscores: bool,
}

impl LabelNaming {
    /// What Prometheus' OTLP endpoint does by default.
    pub const PROMETHEUS: Self =
        Self { utf8: false, underscore_sanitization: true, preserve_multiple_underscores: true };

    /// What Loki does.
    pub const LOKI: Self =
        Self { utf8: false, underscore_sanitization: false, preserve_multiple_underscores: false };

    /// Appends the label name for attribute `key` to `out`; on an error `out` is as it was.
    pub fn append(self, key: &str, out: &mut String) -> Result<(), DecodeError> {
        if key.is_empty() {
            return Err(DecodeError::invalid("label name is empty"));
        }
        let start = out.len();
        if self.utf8 {
            out.push_str(key);
        } else {
            self.append_sanitized(key, out);
            let made = &out[start..];
            if made.starts_with(|c: char| c.is_ascii_digit()) {
                out.insert_str(start, "key_");
            } else if self.underscore_sanitization && made.starts_with('_') && !made.starts_with("__") {
                out.insert_str(start, "key");
            }
        }
        if out[start..].bytes().all(|byte| byte == b'_') {
            out.truncate(start);
            return Err(DecodeError::invalid(format!("label name {key:?} has nothing but underscores left")));
        }
        Ok(())
    }

    /// The label name for attribute `key`.
    pub fn name(self, key: &str) -> Result<String, DecodeError> {
        let mut out = String::with_capacity(key.len() + 4);
        self.append(key, &mut out)?;
        Ok(out)
    }

    fn append_sanitized(self, key: &str, out: &mut String) {
        if self.preserve_multiple_underscores {
            out.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
            return;
        }
        // `__x__` is a reserved name: its own underscores stay, only those inside collapse.
        let reserved = key.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
        out.push_str(if reserved.is_some() { "__" } else { "" });
        let mut after_underscore = false;
        for c in reserved.unwrap_or(key).chars() {
            if c.is_ascii_alphanumeric() {
                out.push(c);
                after_underscore = false;
            } else if !after_underscore {
                out.push('_');
                after_underscore = true;
            }
        }
        out.push_str(if reserved.is_some() { "__" } else { "" });
    }
}

/// The metric name for an OTLP metric. An error if nothing is left of the name.
pub fn metric_name(
    strategy: Strategy,
    namespace: &str,
    name: &str,
    unit: &str,
    kind: MetricKind,
) -> Result<String, DecodeError> {
    let made = match strategy {
        Strategy::UnderscoreEscapingWithSuffixes => classic_name_with_suffixes(namespace, name, unit, kind),
        Strategy::UnderscoreEscapingWithoutSuffixes => classic_name(namespace, name),
        _ => utf8_metric_name(strategy, namespace, name, unit, kind),
    };
    if made.is_empty() || (strategy.escapes() && made != name && made.bytes().all(|byte| byte == b'_')) {
        return Err(DecodeError::invalid(format!("metric name {name:?} has no character that can be kept")));
    }
    Ok(made)
}

/// The unit as it stands in metadata: main and per unit, joined by `_`; `utf8` keeps unusual characters.
pub fn unit_name(unit: &str, utf8: bool) -> String {
    let (mut main, mut per) = unit_suffixes(unit);
    if !utf8 {
        (main, per) = (clean_unit(&main), clean_unit(&per));
    }
    let joined = match (main.is_empty(), per.is_empty()) {
        (false, false) => format!("{main}_{per}"),
        (false, true) => main,
        _ => per,
    };
    let trimmed = joined.strip_prefix('_').unwrap_or(&joined);
    trimmed.strip_suffix('_').unwrap_or(trimmed).to_owned()
}

fn is_classic(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

/// Escaping without suffixes: runs of other characters become one `_`, runs of `_` stay.
fn classic_name(namespace: &str, name: &str) -> String {
    let escape = |text: &str| {
        let fields = text.split(|c| !is_classic(c) && c != '_').filter(|field| !field.is_empty());
        fields.collect::<Vec<_>>().join("_")
    };
    let name = escape(name);
    if !namespace.is_empty() {
        format!("{}_{name}", escape(namespace))
    } else {
        with_leading_digit_escaped(name)
    }
}

fn classic_name_with_suffixes(namespace: &str, name: &str, unit: &str, kind: MetricKind) -> String {
    let mut tokens: Vec<&str> = name.split(|c| !is_classic(c)).filter(|token| !token.is_empty()).collect();
    let (main, per) = unit_suffixes(unit);
    let (main, per) = (clean_unit(&main), clean_unit(&per));
    add_unit_tokens(&mut tokens, &main, &per);
    let type_token = match kind {
        MetricKind::MonotonicSum => Some("total"),
        MetricKind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    };
    if let Some(type_token) = type_token {
        tokens.retain(|token| *token != type_token);
        tokens.push(type_token);
    }
    if !namespace.is_empty() {
        tokens.insert(0, namespace);
    }
    with_leading_digit_escaped(tokens.join("_"))
}

fn with_leading_digit_escaped(mut name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// Adds the unit's parts that the name does not have yet.
fn add_unit_tokens<'a>(tokens: &mut Vec<&'a str>, main: &'a str, per: &'a str) {
    let mut main = if tokens.contains(&main) { "" } else { main };
    let mut per = if per == "per_" { "" } else { per.strip_suffix('_').unwrap_or(per) };
    if tokens.contains(&per) {
        per = "";
    }
    if !per.is_empty() {
        main = main.strip_suffix('_').unwrap_or(main);
    }
    tokens.extend([main, per].into_iter().filter(|part| !part.is_empty()));
}

/// Suffixes on a name that is not escaped: from the inside out main unit, per unit, `_total`, `_ratio`.
fn utf8_metric_name(strategy: Strategy, namespace: &str, name: &str, unit: &str, kind: MetricKind) -> String {
    let mut made = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}_{name}") };
    if !strategy.adds_suffixes() {
        return made;
    }
    let mut suffixes = Vec::new();
    if unit == "1" && kind == MetricKind::Gauge {
        suffixes.push("ratio");
    }
    if kind == MetricKind::MonotonicSum {
        suffixes.push("total");
    }
    let (main, per) = unit_suffixes(unit);
    if !per.is_empty() {
        suffixes.push(&per);
    }
    for suffix in &suffixes {
        trim_suffix_and_delimiter(&mut made, suffix);
    }
    if !main.is_empty() && !made.ends_with(&main) {
        made = format!("{made}_{main}");
    }
    for suffix in suffixes.iter().rev() {
        made.push('_');
        made.push_str(suffix);
    }
    made
}

/// Cuts `suffix` and the character before it, whatever that is, if more than that is there.
fn trim_suffix_and_delimiter(name: &mut String, suffix: &str) {
    if name.ends_with(suffix) && name.len() > suffix.len() + 1 {
        name.truncate(name.len() - suffix.len());
        name.pop();
    }
}

/// Main and per part of a unit such as `By/s`, in Prometheus' words; parts in braces are annotations and go.
fn unit_suffixes(unit: &str) -> (String, String) {
    let (main, per) = match unit.split_once('/') {
        Some((main, per)) => (main.trim(), per.trim()),
        None => (unit.trim(), ""),
    };
    let is_annotation = |part: &str| part.contains(['{', '}']);
    let main = if is_annotation(main) { "" } else { main_unit(main) };
    let per = if is_annotation(per) { "" } else { per_unit(per) };
    (main.to_owned(), if per.is_empty() { String::new() } else { format!("per_{per}") })
}

fn main_unit(unit: &str) -> &str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        other => other,
    }
}

fn per_unit(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    }
}

/// A unit part with classic characters only, runs of `_` as one, none in front.
fn clean_unit(unit: &str) -> String {
    let mut out = String::with_capacity(unit.len());
    for c in unit.chars() {
        if is_classic(c) {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
    }
    out
}

#[cfg(test)]
mod tests;
