//! Tokens to a syntax tree: a Pratt parser over the whole grammar of Prometheus 3.15 (promql/parser/generated_parser.y).
//!
//! Invariant PARSE-1: no tree is deeper than `DEPTH_MAX`, so that neither this parser nor anything that walks the tree
//! can overflow the stack.

mod duration;
mod selector;

use model::Matcher;

use super::ast::{Aggregate, AggregateOp, Binary, BinaryOp, Call, Cardinality, Expr, ExprKind, Matching};
use super::check::check;
use super::functions::function;
use super::lexer::tokenize;
use super::number::{parse_duration, parse_number};
use super::quote::{quote, unquote, unquote_bytes};
use super::span::Span;
use super::token::{Token, TokenKind};
use crate::error::{PromqlError, PromqlResult};

/// Deepest tree that is accepted: a few hundred operands joined by `or` fit, and walking it fits a thread's stack.
const DEPTH_MAX: u32 = 256;

/// Most parentheses, calls and signs inside each other, each of which is several calls of this parser.
const NESTING_MAX: u32 = 100;

/// Which parts of the language are on. The names of Prometheus' feature flags are in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseOptions {
    /// Experimental functions and aggregations (`promql-experimental-functions`). Default off.
    pub experimental_functions: bool,
    /// Arithmetic inside durations. Default on, as since Prometheus 3.14.
    pub duration_expressions: bool,
    /// `anchored` and `smoothed` (`promql-extended-range-selectors`). Default off.
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left`, `fill_right` (`promql-binop-fill-modifiers`). Default off.
    pub fill_modifiers: bool,
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self {
            experimental_functions: false,
            duration_expressions: true,
            extended_range_selectors: false,
            fill_modifiers: false,
        }
    }
}

impl ParseOptions {
    /// Everything on.
    pub const ALL: Self = Self {
        experimental_functions: true,
        duration_expressions: true,
        extended_range_selectors: true,
        fill_modifiers: true,
    };
}

/// Parses and type-checks a query.
pub fn parse_expr(query: &str, options: ParseOptions) -> PromqlResult<Expr> {
    let mut parser = Parser::new(query, options);
    if parser.peek().kind == TokenKind::Eof {
        parser.lexical_error()?;
        return Err(parser.error(Span::default(), "no expression found in input"));
    }
    let node = parser.expression(0, 0)?;
    parser.end()?;
    check(query, &node.expr)?;
    Ok(node.expr)
}

/// Parses one series selector, as in `match[]` of the HTTP API.
pub fn parse_selector(query: &str) -> PromqlResult<Vec<Matcher>> {
    let mut parser = Parser::new(query, ParseOptions::default());
    let token = parser.peek();
    let starts_selector = token.kind == TokenKind::LeftBrace || token.kind.is_metric_name();
    if !starts_selector {
        return Err(parser.unexpected("", ""));
    }
    let (selector, _) = parser.vector_selector()?;
    parser.end()?;
    Ok(selector.matchers)
}

struct Parser<'q> {
    query: &'q str,
    options: ParseOptions,
    tokens: Vec<Token<'q>>,
    next: usize,
    lexical_error: Option<PromqlError>,
    /// What an error inside a duration says: where, and what was expected.
    duration_context: Option<(String, String)>,
    /// In the arguments of how many aggregations the next token stands. An error there that has no nearer context says so.
    aggregations: u32,
}

/// An expression and the depth of its tree.
struct Node {
    expr: Expr,
    depth: u32,
}

impl<'q> Parser<'q> {
    fn new(query: &'q str, options: ParseOptions) -> Self {
        let (tokens, lexical_error) = tokenize(query);
        Self { query, options, tokens, next: 0, lexical_error, duration_context: None, aggregations: 0 }
    }

    fn peek(&self) -> Token<'q> {
        self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn peek_second(&self) -> Token<'q> {
        self.tokens[(self.next + 1).min(self.tokens.len() - 1)]
    }

    fn advance(&mut self) -> Token<'q> {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn take(&mut self, kind: TokenKind) -> Option<Token<'q>> {
        (self.peek().kind == kind).then(|| self.advance())
    }

    fn expect(&mut self, kind: TokenKind, context: &str, expected: &str) -> PromqlResult<Token<'q>> {
        self.take(kind).ok_or_else(|| self.unexpected(context, expected))
    }

    /// End of the token before the next one.
    fn last_end(&self) -> usize {
        self.next.checked_sub(1).and_then(|i| self.tokens.get(i)).map_or(0, |token| token.span.end)
    }

    fn end(&mut self) -> PromqlResult<()> {
        if self.peek().kind != TokenKind::Eof {
            return Err(self.unexpected("", ""));
        }
        self.lexical_error()
    }

    fn lexical_error(&self) -> PromqlResult<()> {
        self.lexical_error.clone().map_or(Ok(()), Err)
    }

    fn error(&self, span: Span, text: impl std::fmt::Display) -> PromqlError {
        PromqlError::parse(self.query, span, text)
    }

    /// The next token is not what the grammar wants.
    fn unexpected(&self, context: &str, expected: &str) -> PromqlError {
        let token = self.peek();
        if token.kind == TokenKind::Eof
            && let Some(error) = &self.lexical_error
        {
            return error.clone();
        }
        let context = if context.is_empty() && self.aggregations > 0 { "aggregation" } else { context };
        let mut text = format!("unexpected {}", token.description());
        if !context.is_empty() {
            text.push_str(&format!(" in {context}"));
        }
        if !expected.is_empty() {
            text.push_str(&format!(", expected {expected}"));
        }
        self.error(token.span, text)
    }

    fn node(&self, kind: ExprKind, span: Span, depth: u32) -> PromqlResult<Node> {
        self.check_depth(depth, span)?;
        Ok(Node { expr: Expr::new(kind, span), depth })
    }

    fn check_depth(&self, depth: u32, span: Span) -> PromqlResult<()> {
        self.check_levels(depth, DEPTH_MAX, span)
    }

    fn check_nesting(&self, level: u32) -> PromqlResult<()> {
        self.check_levels(level, NESTING_MAX, self.peek().span)
    }

    fn check_levels(&self, levels: u32, max: u32, span: Span) -> PromqlResult<()> {
        if levels > max {
            let text = format!("expression is nested too deeply, at most {max} levels are allowed");
            return Err(self.error(span, text));
        }
        Ok(())
    }

    /// An expression whose binary operators all bind at least as strongly as `min_binding`. `level` counts the calls
    /// that are open above this one.
    fn expression(&mut self, min_binding: u8, level: u32) -> PromqlResult<Node> {
        self.check_nesting(level)?;
        let mut left = self.operand(level)?;
        loop {
            let token = self.peek();
            let Some((binding, right_binding)) = token.kind.binding() else { return Ok(left) };
            if binding < min_binding {
                return Ok(left);
            }
            self.advance();
            let (matching, return_bool) = self.binary_modifiers()?;
            let right = self.expression(right_binding, level + 1)?;
            let span = left.expr.span.merge(right.expr.span);
            if !self.options.fill_modifiers && (matching.fill_left.is_some() || matching.fill_right.is_some())
            {
                return Err(self.error(span, "binop fill modifiers are experimental and not enabled"));
            }
            let mut binary = Binary {
                op: binary_op(token.kind),
                lhs: Box::new(left.expr),
                rhs: Box::new(right.expr),
                matching: Some(matching),
                return_bool,
            };
            if let Some(matching) = &mut binary.matching
                && binary.op.is_set()
                && matching.cardinality == Cardinality::OneToOne
            {
                matching.cardinality = Cardinality::ManyToMany;
            }
            let depth = 1 + left.depth.max(right.depth);
            left = self.node(ExprKind::Binary(binary), span, depth)?;
        }
    }

    /// An operand with its unary operators and modifiers.
    fn operand(&mut self, level: u32) -> PromqlResult<Node> {
        let token = self.peek();
        if matches!(token.kind, TokenKind::Add | TokenKind::Sub) {
            self.advance();
            let negative = token.kind == TokenKind::Sub;
            // A unary operator binds like a multiplication: only `^` and modifiers bind closer.
            let mut inner = self.expression(11, level + 1)?;
            let span = token.span.merge(inner.expr.span);
            if let ExprKind::Number { value, .. } = &mut inner.expr.kind {
                if negative {
                    *value = -*value;
                }
                inner.expr.span = span;
                return Ok(inner);
            }
            let kind = ExprKind::Unary { negative, expr: Box::new(inner.expr) };
            return self.node(kind, span, inner.depth + 1);
        }
        let mut node = self.primary(level)?;
        while self.postfix(&mut node)? {}
        Ok(node)
    }

    fn primary(&mut self, level: u32) -> PromqlResult<Node> {
        use TokenKind as K;
        let token = self.peek();
        let calls = self.peek_second().kind == K::LeftParen;
        match token.kind {
            K::Number | K::Duration => {
                let (value, is_duration) = self.number()?;
                self.node(ExprKind::Number { value, is_duration }, token.span, 1)
            }
            K::String => {
                self.advance();
                let kind = match String::from_utf8(self.unquote_bytes(token)?) {
                    Ok(text) => ExprKind::String(text),
                    Err(error) => ExprKind::Bytes(error.into_bytes()),
                };
                self.node(kind, token.span, 1)
            }
            K::LeftParen => {
                self.advance();
                let inner = self.expression(0, level + 1)?;
                let close = self.expect(K::RightParen, "", "")?;
                let span = token.span.merge(close.span);
                self.node(ExprKind::Paren(Box::new(inner.expr)), span, inner.depth + 1)
            }
            K::Identifier | K::Start | K::End | K::Step | K::Range | K::MaxOf | K::MinOf if calls => {
                self.call(level)
            }
            K::Aggregator if self.is_aggregation() => self.aggregate(level),
            kind if kind == K::LeftBrace || kind.is_metric_name() => {
                let (selector, span) = self.vector_selector()?;
                self.node(ExprKind::Vector(selector), span, 1)
            }
            _ => Err(self.unexpected("", "")),
        }
    }

    /// Whether the aggregation name that comes next starts an aggregation (or a broken one) and is no metric name.
    fn is_aggregation(&self) -> bool {
        use TokenKind as K;
        let next = self.peek_second().kind;
        let ends_metric = next.binding().is_some()
            || matches!(
                next,
                K::Eof
                    | K::RightParen
                    | K::Comma
                    | K::LeftBrace
                    | K::LeftBracket
                    | K::Offset
                    | K::At
                    | K::Anchored
                    | K::Smoothed
            );
        !ends_metric
    }

    fn number(&mut self) -> PromqlResult<(f64, bool)> {
        let token = self.advance();
        if token.kind == TokenKind::Duration {
            let ms = parse_duration(token.text).map_err(|text| self.error(token.span, text))?;
            return Ok((ms as f64 / 1000.0, true));
        }
        let value = parse_number(token.text).ok_or_else(|| {
            // Like Go, a number too large for a float is an error and not infinite.
            let is_large = token.text.parse::<f64>().is_ok();
            let reason = if is_large { "value out of range" } else { "invalid syntax" };
            let text =
                format!("error parsing number: strconv.ParseFloat: parsing {}: {reason}", quote(token.text));
            self.error(token.span, text)
        })?;
        Ok((value, false))
    }

    fn unquote(&self, token: Token<'_>) -> PromqlResult<String> {
        unquote(token.text).ok_or_else(|| self.bad_string(token))
    }

    fn unquote_bytes(&self, token: Token<'_>) -> PromqlResult<Vec<u8>> {
        unquote_bytes(token.text).ok_or_else(|| self.bad_string(token))
    }

    fn bad_string(&self, token: Token<'_>) -> PromqlError {
        let text = format!("error unquoting string {}: invalid syntax", quote(token.text));
        self.error(token.span, text)
    }

    fn arguments(&mut self, level: u32) -> PromqlResult<(Vec<Expr>, u32)> {
        use TokenKind as K;
        self.expect(K::LeftParen, "", "")?;
        let mut args = Vec::new();
        let mut depth = 0;
        if self.take(K::RightParen).is_some() {
            return Ok((args, depth));
        }
        loop {
            let node = self.expression(0, level + 1)?;
            depth = depth.max(node.depth);
            args.push(node.expr);
            let Some(comma) = self.take(K::Comma) else { break };
            if matches!(self.peek().kind, K::RightParen | K::Comma) {
                let text = "trailing commas not allowed in function call args";
                return Err(self.error(comma.span, text));
            }
        }
        self.expect(K::RightParen, "", "")?;
        Ok((args, depth))
    }

    fn call(&mut self, level: u32) -> PromqlResult<Node> {
        let name = self.advance();
        let (args, depth) = self.arguments(level)?;
        let function = function(name.text).ok_or_else(|| {
            self.error(name.span, format!("unknown function with name {}", quote(name.text)))
        })?;
        if function.is_experimental && !self.options.experimental_functions {
            let text = format!("function {} is not enabled", quote(name.text));
            return Err(self.error(name.span, text));
        }
        let span = Span::new(name.span.start, self.last_end());
        self.node(ExprKind::Call(Call { function, args }), span, depth + 1)
    }

    fn aggregate(&mut self, level: u32) -> PromqlResult<Node> {
        use TokenKind as K;
        let name = self.advance();
        let op = AggregateOp::from_name(name.text).expect("the lexer knows the names of aggregations");
        let mut modifier = self.aggregate_modifier()?;
        if self.peek().kind != K::LeftParen {
            return Err(self.unexpected("aggregation", ""));
        }
        self.aggregations += 1;
        let (mut args, depth) = self.arguments(level)?;
        self.aggregations -= 1;
        if modifier.is_none() {
            modifier = self.aggregate_modifier()?;
        }
        let span = Span::new(name.span.start, self.last_end());
        if args.is_empty() {
            return Err(self.error(span, "no arguments for aggregate expression provided"));
        }
        let wanted = if op.has_param() { 2 } else { 1 };
        let is_experimental = matches!(op, AggregateOp::Limitk | AggregateOp::LimitRatio);
        if is_experimental && !self.options.experimental_functions {
            let text = format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                op.name()
            );
            return Err(self.error(span, text));
        }
        if args.len() != wanted {
            let text = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {}",
                args.len()
            );
            return Err(self.error(span, text));
        }
        let expr = Box::new(args.pop().expect("one argument at least"));
        let param = args.pop().map(Box::new);
        let (grouping, without) = modifier.unwrap_or_default();
        let aggregate = Aggregate { op, grouping, without, param, expr };
        self.node(ExprKind::Aggregate(aggregate), span, depth + 1)
    }

    fn aggregate_modifier(&mut self) -> PromqlResult<Option<(Vec<String>, bool)>> {
        let without = match self.peek().kind {
            TokenKind::By => false,
            TokenKind::Without => true,
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some((self.grouping_labels()?, without)))
    }

    fn grouping_labels(&mut self) -> PromqlResult<Vec<String>> {
        use TokenKind as K;
        const CONTEXT: &str = "grouping opts";
        self.expect(K::LeftParen, CONTEXT, "\"(\"")?;
        let mut labels = Vec::new();
        loop {
            if self.take(K::RightParen).is_some() {
                return Ok(labels);
            }
            let token = self.peek();
            let label = match token.kind {
                K::String => self.unquote(token)?,
                kind if kind.is_label_name() => token.text.to_owned(),
                _ => return Err(self.unexpected(CONTEXT, "label")),
            };
            self.advance();
            // A metric identifier may have colons, which UTF-8 label names allow; only the empty name is not valid.
            if label.is_empty() {
                let text = "invalid label name for grouping: \"\"";
                return Err(self.error(token.span, text));
            }
            labels.push(label);
            match self.peek().kind {
                K::Comma => {
                    self.advance();
                }
                K::RightParen => {}
                _ => return Err(self.unexpected(CONTEXT, "\",\" or \")\"")),
            }
        }
    }

    fn binary_modifiers(&mut self) -> PromqlResult<(Matching, bool)> {
        use TokenKind as K;
        let return_bool = self.take(K::Bool).is_some();
        let mut matching = Matching::default();
        if matches!(self.peek().kind, K::On | K::Ignoring) {
            matching.is_on = self.advance().kind == K::On;
            matching.labels = self.grouping_labels()?;
            if matches!(self.peek().kind, K::GroupLeft | K::GroupRight) {
                matching.cardinality = match self.advance().kind {
                    K::GroupLeft => Cardinality::ManyToOne,
                    _ => Cardinality::OneToMany,
                };
                if self.peek().kind == K::LeftParen {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        match self.peek().kind {
            K::Fill => {
                let value = self.fill_value()?;
                (matching.fill_left, matching.fill_right) = (Some(value), Some(value));
            }
            K::FillLeft => {
                matching.fill_left = Some(self.fill_value()?);
                if self.peek().kind == K::FillRight {
                    matching.fill_right = Some(self.fill_value()?);
                }
            }
            K::FillRight => {
                matching.fill_right = Some(self.fill_value()?);
                if self.peek().kind == K::FillLeft {
                    matching.fill_left = Some(self.fill_value()?);
                }
            }
            _ => {}
        }
        Ok((matching, return_bool))
    }

    fn fill_value(&mut self) -> PromqlResult<f64> {
        use TokenKind as K;
        self.advance();
        self.expect(K::LeftParen, "", "")?;
        let negative = match self.peek().kind {
            K::Add | K::Sub => self.advance().kind == K::Sub,
            _ => false,
        };
        if !matches!(self.peek().kind, K::Number | K::Duration) {
            return Err(self.unexpected("", ""));
        }
        let (value, _) = self.number()?;
        self.expect(K::RightParen, "", "")?;
        Ok(if negative { -value } else { value })
    }
}

fn binary_op(kind: TokenKind) -> BinaryOp {
    use TokenKind as K;
    match kind {
        K::Add => BinaryOp::Add,
        K::Sub => BinaryOp::Sub,
        K::Mul => BinaryOp::Mul,
        K::Div => BinaryOp::Div,
        K::Mod => BinaryOp::Mod,
        K::Pow => BinaryOp::Pow,
        K::Atan2 => BinaryOp::Atan2,
        K::Equal => BinaryOp::Equal,
        K::NotEqual => BinaryOp::NotEqual,
        K::Less => BinaryOp::Less,
        K::LessEqual => BinaryOp::LessEqual,
        K::Greater => BinaryOp::Greater,
        K::GreaterEqual => BinaryOp::GreaterEqual,
        K::TrimUpper => BinaryOp::TrimUpper,
        K::TrimLower => BinaryOp::TrimLower,
        K::And => BinaryOp::And,
        K::Or => BinaryOp::Or,
        K::Unless => BinaryOp::Unless,
        other => unreachable!("{other:?} has no binding power"),
    }
}
