//! Recursive descent over the grammar of Loki's `syntax.y`: selectors, ranges, aggregations, binary operations.
//!
//! Errors name the same token and place as Loki's. An error that Loki finds only after reading the whole text
//! (a wrong type or parameter) waits in `deferred`, so that a syntax error further on comes first here too.

use model::MatchOp;

use super::ast::{
    BinaryExpr, BinaryOp, Cardinality, CompareOp, Conversion, Expr, Grouping, LabelMatch, LabelReplace,
    LogExpr, LogRange, Matching, MetricExpr, MetricKind, RangeAggregation, RangeOp, Span, Stage, Unwrap,
    VectorAggregation, VectorOp,
};
use super::lexer::{Kind, Token, tokenize};
use crate::{LogqlError, LogqlResult};

/// Deepest nesting of parentheses, aggregations and right operands.
const DEPTH_MAX: usize = 100;
/// Most operators in one chain: each deepens the tree to the left by one.
const CHAIN_MAX: usize = 250;

pub(super) fn parse(query: &str) -> LogqlResult<Expr> {
    let mut parser = Parser { tokens: tokenize(query), position: 0, depth: 0, deferred: None };
    let expr = if parser.take_symbol("variants") {
        parser.variants()?;
        None
    } else {
        Some(parser.expr(0)?)
    };
    if parser.peek().kind != Kind::End {
        return Err(parser.unexpected(&[]));
    }
    match parser.deferred {
        Some((_, error)) => Err(error),
        None => expr.ok_or_else(super::variants::disabled),
    }
}

pub(super) struct Parser {
    tokens: Vec<Token>,
    position: usize,
    depth: usize,
    deferred: Option<(Span, LogqlError)>,
}

/// What stands between the parentheses of a range function, as far as it has been read.
pub(super) struct RangeParts {
    log: LogExpr,
    unwrap: Option<Unwrap>,
    pub(super) interval_ns: Option<i64>,
    offset_ns: i64,
}

impl Parser {
    pub(super) fn peek(&self) -> &Token {
        // The last token is the end or an error, and nothing is taken beyond it.
        &self.tokens[self.position.min(self.tokens.len() - 1)]
    }

    pub(super) fn peek_second(&self) -> &Token {
        &self.tokens[(self.position + 1).min(self.tokens.len() - 1)]
    }

