//! Conditions on an entry's labels (pkg/logql/log/label_filter.go).
//!
//! A missing label is "" to a text condition and no match to the others. A value that cannot be converted keeps the
//! line and marks it with `LabelFilterErr`, unless it carries an error already.

use model::MatchOp;
use regex::Regex;

use super::entry_labels::{ERROR_DETAILS_LABEL, ERROR_LABEL, EntryLabels, StageError};
use super::ip::IpMatcher;
use crate::go_regex;
use crate::syntax::{CompareOp, FilterValue, LabelFilter, LabelMatch};
use crate::units::{parse_bytes, parse_go_duration, parse_go_float};

/// A condition on the text of a label.
#[derive(Clone, Debug)]
pub(crate) struct TextMatcher {
    pub(crate) name: String,
    negative: bool,
    test: TextTest,
}

#[derive(Clone, Debug)]
enum TextTest {
    Equal(String),
    Regex(Regex),
}

impl TextMatcher {
    pub(crate) fn compile(matcher: &LabelMatch) -> Result<Self, String> {
        let test = match matcher.op {
            MatchOp::Equal | MatchOp::NotEqual => TextTest::Equal(matcher.value.clone()),
            MatchOp::Regex | MatchOp::NotRegex => {
                TextTest::Regex(go_regex::compile_anchored(&matcher.value)?)
            }
        };
        let negative = matches!(matcher.op, MatchOp::NotEqual | MatchOp::NotRegex);
        Ok(Self { name: matcher.name.clone(), negative, test })
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        let hit = match &self.test {
            TextTest::Equal(text) => text == value,
            TextTest::Regex(regex) => regex.is_match(value),
        };
        hit != self.negative
    }
}

/// A compiled condition.
#[derive(Clone, Debug)]
pub(crate) enum CompiledLabelFilter {
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Text(TextMatcher),
    Compare { name: String, op: CompareOp, value: FilterValue },
    Ip { name: String, negative: bool, matcher: IpMatcher },
}

impl CompiledLabelFilter {
    pub(crate) fn compile(filter: &LabelFilter) -> Result<Self, String> {
        Ok(match filter {
            LabelFilter::And(left, right) => {
                Self::And(Box::new(Self::compile(left)?), Box::new(Self::compile(right)?))
            }
            LabelFilter::Or(left, right) => {
                Self::Or(Box::new(Self::compile(left)?), Box::new(Self::compile(right)?))
            }
            LabelFilter::Text(matcher) => Self::Text(TextMatcher::compile(matcher)?),
            LabelFilter::Compare { name, op, value, .. } => {
                Self::Compare { name: name.clone(), op: *op, value: *value }
            }
            LabelFilter::Ip { name, negative, pattern, .. } => {
                let matcher = IpMatcher::parse(pattern)?;
                Self::Ip { name: name.clone(), negative: *negative, matcher }
            }
        })
    }

    /// The conditions on single labels that all must hold, for parsers to drop a line by early.
    pub(crate) fn conditions(&self) -> Vec<Self> {
        match self {
            Self::And(left, right) => [left.conditions(), right.conditions()].concat(),
            Self::Text(matcher) if matches!(matcher.name.as_str(), ERROR_LABEL | ERROR_DETAILS_LABEL) => {
                Vec::new()
            }
            Self::Text(_) | Self::Compare { .. } => vec![self.clone()],
            Self::Or(..) | Self::Ip { .. } => Vec::new(),
        }
    }

    /// Whether a line is certainly dropped once label `name` has this value.
    pub(crate) fn refuses(&self, label: &str, text: &str) -> bool {
        match self {
            Self::Text(matcher) => matcher.name == label && !matcher.matches(text),
            Self::Compare { name, op, value } => name == label && compare(text, *op, *value) == Ok(false),
            Self::And(..) | Self::Or(..) | Self::Ip { .. } => false,
        }
    }

    /// Whether the entry stays. Like Loki's, both sides of `and` run even if the first fails, so that an error in the
    /// second is the same.
    pub(crate) fn keeps(&self, labels: &mut EntryLabels) -> bool {
        match self {
            Self::And(left, right) => {
                let left = left.keeps(labels);
                right.keeps(labels) && left
            }
            Self::Or(left, right) => left.keeps(labels) || right.keeps(labels),
            Self::Text(matcher) => matcher.matches(match matcher.name.as_str() {
                ERROR_LABEL => labels.error(),
                ERROR_DETAILS_LABEL => labels.error_details(),
                name => labels.get(name).unwrap_or(""),
            }),
            Self::Compare { name, op, value } => {
                let Some(text) = labels.get(name) else { return false };
                match compare(text, *op, *value) {
                    Ok(holds) => holds,
                    Err(reason) => {
                        if !labels.has_error() {
                            labels.set_error(StageError::LabelFilter, &reason);
                        }
                        true
                    }
                }
            }
            Self::Ip { name, negative, matcher } => {
                if labels.has_error() {
                    return true;
                }
                labels.get(name).is_some_and(|text| matcher.found_in(text) != *negative)
            }
        }
    }
}

fn compare(text: &str, op: CompareOp, value: FilterValue) -> Result<bool, String> {
    match value {
        FilterValue::Number(number) => parse_go_float(text).map(|left| op.holds(&left, &number)),
        FilterValue::Duration(ns) => parse_go_duration(text).map(|left| op.holds(&left, &ns)),
        FilterValue::Bytes(bytes) => parse_bytes(text).map(|left| op.holds(&left, &bytes)),
    }
}

/// Names of the labels that a condition reads.
pub(crate) fn labels_read(filter: &LabelFilter) -> Vec<&str> {
    match filter {
        LabelFilter::And(left, right) | LabelFilter::Or(left, right) => {
            let mut names = labels_read(left);
            names.extend(labels_read(right));
            names
        }
        LabelFilter::Text(matcher) if always_holds(matcher) => Vec::new(),
        LabelFilter::Text(matcher) => vec![&matcher.name],
        LabelFilter::Compare { name, .. } | LabelFilter::Ip { name, .. } => vec![name],
    }
}

/// A condition that Loki drops because it matches anything.
fn always_holds(matcher: &LabelMatch) -> bool {
    matcher.op == MatchOp::Regex && matcher.value == ".*"
}
