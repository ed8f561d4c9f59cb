//! Functions: how they are described, found and called.
//!
//! A function is one row: its name, its parameters, a check that runs once when a config is read, and its body. Names,
//! parameters and error texts are those of `pkg/ottl/ottlfuncs`.

mod collections;
mod editors;
mod hashes;
mod log_lines;
mod markup;
mod metrics;
mod parsing;
mod patterns;
mod span_names;
mod texts;
mod times;
mod types;

use std::borrow::Cow;
use std::collections::HashSet;

use regex::Regex;

use crate::context::Context;
use crate::error::{Eval, ParseError, RunError};
use crate::expression::Expr;
use crate::frame::Frame;
use crate::grok::Grok;
use crate::path::Path;
use crate::time::{Layout, Time, Zone};
use crate::value::{Map, Value};
use crate::xml;

/// Settles once what the arguments already tell. The error is a reason.
type Prepare = fn(&Args) -> Result<Prepared, String>;

/// A function.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) parameters: &'static [Parameter],
    /// What is settled once: patterns, formats. The error is a reason.
    pub(crate) prepare: Option<Prepare>,
    pub(crate) body: Body,
    /// The only context that has it, if not all have.
    pub(crate) only: Option<Context>,
}

/// What a function does: editors change the telemetry, converters answer with a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    Editor(for<'p> fn(&'p Args, &mut Frame<'p>) -> Eval<()>),
    Converter(for<'p> fn(&'p Args, &Frame<'p>) -> Eval<Value<'p>>),
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) is_optional: bool,
}

/// What an argument has to be. Plain kinds want the type, `…Like` kinds convert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Path,
    Value,
    Text,
    TextLike,
    Int,
    IntLike,
    DoubleLike,
    BoolLike,
    BytesLike,
    Map,
    List,
    Time,
    Duration,
    LiteralText,
    LiteralInt,
    LiteralBool,
    LiteralDouble,
    Values,
    Texts,
    TextLikes,
    LiteralTexts,
    LiteralDoubles,
    Function,
}

impl Kind {
    /// Whether a literal will do.
    pub(crate) fn check(self, literal: Value<'static>) -> Eval<()> {
        match self {
            Self::Text => literal.into_text().map(drop),
            Self::TextLike => literal.into_text_like().map(drop),
            Self::Int => literal.into_int().map(drop),
            Self::IntLike => literal.into_int_like().map(drop),
            Self::DoubleLike => literal.into_double_like().map(drop),
            Self::BoolLike => literal.into_bool_like().map(drop),
            Self::BytesLike => literal.into_bytes_like().map(drop),
            Self::Map => literal.into_map().map(drop),
            Self::List => literal.into_list().map(drop),
            Self::Time => literal.into_time().map(drop),
            Self::Duration => literal.into_duration().map(drop),
            _ => Ok(()),
        }
    }
}

/// An argument.
#[derive(Debug)]
pub(crate) enum Arg {
    Missing,
    Value(Expr),
    Path(Box<Path>),
    List(Vec<Self>),
    Function(&'static Function),
}

/// What a function settled when its config was read.
#[derive(Debug)]
pub(crate) enum Prepared {
    Nothing,
    Regex(Regex),
    Layout(Layout),
    TimeOf(Layout, Zone),
    Keys(HashSet<String>),
    Networks(Vec<types::Network>),
    Levels(Vec<parsing::Level>),
    Xpath(xml::Path),
    Grok(Box<Grok>),
    /// Patterns of a grok expression that is not known yet.
    GrokPatterns(Vec<(String, String)>),
}

/// The arguments of a call.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) values: Vec<Arg>,
    pub(crate) prepared: Prepared,
}

/// A call with its arguments.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: &'static Function,
    pub(crate) args: Args,
}

impl Call {
    pub(crate) fn convert<'p>(&'p self, frame: &Frame<'p>) -> Eval<Value<'p>> {
        match self.function.body {
            Body::Converter(body) => body(&self.args, frame),
            Body::Editor(_) => Err(RunError::new("an editor has no value")),
        }
    }

    pub(crate) fn edit<'p>(&'p self, frame: &mut Frame<'p>) -> Eval<()> {
        match self.function.body {
            Body::Editor(body) => body(&self.args, frame),
            Body::Converter(body) => body(&self.args, frame).map(drop),
        }
    }
}

impl Args {
    fn expr(&self, index: usize) -> Option<&Expr> {
        match &self.values[index] {
            Arg::Value(expr) => Some(expr),
            _ => None,
        }
    }

    pub(crate) fn is_given(&self, index: usize) -> bool {
        !matches!(self.values[index], Arg::Missing)
    }

    /// The value; nothing for an argument that is not there.
    pub(crate) fn value<'p>(&'p self, index: usize, frame: &Frame<'p>) -> Eval<Value<'p>> {
        match self.expr(index) {
            Some(expr) => expr.eval(frame),
            None => Ok(Value::Nil),
        }
    }

    pub(crate) fn text<'p>(&'p self, index: usize, frame: &Frame<'p>) -> Eval<Cow<'p, str>> {
        self.value(index, frame)?.into_text()
    }

    pub(crate) fn text_like<'p>(&'p self, index: usize, frame: &Frame<'p>) -> Eval<Option<Cow<'p, str>>> {
        self.value(index, frame)?.into_text_like()
    }

    pub(crate) fn int(&self, index: usize, frame: &Frame<'_>) -> Eval<i64> {
        self.value(index, frame)?.into_int()
    }

    pub(crate) fn map<'p>(&'p self, index: usize, frame: &Frame<'p>) -> Eval<Map<'p>> {
        self.value(index, frame)?.into_map()
    }

