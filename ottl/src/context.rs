//! Contexts: from which message a statement starts, and which others it may name in its paths.

use model::Signal;

/// What a statement runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// Each resource.
    Resource,
    /// Each instrumentation scope.
    Scope,
    /// Each log record.
    Log,
    /// Each span.
    Span,
    /// Each event of a span.
    SpanEvent,
    /// Each metric.
    Metric,
    /// Each data point.
    DataPoint,
}

impl Context {
    /// All of them, from the most specific on, as the inference prefers them (context_inferrer.go).
    pub const ALL: [Self; 7] =
        [Self::Log, Self::DataPoint, Self::Metric, Self::SpanEvent, Self::Span, Self::Scope, Self::Resource];

    /// The name in paths and configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Scope => "scope",
            Self::Log => "log",
            Self::Span => "span",
            Self::SpanEvent => "spanevent",
            Self::Metric => "metric",
            Self::DataPoint => "datapoint",
        }
    }

    /// The context of a name; `instrumentation_scope` is the old name of `scope`.
    pub fn named(name: &str) -> Option<Self> {
        if name == "instrumentation_scope" {
            return Some(Self::Scope);
        }
        Self::ALL.into_iter().find(|context| context.name() == name)
    }

    /// Whether records of `signal` have places of this kind.
    pub fn fits(self, signal: Signal) -> bool {
        match self {
            Self::Resource | Self::Scope => true,
            Self::Log => signal == Signal::Logs,
            Self::Span | Self::SpanEvent => signal == Signal::Traces,
            Self::Metric | Self::DataPoint => signal == Signal::Metrics,
        }
    }

    /// The contexts that paths of this one may reach.
    pub(crate) fn reaches(self, other: Self) -> bool {
        if self == other {
            return true;
        }
        match self {
            Self::Resource => false,
            Self::Scope => other == Self::Resource,
            Self::Log | Self::Span | Self::Metric => matches!(other, Self::Resource | Self::Scope),
            Self::SpanEvent => matches!(other, Self::Resource | Self::Scope | Self::Span),
            Self::DataPoint => matches!(other, Self::Resource | Self::Scope | Self::Metric),
        }
    }

    /// The names that a path may start with.
    pub(crate) fn path_names(self) -> String {
        let reached = Self::ALL.into_iter().filter(|other| self.reaches(*other));
        let names: Vec<String> = reached.map(|context| format!("{:?}", context.name())).collect();
        names.join(", ")
    }

    /// The value of an enum symbol.
    pub(crate) fn symbol(self, symbol: &str) -> Option<i64> {
        match self {
            Self::Log => severity(symbol),
            Self::Span | Self::SpanEvent => position(&SPAN_SYMBOLS, symbol),
            Self::Metric => position(&METRIC_SYMBOLS, symbol),
            Self::DataPoint => match symbol {
                "FLAG_NONE" => Some(0),
                "FLAG_NO_RECORDED_VALUE" => Some(1),
                _ => position(&METRIC_SYMBOLS, symbol),
            },
            Self::Resource | Self::Scope => None,
        }
    }
}

const SPAN_SYMBOLS: [(&str, &[&str]); 2] = [
    ("SPAN_KIND_", &["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]),
    ("STATUS_CODE_", &["UNSET", "OK", "ERROR"]),
];

const METRIC_SYMBOLS: [(&str, &[&str]); 2] = [
    ("AGGREGATION_TEMPORALITY_", &["UNSPECIFIED", "DELTA", "CUMULATIVE"]),
    ("METRIC_DATA_TYPE_", &["NONE", "GAUGE", "SUM", "HISTOGRAM", "EXPONENTIAL_HISTOGRAM", "SUMMARY"]),
];

fn position(tables: &[(&str, &[&str])], symbol: &str) -> Option<i64> {
    let (names, name) =
        tables.iter().find_map(|(prefix, names)| Some((names, symbol.strip_prefix(prefix)?)))?;
    names.iter().position(|known| *known == name).map(|number| number as i64)
}

/// `SEVERITY_NUMBER_INFO3`: each name has four steps.
fn severity(symbol: &str) -> Option<i64> {
    const NAMES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let name = symbol.strip_prefix("SEVERITY_NUMBER_")?;
    if name == "UNSPECIFIED" {
        return Some(0);
    }
    let (name, step) = match name.as_bytes().last() {
        Some(digit @ b'2'..=b'4') => (&name[..name.len() - 1], i64::from(digit - b'0')),
        _ => (name, 1),
    };
    let index = NAMES.iter().position(|known| *known == name)?;
    Some(index as i64 * 4 + step)
}
