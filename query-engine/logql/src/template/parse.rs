//! Reads a template: text and actions, then the words of each action.

use super::functions;
use super::node::{Branch, Command, Node, Operand, Pipeline, Place};

/// Deepest nesting of blocks and parentheses.
const DEPTH_MAX: usize = 50;

/// Parses; an error starts with its line.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, String> {
    let mut parser = Parser { text, position: 0, depth: 0, in_range: 0, variables: vec![String::new()] };
    let (nodes, end) = parser.list()?;
    match end {
        End::Text => Ok(nodes),
        End::Keyword(keyword) => Err(parser.error(&format!("unexpected {{{{{keyword}}}}}"))),
        End::ElseIf(_) => Err(parser.error("unexpected {{else}}")),
    }
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
    depth: usize,
    in_range: usize,
    /// Names declared so far, for the check that a variable exists.
    variables: Vec<String>,
}

/// What ended a list of nodes.
enum End<'a> {
    Text,
    /// `end` or `else`
    Keyword(&'static str),
    /// `else if …` or `else with …`: the keyword and the rest of the action.
    ElseIf((&'static str, Action<'a>)),
}

/// An action's text without braces, comments or trim marks.
#[derive(Clone, Copy)]
struct Action<'a> {
    text: &'a str,
    start: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, reason: &str) -> String {
        let line = self.text[..self.position.min(self.text.len())].matches('\n').count() + 1;
        format!("{line}: {reason}")
    }

    /// Nodes up to an `end`, an `else` or the end of the text.
    fn list(&mut self) -> Result<(Vec<Node>, End<'a>), String> {
        let mut nodes = Vec::new();
        let mut trim_next = false;
        loop {
            let rest = &self.text[self.position..];
            let (literal, action_at) = match rest.find("{{") {
                Some(at) => (&rest[..at], Some(self.position + at)),
                None => (rest, None),
            };
            let trim_before = action_at.is_some_and(|at| {
                let after = &self.text[at + 2..];
                after.starts_with('-') && after[1..].starts_with(char::is_whitespace)
            });
            let mut literal = if trim_next { literal.trim_start() } else { literal };
            if trim_before {
                literal = literal.trim_end();
            }
            if !literal.is_empty() {
                nodes.push(Node::Text(literal.to_owned()));
            }
            let Some(at) = action_at else {
                self.position = self.text.len();
                return Ok((nodes, End::Text));
            };
            let (action, trim_after) = self.action(at)?;
            trim_next = trim_after;
            // The text after the action is trimmed here, because a nested list would not know.
            if trim_after {
                let rest = &self.text[self.position..];
                self.position += rest.len() - rest.trim_start().len();
                trim_next = false;
            }
            let Some(action) = action else { continue };
            match self.node(action)? {
                Step::Node(node) => nodes.push(node),
                Step::End(end) => return Ok((nodes, end)),
            }
        }
    }

    /// Takes the action that starts at `at`; `None` for a comment. Also tells whether the text after it is trimmed.
    fn action(&mut self, at: usize) -> Result<(Option<Action<'a>>, bool), String> {
        self.position = at;
        let mut start = at + 2;
        let text = self.text;
        if text[start..].starts_with('-') && text[start + 1..].starts_with(char::is_whitespace) {
            start += 1;
        }
        let body = text[start..].trim_start();
        if body.starts_with("/*") {
            let comment_start = text.len() - body.len();
            let end = text[comment_start..].find("*/").ok_or_else(|| self.error("unclosed comment"))?;
            let after = &text[comment_start + end + 2..];
            let trimmed = after.trim_start();
            let (trim, closing) = match trimmed.strip_prefix("-}}") {
                Some(rest) => (true, rest),
                None => (
                    false,
                    after
                        .strip_prefix("}}")
                        .ok_or_else(|| self.error("comment ends before closing delimiter"))?,
                ),
            };
            self.position = text.len() - closing.len();
            return Ok((None, trim));
        }
        let end = self.action_end(start)?;
        self.position = end + 2;
        let inside = &text[start..end];
        let trim = inside.ends_with('-') && inside[..inside.len() - 1].ends_with(char::is_whitespace);
        let inside = if trim { &inside[..inside.len() - 1] } else { inside };
        Ok((Some(Action { text: inside, start }), trim))
    }

    /// Position of the braces that close the action whose text starts at `start`; quotes may hold braces.
    fn action_end(&self, start: usize) -> Result<usize, String> {
        let bytes = self.text.as_bytes();
        let mut at = start;
        while at < bytes.len() {
            match bytes[at] {
                b'}' if bytes.get(at + 1) == Some(&b'}') => return Ok(at),
                quote @ (b'"' | b'`' | b'\'') => {
                    at += 1;
                    while at < bytes.len() && bytes[at] != quote {
                        if quote != b'`' && bytes[at] == b'\n' {
                            return Err(self.error("unterminated quoted string"));
                        }
                        at += if quote != b'`' && bytes[at] == b'\\' { 2 } else { 1 };
                    }
                    if at >= bytes.len() {
                        return Err(self.error("unterminated quoted string"));
                    }
                    at += 1;
                }
                _ => at += 1,
            }
        }
        Err(self.error("unclosed action"))
    }

    fn node(&mut self, action: Action<'a>) -> Result<Step<'a>, String> {
        let trimmed = action.text.trim();
        let keyword_bytes = trimmed.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(trimmed.len());
        let (keyword, rest) = trimmed.split_at(keyword_bytes);
        let separated =
            rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || "($.\"`".contains(c));
        let rest_of = |rest: &'a str| Action { text: rest, start: action.start };
        match keyword {
            "" if trimmed.is_empty() => Err(self.error("missing value for command")),
            "if" if separated => Ok(Step::Node(Node::If(self.branch(rest_of(rest), "if")?))),
            "with" if separated => Ok(Step::Node(Node::With(self.branch(rest_of(rest), "with")?))),
            "range" if separated => Ok(Step::Node(Node::Range(self.branch(rest_of(rest), "range")?))),
            "end" if rest.is_empty() => Ok(Step::End(End::Keyword("end"))),
            "else" if separated => match rest.trim() {
                "" => Ok(Step::End(End::Keyword("else"))),
                more if more.starts_with("if") => Ok(Step::End(End::ElseIf(("if", rest_of(&more[2..]))))),
                more if more.starts_with("with") => Ok(Step::End(End::ElseIf(("with", rest_of(&more[4..]))))),
                more => Err(self.error(&format!("unexpected <{more}> in else"))),
            },
            "break" | "continue" if rest.is_empty() => {
                if self.in_range == 0 {
                    return Err(self.error(&format!("{{{{{keyword}}}}} outside {{{{range}}}}")));
                }
                Ok(Step::Node(if keyword == "break" { Node::Break } else { Node::Continue }))
            }
            "define" | "template" | "block" if separated => {
                Err(self.error(&format!("{{{{{keyword}}}}} is not supported")))
            }
            _ => Ok(Step::Node(Node::Action(self.pipeline(action, "command")?))),
        }
    }

    fn branch(&mut self, action: Action<'a>, keyword: &'static str) -> Result<Branch, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error("template is nested too deeply"));
        }
        let scope = self.variables.len();
        let pipeline = self.pipeline(action, keyword)?;
        self.in_range += usize::from(keyword == "range");
        let (body, end) = self.list()?;
        self.in_range -= usize::from(keyword == "range");
        let otherwise = match end {
            End::Keyword("end") => Vec::new(),
            End::Keyword(_) => match self.list()? {
                (nodes, End::Keyword("end")) => nodes,
                (_, End::Text) => return Err(self.error("unexpected EOF")),
                _ => return Err(self.error("expected end; found {{else}}")),
            },
            // `else if` is an `if` inside the `else`, closed by the same `end`.
            End::ElseIf((inner, action)) => {
                let branch = self.branch(action, inner)?;
                vec![if inner == "if" { Node::If(branch) } else { Node::With(branch) }]
            }
            End::Text => return Err(self.error("unexpected EOF")),
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(Branch { pipeline, body, otherwise })
    }

    /// The pipeline of an action; `context` is what the action is in Go's words.
    fn pipeline(&mut self, action: Action<'a>, context: &'static str) -> Result<Pipeline, String> {
        Words { rest: action.text, parser: self }.pipeline(context)
    }
}

