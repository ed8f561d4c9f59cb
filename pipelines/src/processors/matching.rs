//! `include` and `exclude`: which records a processor takes, by names, attributes, bodies and severities, strictly or by
//! regular expression.
//!
//! Semantics and error texts: internal/filter/{filterconfig,filterset,filtermatcher,filterspan,filterlog,filtermetric}
//! of the collector's contrib repository. A record is looked at through wire views; nothing is decoded that no property
//! asks for.

use std::collections::HashSet;

use model::{Signal, go_regex};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value as Json;
use wire::DecodeError;
use wire::otlp::edit::Place;
use wire::otlp::{AnyValue, Attributes, LogRecord, Metric, Resource, Scope, Span, View};

use crate::attributes::encoded;

/// `include` / `exclude` of the attributes processor and of `spans` in the filter processor.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MatchProperties {
    /// `strict` or `regexp`.
    pub(crate) match_type: String,
    /// Options of `regexp`; they tune a cache that is not needed here.
    pub(crate) regexp: RegexpOptions,
    /// Values of the resource's `service.name`; spans only.
    pub(crate) services: Vec<String>,
    /// Names of spans.
    pub(crate) span_names: Vec<String>,
    /// Kinds of spans, `SPAN_KIND_SERVER`, …
    pub(crate) span_kinds: Vec<String>,
    /// Bodies of log records, as text.
    pub(crate) log_bodies: Vec<String>,
    /// Severity texts of log records.
    pub(crate) log_severity_texts: Vec<String>,
    /// Least severity of log records.
    pub(crate) log_severity_number: Option<SeverityNumber>,
    /// Names of metrics.
    pub(crate) metric_names: Vec<String>,
    /// Attributes of the record, all of which must match.
    pub(crate) attributes: Vec<AttributeConfig>,
    /// Attributes of the resource, all of which must match.
    pub(crate) resources: Vec<AttributeConfig>,
    /// Scopes, all of which must match.
    pub(crate) libraries: Vec<Library>,
}

/// `regexp`: taken and without effect.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RegexpOptions {
    #[serde(rename = "cacheenabled")]
    _cache_enabled: bool,
    #[serde(rename = "cachemaxnumentries")]
    _cache_entries_max: u64,
}

/// An attribute to look for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AttributeConfig {
    /// Its key.
    pub(crate) key: String,
    /// Its value; any, when left out.
    pub(crate) value: Option<Json>,
}

/// An instrumentation scope to look for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Library {
    name: String,
    version: Option<String>,
}

/// Which severity numbers match.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SeverityNumber {
    /// The least.
    pub(crate) min: i32,
    /// Whether records without a severity match.
    pub(crate) match_undefined: bool,
}

/// Texts to compare with.
#[derive(Clone, Debug)]
pub(crate) enum TextSet {
    /// One of these.
    Strict(HashSet<String>),
    /// Whatever one of these finds something in.
    Regexp(Vec<Regex>),
}

impl TextSet {
    /// A set, or none for no texts.
    pub(crate) fn new(match_type: &str, texts: &[String]) -> Result<Option<Self>, String> {
        if texts.is_empty() {
            return Ok(None);
        }
        Ok(Some(match match_type {
            "strict" => Self::Strict(texts.iter().cloned().collect()),
            "regexp" => {
                let compiled = texts.iter().map(|text| go_regex::compile(text));
                Self::Regexp(compiled.collect::<Result<_, _>>()?)
            }
            other => return Err(unrecognized(other)),
        }))
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Strict(texts) => texts.contains(text),
            Self::Regexp(patterns) => patterns.iter().any(|pattern| pattern.is_match(text)),
        }
    }
}

fn unrecognized(match_type: &str) -> String {
    format!("unrecognized match_type: '{match_type}', valid types are: [regexp strict]")
}

/// Attributes to look for, all of which must match.
#[derive(Clone, Debug)]
pub(crate) struct AttributesMatcher(Vec<(String, ValueTest)>);

