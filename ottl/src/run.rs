//! Running statements and conditions over payloads.
//!
//! A pass walks a payload once: it loads the messages around each place that the context is about, runs the program
//! there, and writes what changed. What does not change is copied whole, and a payload in which nothing changes comes
//! back as it is.

mod walk;

use bytes::Bytes;
use model::Signal;

use crate::ast::Uses;
use crate::compile::{Compiler, Statement};
use crate::context::Context;
use crate::error::{ErrorMode, Eval, ParseError, RunError};
use crate::expression::Condition;
use crate::frame::Frame;
use crate::functions::Functions;
use crate::sender::Around;
use crate::value::Value;
use crate::{inference, parser};
use walk::{Pass, Visit, Walk};

/// How paths name their context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paths {
    /// Every path starts with the name of a context.
    Named,
    /// A path without the name of a context is of the program's own.
    Own,
}

/// Hears of errors that do not end a run: what failed (its text) and why.
pub type Logger<'a> = &'a dyn Fn(&str, &RunError);

/// What a run made of a payload.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The payload after it.
    pub payload: Bytes,
    /// Whether it is another one than before.
    pub is_changed: bool,
}

/// A list of conditions for one context, of which one has to hold.
#[derive(Debug)]
pub struct Conditions {
    context: Context,
    list: Vec<(Condition, String)>,
    error_mode: ErrorMode,
}

/// Statements for one context, run one after the other.
#[derive(Debug)]
pub struct Statements {
    context: Context,
    /// Where none of these holds, the statements do not run; none at all holds everywhere.
    conditions: Conditions,
    list: Vec<(Statement, String)>,
    error_mode: ErrorMode,
}

/// Drops what conditions hold for, or everything else.
#[derive(Debug, Default)]
pub struct Filter {
    conditions: Vec<Conditions>,
    keeps: bool,
}

/// What a program may be about, by signal: the candidates of the inference.
fn candidates(signal: Signal) -> &'static [Context] {
    match signal {
        Signal::Logs => &[Context::Log, Context::Scope, Context::Resource],
        Signal::Metrics => &[Context::DataPoint, Context::Metric, Context::Scope, Context::Resource],
        Signal::Traces => &[Context::SpanEvent, Context::Span, Context::Scope, Context::Resource],
    }
}

const EDITING: Functions = Functions { with_editors: true, with_filters: false };
const ASKING: Functions = Functions { with_editors: false, with_filters: true };

impl Conditions {
    /// Reads conditions of a context.
    pub fn new(
        context: Context,
        paths: Paths,
        texts: &[String],
        error_mode: ErrorMode,
    ) -> Result<Self, ParseError> {
        let compiler = Compiler { context, paths, functions: &ASKING };
        let mut list = Vec::with_capacity(texts.len());
        for text in texts {
            let compiled = parser::condition(text).and_then(|parsed| compiler.condition(&parsed));
            let compiled = compiled.map_err(|error| {
                ParseError::new(format!("unable to parse OTTL condition {text:?}: {error}"))
            })?;
            list.push((compiled, text.clone()));
        }
        Ok(Self { context, list, error_mode })
    }

    /// Reads conditions for records of `signal` and tells their context from their paths.
    pub fn inferred(signal: Signal, texts: &[String], error_mode: ErrorMode) -> Result<Self, ParseError> {
        let mut uses = Uses::default();
        for text in texts {
            uses.condition(&parser::condition(text)?);
        }
        let context = inference::infer(&uses, candidates(signal), &ASKING)?;
        Self::new(context, Paths::Named, texts, error_mode)
    }

    /// What they are about.
    pub fn context(&self) -> Context {
        self.context
    }

    fn holds<'p>(&'p self, frame: &Frame<'p>, log: Logger<'_>) -> Eval<bool> {
        for (condition, text) in &self.list {
            match condition.eval(frame) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => match self.error_mode {
                    ErrorMode::Propagate => {
                        return Err(error.while_doing("failed to eval condition", text));
                    }
                    ErrorMode::Ignore => log(text, &error),
                    ErrorMode::Silent => {}
                },
            }
        }
        Ok(false)
    }
}

