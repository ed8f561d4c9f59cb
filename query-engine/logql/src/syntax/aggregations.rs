//! What stands around selectors in metric queries: range and vector aggregations, `label_replace`, groupings, and the
//! rules that Loki checks once it has read them (`validate` in pkg/logql/syntax/ast.go).

use super::ast::{
    Conversion, Expr, Grouping, LabelReplace, LogExpr, LogRange, MetricKind, RangeAggregation, RangeOp,
    Unwrap, VectorAggregation, VectorOp,
};
use super::lexer::{Kind, Token};
use super::parser::Parser;
use crate::{LogqlError, LogqlResult};

/// What stands between the parentheses of a range function, as far as it has been read.
pub(super) struct RangeParts {
    log: LogExpr,
    unwrap: Option<Unwrap>,
    pub(super) interval_ns: Option<i64>,
    offset_ns: i64,
}

impl Parser {
    pub(super) fn range_aggregation(&mut self, op: RangeOp) -> LogqlResult<MetricKind> {
        let start = self.start();
        self.take();
        self.expect_symbol("(", &["("])?;
        let parameter = self.leading_number();
        let expected: &[&str] = if parameter.is_some() { &["{", "("] } else { &["NUMBER", "{", "("] };
        let range_start = self.start();
        let parts = self.range_parts(expected)?;
        let Some(interval_ns) = parts.interval_ns else { return Err(self.unexpected(&[])) };
        let range = LogRange {
            log: parts.log,
            unwrap: parts.unwrap,
            interval_ns,
            offset_ns: parts.offset_ns,
            span: self.span_from(range_start),
        };
        self.expect_symbol(")", &[")"])?;
        let grouping = self.grouping()?;
        let span = self.span_from(start);
        let parameter = match check_range(op, parameter.as_ref(), &range, grouping.as_ref()) {
            Ok(parameter) => parameter,
            Err(message) => {
                self.defer(span, LogqlError::parse(message));
                None
            }
        };
        Ok(MetricKind::Range(RangeAggregation { op, parameter, range, grouping }))
    }

    /// `5,` at the start of an argument list.
    fn leading_number(&mut self) -> Option<Token> {
        let is_comma = |token: &Token| token.kind == Kind::Symbol && token.text == ",";
        if self.peek().kind == Kind::Number && is_comma(self.peek_second()) {
            let number = self.take();
            self.take();
            return Some(number);
        }
        None
    }

    /// Selector, pipeline, unwrap, range and offset in any of the orders that the grammar allows. The range may be
    /// missing inside parentheses, where it can follow them.
    pub(super) fn range_parts(&mut self, expected: &[&str]) -> LogqlResult<RangeParts> {
        if self.at_symbol("(") {
            self.take();
            let mut parts = self.nested(|parser| parser.range_parts(&["{", "("]))?;
            self.expect_symbol(")", &[])?;
            if parts.interval_ns.is_none() {
                self.range_and_offset(&mut parts)?;
                if parts.log.stages.is_empty() && parts.unwrap.is_none() {
                    parts.unwrap = self.unwrap()?;
                }
            }
            return Ok(parts);
        }
        if !self.at_symbol("{") {
            return Err(self.unexpected(expected));
        }
        let start = self.start();
        let matchers = self.selector()?;
        let log = LogExpr { matchers, stages: Vec::new(), span: self.span_from(start) };
        let mut parts = RangeParts { log, unwrap: None, interval_ns: None, offset_ns: 0 };
        let range_first = matches!(self.peek().kind, Kind::Range(_));
        if range_first {
            self.range_and_offset(&mut parts)?;
        }
        parts.log.stages = self.pipeline()?;
        parts.unwrap = self.unwrap()?;
        if !range_first {
            parts.log.span = self.span_from(start);
            if matches!(self.peek().kind, Kind::Range(_)) {
                self.range_and_offset(&mut parts)?;
            }
        }
        Ok(parts)
    }

    fn range_and_offset(&mut self, parts: &mut RangeParts) -> LogqlResult<()> {
        let Kind::Range(interval_ns) = self.peek().kind else { return Err(self.unexpected(&[])) };
        self.take();
        parts.interval_ns = Some(interval_ns);
        if self.take_symbol("offset") {
            let Kind::Duration(offset_ns) = self.peek().kind else {
                return Err(self.unexpected(&["DURATION"]));
            };
            self.take();
            parts.offset_ns = offset_ns;
        }
        Ok(())
    }

