//! Selectors and what may follow an operand: ranges, subqueries, `offset`, `@`, `anchored`, `smoothed`.

use model::{METRIC_NAME, MatchOp, Matcher};

use super::{Node, Parser};
use crate::error::PromqlResult;
use crate::syntax::ast::{
    At, DurationValue, Expr, ExprKind, Extension, MatrixSelector, Subquery, VectorSelector,
};
use crate::syntax::span::Span;
use crate::syntax::token::TokenKind;

const MATCHING: &str = "label matching";

impl Parser<'_> {
    /// A metric name, matchers in braces, or both.
    pub(super) fn vector_selector(&mut self) -> PromqlResult<(VectorSelector, Span)> {
        let first = self.peek();
        let mut selector = VectorSelector::default();
        if first.kind != TokenKind::LeftBrace {
            self.advance();
            selector.name = Some(first.text.to_owned());
        }
        if self.take(TokenKind::LeftBrace).is_some() {
            self.matchers(&mut selector.matchers)?;
        }
        if let Some(name) = &selector.name {
            selector.matchers.push(Matcher::equal(METRIC_NAME, name.clone()));
        }
        Ok((selector, Span::new(first.span.start, self.last_end())))
    }

    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> PromqlResult<()> {
        use TokenKind as K;
        if self.take(K::RightBrace).is_some() {
            return Ok(());
        }
        loop {
            matchers.push(self.matcher()?);
            match self.peek().kind {
                K::Comma => {
                    self.advance();
                    if self.take(K::RightBrace).is_some() {
                        return Ok(());
                    }
                }
                K::RightBrace => {
                    self.advance();
                    return Ok(());
                }
                _ => return Err(self.unexpected(MATCHING, "\",\" or \"}\"")),
            }
        }
    }

    fn matcher(&mut self) -> PromqlResult<Matcher> {
        use TokenKind as K;
        let label = self.peek();
        let name = match label.kind {
            K::Identifier => label.text.to_owned(),
            K::String => self.unquote(label)?,
            _ => return Err(self.unexpected(MATCHING, "identifier or \"}\"")),
        };
        self.advance();
        let op = match self.peek().kind {
            K::Assign => MatchOp::Equal,
            K::NotEqual => MatchOp::NotEqual,
            K::RegexMatch => MatchOp::Regex,
            K::RegexNoMatch => MatchOp::NotRegex,
            // A quoted name alone is the metric name.
            K::Comma | K::RightBrace if label.kind == K::String => {
                return Ok(Matcher::equal(METRIC_NAME, name));
            }
            _ if label.kind == K::String => return Err(self.unexpected(MATCHING, "\",\" or \"}\"")),
            _ => return Err(self.unexpected(MATCHING, "label matching operator")),
        };
        self.advance();
        let value = self.expect(K::String, MATCHING, "string")?;
        let text = self.unquote(value)?;
        Matcher::new(name, op, text).map_err(|error| self.error(label.span.merge(value.span), error))
    }

    /// Applies one modifier or range to `node`; answers whether there was one.
    pub(super) fn postfix(&mut self, node: &mut Node) -> PromqlResult<bool> {
        match self.peek().kind {
            TokenKind::LeftBracket => self.brackets(node)?,
            TokenKind::Offset => self.offset(&mut node.expr)?,
            TokenKind::At => self.at(&mut node.expr)?,
            TokenKind::Anchored => self.extension(&mut node.expr, Extension::Anchored)?,
            TokenKind::Smoothed => self.extension(&mut node.expr, Extension::Smoothed)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn brackets(&mut self, node: &mut Node) -> PromqlResult<()> {
        use TokenKind as K;
        let open = self.advance();
        let range = self.positive_duration("subquery or range selector")?;
        let start = node.expr.span.start;
        let inner = std::mem::replace(&mut node.expr, Expr::new(ExprKind::String(String::new()), open.span));
        match self.peek().kind {
            K::RightBracket => {
                let close = self.advance();
                let vector = self.range_of(inner, open.span.merge(close.span))?;
                let kind = ExprKind::Matrix(MatrixSelector { vector, range });
                node.expr = Expr::new(kind, Span::new(start, close.span.end));
            }
            K::Colon => {
                self.advance();
                let step = if self.peek().kind == K::RightBracket {
                    DurationValue::default()
                } else {
                    let step = self.subquery_step()?;
                    if self.peek().kind != K::RightBracket {
                        return Err(self.unexpected("subquery selector", "\"]\""));
                    }
                    step
                };
                let close = self.advance();
                let subquery = Subquery {
                    expr: Box::new(inner),
                    range,
                    step,
                    offset: DurationValue::default(),
                    at: None,
                };
                let span = Span::new(start, close.span.end);
                *node = self.node(ExprKind::Subquery(subquery), span, node.depth + 1)?;
            }
            _ => return Err(self.unexpected("subquery or range", "\":\" or \"]\"")),
        }
        Ok(())
    }

    fn subquery_step(&mut self) -> PromqlResult<DurationValue> {
        self.positive_duration_or("subquery selector", "number, duration, step(), range(), or \"]\"")
    }

    /// The selector that a range may be put on.
    fn range_of(&self, expr: Expr, brackets: Span) -> PromqlResult<VectorSelector> {
        let ExprKind::Vector(vector) = expr.kind else {
            return Err(self.error(brackets, "ranges only allowed for vector selectors"));
        };
        if !vector.offset.is_unset() {
            return Err(self.error(brackets, "no offset modifiers allowed before range"));
        }
        if vector.at.is_some() {
            return Err(self.error(brackets, "no @ modifiers allowed before range"));
        }
        Ok(vector)
    }

    fn offset(&mut self, expr: &mut Expr) -> PromqlResult<()> {
        self.advance();
        let value = self.offset_duration()?;
        let target = match &mut expr.kind {
            ExprKind::Vector(selector) => &mut selector.offset,
            ExprKind::Matrix(matrix) => &mut matrix.vector.offset,
            ExprKind::Subquery(subquery) => &mut subquery.offset,
            _ => {
                let text = "offset modifier must be preceded by an instant vector selector or range vector \
                            selector or a subquery";
                return Err(self.error(expr.span, text));
            }
        };
        if !target.is_unset() {
            return Err(self.error(expr.span, "offset may not be set multiple times"));
        }
        *target = value;
        expr.span.end = self.last_end();
        Ok(())
    }

    fn at(&mut self, expr: &mut Expr) -> PromqlResult<()> {
        use TokenKind as K;
        self.advance();
        let at = match self.peek().kind {
            kind @ (K::Start | K::End) => {
                self.advance();
                self.expect(K::LeftParen, "", "")?;
                self.expect(K::RightParen, "", "")?;
                if kind == K::Start { At::Start } else { At::End }
            }
            K::Number | K::Duration | K::Add | K::Sub => {
                let negative = matches!(self.peek().kind, K::Sub);
                if matches!(self.peek().kind, K::Add | K::Sub) {
                    self.advance();
                }
                if !matches!(self.peek().kind, K::Number | K::Duration) {
                    return Err(self.unexpected("@", "timestamp"));
                }
                let (value, _) = self.number()?;
                let seconds = if negative { -value } else { value };
                // The same bounds as in Prometheus, which compares seconds with the limits of 64-bit integers.
                if !seconds.is_finite() || seconds >= i64::MAX as f64 || seconds <= i64::MIN as f64 {
                    let text = format!("timestamp out of bounds for @ modifier: {}", go_fixed(seconds));
                    return Err(self.error(expr.span, text));
                }
                At::Timestamp((seconds * 1000.0).round() as i64)
            }
            _ => return Err(self.unexpected("@", "timestamp")),
        };
        let target = match &mut expr.kind {
            ExprKind::Vector(selector) => &mut selector.at,
            ExprKind::Matrix(matrix) => &mut matrix.vector.at,
            ExprKind::Subquery(subquery) => &mut subquery.at,
            _ => {
                let text = "@ modifier must be preceded by an instant vector selector or range vector selector \
                            or a subquery";
                return Err(self.error(expr.span, text));
            }
        };
        if target.is_some() {
            return Err(self.error(expr.span, "@ <timestamp> may not be set multiple times"));
        }
        *target = Some(at);
        expr.span.end = self.last_end();
        Ok(())
    }

    fn extension(&mut self, expr: &mut Expr, extension: Extension) -> PromqlResult<()> {
        let name = if extension == Extension::Anchored { "anchored" } else { "smoothed" };
        self.advance();
        if !self.options.extended_range_selectors {
            return Err(self.error(expr.span, format!("{name} modifier is experimental and not enabled")));
        }
        let selector = match &mut expr.kind {
            ExprKind::Vector(selector) => selector,
            ExprKind::Matrix(matrix) => &mut matrix.vector,
            ExprKind::Subquery(_) => {
                let text = format!("{name} modifier is not supported for subqueries");
                return Err(self.error(expr.span, text));
            }
            _ => return Err(self.error(expr.span, format!("{name} modifier not implemented"))),
        };
        if selector.extension != Extension::None && selector.extension != extension {
            let text = "anchored and smoothed modifiers cannot be used together";
            return Err(self.error(expr.span, text));
        }
        selector.extension = extension;
        Ok(())
    }
}

/// Go's `%f`.
fn go_fixed(value: f64) -> String {
    if value.is_finite() { format!("{value:.6}") } else { crate::syntax::number::format_float(value) }
}