impl Statements {
    /// Reads statements for records of `signal` and the conditions on which they run. Without a context it is told from
    /// the paths, which then have to name theirs.
    pub fn new(
        signal: Signal,
        context: Option<Context>,
        statements: &[String],
        conditions: &[String],
        error_mode: ErrorMode,
    ) -> Result<Self, ParseError> {
        let parsed = statements.iter().map(|text| {
            parser::statement(text)
                .map_err(|error| ParseError::new(format!("unable to parse OTTL statement {text:?}: {error}")))
        });
        let parsed: Vec<_> = parsed.collect::<Result<_, _>>()?;
        let (context, paths) = match context {
            Some(context) if candidates(signal).contains(&context) => (context, Paths::Own),
            Some(context) => {
                let message = format!("unknown context {:?} for statements: {statements:?}", context.name());
                return Err(ParseError::new(message));
            }
            None => {
                let mut uses = Uses::default();
                parsed.iter().for_each(|statement| uses.statement(statement));
                for text in conditions {
                    uses.condition(&parser::condition(text)?);
                }
                (inference::infer(&uses, candidates(signal), &EDITING)?, Paths::Named)
            }
        };
        let compiler = Compiler { context, paths, functions: &EDITING };
        let mut list = Vec::with_capacity(parsed.len());
        for (statement, text) in parsed.iter().zip(statements) {
            let compiled = compiler.statement(statement).map_err(|error| {
                ParseError::new(format!("unable to parse OTTL statement {text:?}: {error}"))
            })?;
            list.push((compiled, text.clone()));
        }
        let conditions = Conditions::new(context, paths, conditions, error_mode)?;
        Ok(Self { context, conditions, list, error_mode })
    }

    /// What they are about.
    pub fn context(&self) -> Context {
        self.context
    }

    /// Runs the statements over a payload of `signal`. An error refuses the whole payload.
    pub fn run(
        &self,
        signal: Signal,
        payload: &Bytes,
        around: impl Into<Around>,
        log: Logger<'_>,
    ) -> Result<Outcome, RunError> {
        let around = around.into();
        let mut pass = Walk::pass(signal, payload, &around, &mut Editing { program: self, log }, None)?;
        // Metrics that statements add are theirs, too.
        for _ in 0..PASSES_MAX {
            if !pass.has_added {
                return Ok(pass.outcome);
            }
            let grown = pass.outcome.payload;
            let mut editing = Editing { program: self, log };
            let next = Walk::pass(signal, &grown, &around, &mut editing, Some(&pass.seen))?;
            pass = Pass { outcome: Outcome { is_changed: true, ..next.outcome }, ..next };
        }
        Err(RunError::new(format!(
            "the statements add metrics to those that they added themselves, more than {PASSES_MAX} times over"
        )))
    }

    fn edit<'p>(&'p self, frame: &mut Frame<'p>, log: Logger<'_>) -> Eval<()> {
        if !self.conditions.list.is_empty() && !self.conditions.holds(frame, log)? {
            return Ok(());
        }
        for (statement, text) in &self.list {
            let outcome = match statement.condition.eval(frame) {
                Ok(true) => statement.editor.edit(frame),
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            match (outcome, self.error_mode) {
                (Ok(()), _) | (Err(_), ErrorMode::Silent) => {}
                (Err(error), ErrorMode::Ignore) => log(text, &error),
                (Err(error), ErrorMode::Propagate) => {
                    return Err(error.while_doing("failed to execute statement", text));
                }
            }
        }
        Ok(())
    }
}

/// How often added metrics may lead to further ones: a statement that copies every metric would never end.
const PASSES_MAX: usize = 100;

struct Editing<'s> {
    program: &'s Statements,
    log: Logger<'s>,
}

impl<'p> Visit<'p> for Editing<'p> {
    fn wants(&self, context: Context) -> bool {
        self.program.context == context
    }

    fn visit(&mut self, _: Context, frame: &mut Frame<'p>) -> Eval<bool> {
        self.program.edit(frame, self.log).map(|()| true)
    }

    fn drops_empty(&self) -> bool {
        false
    }
}

impl Filter {
    /// Drops everything that one of the conditions holds for.
    pub fn dropping(conditions: Vec<Conditions>) -> Self {
        Self { conditions, keeps: false }
    }

    /// Keeps nothing but what one of the conditions holds for.
    pub fn keeping(conditions: Vec<Conditions>) -> Self {
        Self { conditions, keeps: true }
    }

