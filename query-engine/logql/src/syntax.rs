//! The language: text to tree and back, with Loki 3.7's grammar and error texts.
//!
//! `parse` is the only way in. It refuses what Loki refuses, reads nothing but the text, and is bounded in depth
//! (SYNTAX-1: no input overflows the stack) and length.

mod aggregations;
mod ast;
mod check;
mod filters;
mod lexer;
mod parser;
mod pretty;
mod printer;
mod variants;

pub use ast::{
    BinaryExpr, BinaryOp, Cardinality, CompareOp, Conversion, Expr, Extraction, FilterValue, Grouping,
    LabelFilter, LabelFormat, LabelMatch, LabelReplace, LabelSource, LineFilter, LineOp, LineTerm, LogExpr,
    LogRange, Matching, MetricExpr, MetricKind, NamedMatch, RangeAggregation, RangeOp, Span, Stage,
    StageKind, Unwrap, VectorAggregation, VectorOp,
};

pub use pretty::pretty;
pub use printer::quoted;

pub(crate) use lexer::unquote;

use crate::{LogqlError, LogqlResult};

/// Longest query in bytes (`maxInputSize` in Loki's pkg/logql/syntax/parser.go).
pub const QUERY_BYTES_MAX: usize = 131_072;

/// Reads and checks a query.
pub fn parse(query: &str) -> LogqlResult<Expr> {
    let expr = parse_unchecked(query)?;
    check::require_matchers(&expr)?;
    Ok(expr)
}

/// Reads a stream selector such as `{app="x"}` for the label and series routes; `{}` selects everything.
pub fn parse_selector(text: &str) -> LogqlResult<Vec<model::Matcher>> {
    match parse_unchecked(text)? {
        Expr::Log(log) if log.stages.is_empty() => log.matchers.iter().map(LabelMatch::to_matcher).collect(),
        _ => Err(LogqlError::new(model::ErrorKind::Invalid, "only label matchers are supported")),
    }
}

fn parse_unchecked(query: &str) -> LogqlResult<Expr> {
    if query.len() >= QUERY_BYTES_MAX {
        return Err(LogqlError::parse(format_args!(
            "input size too long ({} > {QUERY_BYTES_MAX})",
            query.len()
        )));
    }
    if query.is_empty() {
        return Err(LogqlError::parse("syntax error: unexpected $end"));
    }
    parser::parse(query)
}

impl LabelMatch {
    /// The matcher to select streams with; its pattern is rewritten from Go's dialect of regular expressions.
    pub fn to_matcher(&self) -> LogqlResult<model::Matcher> {
        let value = match self.op {
            model::MatchOp::Equal | model::MatchOp::NotEqual => self.value.clone(),
            model::MatchOp::Regex | model::MatchOp::NotRegex => {
                crate::go_regex::compile_anchored(&self.value).map_err(LogqlError::parse)?;
                format!("(?:{})", crate::go_regex::translate(&self.value))
            }
        };
        model::Matcher::new(self.name.as_str(), self.op, value).map_err(LogqlError::parse)
    }
}

#[cfg(test)]
mod tests;