    pub(crate) fn list<'p>(&'p self, index: usize, frame: &Frame<'p>) -> Eval<Vec<Value<'p>>> {
        self.value(index, frame)?.into_list()
    }

    pub(crate) fn time(&self, index: usize, frame: &Frame<'_>) -> Eval<Time> {
        self.value(index, frame)?.into_time()
    }

    pub(crate) fn duration(&self, index: usize, frame: &Frame<'_>) -> Eval<i64> {
        self.value(index, frame)?.into_duration()
    }

    pub(crate) fn path(&self, index: usize) -> Eval<&Path> {
        match &self.values[index] {
            Arg::Path(path) => Ok(path),
            _ => Err(RunError::new("the argument is not a path")),
        }
    }

    pub(crate) fn elements(&self, index: usize) -> &[Arg] {
        match &self.values[index] {
            Arg::List(list) => list,
            _ => &[],
        }
    }

    pub(crate) fn function(&self, index: usize) -> Option<&'static Function> {
        match &self.values[index] {
            Arg::Function(function) => Some(function),
            _ => None,
        }
    }

    /// The text of a literal argument.
    pub(crate) fn literal_text(&self, index: usize) -> Option<&str> {
        match self.expr(index)?.literal()? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn literal_int(&self, index: usize) -> Option<i64> {
        match self.expr(index)?.literal()? {
            Value::Int(int) => Some(*int),
            _ => None,
        }
    }

    pub(crate) fn literal_bool(&self, index: usize) -> Option<bool> {
        match self.expr(index)?.literal()? {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    pub(crate) fn literal_double(&self, index: usize) -> Option<f64> {
        match self.expr(index)?.literal()? {
            Value::Double(double) => Some(*double),
            _ => None,
        }
    }

    /// The literal floats of a list.
    pub(crate) fn literal_doubles(&self, index: usize) -> Vec<f64> {
        let doubles = self.elements(index).iter().filter_map(|arg| match arg.literal()? {
            Value::Double(double) => Some(*double),
            _ => None,
        });
        doubles.collect()
    }

    /// The literal texts of a list.
    pub(crate) fn literal_texts(&self, index: usize) -> Vec<&str> {
        let texts = self.elements(index).iter().filter_map(|arg| match arg.literal()? {
            Value::Text(text) => Some(&**text),
            _ => None,
        });
        texts.collect()
    }
}

impl Arg {
    pub(crate) fn literal(&self) -> Option<&Value<'static>> {
        match self {
            Self::Value(expr) => expr.literal(),
            _ => None,
        }
    }

    pub(crate) fn value<'p>(&'p self, frame: &Frame<'p>) -> Eval<Value<'p>> {
        match self {
            Self::Value(expr) => expr.eval(frame),
            _ => Ok(Value::Nil),
        }
    }
}

const fn need(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind, is_optional: false }
}

const fn may(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind, is_optional: true }
}

/// A converter without a check.
const fn converter(
    name: &'static str,
    parameters: &'static [Parameter],
    body: for<'p> fn(&'p Args, &Frame<'p>) -> Eval<Value<'p>>,
) -> Function {
    Function { name, parameters, prepare: None, body: Body::Converter(body), only: None }
}

/// An editor without a check.
const fn editor(
    name: &'static str,
    parameters: &'static [Parameter],
    body: for<'p> fn(&'p Args, &mut Frame<'p>) -> Eval<()>,
) -> Function {
    Function { name, parameters, prepare: None, body: Body::Editor(body), only: None }
}

impl Function {
    const fn prepared(self, prepare: Prepare) -> Self {
        Self { prepare: Some(prepare), ..self }
    }

    const fn only(self, context: Context) -> Self {
        Self { only: Some(context), ..self }
    }
}

/// Every function, by file.
const TABLES: [&[Function]; 16] = [
    editors::TABLE,
    patterns::TABLE,
    texts::TABLE,
    types::TABLE,
    hashes::TABLE,
    metrics::TABLE,
    metrics::aggregate::TABLE,
    metrics::buckets::TABLE,
    metrics::derive::TABLE,
    metrics::percentile::TABLE,
    collections::TABLE,
    log_lines::TABLE,
    markup::TABLE,
    parsing::TABLE,
    span_names::TABLE,
    times::TABLE,
];

/// The function that the collector has and this version does not; why is in the head of the crate.
const NOT_YET: [&str; 1] = ["UserAgent"];

/// Which functions a text may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Functions {
    /// Whether editors are among them.
    pub(crate) with_editors: bool,
    /// Whether the converters that only the filter processor has are among them.
    pub(crate) with_filters: bool,
}

impl Functions {
    pub(crate) fn find(&self, name: &str, context: Context) -> Result<&'static Function, ParseError> {
        let found = TABLES.iter().flat_map(|table| table.iter()).find(|function| function.name == name);
        let is_here = |function: &&'static Function| {
            let is_editor = matches!(function.body, Body::Editor(_));
            let is_filter = function.name.starts_with("HasAttr");
            let is_transform = is_editor || ["ParseCLF", "ParseLEEF"].contains(&function.name);
            (self.with_editors || !is_transform)
                && (self.with_filters || !is_filter)
                && function.only.is_none_or(|only| only == context)
        };
        if let Some(function) = found.filter(is_here) {
            return Ok(function);
        }
        if NOT_YET.contains(&name) {
            return Err(ParseError::new(format!(
                "the function {name:?} is not supported: it knows browsers by a list of patterns (uap-core) that is no \
                 part of this program"
            )));
        }
        let mut known: Vec<&str> = TABLES
            .iter()
            .flat_map(|table| table.iter())
            .filter(is_here)
            .map(|function| function.name)
            .collect();
        known.sort_unstable();
        Err(ParseError::new(format!("undefined function {name:?}, have {}", known.join(", "))))
    }
}
