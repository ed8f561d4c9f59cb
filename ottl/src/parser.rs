//! Tokens to statements and conditions: a recursive descent over the grammar in grammar.go of `pkg/ottl`.
//!
//! `(` may open a calculation or a condition; the calculation is tried first, as there. A calculation never holds a
//! condition, so trying twice costs no more than the length of the text each time. Nesting is capped.

use crate::ast::{Argument, Call, Comparison, Condition, Expr, Key, MathOp, Path, Segment, Statement};
use crate::error::ParseError;
use crate::lexer::{Kind, Token, place, tokens};

/// Deepest nesting of brackets, calls and conditions.
const DEPTH_MAX: usize = 100;

/// Reads a statement.
pub(crate) fn statement(text: &str) -> Result<Statement, ParseError> {
    let invalid = |error: ParseError| ParseError::new(format!("statement has invalid syntax: {error}"));
    let mut parser = Parser::new(text).map_err(invalid)?;
    let statement = parser.statement().map_err(invalid)?;
    if statement.editor.function.starts_with(|c: char| c.is_ascii_uppercase()) {
        return Err(ParseError::new(format!(
            "editor names must start with a lowercase letter but got '{}'",
            statement.editor.function
        )));
    }
    if !statement.editor.keys.is_empty() {
        return Err(ParseError::new(format!(
            "only paths and converters may be indexed, not editors, but got {}[…]",
            statement.editor.function
        )));
    }
    parser.check_custom()?;
    Ok(statement)
}

/// Reads a condition.
pub(crate) fn condition(text: &str) -> Result<Condition, ParseError> {
    let invalid = |error: ParseError| ParseError::new(format!("condition has invalid syntax: {error}"));
    let mut parser = Parser::new(text).map_err(invalid)?;
    let condition = parser.condition().map_err(invalid)?;
    parser.end().map_err(invalid)?;
    parser.check_custom()?;
    Ok(condition)
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Names of functions in lower case that stand where a value is wanted.
    lower_converters: Vec<String>,
}

