//! Texts to paths: XPath 1.0 (www.w3.org/TR/xpath-10) with its abbreviations, without variables and namespaces of one's
//! own. Functions that are not there are refused by name when a config is read.

use super::read::name_len;

/// Deepest nesting of expressions.
const DEPTH_MAX: usize = 64;

/// A path that is ready to be followed.
#[derive(Clone, Debug)]
pub(crate) struct Path(pub(super) Expr);

/// An expression.
#[derive(Clone, Debug)]
pub(super) enum Expr {
    Number(f64),
    Text(String),
    Call(Function, Vec<Self>),
    Negative(Box<Self>),
    Binary(Box<Self>, Operator, Box<Self>),
    Steps(Start, Vec<Step>),
}

/// Where steps start.
#[derive(Clone, Debug)]
pub(super) enum Start {
    Root,
    Here,
    Value(Box<Expr>, Vec<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Union,
}

/// One step: where to look, for what, and which of it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) axis: Axis,
    pub(super) test: Test,
    pub(super) predicates: Vec<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Ancestor,
    AncestorOrSelf,
    Attribute,
    Child,
    Descendant,
    DescendantOrSelf,
    Following,
    FollowingSibling,
    Parent,
    Preceding,
    PrecedingSibling,
    Itself,
}

const AXES: [(&str, Axis); 12] = [
    ("ancestor", Axis::Ancestor),
    ("ancestor-or-self", Axis::AncestorOrSelf),
    ("attribute", Axis::Attribute),
    ("child", Axis::Child),
    ("descendant", Axis::Descendant),
    ("descendant-or-self", Axis::DescendantOrSelf),
    ("following", Axis::Following),
    ("following-sibling", Axis::FollowingSibling),
    ("parent", Axis::Parent),
    ("preceding", Axis::Preceding),
    ("preceding-sibling", Axis::PrecedingSibling),
    ("self", Axis::Itself),
];

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// `*`, or `prefix:*`.
    Any(Option<String>),
    Name(String),
    Node,
    Text,
    Comment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Boolean,
    Ceiling,
    Concat,
    Contains,
    Count,
    EndsWith,
    False,
    Floor,
    Last,
    LocalName,
    LowerCase,
    Name,
    NormalizeSpace,
    Not,
    Number,
    Position,
    Round,
    StartsWith,
    StringLength,
    StringOf,
    Substring,
    SubstringAfter,
    SubstringBefore,
    Sum,
    Translate,
    True,
}

/// Names, and how many arguments at least and at most.
const FUNCTIONS: [(&str, Function, usize, usize); 26] = [
    ("boolean", Function::Boolean, 1, 1),
    ("ceiling", Function::Ceiling, 1, 1),
    ("concat", Function::Concat, 2, usize::MAX),
    ("contains", Function::Contains, 2, 2),
    ("count", Function::Count, 1, 1),
    ("ends-with", Function::EndsWith, 2, 2),
    ("false", Function::False, 0, 0),
    ("floor", Function::Floor, 1, 1),
    ("last", Function::Last, 0, 0),
    ("local-name", Function::LocalName, 0, 1),
    ("lower-case", Function::LowerCase, 1, 1),
    ("name", Function::Name, 0, 1),
    ("normalize-space", Function::NormalizeSpace, 0, 1),
    ("not", Function::Not, 1, 1),
    ("number", Function::Number, 0, 1),
    ("position", Function::Position, 0, 0),
    ("round", Function::Round, 1, 1),
    ("starts-with", Function::StartsWith, 2, 2),
    ("string-length", Function::StringLength, 0, 1),
    ("string", Function::StringOf, 0, 1),
    ("substring", Function::Substring, 2, 3),
    ("substring-after", Function::SubstringAfter, 2, 2),
    ("substring-before", Function::SubstringBefore, 2, 2),
    ("sum", Function::Sum, 1, 1),
    ("translate", Function::Translate, 3, 3),
    ("true", Function::True, 0, 0),
];

