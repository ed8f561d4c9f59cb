//! From what a text says to what can run: paths are settled, functions found, arguments checked, constants folded.
//!
//! Rules and texts: functions.go and expression.go of `pkg/ottl`.

use crate::ast;
use crate::context::Context;
use crate::error::ParseError;
use crate::expression::{Condition, Expr};
use crate::functions::{Arg, Args, Body, Call, Function, Functions, Kind, Prepared};
use crate::path::{Key, Path, settle};
use crate::run::Paths;
use crate::value::{Map, Value};

/// What a text is read against.
pub(crate) struct Compiler<'a> {
    pub(crate) context: Context,
    pub(crate) paths: Paths,
    pub(crate) functions: &'a Functions,
}

type Compiled<T> = Result<T, ParseError>;

/// A statement that can run.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) editor: Call,
    pub(crate) condition: Condition,
}

impl Compiler<'_> {
    /// Whether every path must start with the name of a context.
    pub(crate) fn needs_names(&self) -> bool {
        self.paths == Paths::Named
    }

    pub(crate) fn statement(&self, statement: &ast::Statement) -> Compiled<Statement> {
        let editor = self.call(&statement.editor)?;
        if matches!(editor.function.body, Body::Converter(_)) {
            return Err(ParseError::new(format!("undefined function {:?}", editor.function.name)));
        }
        let condition = match &statement.condition {
            Some(condition) => self.condition(condition)?,
            None => Condition::Constant(true),
        };
        Ok(Statement { editor, condition })
    }

    pub(crate) fn condition(&self, condition: &ast::Condition) -> Compiled<Condition> {
        Ok(match condition {
            ast::Condition::Constant(flag) => Condition::Constant(*flag),
            ast::Condition::Compare(left, comparison, right) => {
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                if let (Some(a), Some(b)) = (left.literal(), right.literal()) {
                    let folded = crate::compare::compare(a, *comparison, b);
                    return folded.map(Condition::Constant).map_err(|e| ParseError::new(e.to_string()));
                }
                Condition::Compare(left, *comparison, right)
            }
            ast::Condition::Call(call) => Condition::Call(self.converter(call)?),
            ast::Condition::Not(inner) => Condition::Not(Box::new(self.condition(inner)?)),
            ast::Condition::And(all) => {
                Condition::And(all.iter().map(|part| self.condition(part)).collect::<Compiled<_>>()?)
            }
            ast::Condition::Or(all) => {
                Condition::Or(all.iter().map(|part| self.condition(part)).collect::<Compiled<_>>()?)
            }
        })
    }

    pub(crate) fn expr(&self, expr: &ast::Expr) -> Compiled<Expr> {
        Ok(match expr {
            ast::Expr::Nil => Expr::Literal(Value::Nil),
            ast::Expr::Bool(flag) => Expr::Literal(Value::Bool(*flag)),
            ast::Expr::Int(int) => Expr::Literal(Value::Int(*int)),
            ast::Expr::Float(float) => Expr::Literal(Value::Double(*float)),
            ast::Expr::Text(text) => Expr::Literal(Value::text(text.clone())),
            ast::Expr::Bytes(bytes) => Expr::Literal(Value::Bytes(bytes.clone().into())),
            ast::Expr::Enum(symbol) => match self.context.symbol(symbol) {
                Some(number) => Expr::Literal(Value::Int(number)),
                None => return Err(ParseError::new(format!("enum symbol, {symbol}, not found"))),
            },
            ast::Expr::Path(path) => Expr::Path(Box::new(settle(self, path)?)),
            ast::Expr::Call(call) => self.converter(call)?,
            ast::Expr::Math(left, op, right) => {
                Expr::Math(Box::new(self.expr(left)?), *op, Box::new(self.expr(right)?))
            }
            ast::Expr::Negative(inner) => Expr::Negative(Box::new(self.expr(inner)?)),
            ast::Expr::List(list) => {
                let list: Vec<Expr> = list.iter().map(|expr| self.expr(expr)).collect::<Compiled<_>>()?;
                let literals: Option<Vec<_>> = list.iter().map(|expr| expr.literal().cloned()).collect();
                literals.map_or(Expr::List(list), |literals| Expr::Literal(Value::List(literals)))
            }
            ast::Expr::Map(entries) => self.map(entries)?,
            ast::Expr::Function(name) => {
                return Err(ParseError::new(format!("{name} is a function where a value is wanted")));
            }
        })
    }

    fn map(&self, entries: &[(String, ast::Expr)]) -> Compiled<Expr> {
        let mut compiled: Vec<(String, Expr)> = Vec::with_capacity(entries.len());
        for (key, expr) in entries {
            let expr = self.expr(expr)?;
            // Of equal keys the last holds.
            compiled.retain(|(known, _)| known != key);
            compiled.push((key.clone(), expr));
        }
        let literals: Option<Vec<_>> =
            compiled.iter().map(|(key, expr)| Some((key.clone().into(), expr.literal()?.clone()))).collect();
        Ok(literals.map_or(Expr::Map(compiled), |literals| Expr::Literal(Value::Map(Map(literals)))))
    }

    fn converter(&self, call: &ast::Call) -> Compiled<Expr> {
        let keys = self.keys(&call.keys)?;
        let compiled = self.call(call)?;
        if matches!(compiled.function.body, Body::Editor(_)) {
            return Err(ParseError::new(format!("undefined function {:?}", call.function)));
        }
        Ok(Expr::Call(Box::new(compiled), keys))
    }

    pub(crate) fn keys(&self, keys: &[ast::Key]) -> Compiled<Vec<Key>> {
        let key = |key: &ast::Key| {
            Ok(match key {
                ast::Key::Text(text) => Key::Text(text.clone()),
                ast::Key::Int(int) => Key::Int(*int),
                ast::Key::Expr(expr) => Key::Expr(self.expr(expr)?),
            })
        };
        keys.iter().map(key).collect()
    }

    fn call(&self, call: &ast::Call) -> Compiled<Call> {
        let function = self.functions.find(&call.function, self.context)?;
        let in_call = |error: ParseError| {
            ParseError::new(format!("error while parsing arguments for call to {:?}: {error}", call.function))
        };
        let values = self.arguments(function, &call.arguments).map_err(in_call)?;
        let mut args = Args { values, prepared: Prepared::Nothing };
        if let Some(prepare) = function.prepare {
            args.prepared = prepare(&args)
                .map_err(|reason| ParseError::new(format!("couldn't create function: {reason}")))?;
        }
        Ok(Call { function, args })
    }

    fn arguments(&self, function: &Function, given: &[ast::Argument]) -> Compiled<Vec<Arg>> {
        let parameters = function.parameters;
        let required = parameters.iter().filter(|parameter| !parameter.is_optional).count();
        let first_named = given.iter().position(|argument| argument.name.is_some());
        if first_named.is_some_and(|first| given[first..].iter().any(|argument| argument.name.is_none())) {
            return Err(ParseError::new("unnamed argument used after named argument"));
        }
        if given.len() < required || given.len() > parameters.len() {
            return Err(ParseError::new(format!(
                "incorrect number of arguments. Expected: {} Received: {}",
                parameters.len(),
                given.len()
            )));
        }
        let mut args: Vec<Arg> = parameters.iter().map(|_| Arg::Missing).collect();
        for (position, argument) in given.iter().enumerate() {
            let index = match &argument.name {
                None => position,
                Some(name) => parameters
                    .iter()
                    .position(|parameter| is_same_name(parameter.name, name))
                    .ok_or_else(|| ParseError::new(format!("no such parameter: {name}")))?,
            };
            args[index] = self.argument(parameters[index].kind, &argument.value).map_err(|error| {
                ParseError::new(format!("invalid argument at position {position}: {error}"))
            })?;
        }
        let missing = parameters
            .iter()
            .zip(&args)
            .find(|(parameter, arg)| !parameter.is_optional && matches!(arg, Arg::Missing));
        match missing {
            Some((parameter, _)) => {
                Err(ParseError::new(format!("the argument {:?} is missing", parameter.name)))
            }
            None => Ok(args),
        }
    }

    fn path(&self, value: &ast::Expr) -> Compiled<Path> {
        match value {
            ast::Expr::Path(path) => settle(self, path),
            _ => Err(ParseError::new("must be a path")),
        }
    }

    fn argument(&self, kind: Kind, value: &ast::Expr) -> Compiled<Arg> {
        let wrong = |message: &str| Err(ParseError::new(message));
        Ok(match kind {
            Kind::Path => Arg::Path(Box::new(self.path(value)?)),
            Kind::Function => {
                let name = match value {
                    ast::Expr::Function(name) | ast::Expr::Enum(name) => name,
                    _ => return wrong("invalid function name given"),
                };
                Arg::Function(self.functions.find(name, self.context)?)
            }
            Kind::LiteralText => match value {
                ast::Expr::Text(text) => Arg::Value(Expr::Literal(Value::text(text.clone()))),
                _ => return wrong("must be a string"),
            },
            Kind::LiteralInt => match value {
                ast::Expr::Int(int) => Arg::Value(Expr::Literal(Value::Int(*int))),
                _ => return wrong("must be an int"),
            },
            Kind::LiteralDouble => match value {
                ast::Expr::Float(float) => Arg::Value(Expr::Literal(Value::Double(*float))),
                _ => return wrong("must be a float"),
            },
            Kind::LiteralBool => match value {
                ast::Expr::Bool(flag) => Arg::Value(Expr::Literal(Value::Bool(*flag))),
                _ => return wrong("must be a bool"),
            },
            Kind::Texts | Kind::TextLikes | Kind::Values | Kind::LiteralTexts | Kind::LiteralDoubles => {
                let element = match kind {
                    Kind::Texts => Kind::Text,
                    Kind::TextLikes => Kind::TextLike,
                    Kind::Values => Kind::Value,
                    Kind::LiteralDoubles => Kind::LiteralDouble,
                    _ => Kind::LiteralText,
                };
                let ast::Expr::List(list) = value else {
                    return Err(ParseError::new(format!("must be a list of type {element:?}")));
                };
                let mut elements = Vec::with_capacity(list.len());
                for (index, value) in list.iter().enumerate() {
                    elements.push(self.argument(element, value).map_err(|error| {
                        ParseError::new(format!(
                            "error while parsing list argument at index {index}: {error}"
                        ))
                    })?);
                }
                Arg::List(elements)
            }
            _ => {
                let expr = self.expr(value)?;
                if let Some(literal) = expr.literal() {
                    // A literal of the wrong type is wrong for every record.
                    kind.check(literal.clone()).map_err(|error| ParseError::new(error.to_string()))?;
                }
                Arg::Value(expr)
            }
        })
    }
}

/// Whether an argument's name is a parameter's, in snake or camel case.
fn is_same_name(parameter: &str, name: &str) -> bool {
    let plain = |text: &str| text.replace('_', "").to_lowercase();
    plain(parameter) == plain(name)
}
