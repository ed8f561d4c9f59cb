//! Runs a parsed template.

use std::borrow::Cow;

use super::node::{Branch, Command, Node, Operand, Pipeline, Place};
use super::patterns::{Patterns, takes_pattern};
use super::{Context, Value, functions};

/// Most nodes, operands and turns of a `range` that one run takes.
const STEPS_MAX: usize = 100_000;
/// Most bytes that one run writes, and that a value has.
pub(super) const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Most bytes of values that one run makes or copies. Whatever it holds at a time is no more.
const MADE_BYTES_MAX: usize = 32 << 20;
/// Most bytes that one run hands to functions, which may only look at them.
const READ_BYTES_MAX: usize = 128 << 20;
/// What compiling a regular expression that the template made counts for among those.
const COMPILE_BYTES: usize = 1 << 20;

/// Runs nodes; an error starts with its place.
pub(super) fn run<'a>(
    name: &'a str,
    nodes: &'a [Node],
    patterns: &'a Patterns,
    context: &'a Context<'a>,
    out: &mut String,
) -> Result<(), String> {
    let root = Value::Labels(context.fields);
    let limit = out.len() + OUTPUT_BYTES_MAX;
    let variables = vec![("", root.clone())];
    let mut run = Run { name, patterns, context, out, limit, steps: 0, made: 0, read: 0, variables };
    run.list(nodes, &root).map(|_| ())
}

struct Run<'a, 'o> {
    name: &'a str,
    patterns: &'a Patterns,
    context: &'a Context<'a>,
    out: &'o mut String,
    limit: usize,
    steps: usize,
    /// Bytes made so far.
    made: usize,
    /// Bytes handed to functions so far.
    read: usize,
    variables: Vec<(&'a str, Value<'a>)>,
}

