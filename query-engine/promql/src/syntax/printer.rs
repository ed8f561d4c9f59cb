//! The canonical text of a syntax tree, as Prometheus prints it (promql/parser/printer.go).

use std::fmt;

use model::{METRIC_NAME, MatchOp, Matcher};

use super::ast::{
    Aggregate, At, Binary, Cardinality, DurationExpr, DurationKind, DurationOp, DurationValue, Expr,
    ExprKind, Extension, Matching, MatrixSelector, Subquery, VectorSelector,
};
use super::number::{format_duration, format_float, format_float_g};
use super::quote::{quote, quote_bytes};

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number { value, is_duration } => f.write_str(&number(*value, *is_duration)),
            ExprKind::String(text) => f.write_str(&quote(text)),
            ExprKind::Bytes(bytes) => f.write_str(&quote_bytes(bytes)),
            ExprKind::Vector(selector) => {
                write!(f, "{}", Series(selector))?;
                write!(f, "{}", AtModifier(selector.at))?;
                write_extension(f, selector.extension)?;
                write!(f, "{}", Offset(&selector.offset))
            }
            ExprKind::Matrix(MatrixSelector { vector, range }) => {
                write!(f, "{}[{range}]", Series(vector))?;
                write_extension(f, vector.extension)?;
                write!(f, "{}", AtModifier(vector.at))?;
                write!(f, "{}", Offset(&vector.offset))
            }
            ExprKind::Subquery(subquery) => write!(f, "{}{}", subquery.expr, subquery.suffix()),
            ExprKind::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                write_joined(f, &call.args)?;
                f.write_str(")")
            }
            ExprKind::Aggregate(aggregate) => {
                write!(f, "{}(", aggregate.head())?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregate.expr)
            }
            ExprKind::Binary(binary) => {
                write!(f, "{} {} {}", binary.lhs, binary.operator(), binary.rhs)
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

/// Label names in parentheses.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(|name| label(name)).collect();
        write!(f, "({})", names.join(", "))
    }
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

impl Aggregate {
    /// The operator and its labels, up to the parenthesis.
    pub(super) fn head(&self) -> String {
        if !self.without && self.grouping.is_empty() {
            return self.op.name().to_owned();
        }
        let modifier = if self.without { "without" } else { "by" };
        format!("{} {modifier} {} ", self.op.name(), Names(&self.grouping))
    }
}

impl Binary {
    /// The operator with its modifiers.
    pub(super) fn operator(&self) -> String {
        let return_bool = if self.return_bool { " bool" } else { "" };
        let matching = self.matching.as_ref().map(|matching| matching.to_string()).unwrap_or_default();
        format!("{}{return_bool}{matching}", self.op.symbol())
    }
}

impl Subquery {
    /// The brackets and what follows them.
    pub(super) fn suffix(&self) -> String {
        let step = if self.step.is_unset() { String::new() } else { self.step.to_string() };
        format!("[{}:{step}]{}{}", self.range, AtModifier(self.at), Offset(&self.offset))
    }
}

impl fmt::Display for Matching {
    /// What stands behind the operator, with a space before each part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = match self.cardinality {
            Cardinality::ManyToOne => Some("left"),
            Cardinality::OneToMany => Some("right"),
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
        };
        if !self.labels.is_empty() || self.is_on || group.is_some() {
            let clause = if self.is_on { "on" } else { "ignoring" };
            write!(f, " {clause} {}", Names(&self.labels))?;
        }
        if let Some(side) = group {
            write!(f, " group_{side} {}", Names(&self.include))?;
        }
        match (self.fill_left, self.fill_right) {
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
}

struct AtModifier(Option<At>);

impl fmt::Display for AtModifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(At::Timestamp(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0),
            Some(At::Start) => f.write_str(" @ start()"),
            Some(At::End) => f.write_str(" @ end()"),
        }
    }
}

fn write_extension(f: &mut fmt::Formatter<'_>, extension: Extension) -> fmt::Result {
    match extension {
        Extension::None => Ok(()),
        Extension::Anchored => f.write_str(" anchored"),
        Extension::Smoothed => f.write_str(" smoothed"),
    }
}

struct Offset<'a>(&'a DurationValue);

impl fmt::Display for Offset<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_unset() {
            return Ok(());
        }
        write!(f, " offset {}", self.0)
    }
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