#[derive(Clone, Debug)]
enum ValueTest {
    Any,
    /// An encoded `AnyValue`.
    Equal(Vec<u8>),
    Regexp(Regex),
}

impl AttributesMatcher {
    pub(crate) fn new(match_type: &str, list: &[AttributeConfig]) -> Result<Self, String> {
        let mut tests = Vec::with_capacity(list.len());
        for attribute in list {
            let key = attribute.key.clone();
            if key.is_empty() {
                return Err("can't have empty key in the list of attributes".to_owned());
            }
            let test = match (&attribute.value, match_type) {
                (None, _) => ValueTest::Any,
                (Some(Json::String(pattern)), "regexp") => ValueTest::Regexp(go_regex::compile(pattern)?),
                (Some(_), "regexp") => {
                    return Err(format!("match_type=regexp for {key:?} only supports Str"));
                }
                (Some(value), "strict") => ValueTest::Equal(encoded(value)),
                (Some(_), other) => return Err(unrecognized(other)),
            };
            tests.push((key, test));
        }
        Ok(Self(tests))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, attributes: Attributes<'_>) -> Result<bool, DecodeError> {
        for (key, test) in &self.0 {
            let Some(value) = attributes.get(key)? else { return Ok(false) };
            let is_match = match test {
                ValueTest::Any => true,
                ValueTest::Equal(wanted) => is_equal(AnyValue::parse(wanted)?, value)?,
                ValueTest::Regexp(pattern) => match value {
                    AnyValue::String(text) => pattern.is_match(text),
                    AnyValue::Bool(flag) => pattern.is_match(if flag { "true" } else { "false" }),
                    AnyValue::Int(int) => pattern.is_match(&int.to_string()),
                    AnyValue::Double(double) => pattern.is_match(&plain_float(double)),
                    _ => false,
                },
            };
            if !is_match {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A float as `strconv.FormatFloat(f, 'f', -1, 64)` of Go writes it.
fn plain_float(double: f64) -> String {
    match double {
        double if double.is_nan() => "NaN".to_owned(),
        double if double.is_infinite() => if double > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        double => format!("{double}"),
    }
}

/// Whether two values are of one type and equal; the order of a map's keys does not count.
fn is_equal(a: AnyValue<'_>, b: AnyValue<'_>) -> Result<bool, DecodeError> {
    Ok(match (a, b) {
        (AnyValue::Empty, AnyValue::Empty) => true,
        (AnyValue::String(a), AnyValue::String(b)) => a == b,
        (AnyValue::Bool(a), AnyValue::Bool(b)) => a == b,
        (AnyValue::Int(a), AnyValue::Int(b)) => a == b,
        (AnyValue::Double(a), AnyValue::Double(b)) => a == b,
        (AnyValue::Bytes(a), AnyValue::Bytes(b)) => a == b,
        (AnyValue::Array(a), AnyValue::Array(b)) => {
            let (mut a, mut b) = (a.iter(), b.iter());
            loop {
                match (a.next(), b.next()) {
                    (None, None) => break true,
                    (Some(x), Some(y)) => {
                        if !is_equal(x?, y?)? {
                            break false;
                        }
                    }
                    _ => break false,
                }
            }
        }
        (AnyValue::Map(a), AnyValue::Map(b)) => {
            let mut is_same = a.iter().count() == b.iter().count();
            for pair in a.iter() {
                let pair = pair?;
                is_same = is_same
                    && match b.get(pair.key()?)? {
                        Some(other) => is_equal(pair.value()?, other)?,
                        None => false,
                    };
            }
            is_same
        }
        _ => false,
    })
}

/// Checked properties.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    services: Option<TextSet>,
    names: Option<TextSet>,
    kinds: Option<TextSet>,
    bodies: Option<TextSet>,
    severity_texts: Option<TextSet>,
    severity: Option<SeverityNumber>,
    libraries: Vec<(TextSet, Option<TextSet>)>,
    attributes: AttributesMatcher,
    resources: AttributesMatcher,
}

/// `include` and `exclude` together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    include: Option<Matcher>,
    exclude: Option<Matcher>,
}

impl Selection {
    /// Checks both for records of `signal`.
    pub(crate) fn new(
        signal: Signal,
        include: Option<&MatchProperties>,
        exclude: Option<&MatchProperties>,
    ) -> Result<Self, String> {
        let matcher = |properties: Option<&MatchProperties>| {
            properties.map(|properties| Matcher::new(signal, properties)).transpose()
        };
        Ok(Self { include: matcher(include)?, exclude: matcher(exclude)? })
    }

    /// Whether the record is of those that were asked for.
    pub(crate) fn takes(
        &self,
        signal: Signal,
        place: &Place<'_>,
        record: &[u8],
    ) -> Result<bool, DecodeError> {
        if let Some(include) = &self.include
            && !include.matches(signal, place, record)?
        {
            return Ok(false);
        }
        match &self.exclude {
            Some(exclude) => Ok(!exclude.matches(signal, place, record)?),
            None => Ok(true),
        }
    }

    /// Whether it takes every record.
    pub(crate) fn is_everything(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }
}

impl Matcher {
    fn new(signal: Signal, config: &MatchProperties) -> Result<Self, String> {
        validate(signal, config)?;
        let set = |texts: &[String]| TextSet::new(&config.match_type, texts);
        let mut libraries = Vec::new();
        for library in &config.libraries {
            let one = |text: &String| TextSet::new(&config.match_type, std::slice::from_ref(text));
            let name = one(&library.name).map_err(|e| format!("error creating library name filters: {e}"))?;
            let version = library.version.as_ref().map(one).transpose();
            let version = version.map_err(|e| format!("error creating library version filters: {e}"))?;
            libraries.extend(name.map(|name| (name, version.flatten())));
        }
        let attributes = |list: &[AttributeConfig], what: &str| {
            AttributesMatcher::new(&config.match_type, list)
                .map_err(|e| format!("error creating {what} filters: {e}"))
        };
        Ok(Self {
            services: set(&config.services)?,
            names: match signal {
                Signal::Metrics => set(&config.metric_names)?,
                Signal::Logs | Signal::Traces => set(&config.span_names)?,
            },
            kinds: set(&config.span_kinds)?,
            bodies: set(&config.log_bodies)?,
            severity_texts: set(&config.log_severity_texts)?,
            severity: config.log_severity_number,
            libraries,
            attributes: attributes(&config.attributes, "attribute")?,
            resources: attributes(&config.resources, "resource")?,
        })
    }

    fn matches(&self, signal: Signal, place: &Place<'_>, record: &[u8]) -> Result<bool, DecodeError> {
        let is_match = match signal {
            Signal::Logs => self.matches_log(&LogRecord::parse(record)?)?,
            Signal::Traces => self.matches_span(place, &Span::parse(record)?)?,
            Signal::Metrics => self.matches_name(Metric::parse(record)?.name()?),
        };
        if !is_match {
            return Ok(false);
        }
        if !self.libraries.is_empty() {
            let scope = Scope::parse(place.scope)?;
            let (name, version) = (scope.name()?, scope.version()?);
            let is_one = |(names, versions): &(TextSet, Option<TextSet>)| {
                names.matches(name) && versions.as_ref().is_none_or(|versions| versions.matches(version))
            };
            if !self.libraries.iter().all(is_one) {
                return Ok(false);
            }
        }
        Ok(self.resources.is_empty()
            || self.resources.matches(Resource::parse(place.resource)?.attributes)?)
    }

    fn matches_name(&self, name: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.matches(name))
    }

    fn matches_log(&self, record: &LogRecord<'_>) -> Result<bool, DecodeError> {
        if let Some(bodies) = &self.bodies {
            let mut text = String::new();
            record.body()?.append_as_string(&mut text)?;
            if !bodies.matches(&text) {
                return Ok(false);
            }
        }
        if let Some(texts) = &self.severity_texts
            && !texts.matches(record.severity_text()?)
        {
            return Ok(false);
        }
        if let Some(severity) = self.severity {
            let is_match = match record.severity_number {
                0 => severity.match_undefined,
                number => number >= severity.min,
            };
            if !is_match {
                return Ok(false);
            }
        }
        self.attributes.matches(record.attributes)
    }

    fn matches_span(&self, place: &Place<'_>, span: &Span<'_>) -> Result<bool, DecodeError> {
        if let Some(services) = &self.services {
            let mut service = String::new();
            match Resource::parse(place.resource)?.attributes.get("service.name")? {
                Some(value) => value.append_as_string(&mut service)?,
                None => service.push_str("<nil-service-name>"),
            }
            if !services.matches(&service) {
                return Ok(false);
            }
        }
        if !self.matches_name(span.name()?) {
            return Ok(false);
        }
        if let Some(kinds) = &self.kinds
            && !kinds.matches(span_kind(span.kind))
        {
            return Ok(false);
        }
        self.attributes.matches(span.attributes)
    }
}

/// A span kind's name, "" for numbers that mean none (internal/coreinternal/traceutil).
fn span_kind(kind: i32) -> &'static str {
    const NAMES: [&str; 6] = [
        "SPAN_KIND_UNSPECIFIED",
        "SPAN_KIND_INTERNAL",
        "SPAN_KIND_SERVER",
        "SPAN_KIND_CLIENT",
        "SPAN_KIND_PRODUCER",
        "SPAN_KIND_CONSUMER",
    ];
    usize::try_from(kind).ok().and_then(|kind| NAMES.get(kind)).copied().unwrap_or("")
}

