//! `variants(<metric>, …) of (<range>)`: several metric queries over one read.
//!
//! It is experimental in Loki and off unless a limit allows it (`enable_multi_variant_queries`). Here it is read, so that
//! syntax errors are the same, and refused with Loki's text.

use super::ast::Expr;
use super::parser::Parser;
use crate::{LogqlError, LogqlResult};

impl Parser {
    /// What follows the word `variants`.
    pub(super) fn variants(&mut self) -> LogqlResult<()> {
        self.expect_symbol("(", &["("])?;
        loop {
            let Expr::Metric(_) = self.expr(0)? else { return Err(self.unexpected(&[])) };
            if !self.take_symbol(",") {
                break;
            }
        }
        self.expect_symbol(")", &[])?;
        self.expect_symbol("of", &["of"])?;
        self.expect_symbol("(", &["("])?;
        if self.range_parts(&["{", "("])?.interval_ns.is_none() {
            return Err(self.unexpected(&[]));
        }
        self.expect_symbol(")", &[])
    }
}

/// `ErrVariantsDisabled` in pkg/logqlmodel/error.go.
pub(super) fn disabled() -> LogqlError {
    LogqlError::new(model::ErrorKind::Invalid, "multi variant queries are disabled for this instance")
}
