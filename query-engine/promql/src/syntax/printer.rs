//! The canonical text of a syntax tree, as Prometheus prints it (promql/parser/printer.go).

use std::fmt;

use model::{METRIC_NAME, MatchOp, Matcher};

use super::ast::{
    Aggregate, At, Binary, Cardinality, DurationExpr, DurationKind, DurationOp, DurationValue, Expr,
    ExprKind, Extension, Matching, MatrixSelector, Subquery, VectorSelector,
};
use super::number::{format_duration, format_float, format_float_g};
use super::quote::quote;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number { value, is_duration } => f.write_str(&number(*value, *is_duration)),
            ExprKind::String(text) => f.write_str(&quote(text)),
            ExprKind::Vector(selector) => {
                write!(f, "{}", Series(selector))?;
                write_at(f, selector.at)?;
                write_extension(f, selector.extension)?;
                write_offset(f, &selector.offset)
            }
            ExprKind::Matrix(MatrixSelector { vector, range }) => {
                write!(f, "{}[{range}]", Series(vector))?;
                write_extension(f, vector.extension)?;
                write_at(f, vector.at)?;
                write_offset(f, &vector.offset)
            }
            ExprKind::Subquery(Subquery { expr, range, step, offset, at }) => {
                write!(f, "{expr}[{range}:")?;
                if !step.is_unset() {
                    write!(f, "{step}")?;
                }
                f.write_str("]")?;
                write_at(f, *at)?;
                write_offset(f, offset)
            }
            ExprKind::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                write_joined(f, &call.args)?;
                f.write_str(")")
            }
            ExprKind::Aggregate(aggregate) => write_aggregate(f, aggregate),
            ExprKind::Binary(Binary { op, lhs, rhs, matching, return_bool }) => {
                write!(f, "{lhs} {}{}", op.symbol(), if *return_bool { " bool" } else { "" })?;
                if let Some(matching) = matching {
                    write_matching(f, matching)?;
                }
                write!(f, " {rhs}")
            }
            ExprKind::Unary { negative, expr } => write!(f, "{}{expr}", if *negative { "-" } else { "+" }),
            ExprKind::Paren(expr) => write!(f, "({expr})"),
            ExprKind::StepInvariant(expr) => write!(f, "{expr}"),
        }
    }
}

fn number(value: f64, is_duration: bool) -> String {
    if is_duration { format_duration((value * 1000.0).round() as i64) } else { format_float(value) }
}

/// A selector without its modifiers.
struct Series<'a>(&'a VectorSelector);

impl fmt::Display for Series<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.name.as_deref().unwrap_or("");
        let is_name = |m: &Matcher| {
            m.name() == METRIC_NAME && m.op() == MatchOp::Equal && m.value() == name && !m.value().is_empty()
        };
        let mut matchers: Vec<String> = self.0.matchers.iter().filter(|m| !is_name(m)).map(matcher).collect();
        matchers.sort();
        f.write_str(name)?;
        if matchers.is_empty() {
            return Ok(());
        }
        write!(f, "{{{}}}", matchers.join(","))
    }
}

fn matcher(matcher: &Matcher) -> String {
    let op = match matcher.op() {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    };
    format!("{}{op}{}", label(matcher.name()), quote(matcher.value()))
}

/// A label name, quoted where the old rules for names do not allow it.
fn label(name: &str) -> String {
    let mut chars = name.chars();
    let is_plain = chars.next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic())
        && chars.all(|c| c == '_' || c.is_ascii_alphanumeric());
    if is_plain { name.to_owned() } else { quote(name) }
}

fn write_labels(f: &mut fmt::Formatter<'_>, names: &[String]) -> fmt::Result {
    let names: Vec<String> = names.iter().map(|name| label(name)).collect();
    write!(f, "({})", names.join(", "))
}

fn write_joined(f: &mut fmt::Formatter<'_>, exprs: &[Expr]) -> fmt::Result {
    for (index, expr) in exprs.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{expr}")?;
    }
    Ok(())
}

fn write_aggregate(f: &mut fmt::Formatter<'_>, aggregate: &Aggregate) -> fmt::Result {
    f.write_str(aggregate.op.name())?;
    if aggregate.without || !aggregate.grouping.is_empty() {
        f.write_str(if aggregate.without { " without " } else { " by " })?;
        write_labels(f, &aggregate.grouping)?;
        f.write_str(" ")?;
    }
    f.write_str("(")?;
    if let Some(param) = &aggregate.param {
        write!(f, "{param}, ")?;
    }
    write!(f, "{})", aggregate.expr)
}

fn write_matching(f: &mut fmt::Formatter<'_>, matching: &Matching) -> fmt::Result {
    let group = match matching.cardinality {
        Cardinality::ManyToOne => Some("left"),
        Cardinality::OneToMany => Some("right"),
        Cardinality::OneToOne | Cardinality::ManyToMany => None,
    };
    if !matching.labels.is_empty() || matching.is_on || group.is_some() {
        f.write_str(if matching.is_on { " on " } else { " ignoring " })?;
        write_labels(f, &matching.labels)?;
    }
    if let Some(side) = group {
        write!(f, " group_{side} ")?;
        write_labels(f, &matching.include)?;
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left == right => write!(f, " fill ({})", format_float_g(left)),
        (left, right) => {
            if let Some(left) = left {
                write!(f, " fill_left ({})", format_float_g(left))?;
            }
            if let Some(right) = right {
                write!(f, " fill_right ({})", format_float_g(right))?;
            }
            Ok(())
        }
    }
}

fn write_at(f: &mut fmt::Formatter<'_>, at: Option<At>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(At::Timestamp(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0),
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
    }
}

fn write_extension(f: &mut fmt::Formatter<'_>, extension: Extension) -> fmt::Result {
    match extension {
        Extension::None => Ok(()),
        Extension::Anchored => f.write_str(" anchored"),
        Extension::Smoothed => f.write_str(" smoothed"),
    }
}

fn write_offset(f: &mut fmt::Formatter<'_>, offset: &DurationValue) -> fmt::Result {
    if offset.is_unset() {
        return Ok(());
    }
    write!(f, " offset {offset}")
}

impl fmt::Display for DurationValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.expr {
            Some(expr) => write!(f, "{expr}"),
            None => f.write_str(&format_duration(self.ms)),
        }
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_wrapped {
            f.write_str("(")?;
        }
        match &self.kind {
            DurationKind::Literal { seconds, is_duration } => f.write_str(&number(*seconds, *is_duration))?,
            DurationKind::Step => f.write_str("step()")?,
            DurationKind::Range => f.write_str("range()")?,
            DurationKind::Negate(inner) => write!(f, "-{inner}")?,
            DurationKind::Plus(inner) => write!(f, "{inner}")?,
            DurationKind::Binary(DurationOp::MaxOf, a, b) => write!(f, "max_of({a}, {b})")?,
            DurationKind::Binary(DurationOp::MinOf, a, b) => write!(f, "min_of({a}, {b})")?,
            DurationKind::Binary(op, a, b) => {
                let symbol = match op {
                    DurationOp::Add => "+",
                    DurationOp::Sub => "-",
                    DurationOp::Mul => "*",
                    DurationOp::Div => "/",
                    DurationOp::Mod => "%",
                    DurationOp::Pow | DurationOp::MaxOf | DurationOp::MinOf => "^",
                };
                write!(f, "{a} {symbol} {b}")?;
            }
        }
        if self.is_wrapped {
            f.write_str(")")?;
        }
        Ok(())
    }
}
