//! Long queries over several lines, as Prometheus lays them out (promql/parser/prettier.go).

use super::ast::{Expr, ExprKind};

/// Expressions up to this many bytes stay on one line.
const LINE_BYTES_MAX: usize = 100;

/// `expr` on as many lines as it needs.
pub fn prettify(expr: &Expr) -> String {
    pretty(expr, 0)
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

fn pretty(expr: &Expr, level: usize) -> String {
    let text = expr.to_string();
    let fits = text.len() <= LINE_BYTES_MAX;
    let (here, inner) = (indent(level), level + 1);
    match &expr.kind {
        ExprKind::StepInvariant(inside) => pretty(inside, level),
        // As in Prometheus, a sign stands before its operand's layout and a short subquery is not indented.
        ExprKind::Unary { negative, expr } => {
            let sign = if *negative { '-' } else { '+' };
            format!("{here}{sign}{}", pretty(expr, level).trim())
        }
        ExprKind::Subquery(_) if fits => text,
        _ if fits => here + &text,
        ExprKind::Aggregate(aggregate) => {
            let head = aggregate.head();
            let param = aggregate.param.iter().map(|param| pretty(param, inner) + ",\n").collect::<String>();
            format!("{here}{head}(\n{param}{}\n{here})", pretty(&aggregate.expr, inner))
        }
        ExprKind::Binary(binary) => {
            let (left, right) = (pretty(&binary.lhs, inner), pretty(&binary.rhs, inner));
            format!("{left}\n{here}{}\n{right}", binary.operator())
        }
        ExprKind::Call(call) => {
            let args: Vec<String> = call.args.iter().map(|arg| pretty(arg, inner)).collect();
            format!("{here}{}(\n{}\n{here})", call.function.name, args.join(",\n"))
        }
        ExprKind::Paren(inside) => format!("{here}(\n{}\n{here})", pretty(inside, inner)),
        ExprKind::Subquery(subquery) => format!("{}{}", pretty(&subquery.expr, level), subquery.suffix()),
        ExprKind::Number { .. }
        | ExprKind::String(_)
        | ExprKind::Bytes(_)
        | ExprKind::Vector(_)
        | ExprKind::Matrix(_) => here + &text,
    }
}