    /// Whether it drops nothing.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Filters a payload of `signal`. Groups and metrics that are left without anything go too.
    pub fn run(
        &self,
        signal: Signal,
        payload: &Bytes,
        around: impl Into<Around>,
        log: Logger<'_>,
    ) -> Result<Outcome, RunError> {
        Walk::over(signal, payload, &around.into(), &mut Filtering { filter: self, log })
    }
}

struct Filtering<'s> {
    filter: &'s Filter,
    log: Logger<'s>,
}

impl<'p> Visit<'p> for Filtering<'p> {
    fn wants(&self, context: Context) -> bool {
        self.filter.conditions.iter().any(|conditions| conditions.context == context)
    }

    fn visit(&mut self, context: Context, frame: &mut Frame<'p>) -> Eval<bool> {
        for conditions in self.filter.conditions.iter().filter(|conditions| conditions.context == context) {
            if conditions.holds(frame, self.log)? {
                return Ok(self.filter.keeps);
            }
        }
        Ok(!self.filter.keeps)
    }

    fn drops_empty(&self) -> bool {
        true
    }
}

/// A place of a payload that somebody looks at.
#[derive(Debug)]
pub struct Spot<'a, 'p> {
    frame: &'a Frame<'p>,
}

impl<'p> Spot<'_, 'p> {
    /// Whether one of the conditions holds here.
    pub fn matches(&self, conditions: &'p Conditions, log: Logger<'_>) -> Result<bool, RunError> {
        conditions.holds(self.frame, log)
    }

    /// The value of an attribute here, as an encoded `AnyValue`: of the record or item itself first, then of its scope and
    /// resource.
    pub fn attribute(&self, context: Context, key: &str) -> Result<Option<Vec<u8>>, RunError> {
        let frame = self.frame;
        let own = match context {
            Context::Log => frame.record.pair(6, key)?,
            Context::Span => frame.record.pair(9, key)?,
            Context::SpanEvent => frame.item.pair(3, key)?,
            Context::DataPoint => match crate::path::Point::Attributes.field(frame.data_number) {
                Some(number) => frame.item.pair(number, key)?,
                None => None,
            },
            Context::Metric | Context::Scope | Context::Resource => None,
        };
        let found = match own {
            Some(value) => Some(value),
            None => match frame.scope.pair(3, key)? {
                Some(value) => Some(value),
                None => frame.resource.pair(1, key)?,
            },
        };
        found.as_ref().map(Value::encoded).transpose()
    }

    /// The times that the record or item itself tells, first and last, in nanoseconds; 0 for none.
    pub fn times(&self, context: Context) -> (u64, u64) {
        let frame = self.frame;
        match context {
            Context::Log => (frame.record.bits(1), 0),
            Context::Span => (frame.record.bits(7), frame.record.bits(8)),
            Context::SpanEvent => (frame.item.bits(1), 0),
            Context::DataPoint => (frame.item.bits(3), 0),
            Context::Metric | Context::Scope | Context::Resource => (0, 0),
        }
    }

    /// The encoded `Resource`.
    pub fn resource(&self) -> Result<Vec<u8>, RunError> {
        let mut out = Vec::new();
        self.frame.resource.write(&mut out)?;
        Ok(out)
    }
}

/// Shows every place of one of the contexts in a payload of `signal` to `look`.
pub fn look<'p>(
    signal: Signal,
    payload: &'p Bytes,
    contexts: &[Context],
    around: impl Into<Around>,
    look: impl FnMut(Context, Spot<'_, 'p>) -> Result<(), RunError>,
) -> Result<(), RunError> {
    Walk::over(signal, payload, &around.into(), &mut Looking { contexts, look }).map(drop)
}

struct Looking<'s, L> {
    contexts: &'s [Context],
    look: L,
}

impl<'p, L: FnMut(Context, Spot<'_, 'p>) -> Result<(), RunError>> Visit<'p> for Looking<'_, L> {
    fn wants(&self, context: Context) -> bool {
        self.contexts.contains(&context)
    }

    fn visit(&mut self, context: Context, frame: &mut Frame<'p>) -> Eval<bool> {
        (self.look)(context, Spot { frame }).map(|()| true)
    }

    fn drops_empty(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
