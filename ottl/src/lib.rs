//! OTTL, the OpenTelemetry Transformation Language, on the wire bytes of OTLP payloads.
//!
//! A statement (`set(attributes["env"], "prod") where severity_number >= SEVERITY_NUMBER_ERROR`) or a condition is parsed
//! and checked once, when a config is read; then it runs over payloads. A record is taken apart one level deep, values
//! are decoded where a path asks for them, and what no statement touches keeps its bytes.
//!
//! Grammar, paths, functions, their argument errors and their semantics are those of `pkg/ottl` in the collector's
//! contrib repository (v0.155). What is known there and not here is refused by name: the function `UserAgent`, whose answers
//! are those of a list of thousands of patterns that changes every month and is no code (uap-core), and the paths
//! `otelcol.client.auth` and `otelcol.grpc`, since requests carry neither here.
//!
//! - OTTL-1: running a program never panics and never leaves a payload half edited: a record that an error leaves is the
//!   record as the statements before the error made it.
//! - OTTL-2: nothing is evaluated at run time that the config settles: paths, functions, arguments, literal patterns.

mod ast;
mod compare;
mod compile;
mod context;
mod convert;
mod error;
mod expression;
mod frame;
mod functions;
mod grok;
mod inference;
mod lexer;
mod message;
mod number_format;
mod parser;
mod path;
mod path_read;
mod path_write;
mod run;
mod sender;
mod time;
mod value;
mod xml;

pub use context::Context;
pub use convert::go_int;
pub use error::{ErrorMode, ParseError, RunError};
pub use run::{Conditions, Filter, Logger, Outcome, Paths, Spot, Statements, look};
pub use sender::{Around, Sender};
