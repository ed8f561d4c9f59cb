//! The older sections of the filter processor's config, and `include` and `exclude` in them.

use model::Signal;
use serde::Deserialize;

use crate::processors::matching::{
    AttributeConfig, MatchProperties, RegexpOptions, Selection, SeverityNumber,
};

/// `spans`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SpanProperties {
    pub(super) include: Option<MatchProperties>,
    pub(super) exclude: Option<MatchProperties>,
}

/// `traces`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TraceFilters {
    /// Conditions for resources.
    pub(super) resource: Option<Vec<String>>,
    /// Conditions for spans.
    pub(super) span: Option<Vec<String>>,
    /// Conditions for span events.
    pub(super) spanevent: Option<Vec<String>>,
}

/// `metrics`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MetricFilters {
    pub(super) include: Option<MetricProperties>,
    pub(super) exclude: Option<MetricProperties>,
    #[serde(rename = "regexp")]
    _regexp: Option<RegexpOptions>,
    /// Conditions for resources.
    pub(super) resource: Option<Vec<String>>,
    /// Conditions for metrics.
    pub(super) metric: Option<Vec<String>>,
    /// Conditions for data points.
    pub(super) datapoint: Option<Vec<String>>,
}

/// `include` and `exclude` of metrics.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MetricProperties {
    match_type: String,
    #[serde(rename = "regexp")]
    _regexp: Option<RegexpOptions>,
    metric_names: Vec<String>,
    expressions: Vec<String>,
    resource_attributes: Vec<AttributeConfig>,
}

/// `logs`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogFilters {
    pub(super) include: Option<LogProperties>,
    pub(super) exclude: Option<LogProperties>,
    /// Conditions for resources.
    pub(super) resource: Option<Vec<String>>,
    /// Conditions for log records.
    pub(super) log_record: Option<Vec<String>>,
}

/// `include` and `exclude` of log records.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogProperties {
    match_type: String,
    resource_attributes: Vec<AttributeConfig>,
    record_attributes: Vec<AttributeConfig>,
    severity_texts: Vec<String>,
    severity_number: Option<SeverityName>,
    bodies: Vec<String>,
}

/// `severity_number`: a severity by its name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SeverityName {
    /// The least, as `INFO` or `INFO2` or a number from 1 to 24.
    min: Name,
    /// Whether records without a severity match.
    match_undefined: bool,
}

/// A name that YAML may have read as a number.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "serde_json::Value")]
struct Name(String);

impl From<serde_json::Value> for Name {
    fn from(value: serde_json::Value) -> Self {
        Self(match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        })
    }
}

/// `profiles`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ProfileFilters {
    resource: Option<Vec<String>>,
    profile: Option<Vec<String>>,
}

impl TraceFilters {
    pub(super) fn is_given(&self) -> bool {
        self.resource.is_some() || self.span.is_some() || self.spanevent.is_some()
    }
}

impl ProfileFilters {
    pub(super) fn is_given(&self) -> bool {
        self.resource.is_some() || self.profile.is_some()
    }
}

impl SpanProperties {
    pub(super) fn selections(&self) -> Result<Vec<Selection>, String> {
        let selection = Selection::new(Signal::Traces, self.include.as_ref(), self.exclude.as_ref())?;
        Ok(if selection.is_everything() { Vec::new() } else { vec![selection] })
    }
}

impl MetricFilters {
    pub(super) fn is_given(&self) -> bool {
        self.resource.is_some() || self.metric.is_some() || self.datapoint.is_some()
    }

    /// A metric stays when both its resource and its name do, each of which is asked by itself.
    pub(super) fn selections(&self) -> Result<Vec<Selection>, String> {
        let mut selections = Vec::new();
        for of_names in [false, true] {
            let part = |properties: &Option<MetricProperties>| {
                properties.as_ref().map(|properties| properties.part(of_names)).transpose()
            };
            let (include, exclude) = (part(&self.include)?.flatten(), part(&self.exclude)?.flatten());
            let selection = Selection::new(Signal::Metrics, include.as_ref(), exclude.as_ref())?;
            if !selection.is_everything() {
                selections.push(selection);
            }
        }
        Ok(selections)
    }
}

impl MetricProperties {
    fn part(&self, of_names: bool) -> Result<Option<MatchProperties>, String> {
        if self.match_type == "expr" || !self.expressions.is_empty() {
            let message =
                "match_type \"expr\" is not supported; write OTTL conditions under metric_conditions";
            return Err(message.to_owned());
        }
        let mut part = MatchProperties { match_type: self.match_type.clone(), ..MatchProperties::default() };
        match of_names {
            true => part.metric_names.clone_from(&self.metric_names),
            false => part.resources.clone_from(&self.resource_attributes),
        }
        let is_empty = part.metric_names.is_empty() && part.resources.is_empty();
        Ok(if is_empty { None } else { Some(part) })
    }
}

impl LogFilters {
    pub(super) fn is_given(&self) -> bool {
        self.resource.is_some() || self.log_record.is_some()
    }

    pub(super) fn selections(&self) -> Result<Vec<Selection>, String> {
        let part = |properties: &Option<LogProperties>| {
            properties.as_ref().map(LogProperties::properties).transpose()
        };
        let (include, exclude) = (part(&self.include)?.flatten(), part(&self.exclude)?.flatten());
        let selection = Selection::new(Signal::Logs, include.as_ref(), exclude.as_ref())?;
        Ok(if selection.is_everything() { Vec::new() } else { vec![selection] })
    }
}

impl LogProperties {
    fn properties(&self) -> Result<Option<MatchProperties>, String> {
        let severity = match &self.severity_number {
            None => None,
            Some(severity) => Some(SeverityNumber {
                min: severity_number(&severity.min.0)?,
                match_undefined: severity.match_undefined,
            }),
        };
        let is_empty = self.resource_attributes.is_empty()
            && self.record_attributes.is_empty()
            && self.severity_texts.is_empty()
            && self.bodies.is_empty()
            && severity.is_none();
        if is_empty {
            return Ok(None);
        }
        Ok(Some(MatchProperties {
            match_type: self.match_type.clone(),
            resources: self.resource_attributes.clone(),
            attributes: self.record_attributes.clone(),
            log_severity_texts: self.severity_texts.clone(),
            log_bodies: self.bodies.clone(),
            log_severity_number: severity,
            ..MatchProperties::default()
        }))
    }
}

/// The number of a severity's name; none for no name.
fn severity_number(name: &str) -> Result<i32, String> {
    const NAMES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    if name.is_empty() {
        return Ok(0);
    }
    let upper = name.to_uppercase();
    if let Ok(number @ 1..=24) = upper.parse() {
        return Ok(number);
    }
    let (word, step) = match upper.as_bytes().last() {
        Some(digit @ b'2'..=b'4') => (&upper[..upper.len() - 1], i32::from(digit - b'0')),
        _ => (upper.as_str(), 1),
    };
    match NAMES.iter().position(|known| *known == word) {
        Some(index) => Ok(index as i32 * 4 + step),
        None => Err(format!("'{name}' is not a valid severity: not a valid severity")),
    }
}