/// How a list ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'a> Run<'a, '_> {
    fn place(&self, place: &Place, reason: &str) -> String {
        let Place { line, column, text } = place;
        format!("{line}:{column}: executing \"{}\" at <{text}>: {reason}", self.name)
    }

    /// Counts one step; fails when the run has done as much as it may.
    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        let too_much = self.steps > STEPS_MAX
            || self.out.len() > self.limit
            || self.made > MADE_BYTES_MAX
            || self.read > READ_BYTES_MAX;
        if too_much { Err(" the template does too much for one line".to_owned()) } else { Ok(()) }
    }

    /// Counts the bytes of a value that was made or copied.
    fn charge(&mut self, bytes: usize) -> Result<(), String> {
        self.made = self.made.saturating_add(bytes);
        if self.made > MADE_BYTES_MAX { self.step() } else { Ok(()) }
    }

    fn list(&mut self, nodes: &'a [Node], dot: &Value<'a>) -> Result<Flow, String> {
        for node in nodes {
            self.step()?;
            let flow = match node {
                Node::Text(text) => {
                    self.out.push_str(text);
                    Flow::Next
                }
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        value.print(self.out);
                    }
                    Flow::Next
                }
                Node::If(branch) | Node::With(branch) => {
                    let scope = self.variables.len();
                    let value = self.pipeline(&branch.pipeline, dot)?;
                    let inner = if matches!(node, Node::With(_)) { &value } else { dot };
                    let flow = if value.is_true() {
                        self.list(&branch.body, inner)?
                    } else {
                        self.list(&branch.otherwise, dot)?
                    };
                    self.variables.truncate(scope);
                    flow
                }
                Node::Range(branch) => self.range(branch, dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn range(&mut self, branch: &'a Branch, dot: &Value<'a>) -> Result<Flow, String> {
        let scope = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot)?;
        // Items are made one at a time: most bodies end early or keep none.
        let flow = match &value {
            Value::List(list) => self.each(branch, dot, &mut (0..).map(Value::Int).zip(list.iter().cloned())),
            Value::Map(map) => {
                let own = |(name, value): (&String, &Value<'a>)| (Value::text(name.clone()), value.clone());
                self.each(branch, dot, &mut map.iter().map(own))
            }
            Value::Labels(fields) => {
                let own = |(name, value)| (Value::text(name), Value::text(value));
                self.each(branch, dot, &mut fields.sorted().into_iter().map(own))
            }
            Value::Int(count) if usize::try_from(*count).is_ok_and(|count| count > STEPS_MAX) => {
                return Err(self
                    .place(&branch.pipeline.commands[0].place, &format!("range over {count} is too long")));
            }
            Value::Int(count) => {
                self.each(branch, dot, &mut (0..*count).map(|n| (Value::Int(n), Value::Int(n))))
            }
            Value::Nil => self.each(branch, dot, &mut std::iter::empty()),
            other => {
                return Err(self.place(
                    &branch.pipeline.commands[0].place,
                    &format!("range can't iterate over {}", other.to_text()),
                ));
            }
        };
        self.variables.truncate(scope);
        flow
    }

    /// The turns of a `range`, or its `else` when there are none.
    fn each(
        &mut self,
        branch: &'a Branch,
        dot: &Value<'a>,
        items: &mut dyn Iterator<Item = (Value<'a>, Value<'a>)>,
    ) -> Result<Flow, String> {
        let scope = self.variables.len();
        let mut is_empty = true;
        for (key, item) in items {
            is_empty = false;
            self.step()?;
            self.charge(key.own_bytes() + item.own_bytes())?;
            match branch.pipeline.variables.as_slice() {
                [one] => self.variables.push((one, item.clone())),
                [first, second] => {
                    self.variables.push((first, key));
                    self.variables.push((second, item.clone()));
                }
                _ => {}
            }
            let flow = self.list(&branch.body, &item)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        if is_empty { self.list(&branch.otherwise, dot) } else { Ok(Flow::Next) }
    }

    fn pipeline(&mut self, pipeline: &'a Pipeline, dot: &Value<'a>) -> Result<Value<'a>, String> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.expect("the parser makes no empty pipeline");
        if pipeline.assigns {
            for name in &pipeline.variables {
                let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
                let Some((_, known)) = known else {
                    // Its declaration was in a branch that was not taken.
                    let place = &pipeline.commands[0].place;
                    return Err(self.place(place, &format!("undefined variable: ${name}")));
                };
                *known = value.clone();
            }
        } else {
            // Both variables of a `range` have the whole value until its first turn, as in Go.
            self.variables.extend(pipeline.variables.iter().map(|name| (name.as_str(), value.clone())));
        }
        Ok(value)
    }

    /// One command; `last` is the value of the one before, its last argument.
    fn command(
        &mut self,
        command: &'a Command,
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>, String> {
        let place = &command.place;
        let (first, arguments) = command.operands.split_first().expect("the parser makes no empty command");
        match first {
            Operand::Function(name) => {
                self.check_count(name, arguments.len(), last.is_some(), place)?;
                // `and` and `or` stop at the argument that decides.
                if matches!(name.as_str(), "and" | "or") {
                    return self.short_circuit(name == "and", arguments, dot, last, place);
                }
                let mut values = Vec::with_capacity(arguments.len() + 1);
                for argument in arguments {
                    values.push(self.operand(argument, dot, place)?);
                }
                values.extend(last);
                self.call(name, &values, place)
            }
            Operand::Field(names) if !arguments.is_empty() || last.is_some() => {
                self.method(dot.clone(), names, arguments, dot, last, place)
            }
            Operand::Variable(name, names) if !arguments.is_empty() || last.is_some() => {
                let value = self.variable(name);
                self.method(value, names, arguments, dot, last, place)
            }
            Operand::Parenthesized(inner, names) if !names.is_empty() => {
                let value = self.pipeline(inner, dot)?;
                self.method(value, names, arguments, dot, last, place)
            }
            operand => {
                if !arguments.is_empty() || last.is_some() {
                    return Err(self.place(place, "can't give argument to non-function"));
                }
                self.operand(operand, dot, place)
            }
        }
    }

    fn call(&mut self, name: &str, values: &[Value<'a>], place: &Place) -> Result<Value<'a>, String> {
        self.read = self.read.saturating_add(values.iter().map(Value::text_bytes).sum());
        if takes_pattern(name)
            && let Some(Value::Text(pattern)) = values.first()
            && !self.patterns.keeps(pattern)
        {
            self.read = self.read.saturating_add(COMPILE_BYTES);
        }
        self.step()?;
        let value = functions::call(name, values, self.patterns, self.context)
            .map_err(|reason| self.place(place, &format!("error calling {name}: {reason}")))?;
        // Those two make lists and maps; others hand on what is counted.
        let deep = matches!(name, "fromJson" | "slice");
        self.charge(if deep { value.all_bytes() } else { value.own_bytes() })?;
        Ok(value)
    }

    fn short_circuit(
        &mut self,
        is_and: bool,
        arguments: &'a [Operand],
        dot: &Value<'a>,
        last: Option<Value<'a>>,
        place: &Place,
    ) -> Result<Value<'a>, String> {
        let mut value = None;
        for argument in arguments {
            let current = self.operand(argument, dot, place)?;
            if current.is_true() != is_and {
                return Ok(current);
            }
            value = Some(current);
        }
        Ok(last.or(value).expect("the number of arguments was checked"))
    }

    /// Refuses a call with too few or too many arguments, before any of them is worked out.
    fn check_count(&self, name: &str, written: usize, piped: bool, place: &Place) -> Result<(), String> {
        functions::check_count(name, written, piped).map_err(|reason| {
            let Place { line, column, .. } = place;
            self.place(&Place { text: name.to_owned(), line: *line, column: *column }, &reason)
        })
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Value<'a>, place: &Place) -> Result<Value<'a>, String> {
        self.step()?;
        let value = match operand {
            Operand::Dot => dot.clone(),
            Operand::Nil => Value::Nil,
            Operand::Bool(value) => Value::Bool(*value),
            Operand::Int(value) => Value::Int(*value),
            Operand::Float(value) => Value::Float(*value),
            Operand::Text(text) => Value::Text(Cow::Borrowed(text)),
            Operand::Field(names) => self.chain(dot.clone(), names, place)?,
            Operand::Variable(name, names) => self.chain(self.variable(name), names, place)?,
            Operand::Parenthesized(inner, names) => {
                let value = self.pipeline(inner, dot)?;
                self.chain(value, names, place)?
            }
            Operand::Function(name) => {
                self.check_count(name, 0, false, place)?;
                return self.call(name, &[], place);
            }
        };
        self.charge(value.own_bytes())?;
        Ok(value)
    }

    fn variable(&self, name: &str) -> Value<'a> {
        let found = self.variables.iter().rev().find(|(known, _)| *known == name);
        found.map_or(Value::Nil, |(_, value)| value.clone())
    }

    fn chain(&self, mut value: Value<'a>, names: &[String], place: &Place) -> Result<Value<'a>, String> {
        for name in names {
            value = field(&value, name, &[]).map_err(|reason| self.place(place, &reason))?;
        }
        Ok(value)
    }

    /// A chain whose last name is called with arguments: a method of a time.
    fn method(
        &mut self,
        mut value: Value<'a>,
        names: &'a [String],
        arguments: &'a [Operand],
        dot: &Value<'a>,
        last: Option<Value<'a>>,
        place: &Place,
    ) -> Result<Value<'a>, String> {
        let (name, before) =
            names.split_last().ok_or_else(|| self.place(place, "can't give argument to non-function"))?;
        value = self.chain(value, before, place)?;
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            values.push(self.operand(argument, dot, place)?);
        }
        values.extend(last);
        let value = field(&value, name, &values).map_err(|reason| self.place(place, &reason))?;
        self.charge(value.own_bytes())?;
        Ok(value)
    }
}

/// A field of a map or a method of a time.
fn field<'a>(value: &Value<'a>, name: &str, arguments: &[Value<'a>]) -> Result<Value<'a>, String> {
    match value {
        Value::Time(time) => functions::time_method(*time, name, arguments),
        _ if !arguments.is_empty() => Err(format!("{name} has arguments but cannot be invoked as function")),
        Value::Labels(fields) => Ok(Value::text(fields.get(name).unwrap_or(""))),
        Value::Map(map) => Ok(map.get(name).cloned().unwrap_or(Value::Nil)),
        Value::Nil => Err(format!("nil pointer evaluating interface {{}}.{name}")),
        other => Err(format!("can't evaluate field {name} in type {}", other.type_name())),
    }
}