    pub(super) fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.position += 1;
        token
    }

    pub(super) fn at_symbol(&self, text: &str) -> bool {
        let token = self.peek();
        token.kind == Kind::Symbol && token.text == text
    }

    pub(super) fn at_function(&self, text: &str) -> bool {
        let token = self.peek();
        token.kind == Kind::Function && token.text == text
    }

    pub(super) fn take_symbol(&mut self, text: &str) -> bool {
        let found = self.at_symbol(text);
        self.position += usize::from(found);
        found
    }

    pub(super) fn expect_symbol(&mut self, text: &str, expected: &[&str]) -> LogqlResult<()> {
        if self.take_symbol(text) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    pub(super) fn expect_kind(&mut self, kind: Kind, expected: &[&str]) -> LogqlResult<Token> {
        if self.peek().kind == kind { Ok(self.take()) } else { Err(self.unexpected(expected)) }
    }

    /// An error about the next token. Like goyacc, at most four alternatives are listed.
    pub(super) fn unexpected(&self, expected: &[&str]) -> LogqlError {
        let token = self.peek();
        if token.kind == Kind::Error {
            return LogqlError::syntax(token.line, token.column, &token.text);
        }
        let mut message = format!("syntax error: unexpected {}", token.describe());
        if !expected.is_empty() && expected.len() <= 4 {
            message.push_str(", expecting ");
            message.push_str(&expected.join(" or "));
        }
        LogqlError::syntax(token.line, token.column, message)
    }

    /// Keeps an error for when the whole text has been read; an outer node's error hides its children's.
    fn defer(&mut self, span: Span, error: LogqlError) {
        let hides = |old: &Span| span.start <= old.start && old.end <= span.end;
        if self.deferred.as_ref().is_none_or(|(old, _)| hides(old)) {
            self.deferred = Some((span, error));
        }
    }

    pub(super) fn start(&self) -> usize {
        self.peek().span.start
    }

    /// From `start` to the end of the last token taken.
    pub(super) fn span_from(&self, start: usize) -> Span {
        let end = self.position.checked_sub(1).map_or(start, |last| self.tokens[last].span.end);
        Span { start, end }
    }

    /// Refuses chains of operators that would make the tree too deep; SYNTAX-1.
    pub(super) fn check_chain(&self, length: usize) -> LogqlResult<()> {
        if length > CHAIN_MAX {
            return Err(LogqlError::parse(format_args!("more than {CHAIN_MAX} operators in a row")));
        }
        Ok(())
    }

    /// Runs `body` one level deeper; SYNTAX-1.
    pub(super) fn nested<T>(&mut self, body: impl FnOnce(&mut Self) -> LogqlResult<T>) -> LogqlResult<T> {
        if self.depth == DEPTH_MAX {
            return Err(LogqlError::parse(format_args!(
                "query is nested too deeply (at most {DEPTH_MAX} levels)"
            )));
        }
        self.depth += 1;
        let result = body(self);
        self.depth -= 1;
        result
    }

    /// An expression whose operators bind at least as strongly as `strength`.
    pub(super) fn expr(&mut self, strength: u8) -> LogqlResult<Expr> {
        self.nested(|parser| {
            let start = parser.start();
            let mut left = parser.primary()?;
            let mut chain = 0;
            while let Some((op, op_strength)) = parser.binary_op() {
                if op_strength < strength {
                    break;
                }
                chain += 1;
                parser.check_chain(chain)?;
                parser.take();
                let (return_bool, matching) = parser.binary_modifier()?;
                // `^` is the only operator that groups to the right.
                let right = parser.expr(if op == BinaryOp::Pow { op_strength } else { op_strength + 1 })?;
                let span = parser.span_from(start);
                left = Expr::Metric(parser.binary(op, return_bool, matching, left, right, span));
            }
            Ok(left)
        })
    }

    fn binary_op(&self) -> Option<(BinaryOp, u8)> {
        let token = self.peek();
        if token.kind != Kind::Symbol {
            return None;
        }
        Some(match token.text.as_str() {
            "or" => (BinaryOp::Or, 1),
            "and" => (BinaryOp::And, 2),
            "unless" => (BinaryOp::Unless, 2),
            "==" => (BinaryOp::Compare(CompareOp::Equal), 3),
            "!=" => (BinaryOp::Compare(CompareOp::NotEqual), 3),
            "<" => (BinaryOp::Compare(CompareOp::Less), 3),
            "<=" => (BinaryOp::Compare(CompareOp::LessOrEqual), 3),
            ">" => (BinaryOp::Compare(CompareOp::Greater), 3),
            ">=" => (BinaryOp::Compare(CompareOp::GreaterOrEqual), 3),
            "+" => (BinaryOp::Add, 4),
            "-" => (BinaryOp::Sub, 4),
            "*" => (BinaryOp::Mul, 5),
            "/" => (BinaryOp::Div, 5),
            "%" => (BinaryOp::Mod, 5),
            "^" => (BinaryOp::Pow, 6),
            _ => return None,
        })
    }

    fn binary_modifier(&mut self) -> LogqlResult<(bool, Matching)> {
        let return_bool = self.take_symbol("bool");
        let mut matching = Matching::default();
        if self.at_symbol("on") || self.at_symbol("ignoring") {
            matching.on = self.at_symbol("on");
            matching.explicit = true;
            self.take();
            matching.labels = self.label_list()?;
            if self.at_symbol("group_left") || self.at_symbol("group_right") {
                let left = self.take().text == "group_left";
                matching.cardinality = if left { Cardinality::ManyToOne } else { Cardinality::OneToMany };
                if self.at_symbol("(") {
                    matching.include = Some(self.label_list()?);
                }
            }
        }
        Ok((return_bool, matching))
    }

    /// Joins two sides; two literals become one, as in Loki's `reduceBinOp`.
    fn binary(
        &mut self,
        op: BinaryOp,
        return_bool: bool,
        matching: Matching,
        left: Expr,
        right: Expr,
        span: Span,
    ) -> MetricExpr {
        let mut sides = Vec::with_capacity(2);
        for (side, expr) in [("left", left), ("right", right)] {
            match expr {
                Expr::Metric(metric) => sides.push(metric),
                Expr::Log(log) => {
                    let kind = if log.stages.is_empty() { "MatchersExpr" } else { "PipelineExpr" };
                    let message = format!(
                        "unexpected type for {side} leg of binary operation ({}): *syntax.{kind}",
                        op.as_str()
                    );
                    self.defer(span, LogqlError::parse(message));
                    return MetricExpr { kind: MetricKind::Literal(0.0), span };
                }
            }
        }
        let right = sides.pop().expect("two sides were pushed");
        let left = sides.pop().expect("two sides were pushed");
        let literal = |metric: &MetricExpr| match metric.kind {
            MetricKind::Literal(value) => Some(value),
            _ => None,
        };
        if op.is_set() {
            for (side, value) in [("left", literal(&left)), ("right", literal(&right))] {
                if let Some(value) = value {
                    let message = format!(
                        "unexpected literal for {side} leg of logical/set binary operation ({}): {value:.6}",
                        op.as_str()
                    );
                    self.defer(span, LogqlError::parse(message));
                    return MetricExpr { kind: MetricKind::Literal(0.0), span };
                }
            }
        }
        if let (Some(a), Some(b)) = (literal(&left), literal(&right)) {
            return MetricExpr { kind: MetricKind::Literal(op.apply(a, b)), span };
        }
        let binary = BinaryExpr { op, left, right, return_bool, matching };
        MetricExpr { kind: MetricKind::Binary(Box::new(binary)), span }
    }

    fn primary(&mut self) -> LogqlResult<Expr> {
        let start = self.start();
        let token = self.peek();
        let kind = match (token.kind, token.text.as_str()) {
            (Kind::Symbol, "{") => return Ok(Expr::Log(self.log_expr()?)),
            (Kind::Symbol, "(") => {
                self.take();
                let inner = self.expr(0)?;
                self.expect_symbol(")", &[])?;
                return Ok(inner);
            }
            (Kind::Number, _) => MetricKind::Literal(self.literal()?),
            (Kind::Symbol, "+" | "-") => MetricKind::Literal(self.literal()?),
            (Kind::Function, "label_replace") => self.label_replace()?,
            (Kind::Function, "vector") => {
                self.take();
                self.expect_symbol("(", &["("])?;
                let number = self.expect_kind(Kind::Number, &["NUMBER"])?;
                self.expect_symbol(")", &[")"])?;
                MetricKind::Constant(self.number(&number, "vectorExpr")?)
            }
            (Kind::Function, name) => {
                if let Some(op) = range_op(name) {
                    self.range_aggregation(op)?
                } else if let Some(op) = vector_op(name) {
                    self.vector_aggregation(op)?
                } else {
                    return Err(self.unexpected(&[]));
                }
            }
            _ => return Err(self.unexpected(&[])),
        };
        Ok(Expr::Metric(MetricExpr { kind, span: self.span_from(start) }))
    }

    /// A number with an optional sign.
    pub(super) fn literal(&mut self) -> LogqlResult<f64> {
        let negative = self.at_symbol("-");
        if negative || self.at_symbol("+") {
            self.take();
        }
        let token = self.expect_kind(Kind::Number, &["NUMBER"])?;
        let value = self.number(&token, "literal")?;
        Ok(if negative { -value } else { value })
    }

    fn number(&mut self, token: &Token, what: &str) -> LogqlResult<f64> {
        match crate::units::parse_go_float(&token.text) {
            Ok(value) => Ok(value),
            Err(reason) => {
                let message = format!("unable to parse {what} as a float: {reason}");
                self.defer(token.span, LogqlError::parse(message));
                Ok(0.0)
            }
        }
    }

    fn log_expr(&mut self) -> LogqlResult<LogExpr> {
        let start = self.start();
        let matchers = self.selector()?;
        let stages = self.pipeline()?;
        let span = self.span_from(start);
        // What stopped the pipeline at a pipe is `unwrap`, which only a range may have.
        if self.take_symbol("|") {
            return Err(self.unexpected(&[]));
        }
        Ok(LogExpr { matchers, stages, span })
    }

    fn selector(&mut self) -> LogqlResult<Vec<LabelMatch>> {
        self.expect_symbol("{", &["{", "("])?;
        let mut matchers = Vec::new();
        if self.take_symbol("}") {
            return Ok(matchers);
        }
        let mut expected: &[&str] = &["IDENTIFIER", "}"];
        loop {
            let name = self.expect_kind(Kind::Identifier, expected)?;
            matchers.push(self.label_match(&name)?);
            if self.take_symbol("}") {
                return Ok(matchers);
            }
            self.expect_symbol(",", &["}", ","])?;
            expected = &["IDENTIFIER"];
        }
    }

    /// The operator and string after a label's name. Patterns are compiled once here, so that a bad one is an error
    /// of the query.
    pub(super) fn label_match(&mut self, name: &Token) -> LogqlResult<LabelMatch> {
        const OPERATORS: [&str; 4] = ["=", "=~", "!~", "!="];
        let op = match self.peek().text.as_str() {
            "=" if self.at_symbol("=") => MatchOp::Equal,
            "!=" if self.at_symbol("!=") => MatchOp::NotEqual,
            "=~" if self.at_symbol("=~") => MatchOp::Regex,
            "!~" if self.at_symbol("!~") => MatchOp::NotRegex,
            _ => return Err(self.unexpected(&OPERATORS)),
        };
        self.take();
        let value = self.expect_kind(Kind::String, &["STRING"])?.text;
        let matcher =
            LabelMatch { name: name.text.clone(), op, value, span: self.span_from(name.span.start) };
        matcher.to_matcher()?;
        Ok(matcher)
    }

    fn pipeline(&mut self) -> LogqlResult<Vec<Stage>> {
        let mut stages = Vec::new();
        while let Some(stage) = self.stage()? {
            stages.push(stage);
        }
        Ok(stages)
    }

    fn range_aggregation(&mut self, op: RangeOp) -> LogqlResult<MetricKind> {
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

    fn vector_aggregation(&mut self, op: VectorOp) -> LogqlResult<MetricKind> {
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
    fn label_list(&mut self) -> LogqlResult<Vec<String>> {
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

    fn label_replace(&mut self) -> LogqlResult<MetricKind> {
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

fn range_op(name: &str) -> Option<RangeOp> {
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

fn vector_op(name: &str) -> Option<VectorOp> {
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
