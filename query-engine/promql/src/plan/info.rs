//! Rewrite: `info(v, {matchers})` gets a full selector of its info series, looking at the same time as `v` does
//! (promql/info.go).

use model::{METRIC_NAME, MatchOp, Matcher};

use crate::syntax::{At, DurationValue, Expr, ExprKind, ValueType, VectorSelector};

/// Labels that identify a target.
pub(crate) const INFO_LABELS: [&str; 2] = ["instance", "job"];

/// The info metric that is meant when none is named.
const TARGET_INFO: &str = "target_info";

/// The time a selector looks at: `@` and offset in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reference {
    at_ms: Option<i64>,
    offset_ms: i64,
}

impl Reference {
    fn is_same_time(self, other: Self) -> bool {
        match (self.at_ms, other.at_ms) {
            (Some(a), Some(b)) => a - self.offset_ms == b - other.offset_ms,
            (None, None) => self.offset_ms == other.offset_ms,
            _ => false,
        }
    }
}

/// The matchers on the metric name.
pub(crate) fn info_name_matchers(matchers: &[Matcher]) -> Vec<&Matcher> {
    matchers.iter().filter(|matcher| matcher.name() == METRIC_NAME).collect()
}

/// Completes the arguments; answers whether the info series are looked up at one time whatever the step.
pub(super) fn complete(args: &mut Vec<Expr>) -> bool {
    let (reference, is_uniform) = shared_reference(&args[0]);
    if args.len() < 2 {
        let selector = VectorSelector::default();
        let span = args[0].span;
        args.push(Expr::new(ExprKind::Vector(selector), span));
    }
    let Some(ExprKind::Vector(selector)) = args.get_mut(1).map(|arg| &mut arg.kind) else {
        return is_uniform;
    };
    let names = info_name_matchers(&selector.matchers);
    let is_positive = |matcher: &&Matcher| matches!(matcher.op(), MatchOp::Equal | MatchOp::Regex);
    if names.is_empty() {
        selector.matchers.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
    } else if !names.iter().any(is_positive) {
        let any = Matcher::new(METRIC_NAME, MatchOp::Regex, ".+_info").expect("a constant pattern");
        selector.matchers.push(any);
    }
    // Modifiers of the selector itself say nothing: it is no vector of the query.
    selector.at = None;
    selector.offset = DurationValue::default();
    if let (true, Some(reference)) = (is_uniform, reference) {
        selector.at = reference.at_ms.map(At::Timestamp);
        selector.offset = DurationValue { ms: reference.offset_ms, expr: None };
    }
    is_uniform
}

/// The time of the first selector in `expr`, and whether every vector in it looks at that time.
fn shared_reference(expr: &Expr) -> (Option<Reference>, bool) {
    let mut found = Found { first: None, is_uniform: true };
    found.visit(expr, &mut Vec::new());
    (found.first, found.is_uniform && found.first.is_some())
}

struct Found {
    first: Option<Reference>,
    is_uniform: bool,
}

impl Found {
    /// Answers whether there is a selector in `expr`. `outer` are the times of the subqueries around it.
    fn visit(&mut self, expr: &Expr, outer: &mut Vec<Reference>) -> bool {
        if !matches!(expr.value_type(), ValueType::Vector | ValueType::Matrix) {
            return false;
        }
        let at_ms = |at: Option<At>| match at {
            Some(At::Timestamp(ms)) => Some(ms),
            _ => None,
        };
        match &expr.kind {
            ExprKind::Vector(selector) => self.selector(at_ms(selector.at), selector.offset.ms, outer),
            ExprKind::Matrix(matrix) => {
                self.selector(at_ms(matrix.vector.at), matrix.vector.offset.ms, outer)
            }
            ExprKind::Subquery(subquery) => {
                outer.push(Reference { at_ms: at_ms(subquery.at), offset_ms: subquery.offset.ms });
                let has_selector = self.visit(&subquery.expr, outer);
                outer.pop();
                has_selector
            }
            ExprKind::Call(call) if call.function.name == "info" => self.visit(&call.args[0], outer),
            _ => {
                let mut has_selector = false;
                for child in expr.children() {
                    has_selector |= self.visit(child, outer);
                }
                // A vector without selector is of the time of the step, which is nobody else's.
                self.is_uniform &= has_selector;
                has_selector
            }
        }
    }

    fn selector(&mut self, at_ms: Option<i64>, offset_ms: i64, outer: &[Reference]) -> bool {
        let mut reference = Reference { at_ms, offset_ms };
        for outer in outer.iter().rev() {
            if reference.at_ms.is_some() {
                break;
            }
            reference.offset_ms += outer.offset_ms;
            reference.at_ms = outer.at_ms;
        }
        match self.first {
            None => self.first = Some(reference),
            Some(first) => self.is_uniform &= first.is_same_time(reference),
        }
        true
    }
}