    fn unwrap(&mut self) -> LogqlResult<Option<Unwrap>> {
        let second = self.peek_second();
        if !(self.at_symbol("|") && second.kind == Kind::Symbol && second.text == "unwrap") {
            return Ok(None);
        }
        let start = self.start();
        self.take();
        self.take();
        let conversion = match (self.peek().kind, self.peek().text.as_str()) {
            (Kind::Function, "bytes") => Conversion::Bytes,
            (Kind::Function, "duration") => Conversion::Duration,
            (Kind::Function, "duration_seconds") => Conversion::DurationSeconds,
            _ => Conversion::Number,
        };
        let label = if conversion == Conversion::Number {
            let expected = ["IDENTIFIER", "BYTES_CONV", "DURATION_CONV", "DURATION_SECONDS_CONV"];
            self.expect_kind(Kind::Identifier, &expected)?.text
        } else {
            self.take();
            self.expect_symbol("(", &["("])?;
            let label = self.expect_kind(Kind::Identifier, &["IDENTIFIER"])?.text;
            self.expect_symbol(")", &[")"])?;
            label
        };
        let mut filters = Vec::new();
        while self.take_symbol("|") {
            filters.push(self.label_filter()?);
        }
        Ok(Some(Unwrap { label, conversion, filters, span: self.span_from(start) }))
    }

    pub(super) fn vector_aggregation(&mut self, op: VectorOp) -> LogqlResult<MetricKind> {
        let start = self.start();
        self.take();
        let mut grouping = self.grouping()?;
        self.expect_symbol("(", &["("])?;
        let number = self.leading_number();
        let Expr::Metric(inner) = self.expr(0)? else { return Err(self.unexpected(&[])) };
        self.expect_symbol(")", &[])?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let span = self.span_from(start);
        let count = match check_vector(op, number.as_ref(), grouping.as_ref()) {
            Ok(count) => count,
            Err(message) => {
                self.defer(span, LogqlError::parse(message));
                0
            }
        };
        let grouping = grouping.unwrap_or(Grouping { without: false, labels: Vec::new() });
        Ok(MetricKind::Vector(VectorAggregation { op, count, grouping, inner: Box::new(inner) }))
    }

    fn grouping(&mut self) -> LogqlResult<Option<Grouping>> {
        if !self.at_symbol("by") && !self.at_symbol("without") {
            return Ok(None);
        }
        let without = self.take().text == "without";
        Ok(Some(Grouping { without, labels: self.label_list()? }))
    }

    /// `(a, b)` or `()`
    pub(super) fn label_list(&mut self) -> LogqlResult<Vec<String>> {
        self.expect_symbol("(", &["("])?;
        let mut labels = Vec::new();
        if self.take_symbol(")") {
            return Ok(labels);
        }
        let mut expected: &[&str] = &["IDENTIFIER", ")"];
        loop {
            labels.push(self.expect_kind(Kind::Identifier, expected)?.text);
            if self.take_symbol(")") {
                return Ok(labels);
            }
            self.expect_symbol(",", &[")", ","])?;
            expected = &["IDENTIFIER"];
        }
    }

    pub(super) fn label_replace(&mut self) -> LogqlResult<MetricKind> {
        let start = self.start();
        self.take();
        self.expect_symbol("(", &["("])?;
        let Expr::Metric(inner) = self.expr(0)? else { return Err(self.unexpected(&[])) };
        let mut texts = Vec::with_capacity(4);
        for _ in 0..4 {
            self.expect_symbol(",", &[","])?;
            texts.push(self.expect_kind(Kind::String, &["STRING"])?.text);
        }
        self.expect_symbol(")", &[")"])?;
        let [destination, replacement, source, regex]: [String; 4] =
            texts.try_into().expect("the loop pushes four texts");
        if let Err(reason) = crate::go_regex::compile(&format!("^(?:{regex})$")) {
            let span = self.span_from(start);
            self.defer(span, LogqlError::parse(format_args!("invalid regex in label_replace: {reason}")));
        }
        Ok(MetricKind::LabelReplace(Box::new(LabelReplace {
            inner,
            destination,
            replacement,
            source,
            regex,
        })))
    }
}

