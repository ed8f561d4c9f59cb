//! Recursive descent over the grammar of Loki's `syntax.y`: expressions, binary operations, selectors. Aggregations are
//! in `aggregations`, stages in `filters`.
//!
//! Errors name the same token and place as Loki's. An error that Loki finds only after reading the whole text
//! (a wrong type or parameter) waits in `deferred`, so that a syntax error further on comes first here too.

use model::MatchOp;

use super::aggregations::{range_op, vector_op};
use super::ast::{
    BinaryExpr, BinaryOp, Cardinality, CompareOp, Expr, LabelMatch, LogExpr, Matching, MetricExpr,
    MetricKind, Span, Stage,
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
    pub(super) fn defer(&mut self, span: Span, error: LogqlError) {
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

    pub(super) fn number(&mut self, token: &Token, what: &str) -> LogqlResult<f64> {
        match crate::units::parse_go_float(&token.text) {
            Ok(value) => Ok(value),
            Err(reason) => {
                let message = format!("unable to parse {what} as a float: {reason}");
                self.defer(token.span, LogqlError::parse(message));
                Ok(0.0)
            }
        }
    }

    pub(super) fn log_expr(&mut self) -> LogqlResult<LogExpr> {
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

    pub(super) fn selector(&mut self) -> LogqlResult<Vec<LabelMatch>> {
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

    pub(super) fn pipeline(&mut self) -> LogqlResult<Vec<Stage>> {
        let mut stages = Vec::new();
        while let Some(stage) = self.stage()? {
            stages.push(stage);
        }
        Ok(stages)
    }
}
