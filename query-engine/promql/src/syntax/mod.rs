//! PromQL's text: tokens, syntax tree, type check and printing.
//!
//! Error texts and positions are those of Prometheus, since clients show and match them. Parsing is a pure function of
//! the text and the options; depth is limited, so that no input overflows the stack.

mod ast;
mod check;
mod functions;
mod lexer;
mod number;
mod parser;
mod prettier;
mod printer;
mod quote;
mod span;
mod token;

pub use ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Cardinality, DurationExpr, DurationKind, DurationOp,
    DurationValue, Expr, ExprKind, Extension, Matching, MatrixSelector, Subquery, ValueType, VectorSelector,
};
pub use functions::{FUNCTIONS, Function, function};
pub(crate) use number::format_float_g;
pub use number::{format_duration, format_float, parse_duration, parse_number};
pub use parser::{ParseOptions, parse_expr, parse_selector};
pub use prettier::prettify;
pub(crate) use quote::quote;
pub use span::Span;

#[cfg(test)]
mod tests;
