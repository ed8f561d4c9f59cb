//! The syntax tree of a query as `parse_query` answers it (web/api/v1/translate_ast.go).

use model::{MatchOp, Matcher};
use promql::{
    Aggregate, At, Binary, Call, Cardinality, DurationExpr, DurationKind, DurationOp, DurationValue, Expr,
    ExprKind, Extension, MatrixSelector, Subquery, ValueType, VectorSelector,
};
use serde_json::{Value, json};

use crate::api::json;

/// A whole expression. Its depth is what the parser allows.
pub(super) fn tree(expr: &Expr) -> Value {
    match &expr.kind {
        ExprKind::Number { value, .. } => json!({"type": "numberLiteral", "val": number(*value)}),
        ExprKind::String(text) => json!({"type": "stringLiteral", "val": text}),
        ExprKind::Bytes(bytes) => json!({"type": "stringLiteral", "val": String::from_utf8_lossy(bytes)}),
        ExprKind::Vector(selector) => vector(selector, "vectorSelector"),
        ExprKind::Matrix(selector) => matrix(selector),
        ExprKind::Subquery(subquery) => self::subquery(subquery),
        ExprKind::Call(call) => self::call(call),
        ExprKind::Aggregate(aggregate) => self::aggregate(aggregate),
        ExprKind::Binary(binary) => self::binary(binary),
        ExprKind::Unary { negative, expr } => {
            json!({"type": "unaryExpr", "op": if *negative { "-" } else { "+" }, "expr": tree(expr)})
        }
        ExprKind::Paren(expr) => json!({"type": "parenExpr", "expr": tree(expr)}),
        // Only the planner makes these.
        ExprKind::StepInvariant(expr) => tree(expr),
    }
}

/// `strconv.FormatFloat(value, 'f', -1, 64)`.
fn number(value: f64) -> String {
    let mut text = Vec::new();
    json::plain_float(&mut text, value);
    String::from_utf8(text).expect("digits are ASCII")
}

fn matcher(matcher: &Matcher) -> Value {
    let op = match matcher.op() {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    };
    json!({"name": matcher.name(), "value": matcher.value(), "type": op})
}

fn vector(selector: &VectorSelector, kind: &str) -> Value {
    let matchers: Vec<Value> = selector.matchers.iter().map(matcher).collect();
    let (timestamp, start_or_end) = at(selector.at);
    json!({
        "type": kind,
        "name": selector.name.as_deref().unwrap_or(""),
        "matchers": matchers,
        "offset": selector.offset.ms,
        "offsetExpr": duration(&selector.offset),
        "timestamp": timestamp,
        "startOrEnd": start_or_end,
        "anchored": selector.extension == Extension::Anchored,
        "smoothed": selector.extension == Extension::Smoothed,
    })
}

fn matrix(selector: &MatrixSelector) -> Value {
    let mut tree = vector(&selector.vector, "matrixSelector");
    tree["range"] = selector.range.ms.into();
    tree["rangeExpr"] = duration(&selector.range);
    tree
}

fn subquery(subquery: &Subquery) -> Value {
    let (timestamp, start_or_end) = at(subquery.at);
    json!({
        "type": "subquery",
        "expr": tree(&subquery.expr),
        "range": subquery.range.ms,
        "rangeExpr": duration(&subquery.range),
        "offset": subquery.offset.ms,
        "offsetExpr": duration(&subquery.offset),
        "step": subquery.step.ms,
        "stepExpr": duration(&subquery.step),
        "timestamp": timestamp,
        "startOrEnd": start_or_end,
    })
}

fn at(at: Option<At>) -> (Value, Value) {
    match at {
        None => (Value::Null, Value::Null),
        Some(At::Timestamp(ms)) => (ms.into(), Value::Null),
        Some(At::Start) => (Value::Null, "start".into()),
        Some(At::End) => (Value::Null, "end".into()),
    }
}

fn duration(value: &DurationValue) -> Value {
    value.expr.as_deref().map_or(Value::Null, duration_expr)
}

fn duration_expr(expr: &DurationExpr) -> Value {
    let node = |op: &str, lhs: Value, rhs: Value| json!({"type": "durationExpr", "op": op, "lhs": lhs, "rhs": rhs, "wrapped": expr.is_wrapped});
    match &expr.kind {
        DurationKind::Literal { seconds, is_duration } => {
            json!({"type": "numberLiteral", "val": number(*seconds), "duration": is_duration})
        }
        DurationKind::Step => node("step", Value::Null, Value::Null),
        DurationKind::Range => node("range", Value::Null, Value::Null),
        DurationKind::Negate(operand) => node("-", Value::Null, duration_expr(operand)),
        DurationKind::Plus(operand) => node("+", Value::Null, duration_expr(operand)),
        DurationKind::Binary(op, lhs, rhs) => {
            let op = match op {
                DurationOp::Add => "+",
                DurationOp::Sub => "-",
                DurationOp::Mul => "*",
                DurationOp::Div => "/",
                DurationOp::Mod => "%",
                DurationOp::Pow => "^",
                DurationOp::MaxOf => "max_of",
                DurationOp::MinOf => "min_of",
            };
            node(op, duration_expr(lhs), duration_expr(rhs))
        }
    }
}

fn call(call: &Call) -> Value {
    let args: Vec<Value> = call.args.iter().map(tree).collect();
    let types: Vec<&str> = call.function.args.iter().map(|kind| kind.name()).collect();
    json!({
        "type": "call",
        "func": {
            "name": call.function.name,
            "argTypes": types,
            "variadic": call.function.variadic,
            "returnType": call.function.returns.name(),
        },
        "args": args,
    })
}

