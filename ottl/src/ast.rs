//! What a text says, before it is known whether it makes sense.

/// `editor(…) where …`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Statement {
    pub(crate) editor: Call,
    pub(crate) condition: Option<Condition>,
}

/// A boolean expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    Constant(bool),
    Compare(Box<Expr>, Comparison, Box<Expr>),
    Call(Call),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A mathematical operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MathOp {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// Something that has a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Enum(String),
    Path(Path),
    Call(Call),
    Math(Box<Self>, MathOp, Box<Self>),
    Negative(Box<Self>),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
    /// A function's name where a function is wanted.
    Function(String),
}

/// A call of an editor or converter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) function: String,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) keys: Vec<Key>,
    /// Offset of the name.
    pub(crate) offset: usize,
}

/// An argument, by place or by name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Argument {
    pub(crate) name: Option<String>,
    pub(crate) value: Expr,
}

/// A path to a part of the telemetry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<Segment>,
    /// The path as it was written.
    pub(crate) text: String,
}

/// One segment of a path with its keys.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) keys: Vec<Key>,
}

/// What stands in brackets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Key {
    Text(String),
    Int(i64),
    Expr(Box<Expr>),
}

/// What a text uses: the hints from which its context is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses {
    /// First segments of paths that have more than one, "" for the others.
    pub(crate) contexts: Vec<String>,
    pub(crate) functions: Vec<String>,
    pub(crate) enums: Vec<String>,
}

impl Uses {
    pub(crate) fn statement(&mut self, statement: &Statement) {
        self.call(&statement.editor);
        if let Some(condition) = &statement.condition {
            self.condition(condition);
        }
    }

    pub(crate) fn condition(&mut self, condition: &Condition) {
        match condition {
            Condition::Constant(_) => {}
            Condition::Compare(left, _, right) => {
                self.expr(left);
                self.expr(right);
            }
            Condition::Call(call) => self.call(call),
            Condition::Not(inner) => self.condition(inner),
            Condition::And(all) | Condition::Or(all) => all.iter().for_each(|part| self.condition(part)),
        }
    }

    fn call(&mut self, call: &Call) {
        self.functions.push(call.function.clone());
        call.arguments.iter().for_each(|argument| self.expr(&argument.value));
        self.keys(&call.keys);
    }

    fn keys(&mut self, keys: &[Key]) {
        for key in keys {
            if let Key::Expr(expr) = key {
                self.expr(expr);
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Path(path) => {
                let first = if path.has_context() { path.segments[0].name.clone() } else { String::new() };
                self.contexts.push(first);
                path.segments.iter().for_each(|segment| self.keys(&segment.keys));
            }
            Expr::Call(call) => self.call(call),
            Expr::Math(left, _, right) => {
                self.expr(left);
                self.expr(right);
            }
            Expr::Negative(inner) => self.expr(inner),
            Expr::List(list) => list.iter().for_each(|expr| self.expr(expr)),
            Expr::Map(map) => map.iter().for_each(|(_, expr)| self.expr(expr)),
            Expr::Enum(symbol) => self.enums.push(symbol.clone()),
            Expr::Nil
            | Expr::Bool(_)
            | Expr::Int(_)
            | Expr::Float(_)
            | Expr::Text(_)
            | Expr::Bytes(_)
            | Expr::Function(_) => {}
        }
    }
}

impl Path {
    /// Whether the first segment may be the name of a context: it has no keys, and another segment follows.
    pub(crate) fn has_context(&self) -> bool {
        self.segments.len() > 1 && self.segments[0].keys.is_empty()
    }
}