type Parsed<T> = Result<T, ParseError>;

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parsed<Self> {
        Ok(Self { text, tokens: tokens(text)?, at: 0, depth: 0, lower_converters: Vec::new() })
    }

    fn check_custom(&self) -> Parsed<()> {
        match self.lower_converters.first() {
            Some(name) => Err(ParseError::new(format!(
                "converter names must start with an uppercase letter but got '{name}'"
            ))),
            None => Ok(()),
        }
    }

    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn peek_at(&self, ahead: usize) -> Option<&Kind> {
        self.tokens.get(self.at + ahead).map(|token| &token.kind)
    }

    fn offset(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |token| token.start)
    }

    fn is_sign(&self, sign: char) -> bool {
        self.peek() == Some(&Kind::Sign(sign))
    }

    fn take_sign(&mut self, sign: char) -> bool {
        let is_it = self.is_sign(sign);
        self.at += usize::from(is_it);
        is_it
    }

    fn expect(&mut self, sign: char) -> Parsed<()> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.unexpected(&format!("expected \"{sign}\""))) }
    }

    fn unexpected(&self, wanted: &str) -> ParseError {
        let token = match self.tokens.get(self.at) {
            Some(token) => &self.text[token.start..token.end],
            None => "<EOF>",
        };
        ParseError::new(format!("{}: unexpected token {token:?} ({wanted})", place(self.text, self.offset())))
    }

    fn end(&self) -> Parsed<()> {
        if self.at == self.tokens.len() { Ok(()) } else { Err(self.unexpected("expected the end")) }
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == DEPTH_MAX {
            let place = place(self.text, self.offset());
            return Err(ParseError::new(format!("{place}: nests deeper than {DEPTH_MAX}")));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn statement(&mut self) -> Parsed<Statement> {
        let Some(editor) = self.call()? else { return Err(self.unexpected("expected a function call")) };
        let condition = match self.peek() {
            Some(Kind::Lower(word)) if word == "where" => {
                self.at += 1;
                Some(self.condition()?)
            }
            _ => None,
        };
        self.end()?;
        Ok(Statement { editor, condition })
    }

    fn condition(&mut self) -> Parsed<Condition> {
        self.deeper(|parser| {
            let mut terms = vec![parser.term()?];
            while parser.peek() == Some(&Kind::Or) {
                parser.at += 1;
                terms.push(parser.term()?);
            }
            Ok(if terms.len() == 1 { terms.remove(0) } else { Condition::Or(terms) })
        })
    }

    fn term(&mut self) -> Parsed<Condition> {
        let mut values = vec![self.boolean()?];
        while self.peek() == Some(&Kind::And) {
            self.at += 1;
            values.push(self.boolean()?);
        }
        Ok(if values.len() == 1 { values.remove(0) } else { Condition::And(values) })
    }

    fn boolean(&mut self) -> Parsed<Condition> {
        if self.peek() == Some(&Kind::Not) {
            self.at += 1;
            return Ok(Condition::Not(Box::new(self.positive_boolean()?)));
        }
        self.positive_boolean()
    }

    /// A comparison, a constant, a converter's answer, or a condition in brackets.
    fn positive_boolean(&mut self) -> Parsed<Condition> {
        let (start, known_names) = (self.at, self.lower_converters.len());
        let comparison = self.comparison();
        let reached = self.at;
        let failure = match comparison {
            Ok(found) => return Ok(found),
            Err(failure) => failure,
        };
        self.at = start;
        self.lower_converters.truncate(known_names);
        match self.peek() {
            Some(Kind::True) => {
                self.at += 1;
                Ok(Condition::Constant(true))
            }
            Some(Kind::False) => {
                self.at += 1;
                Ok(Condition::Constant(false))
            }
            Some(Kind::Upper(_)) => match self.call()? {
                Some(call) => Ok(Condition::Call(call)),
                None => Err(failure),
            },
            Some(Kind::Sign('(')) => {
                self.at += 1;
                match self.condition() {
                    Ok(inner) => {
                        self.expect(')')?;
                        Ok(inner)
                    }
                    // The attempt that came further says more.
                    Err(_) if reached > self.at => Err(failure),
                    Err(error) => Err(error),
                }
            }
            _ => Err(failure),
        }
    }

    fn comparison(&mut self) -> Parsed<Condition> {
        let left = self.value()?;
        let Some(Kind::Compare(sign)) = self.peek() else {
            return Err(self.unexpected("expected a comparison"));
        };
        let comparison = match *sign {
            "==" => Comparison::Equal,
            "!=" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            _ => Comparison::GreaterOrEqual,
        };
        self.at += 1;
        let right = self.value()?;
        Ok(Condition::Compare(Box::new(left), comparison, Box::new(right)))
    }

    fn value(&mut self) -> Parsed<Expr> {
        self.deeper(|parser| match parser.peek() {
            Some(Kind::Nil) => parser.literal(Expr::Nil),
            Some(Kind::Bytes(bytes)) => {
                let bytes = bytes.clone();
                parser.literal(Expr::Bytes(bytes))
            }
            Some(Kind::Text(text)) => {
                let text = text.clone();
                parser.literal(Expr::Text(text))
            }
            Some(Kind::True) => parser.literal(Expr::Bool(true)),
            Some(Kind::False) => parser.literal(Expr::Bool(false)),
            Some(Kind::Sign('{')) => parser.map(),
            Some(Kind::Sign('[')) => parser.list(),
            Some(Kind::Upper(symbol)) if parser.name_len() == 1 && !parser.is_call() => {
                let symbol = symbol.clone();
                parser.literal(Expr::Enum(symbol))
            }
            _ => parser.math(),
        })
    }

    fn literal(&mut self, expr: Expr) -> Parsed<Expr> {
        self.at += 1;
        Ok(expr)
    }

    fn list(&mut self) -> Parsed<Expr> {
        self.expect('[')?;
        let mut values = Vec::new();
        while !self.is_sign(']') {
            if !values.is_empty() {
                self.expect(',')?;
            }
            values.push(self.value()?);
        }
        self.expect(']')?;
        Ok(Expr::List(values))
    }

    fn map(&mut self) -> Parsed<Expr> {
        self.expect('{')?;
        let mut entries = Vec::new();
        while !self.is_sign('}') {
            let Some(Kind::Text(key)) = self.peek() else { return Err(self.unexpected("expected a key")) };
            let key = key.clone();
            self.at += 1;
            self.expect(':')?;
            entries.push((key, self.value()?));
            self.take_sign(',');
        }
        self.expect('}')?;
        Ok(Expr::Map(entries))
    }

    fn math(&mut self) -> Parsed<Expr> {
        let mut left = self.product()?;
        loop {
            let op = match self.peek() {
                Some(Kind::Sign('+')) => MathOp::Add,
                Some(Kind::Sign('-')) => MathOp::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            left = Expr::Math(Box::new(left), op, Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Parsed<Expr> {
        let mut left = self.factor()?;
        loop {
            let op = match self.peek() {
                Some(Kind::Sign('*')) => MathOp::Multiply,
                Some(Kind::Sign('/')) => MathOp::Divide,
                _ => return Ok(left),
            };
            self.at += 1;
            left = Expr::Math(Box::new(left), op, Box::new(self.factor()?));
        }
    }

    fn factor(&mut self) -> Parsed<Expr> {
        let is_negative = match self.peek() {
            Some(Kind::Sign('-')) => {
                self.at += 1;
                true
            }
            Some(Kind::Sign('+')) => {
                self.at += 1;
                false
            }
            _ => false,
        };
        let inner = if self.is_sign('(') {
            self.deeper(|parser| {
                parser.expect('(')?;
                let inner = parser.math()?;
                parser.expect(')')?;
                Ok(inner)
            })?
        } else {
            self.operand()?
        };
        Ok(match (is_negative, inner) {
            (false, inner) => inner,
            (true, Expr::Int(int)) => Expr::Int(-int),
            (true, Expr::Float(float)) => Expr::Float(-float),
            (true, inner) => Expr::Negative(Box::new(inner)),
        })
    }

    /// A call, a number or a path.
    fn operand(&mut self) -> Parsed<Expr> {
        match self.peek() {
            Some(Kind::Float(float)) => {
                let float = *float;
                self.literal(Expr::Float(float))
            }
            Some(Kind::Int(int)) => {
                let int = *int;
                self.literal(Expr::Int(int))
            }
            Some(Kind::Upper(_) | Kind::Lower(_)) => {
                if let Some(call) = self.call()? {
                    if call.function.starts_with(|c: char| c.is_ascii_lowercase()) {
                        self.lower_converters.push(call.function.clone());
                    }
                    return Ok(Expr::Call(call));
                }
                match self.peek() {
                    Some(Kind::Lower(_)) => self.path().map(Expr::Path),
                    _ => Err(self.unexpected("expected a value")),
                }
            }
            _ => Err(self.unexpected("expected a value")),
        }
    }

    /// Tokens of the function's name that starts here.
    fn name_len(&self) -> usize {
        let mut len = 0;
        while matches!(self.peek_at(len), Some(Kind::Upper(_) | Kind::Lower(_))) {
            len += 1;
        }
        len
    }

    fn is_call(&self) -> bool {
        let len = self.name_len();
        len > 0 && self.peek_at(len) == Some(&Kind::Sign('('))
    }

    fn name(&mut self, len: usize) -> String {
        let mut name = String::new();
        for _ in 0..len {
            if let Some(Kind::Upper(part) | Kind::Lower(part)) = self.peek() {
                name.push_str(part);
            }
            self.at += 1;
        }
        name
    }

    fn call(&mut self) -> Parsed<Option<Call>> {
        if !self.is_call() {
            return Ok(None);
        }
        let offset = self.offset();
        let function = self.name(self.name_len());
        self.deeper(|parser| {
            parser.expect('(')?;
            let mut arguments = Vec::new();
            while !parser.is_sign(')') {
                if !arguments.is_empty() {
                    parser.expect(',')?;
                }
                arguments.push(parser.argument()?);
            }
            parser.expect(')')?;
            let keys = parser.keys()?;
            Ok(Some(Call { function, arguments, keys, offset }))
        })
    }

    fn argument(&mut self) -> Parsed<Argument> {
        let len = self.name_len();
        let is_named =
            matches!(self.peek(), Some(Kind::Lower(_))) && self.peek_at(len) == Some(&Kind::Sign('='));
        let name = is_named.then(|| {
            let name = self.name(len);
            self.at += 1;
            name
        });
        let len = self.name_len();
        let is_function = matches!(self.peek(), Some(Kind::Upper(_))) && len > 1 && !self.is_call();
        let value = match is_function {
            true => Expr::Function(self.name(len)),
            false => self.value()?,
        };
        if self.peek() == Some(&Kind::Arrow) {
            return Err(self.unexpected("no function takes a lambda expression"));
        }
        Ok(Argument { name, value })
    }

    fn path(&mut self) -> Parsed<Path> {
        let start = self.offset();
        let mut segments = Vec::new();
        loop {
            let Some(Kind::Lower(name)) = self.peek() else {
                return Err(self.unexpected("expected a path segment"));
            };
            let name = name.clone();
            self.at += 1;
            segments.push(Segment { name, keys: self.keys()? });
            if !self.take_sign('.') {
                break;
            }
        }
        let end = self.tokens.get(self.at - 1).map_or(self.text.len(), |token| token.end);
        Ok(Path { segments, text: self.text[start..end].to_owned() })
    }

    fn keys(&mut self) -> Parsed<Vec<Key>> {
        let mut keys = Vec::new();
        while self.take_sign('[') {
            let key = match self.peek() {
                Some(Kind::Text(text)) => {
                    let key = Key::Text(text.clone());
                    self.at += 1;
                    key
                }
                _ => match self.deeper(Self::math)? {
                    Expr::Int(int) => Key::Int(int),
                    expr => Key::Expr(Box::new(expr)),
                },
            };
            self.expect(']')?;
            keys.push(key);
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests;
