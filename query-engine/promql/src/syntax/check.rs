//! The type check, with Prometheus' texts and positions (parser.checkAST in promql/parser/parse.go).

use model::METRIC_NAME;

use super::ast::{
    Aggregate, AggregateOp, Binary, Call, Cardinality, Expr, ExprKind, ValueType, VectorSelector,
};
use super::quote::quote;
use super::span::Span;
use crate::error::{PromqlError, PromqlResult};

/// Checks the types in `expr`; the first error found is the one that Prometheus shows.
pub(super) fn check(query: &str, expr: &Expr) -> PromqlResult<()> {
    Checker { query }.expr(expr).map(|_| ())
}

struct Checker<'q> {
    query: &'q str,
}

impl Checker<'_> {
    fn error(&self, span: Span, text: impl std::fmt::Display) -> PromqlError {
        PromqlError::parse(self.query, span, text)
    }

    fn expr(&self, expr: &Expr) -> PromqlResult<ValueType> {
        match &expr.kind {
            ExprKind::Number { .. } | ExprKind::String(_) | ExprKind::Bytes(_) => {}
            ExprKind::Vector(selector) => self.selector(selector, expr.span, false)?,
            ExprKind::Matrix(matrix) => self.selector(&matrix.vector, expr.span, false)?,
            ExprKind::Subquery(subquery) => {
                let found = self.expr(&subquery.expr)?;
                if found != ValueType::Vector {
                    let text =
                        format!("subquery is only allowed on instant vector, got {} instead", found.name());
                    return Err(self.error(expr.span, text));
                }
            }
            ExprKind::Call(call) => self.call(call, expr.span)?,
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate)?,
            ExprKind::Binary(binary) => self.binary(binary, expr.span)?,
            ExprKind::Unary { expr: inner, .. } => {
                let found = self.expr(inner)?;
                if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                    let text = format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {}",
                        quote(found.documented())
                    );
                    return Err(self.error(expr.span, text));
                }
            }
            ExprKind::Paren(inner) | ExprKind::StepInvariant(inner) => {
                self.expr(inner)?;
            }
        }
        Ok(expr.value_type())
    }

    fn expect(&self, expr: &Expr, want: ValueType, context: &str) -> PromqlResult<()> {
        let found = self.expr(expr)?;
        if found != want {
            let text =
                format!("expected type {} in {context}, got {}", want.documented(), found.documented());
            return Err(self.error(expr.span, text));
        }
        Ok(())
    }

    fn selector(&self, selector: &VectorSelector, span: Span, may_be_empty: bool) -> PromqlResult<()> {
        if let Some(name) = &selector.name {
            let inside = &selector.matchers[..selector.matchers.len() - 1];
            if let Some(twice) = inside.iter().find(|m| m.name() == METRIC_NAME) {
                let text =
                    format!("metric name must not be set twice: {} or {}", quote(name), quote(twice.value()));
                return Err(self.error(span, text));
            }
            return Ok(());
        }
        if !may_be_empty && selector.matchers.iter().all(|m| m.matches_empty()) {
            let text = "vector selector must contain at least one non-empty matcher";
            return Err(self.error(span, text));
        }
        Ok(())
    }

    fn aggregate(&self, aggregate: &Aggregate) -> PromqlResult<()> {
        self.expect(&aggregate.expr, ValueType::Vector, "aggregation expression")?;
        let Some(param) = &aggregate.param else { return Ok(()) };
        let want = match aggregate.op {
            AggregateOp::CountValues => ValueType::String,
            _ => ValueType::Scalar,
        };
        self.expect(param, want, "aggregation parameter")
    }

    fn call(&self, call: &Call, span: Span) -> PromqlResult<()> {
        let function = call.function;
        let name = quote(function.name);
        let (wanted, got) = (function.args.len(), call.args.len());
        if function.variadic == 0 {
            if wanted != got {
                let text = format!("expected {wanted} argument(s) in call to {name}, got {got}");
                return Err(self.error(span, text));
            }
        } else {
            let least = wanted - 1;
            if least > got {
                let text = format!("expected at least {least} argument(s) in call to {name}, got {got}");
                return Err(self.error(span, text));
            }
            if let Ok(more) = usize::try_from(function.variadic)
                && least + more < got
            {
                let most = least + more;
                let text = format!("expected at most {most} argument(s) in call to {name}, got {got}");
                return Err(self.error(span, text));
            }
        }
        let is_info = function.name == "info";
        if let (true, Some(second)) = (is_info, call.args.get(1)) {
            self.info_selector(second, span)?;
        }
        for (index, arg) in call.args.iter().enumerate() {
            let want = function.args[index.min(wanted.saturating_sub(1))];
            if let (true, 1, ExprKind::Vector(selector)) = (is_info, index, &arg.kind) {
                self.selector(selector, arg.span, true)?;
                continue;
            }
            let found = self.expr(arg)?;
            if found != want {
                let text = format!(
                    "expected type {} in call to function {name}, got {}",
                    want.documented(),
                    found.documented()
                );
                return Err(self.error(arg.span, text));
            }
        }
        Ok(())
    }

    /// The second argument of `info` is a bare set of matchers.
    fn info_selector(&self, arg: &Expr, call: Span) -> PromqlResult<()> {
        if arg.value_type() != ValueType::Vector {
            let text = format!(
                "expected type instant vector in call to function \"info\", got {}",
                arg.value_type().documented()
            );
            return Err(self.error(call, text));
        }
        match &arg.kind {
            ExprKind::Vector(VectorSelector { name: Some(_), .. }) => {
                let text = "expected label selectors only, got vector selector instead";
                Err(self.error(arg.span, text))
            }
            ExprKind::Vector(_) => Ok(()),
            _ => Err(self.error(arg.span, "expected label selectors only")),
        }
    }

    fn binary(&self, binary: &Binary, span: Span) -> PromqlResult<()> {
        let left = self.expr(&binary.lhs)?;
        let right = self.expr(&binary.rhs)?;
        let op = binary.op;
        let symbol = quote(op.symbol());
        if binary.return_bool && !op.is_comparison() {
            let text = "bool modifier can only be used on comparison operators";
            return Err(self.error(self.operator_span(binary), text));
        }
        let both_scalar = left == ValueType::Scalar && right == ValueType::Scalar;
        if op.is_comparison() && !binary.return_bool && both_scalar {
            let text = "comparisons between scalars must use BOOL modifier";
            return Err(self.error(self.operator_span(binary), text));
        }
        let Some(matching) = &binary.matching else { return Ok(()) };
        if matching.is_on
            && let Some(label) = matching.labels.iter().find(|label| matching.include.contains(label))
        {
            let text = format!("label {} must not occur in ON and GROUP clause at once", quote(label));
            return Err(self.error(self.operator_span(binary), text));
        }
        let is_operand = |found| matches!(found, ValueType::Scalar | ValueType::Vector);
        for (found, side) in [(left, &binary.lhs), (right, &binary.rhs)] {
            if !is_operand(found) {
                let text = "binary expression must contain only scalar and instant vector types";
                return Err(self.error(side.span, text));
            }
        }
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if left != ValueType::Vector || right != ValueType::Vector {
            if !matching.labels.is_empty() {
                let text = "vector matching only allowed between instant vectors";
                return Err(self.error(span, text));
            }
            if fills {
                let text = "filling in missing series only allowed between instant vectors";
                return Err(self.error(span, text));
            }
        } else if op.is_set() {
            if matches!(matching.cardinality, Cardinality::OneToMany | Cardinality::ManyToOne) {
                let text = format!("no grouping allowed for {symbol} operation");
                return Err(self.error(span, text));
            }
            if fills {
                let text = "filling in missing series not allowed for set operators";
                return Err(self.error(span, text));
            }
        }
        if (left == ValueType::Scalar || right == ValueType::Scalar) && op.is_set() {
            let text = format!("set operator {symbol} not allowed in binary scalar expression");
            return Err(self.error(span, text));
        }
        Ok(())
    }

    /// The operator with its modifiers.
    fn operator_span(&self, binary: &Binary) -> Span {
        let between = &self.query[binary.lhs.span.end..binary.rhs.span.start];
        let start = binary.rhs.span.start - between.trim_start().len();
        Span::new(start, binary.lhs.span.end + between.trim_end().len())
    }
}
