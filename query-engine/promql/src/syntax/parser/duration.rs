//! Durations of ranges, steps and offsets, which may be arithmetic.

use super::Parser;
use crate::error::{PromqlError, PromqlResult};
use crate::syntax::ast::{DurationExpr, DurationKind, DurationOp, DurationValue};
use crate::syntax::token::{Token, TokenKind};

/// Seconds that 64-bit nanoseconds hold.
const SECONDS_MAX: f64 = 9_223_372_036.854_776;

impl Parser<'_> {
    /// The range in brackets.
    pub(super) fn positive_duration(&mut self, context: &str) -> PromqlResult<DurationValue> {
        self.positive_duration_or(context, "number, duration, step(), or range()")
    }

    pub(super) fn positive_duration_or(
        &mut self,
        context: &str,
        expected: &str,
    ) -> PromqlResult<DurationValue> {
        let before = self.duration_context.replace((context.to_owned(), expected.to_owned()));
        let expr = self.duration_expr(0, 0)?;
        self.duration_context = before;
        if let DurationKind::Literal { seconds, .. } = expr.kind
            && seconds <= 0.0
        {
            return Err(self.error(expr.span, "duration must be greater than 0"));
        }
        Ok(into_value(expr))
    }

    /// The duration behind `offset`: one operand, arithmetic only in parentheses.
    pub(super) fn offset_duration(&mut self) -> PromqlResult<DurationValue> {
        let context = ("offset".to_owned(), "number, duration, step(), or range()".to_owned());
        let before = self.duration_context.replace(context);
        let token = self.peek();
        let mut expr = None;
        if matches!(token.kind, TokenKind::Add | TokenKind::Sub) {
            self.advance();
            let operand = self.duration_operand(0)?;
            expr = Some(self.apply_sign(token, operand)?);
        }
        let expr = match expr {
            Some(expr) => expr,
            None => self.duration_operand(0)?,
        };
        self.duration_context = before;
        Ok(into_value(expr))
    }

    /// The next token does not fit into a duration.
    fn unexpected_in_duration(&self) -> PromqlError {
        let (context, expected) = self.duration_context.clone().unwrap_or_default();
        self.unexpected(&context, &expected)
    }

    fn expect_in_duration(&mut self, kind: TokenKind) -> PromqlResult<Token<'_>> {
        if self.peek().kind != kind {
            return Err(self.unexpected_in_duration());
        }
        Ok(self.advance())
    }

    fn duration_expr(&mut self, min_binding: u8, level: u32) -> PromqlResult<DurationExpr> {
        self.check_nesting(level)?;
        let token = self.peek();
        let mut left = if matches!(token.kind, TokenKind::Add | TokenKind::Sub) {
            self.advance();
            let operand = self.duration_expr(11, level + 1)?;
            self.apply_sign(token, operand)?
        } else {
            self.duration_operand(level)?
        };
        let mut chain = level;
        loop {
            let token = self.peek();
            let op = match token.kind {
                TokenKind::Add => DurationOp::Add,
                TokenKind::Sub => DurationOp::Sub,
                TokenKind::Mul => DurationOp::Mul,
                TokenKind::Div => DurationOp::Div,
                TokenKind::Mod => DurationOp::Mod,
                TokenKind::Pow => DurationOp::Pow,
                _ => return Ok(left),
            };
            let (binding, right_binding) = token.kind.binding().expect("an arithmetic operator binds");
            if binding < min_binding {
                return Ok(left);
            }
            chain += 1;
            self.check_nesting(chain)?;
            self.advance();
            let right = self.duration_expr(right_binding, level + 1)?;
            self.check_enabled(&left)?;
            if let DurationKind::Literal { seconds: 0.0, .. } = right.kind {
                match op {
                    DurationOp::Div => return Err(self.error(token.span, "division by zero")),
                    DurationOp::Mod => return Err(self.error(token.span, "modulo by zero")),
                    _ => {}
                }
            }
            let span = left.span.merge(right.span);
            let kind = DurationKind::Binary(op, Box::new(left), Box::new(right));
            left = DurationExpr { kind, span, is_wrapped: false };
        }
    }

    fn duration_operand(&mut self, level: u32) -> PromqlResult<DurationExpr> {
        use TokenKind as K;
        let token = self.peek();
        match token.kind {
            K::Number | K::Duration => {
                let (seconds, is_duration) = self.number()?;
                self.check_range(seconds, token)?;
                let kind = DurationKind::Literal { seconds, is_duration };
                Ok(DurationExpr { kind, span: token.span, is_wrapped: false })
            }
            K::Step | K::Range => {
                self.advance();
                self.expect_in_duration(K::LeftParen)?;
                let close = self.expect_in_duration(K::RightParen)?.span;
                let kind = if token.kind == K::Step { DurationKind::Step } else { DurationKind::Range };
                self.enabled(DurationExpr { kind, span: token.span.merge(close), is_wrapped: false })
            }
            K::MaxOf | K::MinOf => {
                self.advance();
                self.expect_in_duration(K::LeftParen)?;
                let left = self.duration_expr(0, level + 1)?;
                self.expect_in_duration(K::Comma)?;
                let right = self.duration_expr(0, level + 1)?;
                let close = self.expect_in_duration(K::RightParen)?.span;
                let op = if token.kind == K::MaxOf { DurationOp::MaxOf } else { DurationOp::MinOf };
                let kind = DurationKind::Binary(op, Box::new(left), Box::new(right));
                self.enabled(DurationExpr { kind, span: token.span.merge(close), is_wrapped: false })
            }
            K::LeftParen => {
                self.advance();
                let inner = self.duration_expr(0, level + 1)?;
                let close = self.expect_in_duration(K::RightParen)?.span;
                self.check_enabled(&inner)?;
                let span = token.span.merge(close);
                Ok(match inner.kind {
                    DurationKind::Literal { .. } => {
                        let kind = DurationKind::Plus(Box::new(inner));
                        DurationExpr { kind, span, is_wrapped: true }
                    }
                    _ => DurationExpr { is_wrapped: true, ..inner },
                })
            }
            _ => Err(self.unexpected_in_duration()),
        }
    }

    fn apply_sign(&self, sign: Token<'_>, operand: DurationExpr) -> PromqlResult<DurationExpr> {
        let span = sign.span.merge(operand.span);
        let negative = sign.kind == TokenKind::Sub;
        if let DurationKind::Literal { seconds, is_duration } = operand.kind {
            let seconds = if negative { -seconds } else { seconds };
            self.check_range(seconds, sign)?;
            return Ok(DurationExpr {
                kind: DurationKind::Literal { seconds, is_duration },
                span,
                is_wrapped: false,
            });
        }
        if !negative {
            return Ok(operand);
        }
        let kind = DurationKind::Negate(Box::new(operand));
        self.enabled(DurationExpr { kind, span, is_wrapped: false })
    }

    fn check_range(&self, seconds: f64, token: Token<'_>) -> PromqlResult<()> {
        if seconds.is_nan() || seconds.abs() > SECONDS_MAX {
            return Err(self.error(token.span, "duration out of range"));
        }
        Ok(())
    }

    fn enabled(&self, expr: DurationExpr) -> PromqlResult<DurationExpr> {
        self.check_enabled(&expr)?;
        Ok(expr)
    }

    fn check_enabled(&self, expr: &DurationExpr) -> PromqlResult<()> {
        if !self.options.duration_expressions {
            return Err(self.error(expr.span, "experimental duration expression is not enabled"));
        }
        Ok(())
    }
}

/// A literal becomes milliseconds at once, anything else is left to the planner.
fn into_value(expr: DurationExpr) -> DurationValue {
    match expr.kind {
        // Prometheus rounds to nanoseconds and then cuts to milliseconds.
        DurationKind::Literal { seconds, .. } => {
            DurationValue { ms: ((seconds * 1e9).round() / 1e6).trunc() as i64, expr: None }
        }
        _ => DurationValue { ms: 0, expr: Some(Box::new(expr)) },
    }
}