/// The context of a pipeline in parentheses.
const PARENTHESIZED: &str = "parenthesized pipeline";

enum Step<'a> {
    Node(Node),
    End(End<'a>),
}

/// Reads the words of one action.
struct Words<'a, 'b> {
    rest: &'a str,
    parser: &'b mut Parser<'a>,
}

impl<'a> Words<'a, '_> {
    fn error(&self, reason: &str) -> String {
        self.parser.error(reason)
    }

    /// Where `text`, a part of the template, stands.
    fn place(&self, text: &str) -> Place {
        let whole = self.parser.text;
        // `text` is a slice of the template, so that its address tells its position.
        let at = (text.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize).min(whole.len());
        let before = whole.get(..at).unwrap_or("");
        Place {
            text: text.trim().to_owned(),
            line: before.matches('\n').count() + 1,
            column: at - before.rfind('\n').map_or(0, |newline| newline + 1),
        }
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// A pipeline up to the end of the action or, in parentheses, the closing one (taken).
    fn pipeline(&mut self, context: &'static str) -> Result<Pipeline, String> {
        let nested = context == PARENTHESIZED;
        let (variables, assigns) = self.declaration(context)?;
        let mut commands = Vec::new();
        let mut command = Vec::new();
        self.skip_blanks();
        let mut start = self.rest;
        loop {
            self.skip_blanks();
            let Some(c) = self.rest.chars().next() else {
                if nested {
                    return Err(self.error("unclosed left paren"));
                }
                break;
            };
            match c {
                '|' => {
                    self.rest = &self.rest[1..];
                    if command.is_empty() {
                        return Err(self.error("missing value for command"));
                    }
                    let text = &start[..start.len() - self.rest.len() - 1];
                    commands
                        .push(Command { operands: std::mem::take(&mut command), place: self.place(text) });
                    self.skip_blanks();
                    start = self.rest;
                    if self.rest.is_empty() || self.rest.starts_with('|') {
                        return Err(self.error("missing value for command"));
                    }
                }
                ')' if nested => break,
                ')' => return Err(self.error("unexpected right paren")),
                _ => command.push(self.operand()?),
            }
        }
        if command.is_empty() {
            return Err(self.error("missing value for command"));
        }
        let place = self.place(&start[..start.len() - self.rest.len()]);
        commands.push(Command { operands: command, place });
        if nested {
            self.rest = &self.rest[1..];
        }
        for command in &commands[1..] {
            let literal = matches!(
                command.operands[0],
                Operand::Bool(_)
                    | Operand::Dot
                    | Operand::Nil
                    | Operand::Int(_)
                    | Operand::Float(_)
                    | Operand::Text(_)
            );
            if literal {
                return Err(self.error("non executable command in pipeline 2"));
            }
        }
        Ok(Pipeline { variables, assigns, commands })
    }

    /// `$x :=`, `$x =` or, in a `range`, `$i, $x :=` at the start of a pipeline.
    fn declaration(&mut self, context: &'static str) -> Result<(Vec<String>, bool), String> {
        self.skip_blanks();
        let before = self.rest;
        let mut names = Vec::new();
        while let Some(after) = self.rest.strip_prefix('$') {
            let bytes = word_bytes(after);
            names.push(after[..bytes].to_owned());
            self.rest = after[bytes..].trim_start();
            if let Some(after) = self.rest.strip_prefix(":=") {
                self.rest = after;
                self.parser.variables.extend(names.iter().cloned());
                return Ok((names, false));
            }
            if let Some(after) = self.rest.strip_prefix('=') {
                self.rest = after;
                return match names.iter().find(|name| !self.parser.variables.contains(name)) {
                    Some(name) => Err(self.error(&format!("undefined variable \"${name}\""))),
                    None => Ok((names, true)),
                };
            }
            match self.rest.strip_prefix(',') {
                Some(_) if context != "range" || names.len() > 1 => {
                    return Err(self.error(&format!("too many declarations in {context}")));
                }
                Some(after) => self.rest = after.trim_start(),
                None => break,
            }
        }
        self.rest = before;
        Ok((Vec::new(), false))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        let c = self.rest.chars().next().expect("the caller saw a character");
        let operand = match c {
            '(' => {
                self.rest = &self.rest[1..];
                self.parser.depth += 1;
                if self.parser.depth > DEPTH_MAX {
                    return Err(self.error("template is nested too deeply"));
                }
                let inner = self.pipeline(PARENTHESIZED)?;
                self.parser.depth -= 1;
                Operand::Parenthesized(Box::new(inner), self.field_chain())
            }
            '.' if self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
            '.' => {
                let fields = self.field_chain();
                if fields.is_empty() {
                    self.rest = &self.rest[1..];
                    Operand::Dot
                } else {
                    Operand::Field(fields)
                }
            }
            '$' => {
                let bytes = word_bytes(&self.rest[1..]);
                let name = self.rest[1..=bytes].to_owned();
                self.rest = &self.rest[1 + bytes..];
                if !self.parser.variables.contains(&name) {
                    return Err(self.error(&format!("undefined variable \"${name}\"")));
                }
                Operand::Variable(name, self.field_chain())
            }
            '"' | '`' | '\'' => self.quoted(c)?,
            '+' | '-' | '0'..='9' => self.number()?,
            c if c == '_' || c.is_alphabetic() => {
                let bytes = word_bytes(self.rest);
                let word = &self.rest[..bytes];
                self.rest = &self.rest[bytes..];
                match word {
                    "true" | "false" => Operand::Bool(word == "true"),
                    "nil" => Operand::Nil,
                    name if functions::exists(name) => self.function(name)?,
                    name => return Err(self.error(&format!("function {name:?} not defined"))),
                }
            }
            c => return Err(self.error(&format!("unexpected {c:?} in command"))),
        };
        let ends = |c: char| c.is_whitespace() || "|)".contains(c);
        if !self.rest.is_empty() && !self.rest.starts_with(ends) {
            let next = self.rest.chars().next().unwrap_or(' ');
            return Err(self.error(&format!("unexpected {next:?} in operand")));
        }
        Ok(operand)
    }

    /// A function's name; `now.Year` calls it and takes a field of what it gives.
    fn function(&mut self, name: &str) -> Result<Operand, String> {
        let call = Operand::Function(name.to_owned());
        let fields = self.field_chain();
        if fields.is_empty() {
            return Ok(call);
        }
        let pipeline = Pipeline {
            variables: Vec::new(),
            assigns: false,
            commands: vec![Command { operands: vec![call], place: Place::default() }],
        };
        Ok(Operand::Parenthesized(Box::new(pipeline), fields))
    }

    /// `.a.b` directly after an operand.
    fn field_chain(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        while let Some(after) = self.rest.strip_prefix('.') {
            let bytes = word_bytes(after);
            if bytes == 0 {
                break;
            }
            fields.push(after[..bytes].to_owned());
            self.rest = &after[bytes..];
        }
        fields
    }

    fn quoted(&mut self, quote: char) -> Result<Operand, String> {
        let inside = &self.rest[1..];
        let mut escaped = false;
        let end = inside
            .char_indices()
            .find(|(_, c)| {
                let closes = *c == quote && !escaped;
                escaped = quote != '`' && *c == '\\' && !escaped;
                closes
            })
            .map(|(at, _)| at)
            .ok_or_else(|| self.error("unterminated quoted string"))?;
        let literal = &inside[..end];
        self.rest = &inside[end + 1..];
        match quote {
            '`' => Ok(Operand::Text(literal.to_owned())),
            '"' => crate::syntax::unquote(literal)
                .map(Operand::Text)
                .ok_or_else(|| self.error("invalid syntax in string")),
            _ => {
                let text = crate::syntax::unquote(literal)
                    .or_else(|| (literal == "\\'").then(|| "'".to_owned()))
                    .filter(|text| text.chars().count() == 1);
                let c = text.and_then(|text| text.chars().next());
                c.map(|c| Operand::Int(i64::from(u32::from(c))))
                    .ok_or_else(|| self.error("malformed character constant"))
            }
        }
    }

    fn number(&mut self) -> Result<Operand, String> {
        let part_of = |(at, c): (usize, char)| {
            let sign = matches!(c, '+' | '-') && (at == 0 || self.rest[..at].ends_with(['e', 'E']));
            sign || c.is_ascii_alphanumeric() || matches!(c, '.' | '_')
        };
        let bytes = self.rest.char_indices().find(|&c| !part_of(c)).map_or(self.rest.len(), |(at, _)| at);
        let text = self.rest[..bytes].replace('_', "");
        self.rest = &self.rest[bytes..];
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text.strip_prefix('+').unwrap_or(&text)),
        };
        let with_radix = [("0x", 16), ("0X", 16), ("0b", 2), ("0o", 8)]
            .iter()
            .find_map(|(prefix, radix)| digits.strip_prefix(prefix).map(|digits| (digits, *radix)));
        let int = match with_radix {
            Some((digits, radix)) => i64::from_str_radix(digits, radix).ok(),
            None => digits.parse::<i64>().ok(),
        };
        if let Some(int) = int {
            return Ok(Operand::Int(sign * int));
        }
        match text.parse::<f64>() {
            Ok(float) if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
                Ok(Operand::Float(float))
            }
            _ => Err(self.error(&format!("bad number syntax: {text:?}"))),
        }
    }
}

fn word_bytes(text: &str) -> usize {
    text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len())
}
