//! Prints a tree as Loki's `String()` does: the canonical form of a query, which parses to the same tree.

use std::fmt;

use super::ast::{
    BinaryExpr, Cardinality, Conversion, Expr, Extraction, FilterValue, Grouping, LabelFilter, LabelFormat,
    LabelMatch, LabelSource, LineFilter, LineTerm, LogExpr, LogRange, MetricExpr, MetricKind, NamedMatch,
    Stage, StageKind, Unwrap,
};
use crate::units::{format_bytes, format_go_duration, format_prometheus_duration};
use model::MatchOp;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(log) => log.fmt(f),
            Self::Metric(metric) => metric.fmt(f),
        }
    }
}

impl fmt::Display for LogExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", joined(&self.matchers, ", "))?;
        self.stages.iter().try_for_each(|stage| write!(f, " {stage}"))
    }
}

impl fmt::Display for LabelMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        };
        write!(f, "{}{op}{}", self.name, quoted(&self.value))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            StageKind::LineFilter(filter) => filter.fmt(f),
            StageKind::Json(extractions) if extractions.is_empty() => f.write_str("| json"),
            StageKind::Json(extractions) => write!(f, "| json {}", joined(extractions, ",")),
            StageKind::Logfmt { strict, keep_empty, extractions } => {
                f.write_str("| logfmt")?;
                f.write_str(if *strict { " --strict" } else { "" })?;
                f.write_str(if *keep_empty { " --keep-empty" } else { "" })?;
                if extractions.is_empty() { Ok(()) } else { write!(f, " {}", joined(extractions, ",")) }
            }
            StageKind::Regexp(pattern) => write!(f, "| regexp {}", quoted(pattern)),
            StageKind::Pattern(pattern) => write!(f, "| pattern {}", quoted(pattern)),
            StageKind::Unpack => f.write_str("| unpack"),
            StageKind::LabelFilter(filter) => write!(f, "| {filter}"),
            StageKind::LineFormat(template) => write!(f, "| line_format {}", quoted(template)),
            StageKind::LabelFormat(formats) => write!(f, "| label_format {}", joined(formats, ",")),
            StageKind::Decolorize => f.write_str("| decolorize"),
            StageKind::Drop(names) => write!(f, "| drop {}", joined(names, ",")),
            StageKind::Keep(names) => write!(f, "| keep {}", joined(names, ",")),
        }
    }
}

impl fmt::Display for LineFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // None of several texts is printed as a chain of filters, as Loki rewrites it.
        let (op, joint) = if self.op.is_negative() {
            (self.op.as_str(), format!(" {} ", self.op.as_str()))
        } else {
            (self.op.as_str(), " or ".to_owned())
        };
        write!(f, "{op} {}", joined(&self.terms, &joint))
    }
}

impl fmt::Display for LineTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Ip(pattern) => write!(f, "ip({})", quoted(pattern)),
        }
    }
}

impl fmt::Display for Extraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, quoted(&self.expression))
    }
}

impl fmt::Display for LabelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            LabelSource::Label(label) => write!(f, "{}={label}", self.name),
            LabelSource::Template(template) => write!(f, "{}={}", self.name, quoted(template)),
        }
    }
}

impl fmt::Display for NamedMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Match(matcher) => matcher.fmt(f),
        }
    }
}

impl fmt::Display for LabelFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(left, right) => write!(f, "( {left} , {right} )"),
            Self::Or(left, right) => write!(f, "( {left} or {right} )"),
            Self::Text(matcher) => matcher.fmt(f),
            Self::Compare { name, op, value, .. } => write!(f, "{name}{}{value}", op.as_str()),
            Self::Ip { name, negative, pattern, .. } => {
                write!(f, "{name}{}ip({})", if *negative { "!=" } else { "=" }, quoted(pattern))
            }
        }
    }
}

impl fmt::Display for FilterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Duration(ns) => f.write_str(&format_go_duration(*ns)),
            Self::Bytes(bytes) => f.write_str(&format_bytes(*bytes)),
        }
    }
}

impl fmt::Display for MetricExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            MetricKind::Range(range) => {
                write!(f, "{}(", range.op.as_str())?;
                if let Some(parameter) = range.parameter {
                    write!(f, "{parameter},")?;
                }
                write!(f, "{})", range.range)?;
                range.grouping.as_ref().map_or(Ok(()), |grouping| grouping.fmt(f))
            }
            MetricKind::Vector(vector) => {
                f.write_str(vector.op.as_str())?;
                if !vector.grouping.is_single_group() {
                    vector.grouping.fmt(f)?;
                }
                if vector.op.takes_count() {
                    write!(f, "({},{})", vector.count, vector.inner)
                } else {
                    write!(f, "({})", vector.inner)
                }
            }
            MetricKind::Binary(binary) => binary.fmt(f),
            MetricKind::Literal(value) => write!(f, "{value}"),
            MetricKind::LabelReplace(replace) => write!(
                f,
                "label_replace({},{},{},{},{})",
                replace.inner,
                quoted(&replace.destination),
                quoted(&replace.replacement),
                quoted(&replace.source),
                quoted(&replace.regex)
            ),
            MetricKind::Constant(value) => write!(f, "vector({value:.6})"),
        }
    }
}

impl fmt::Display for LogRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.log.fmt(f)?;
        if let Some(unwrap) = &self.unwrap {
            write!(f, " {unwrap}")?;
        }
        write!(f, "[{}]", format_prometheus_duration(self.interval_ns))?;
        if self.offset_ns == 0 { Ok(()) } else { write!(f, " offset {}", format_go_duration(self.offset_ns)) }
    }
}

impl fmt::Display for Unwrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = &self.label;
        match self.conversion {
            Conversion::Number => write!(f, "| unwrap {label}")?,
            Conversion::Bytes => write!(f, "| unwrap bytes({label})")?,
            Conversion::Duration => write!(f, "| unwrap duration({label})")?,
            Conversion::DurationSeconds => write!(f, "| unwrap duration_seconds({label})")?,
        }
        self.filters.iter().try_for_each(|filter| write!(f, " | {filter}"))
    }
}

impl fmt::Display for Grouping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {} ({})", if self.without { "without" } else { "by" }, self.labels.join(","))
    }
}

impl fmt::Display for BinaryExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {}", self.left, self.op.as_str())?;
        f.write_str(if self.return_bool { " bool" } else { "" })?;
        if self.matching.explicit {
            let on = if self.matching.on { "on" } else { "ignoring" };
            write!(f, " {on} ({})", self.matching.labels.join(","))?;
        }
        match self.matching.cardinality {
            Cardinality::OneToOne => {}
            Cardinality::ManyToOne => f.write_str(" group_left")?,
            Cardinality::OneToMany => f.write_str(" group_right")?,
        }
        if let Some(include) = &self.matching.include {
            write!(f, " ({})", include.join(","))?;
        }
        write!(f, " {})", self.right)
    }
}

fn joined<T: fmt::Display>(items: &[T], separator: &str) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(separator)
}

/// A Go string literal, as `strconv.Quote` writes it.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