/// The rules of `RangeAggregationExpr.validate`, with its texts.
fn check_range(
    op: RangeOp,
    parameter: Option<&Token>,
    range: &LogRange,
    grouping: Option<&Grouping>,
) -> Result<Option<f64>, String> {
    let name = op.as_str();
    let value = match (op, parameter) {
        (RangeOp::QuantileOverTime, None) => return Err(format!("parameter required for operation {name}")),
        (RangeOp::QuantileOverTime, Some(token)) => Some(
            crate::units::parse_go_float(&token.text)
                .map_err(|reason| format!("invalid parameter for operation {name}: {reason}"))?,
        ),
        (_, Some(token)) => {
            return Err(format!("parameter {} not supported for operation {name}", token.text));
        }
        (_, None) => None,
    };
    let groupable = matches!(
        op,
        RangeOp::AvgOverTime
            | RangeOp::StddevOverTime
            | RangeOp::StdvarOverTime
            | RangeOp::QuantileOverTime
            | RangeOp::MaxOverTime
            | RangeOp::MinOverTime
            | RangeOp::FirstOverTime
            | RangeOp::LastOverTime
    );
    if grouping.is_some() && !groupable {
        return Err(format!("grouping not allowed for {name} aggregation"));
    }
    let counts_lines = matches!(op, RangeOp::CountOverTime | RangeOp::BytesOverTime | RangeOp::BytesRate);
    let either = matches!(op, RangeOp::Rate | RangeOp::AbsentOverTime);
    match &range.unwrap {
        Some(_) if counts_lines => Err(format!("invalid aggregation {name} with unwrap")),
        None if !counts_lines && !either => Err(format!("invalid aggregation {name} without unwrap")),
        _ => Ok(value),
    }
}

/// The rules of `mustNewVectorAggregationExpr`, with its texts.
fn check_vector(op: VectorOp, number: Option<&Token>, grouping: Option<&Grouping>) -> Result<usize, String> {
    let name = op.as_str();
    let has_labels = grouping.is_some_and(|grouping| !grouping.labels.is_empty());
    if matches!(op, VectorOp::Sort | VectorOp::SortDesc) && has_labels {
        return Err("sort and sort_desc doesn't allow grouping by ".to_owned());
    }
    match (op.takes_count(), number) {
        (true, None) => Err(format!("parameter required for operation {name}")),
        (true, Some(token)) => {
            let text = &token.text;
            let count: i64 = text.parse().map_err(|_| format!("invalid parameter {name}({text},"))?;
            if op == VectorOp::ApproxTopk && grouping.is_some() {
                return Err(format!("grouping not allowed for {name} aggregation"));
            }
            usize::try_from(count)
                .ok()
                .filter(|&count| count > 0)
                .ok_or_else(|| format!("invalid parameter (must be greater than 0) {name}({text}"))
        }
        (false, Some(token)) => Err(format!("unsupported parameter for operation {name}({},", token.text)),
        (false, None) => Ok(0),
    }
}

pub(super) fn range_op(name: &str) -> Option<RangeOp> {
    const OPS: [RangeOp; 15] = [
        RangeOp::CountOverTime,
        RangeOp::Rate,
        RangeOp::RateCounter,
        RangeOp::BytesOverTime,
        RangeOp::BytesRate,
        RangeOp::AvgOverTime,
        RangeOp::SumOverTime,
        RangeOp::MinOverTime,
        RangeOp::MaxOverTime,
        RangeOp::StdvarOverTime,
        RangeOp::StddevOverTime,
        RangeOp::QuantileOverTime,
        RangeOp::FirstOverTime,
        RangeOp::LastOverTime,
        RangeOp::AbsentOverTime,
    ];
    OPS.into_iter().find(|op| op.as_str() == name)
}

pub(super) fn vector_op(name: &str) -> Option<VectorOp> {
    const OPS: [VectorOp; 12] = [
        VectorOp::Sum,
        VectorOp::Avg,
        VectorOp::Count,
        VectorOp::Max,
        VectorOp::Min,
        VectorOp::Stddev,
        VectorOp::Stdvar,
        VectorOp::Bottomk,
        VectorOp::Topk,
        VectorOp::Sort,
        VectorOp::SortDesc,
        VectorOp::ApproxTopk,
    ];
    OPS.into_iter().find(|op| op.as_str() == name)
}