fn aggregate(aggregate: &Aggregate) -> Value {
    json!({
        "type": "aggregation",
        "op": aggregate.op.name(),
        "expr": tree(&aggregate.expr),
        "param": aggregate.param.as_deref().map_or(Value::Null, tree),
        "grouping": aggregate.grouping,
        "without": aggregate.without,
    })
}

fn binary(binary: &Binary) -> Value {
    let is_vector = |side: &Expr| side.value_type() == ValueType::Vector;
    let of_vectors = binary.matching.as_ref().filter(|_| is_vector(&binary.lhs) && is_vector(&binary.rhs));
    let matching = of_vectors.map(|matching| {
        let cardinality = match matching.cardinality {
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::ManyToMany => "many-to-many",
        };
        json!({
            "card": cardinality,
            "labels": matching.labels,
            "on": matching.is_on,
            "include": matching.include,
            "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
        })
    });
    json!({
        "type": "binaryExpr",
        "op": binary.op.symbol(),
        "lhs": tree(&binary.lhs),
        "rhs": tree(&binary.rhs),
        "matching": matching,
        "bool": binary.return_bool,
    })
}

/// The matchers of every selector of an expression, in the order of the text.
pub(super) fn selectors(expr: &Expr) -> Vec<Vec<Matcher>> {
    let mut found = Vec::new();
    collect(expr, &mut found);
    found
}

fn collect(expr: &Expr, found: &mut Vec<Vec<Matcher>>) {
    match &expr.kind {
        ExprKind::Number { .. } | ExprKind::String(_) | ExprKind::Bytes(_) => {}
        ExprKind::Vector(selector) => found.push(selector.matchers.clone()),
        ExprKind::Matrix(selector) => found.push(selector.vector.matchers.clone()),
        ExprKind::Subquery(subquery) => collect(&subquery.expr, found),
        ExprKind::Call(call) => call.args.iter().for_each(|arg| collect(arg, found)),
        ExprKind::Aggregate(aggregate) => {
            aggregate.param.iter().for_each(|param| collect(param, found));
            collect(&aggregate.expr, found);
        }
        ExprKind::Binary(binary) => {
            collect(&binary.lhs, found);
            collect(&binary.rhs, found);
        }
        ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) | ExprKind::StepInvariant(expr) => {
            collect(expr, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{selectors, tree};

    fn parsed(query: &str) -> promql::Expr {
        promql::parse_expr(query, promql::ParseOptions::default()).expect("a good query")
    }

    fn selector(name: &str) -> Value {
        json!({
            "anchored": false, "matchers": [{"name": "__name__", "type": "=", "value": name}], "name": name,
            "offset": 0, "offsetExpr": null, "smoothed": false, "startOrEnd": null, "timestamp": null,
            "type": "vectorSelector",
        })
    }

    /// Expected values are the answers of Prometheus 3.15 to the same queries.
    #[test]
    fn trees_are_those_of_prometheus() {
        for (query, want) in [
            ("1", json!({"type": "numberLiteral", "val": "1"})),
            ("Inf", json!({"type": "numberLiteral", "val": "+Inf"})),
            ("-a", json!({"expr": selector("a"), "op": "-", "type": "unaryExpr"})),
            (
                "a > bool 1",
                json!({"bool": true, "lhs": selector("a"), "matching": null, "op": ">",
                    "rhs": {"type": "numberLiteral", "val": "1"}, "type": "binaryExpr"}),
            ),
            (
                "a + on(b) group_left(c) d",
                json!({"bool": false, "lhs": selector("a"), "matching": {"card": "many-to-one",
                    "fillValues": {"lhs": null, "rhs": null}, "include": ["c"], "labels": ["b"], "on": true},
                    "op": "+", "rhs": selector("d"), "type": "binaryExpr"}),
            ),
            (
                "quantile without(a,b) (0.5, x)",
                json!({"expr": selector("x"), "grouping": ["a", "b"], "op": "quantile",
                    "param": {"type": "numberLiteral", "val": "0.5"}, "type": "aggregation", "without": true}),
            ),
            (
                "max_over_time(up[5m:])",
                json!({"args": [{"expr": selector("up"), "offset": 0, "offsetExpr": null, "range": 300_000,
                    "rangeExpr": null, "startOrEnd": null, "step": 0, "stepExpr": null, "timestamp": null,
                    "type": "subquery"}], "func": {"argTypes": ["matrix"], "name": "max_over_time",
                    "returnType": "vector", "variadic": 0}, "type": "call"}),
            ),
            (
                r#"{"foo.bar"}"#,
                json!({"anchored": false, "matchers": [{"name": "__name__", "type": "=", "value": "foo.bar"}],
                    "name": "", "offset": 0, "offsetExpr": null, "smoothed": false, "startOrEnd": null,
                    "timestamp": null, "type": "vectorSelector"}),
            ),
            (
                r#"up{job="x"}[5m] @ end() offset 1m"#,
                json!({"anchored": false, "matchers": [{"name": "job", "type": "=", "value": "x"},
                    {"name": "__name__", "type": "=", "value": "up"}], "name": "up", "offset": 60_000,
                    "offsetExpr": null, "range": 300_000, "rangeExpr": null, "smoothed": false,
                    "startOrEnd": "end", "timestamp": null, "type": "matrixSelector"}),
            ),
        ] {
            assert_eq!(tree(&parsed(query)), want, "{query}");
        }
    }

    #[test]
    fn every_selector_of_a_query_is_found() {
        let names = |query: &str| -> Vec<String> {
            let found = selectors(&parsed(query));
            found.iter().map(|matchers| matchers[0].value().to_owned()).collect()
        };
        assert_eq!(names("sum(rate(a[5m])) / -(b + max_over_time(c[1h:1m])) > 1"), ["a", "b", "c"]);
        assert!(names("1 + time()").is_empty());
    }
}