fn validate(signal: Signal, config: &MatchProperties) -> Result<(), String> {
    let for_logs = [!config.log_bodies.is_empty(), !config.log_severity_texts.is_empty()];
    let for_logs = for_logs.contains(&true) || config.log_severity_number.is_some();
    let for_spans = !(config.services.is_empty() && config.span_names.is_empty());
    let for_all = !(config.attributes.is_empty() && config.libraries.is_empty());
    let any_resource = !config.resources.is_empty();
    let any_kind = !config.span_kinds.is_empty();
    match signal {
        Signal::Traces => {
            if for_logs {
                let message = "log_bodies, log_severity_texts and log_severity_number should not be specified for \
                               trace spans";
                return Err(message.to_owned());
            }
            if !config.metric_names.is_empty() {
                return Err("metric_names should not be specified for trace spans".to_owned());
            }
            if !(for_spans || for_all || any_resource || any_kind) {
                let message = "at least one of \"attributes\", \"libraries\",  or \"resources\" field must be specified";
                return Err(message.to_owned());
            }
            let is_kind = |kind: &String| (1..6).any(|number| span_kind(number) == kind);
            if config.match_type == "strict" && !config.span_kinds.iter().all(is_kind) {
                let kinds: Vec<&str> = (1..6).map(span_kind).collect();
                return Err(format!(
                    "span_kinds string must match one of the standard span kinds when match_type=strict: {kinds:?}"
                ));
            }
        }
        Signal::Logs => {
            if for_spans || any_kind || !config.metric_names.is_empty() {
                let message =
                    "services, span_names, span_kinds and metric_names are not valid for log records";
                return Err(message.to_owned());
            }
            if !(for_logs || for_all || any_resource) {
                let message = "at least one of \"attributes\", \"libraries\", \"span_kinds\", \"resources\", \
                               \"log_bodies\", \"log_severity_texts\" or \"log_severity_number\" field must be \
                               specified";
                return Err(message.to_owned());
            }
        }
        Signal::Metrics => {
            if for_logs || for_spans || for_all || any_kind {
                let message = "\"span_names\", \"span_kinds\", \"log_bodies\", \"log_severity_texts\", \
                               \"log_severity_number\", \"services\", \"attributes\" and \"libraries\" are not valid \
                               for metrics";
                return Err(message.to_owned());
            }
            if config.metric_names.is_empty() && !any_resource {
                let message = "at least one of \"metric_names\" or \"resources\" field must be specified";
                return Err(message.to_owned());
            }
        }
    }
    Ok(())
}