/// Operators by precedence, the loosest first; those of a level bind from the left.
const LEVELS: [&[(&str, Operator)]; 7] = [
    &[("or", Operator::Or)],
    &[("and", Operator::And)],
    &[("!=", Operator::NotEqual), ("=", Operator::Equal)],
    &[
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("div", Operator::Divide), ("mod", Operator::Modulo)],
    &[("|", Operator::Union)],
];

/// The level below which a minus sign stands.
const UNARY_LEVEL: usize = 6;

impl Path {
    /// Reads a path. The error is a reason.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let invalid = |reason| format!("invalid xpath: {text}: {reason}");
        let mut parser = Parser { rest: text.trim(), depth: 0 };
        let expr = parser.level(0).map_err(invalid)?;
        match parser.rest.is_empty() {
            true => Ok(Self(expr)),
            false => Err(invalid(format!("unexpected {:?}", parser.rest))),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

type Parsed<T> = Result<T, String>;

impl<'a> Parser<'a> {
    fn advance(&mut self, len: usize) {
        self.rest = self.rest[len..].trim_start();
    }

    fn take(&mut self, sign: &str) -> bool {
        let is_it = self.rest.starts_with(sign);
        if is_it {
            self.advance(sign.len());
        }
        is_it
    }

    fn expect(&mut self, sign: &str) -> Parsed<()> {
        match self.take(sign) {
            true => Ok(()),
            false => Err(format!("expected {sign:?} at {:?}", self.rest)),
        }
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == DEPTH_MAX {
            return Err(format!("nests deeper than {DEPTH_MAX}"));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn operator(&mut self, level: usize) -> Option<Operator> {
        let (sign, operator) = LEVELS[level].iter().find(|(sign, _)| {
            let is_word = sign.starts_with(|c: char| c.is_ascii_alphabetic());
            match is_word {
                true => self.rest[..name_len(self.rest)] == **sign,
                false => self.rest.starts_with(sign),
            }
        })?;
        self.advance(sign.len());
        Some(*operator)
    }

    fn level(&mut self, level: usize) -> Parsed<Expr> {
        if level == LEVELS.len() {
            return self.steps();
        }
        if level == UNARY_LEVEL && self.take("-") {
            return self.deeper(|parser| Ok(Expr::Negative(Box::new(parser.level(level)?))));
        }
        let mut left = self.level(level + 1)?;
        while let Some(operator) = self.operator(level) {
            let right = self.level(level + 1)?;
            left = Expr::Binary(Box::new(left), operator, Box::new(right));
        }
        Ok(left)
    }

    fn steps(&mut self) -> Parsed<Expr> {
        let mut steps = Vec::new();
        let start = if self.rest.starts_with("//") {
            Start::Root
        } else if self.take("/") {
            if !self.is_step() {
                return Ok(Expr::Steps(Start::Root, steps));
            }
            steps.push(self.step()?);
            Start::Root
        } else if self.is_step() {
            steps.push(self.step()?);
            Start::Here
        } else {
            let value = self.primary()?;
            let predicates = self.predicates()?;
            if predicates.is_empty() && !self.rest.starts_with('/') {
                return Ok(value);
            }
            Start::Value(Box::new(value), predicates)
        };
        loop {
            if self.take("//") {
                steps.push(Step { axis: Axis::DescendantOrSelf, test: Test::Node, predicates: Vec::new() });
            } else if !self.take("/") {
                return Ok(Expr::Steps(start, steps));
            }
            if !self.is_step() {
                return Err(format!("expected a step at {:?}", self.rest));
            }
            steps.push(self.step()?);
        }
    }

    /// Whether a step follows, and not a call, a literal or something in brackets.
    fn is_step(&self) -> bool {
        let len = self.name_len();
        let name = &self.rest[..len];
        let after = self.rest[len..].trim_start();
        let is_number =
            self.rest.starts_with('.') && self.rest[1..].starts_with(|c: char| c.is_ascii_digit());
        match len {
            0 => self.rest.starts_with(['.', '@', '*']) && !is_number,
            _ => !after.starts_with('(') || ["node", "text", "comment"].contains(&name),
        }
    }

    /// Bytes of the name that starts here; an axis ends it.
    fn name_len(&self) -> usize {
        let len = name_len(self.rest);
        self.rest[..len].find("::").unwrap_or(len)
    }

    fn step(&mut self) -> Parsed<Step> {
        let plain = |axis| Step { axis, test: Test::Node, predicates: Vec::new() };
        let mut step = if self.take("..") {
            plain(Axis::Parent)
        } else if self.take(".") {
            plain(Axis::Itself)
        } else if self.take("@") {
            Step { axis: Axis::Attribute, test: self.test()?, predicates: Vec::new() }
        } else {
            let len = self.name_len();
            let axis = match self.rest[len..].trim_start().starts_with("::") {
                false => Axis::Child,
                true => {
                    let name = &self.rest[..len];
                    let found = AXES.iter().find(|(known, _)| *known == name);
                    let (_, axis) = found.ok_or_else(|| format!("unknown axis {name:?}"))?;
                    self.advance(len);
                    self.expect("::")?;
                    *axis
                }
            };
            Step { axis, test: self.test()?, predicates: Vec::new() }
        };
        step.predicates = self.predicates()?;
        Ok(step)
    }

    fn predicates(&mut self) -> Parsed<Vec<Expr>> {
        let mut predicates = Vec::new();
        while self.take("[") {
            predicates.push(self.deeper(|parser| parser.level(0))?);
            self.expect("]")?;
        }
        Ok(predicates)
    }

    fn test(&mut self) -> Parsed<Test> {
        if self.take("*") {
            return Ok(Test::Any(None));
        }
        let len = name_len(self.rest);
        let name = &self.rest[..len];
        if len == 0 {
            return Err(format!("expected a name at {:?}", self.rest));
        }
        if let Some(prefix) = name.strip_suffix(':')
            && self.rest[len..].starts_with('*')
        {
            self.advance(len + 1);
            return Ok(Test::Any(Some(prefix.to_owned())));
        }
        self.advance(len);
        if !self.take("(") {
            return Ok(Test::Name(name.to_owned()));
        }
        self.expect(")")?;
        match name {
            "node" => Ok(Test::Node),
            "text" => Ok(Test::Text),
            "comment" => Ok(Test::Comment),
            other => Err(format!("unknown node test {other:?}")),
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        if self.take("(") {
            let inner = self.deeper(|parser| parser.level(0))?;
            self.expect(")")?;
            return Ok(inner);
        }
        for quote in ["\"", "'"] {
            if let Some(after) = self.rest.strip_prefix(quote) {
                let len = after.find(quote).ok_or("a string without its end")?;
                self.advance(len + 2);
                return Ok(Expr::Text(after[..len].to_owned()));
            }
        }
        let digits = self.rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.rest.len());
        if digits > 0 {
            let number = self.rest[..digits].parse().map_err(|_| "an invalid number".to_owned())?;
            self.advance(digits);
            return Ok(Expr::Number(number));
        }
        self.call()
    }

    fn call(&mut self) -> Parsed<Expr> {
        let len = name_len(self.rest);
        let name: &'a str = &self.rest[..len];
        if len == 0 {
            return Err(format!("expected a value at {:?}", self.rest));
        }
        self.advance(len);
        self.expect("(")?;
        let Some((_, function, min, max)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
            return Err(format!("the function {name}() is not supported"));
        };
        let mut args = Vec::new();
        while !self.take(")") {
            if !args.is_empty() {
                self.expect(",")?;
            }
            args.push(self.deeper(|parser| parser.level(0))?);
        }
        match (*min..=*max).contains(&args.len()) {
            true => Ok(Expr::Call(*function, args)),
            false => Err(format!("{name}() does not take {} arguments", args.len())),
        }
    }
}
