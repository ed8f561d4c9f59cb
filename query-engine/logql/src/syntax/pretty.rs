//! Lays a query out for people, as `format_query` does (pkg/logql/syntax/prettier.go): what fits into a line stays in
//! its canonical form, longer parts take a line each, indented by their depth.

use super::ast::{
    BinaryExpr, Cardinality, Expr, Grouping, LogExpr, LogRange, MetricExpr, MetricKind, Unwrap,
};
use super::printer::quoted;
use crate::units::format_prometheus_duration;

/// Parts of more bytes than this are split.
const LINE_BYTES_MAX: usize = 100;

/// The query in lines.
pub fn pretty(expr: &Expr) -> String {
    match expr {
        Expr::Log(log) => pretty_log(log, 0),
        Expr::Metric(metric) => pretty_metric(metric, 0),
    }
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

fn fits(text: &str) -> bool {
    text.len() <= LINE_BYTES_MAX
}

fn pretty_log(log: &LogExpr, level: usize) -> String {
    let whole = log.to_string();
    if log.stages.is_empty() || fits(&whole) {
        return indent(level) + &whole;
    }
    let selector = LogExpr { stages: Vec::new(), ..log.clone() };
    let mut out = indent(level) + &selector.to_string();
    for stage in &log.stages {
        out.push('\n');
        out += &indent(level + 1);
        out += &stage.to_string();
    }
    out
}

fn pretty_unwrap(unwrap: &Unwrap, level: usize) -> String {
    let first = Unwrap { filters: Vec::new(), ..unwrap.clone() };
    let mut out = indent(level) + &first.to_string();
    for filter in &unwrap.filters {
        out += &format!("\n{}| {filter}", indent(level));
    }
    out
}

fn pretty_range(range: &LogRange, level: usize) -> String {
    let mut out = pretty_log(&range.log, level);
    if let Some(unwrap) = &range.unwrap {
        out.push('\n');
        out += &pretty_unwrap(unwrap, level + 1);
    }
    out += &format!(" [{}]", format_prometheus_duration(range.interval_ns));
    if range.offset_ns != 0 {
        out += &format!(" offset {}", format_prometheus_duration(range.offset_ns));
    }
    out
}

fn pretty_grouping(grouping: &Grouping) -> String {
    let how = match (grouping.without, grouping.labels.is_empty()) {
        (true, _) => " without",
        (false, false) => " by",
        (false, true) => "",
    };
    if grouping.labels.is_empty() {
        how.to_owned()
    } else {
        format!("{how} ({})", grouping.labels.join(", "))
    }
}

fn pretty_metric(metric: &MetricExpr, level: usize) -> String {
    let whole = metric.to_string();
    if fits(&whole) {
        return indent(level) + &whole;
    }
    match &metric.kind {
        MetricKind::Literal(_) | MetricKind::Constant(_) => indent(level) + &whole,
        MetricKind::Range(range) => {
            let mut out = format!("{}{}(\n", indent(level), range.op.as_str());
            if let Some(parameter) = range.parameter {
                out += &format!("{}{parameter},\n", indent(level + 1));
            }
            out += &pretty_range(&range.range, level + 1);
            out += &format!("\n{})", indent(level));
            if let Some(grouping) = &range.grouping {
                out += &pretty_grouping(grouping);
            }
            out
        }
        MetricKind::Vector(vector) => {
            let mut out =
                format!("{}{}{}(\n", indent(level), vector.op.as_str(), pretty_grouping(&vector.grouping));
            if vector.op.takes_count() {
                out += &format!("{}{},\n", indent(level + 1), vector.count);
            }
            out += &pretty_metric(&vector.inner, level + 1);
            out + &format!("\n{})", indent(level))
        }
        MetricKind::Binary(binary) => {
            let left = pretty_metric(&binary.left, level + 1);
            let right = pretty_metric(&binary.right, level + 1);
            format!("{left}\n{}{}\n{right}", indent(level), operator(binary))
        }
        MetricKind::LabelReplace(replace) => {
            let texts = [&replace.destination, &replace.replacement, &replace.source, &replace.regex];
            let texts = texts.map(|text| indent(level + 1) + &quoted(text)).join(",\n");
            let inner = pretty_metric(&replace.inner, level + 1);
            format!("{}label_replace(\n{inner},\n{texts}\n{})", indent(level), indent(level))
        }
    }
}

fn operator(binary: &BinaryExpr) -> String {
    let mut out = binary.op.as_str().to_owned();
    if binary.return_bool {
        out += " bool";
    }
    if binary.matching.explicit {
        let how = if binary.matching.on { "on" } else { "ignoring" };
        out += &format!(" {how} ({})", binary.matching.labels.join(", "));
    }
    match binary.matching.cardinality {
        Cardinality::OneToOne => return out,
        Cardinality::ManyToOne => out += " group_left",
        Cardinality::OneToMany => out += " group_right",
    }
    if let Some(include) = binary.matching.include.as_ref().filter(|include| !include.is_empty()) {
        out += &format!(" ({})", include.join(", "));
    }
    out
}
