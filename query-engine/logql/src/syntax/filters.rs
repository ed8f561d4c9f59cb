//! The part of the parser that reads pipeline stages.

use super::ast::{
    CompareOp, Extraction, FilterValue, LabelFilter, LabelFormat, LabelSource, LineFilter, LineOp, LineTerm,
    NamedMatch, Stage, StageKind,
};
use super::lexer::Kind;
use super::parser::Parser;
use crate::{LogqlError, LogqlResult};

/// What may start a label filter after an operator or parenthesis.
const OPERAND: &[&str] = &["IDENTIFIER", "("];

impl Parser {
    /// The next stage; `None` where the pipeline ends (`| unwrap` is not a stage).
    pub(super) fn stage(&mut self) -> LogqlResult<Option<Stage>> {
        let start = self.start();
        if let Some(op) = self.line_op() {
            self.take();
            let kind = StageKind::LineFilter(self.line_filter(op)?);
            return Ok(Some(Stage { kind, span: self.span_from(start) }));
        }
        if !self.at_symbol("|") || self.next_is_unwrap() {
            return Ok(None);
        }
        self.take();
        let token = self.peek();
        let name = if token.kind == Kind::Symbol { token.text.clone() } else { String::new() };
        let kind = match name.as_str() {
            "json" => {
                self.take();
                StageKind::Json(self.extractions()?)
            }
            "logfmt" => {
                self.take();
                self.logfmt()?
            }
            "regexp" => {
                self.take();
                let pattern = self.expect_kind(Kind::String, &["STRING"])?.text;
                crate::pipeline::check_regexp(&pattern)
                    .map_err(|reason| LogqlError::parse(format_args!("invalid regexp parser: {reason}")))?;
                StageKind::Regexp(pattern)
            }
            "pattern" => {
                self.take();
                let pattern = self.expect_kind(Kind::String, &["STRING"])?.text;
                crate::pipeline::check_pattern(&pattern)
                    .map_err(|reason| LogqlError::parse(format_args!("invalid pattern parser: {reason}")))?;
                StageKind::Pattern(pattern)
            }
            "unpack" => {
                self.take();
                StageKind::Unpack
            }
            "line_format" => {
                self.take();
                StageKind::LineFormat(self.expect_kind(Kind::String, &["STRING"])?.text)
            }
            "label_format" => {
                self.take();
                StageKind::LabelFormat(self.label_formats()?)
            }
            "decolorize" => {
                self.take();
                StageKind::Decolorize
            }
            "drop" => {
                self.take();
                StageKind::Drop(self.named_matches()?)
            }
            "keep" => {
                self.take();
                StageKind::Keep(self.named_matches()?)
            }
            _ => StageKind::LabelFilter(self.label_filter()?),
        };
        Ok(Some(Stage { kind, span: self.span_from(start) }))
    }

    fn line_op(&self) -> Option<LineOp> {
        const OPS: [LineOp; 6] = [
            LineOp::Contains,
            LineOp::NotContains,
            LineOp::Regex,
            LineOp::NotRegex,
            LineOp::Pattern,
            LineOp::NotPattern,
        ];
        OPS.into_iter().find(|op| self.at_symbol(op.as_str()))
    }

    fn line_filter(&mut self, op: LineOp) -> LogqlResult<LineFilter> {
        let mut terms = vec![self.line_term()?];
        while self.take_symbol("or") {
            terms.push(self.line_term()?);
        }
        Ok(LineFilter { op, terms })
    }

    fn line_term(&mut self) -> LogqlResult<LineTerm> {
        if self.at_function("ip") {
            return Ok(LineTerm::Ip(self.ip_argument()?));
        }
        Ok(LineTerm::Text(self.expect_kind(Kind::String, &["STRING", "ip"])?.text))
    }

    fn ip_argument(&mut self) -> LogqlResult<String> {
        self.take();
        self.expect_symbol("(", &["("])?;
        let pattern = self.expect_kind(Kind::String, &["STRING"])?.text;
        self.expect_symbol(")", &[")"])?;
        Ok(pattern)
    }

    fn logfmt(&mut self) -> LogqlResult<StageKind> {
        let (mut strict, mut keep_empty) = (false, false);
        while self.peek().kind == Kind::Flag {
            match self.take().text.as_str() {
                "--strict" => strict = true,
                _ => keep_empty = true,
            }
        }
        Ok(StageKind::Logfmt { strict, keep_empty, extractions: self.extractions()? })
    }

    /// `a, b="expression", …`; none if no identifier follows.
    fn extractions(&mut self) -> LogqlResult<Vec<Extraction>> {
        let mut extractions = Vec::new();
        if self.peek().kind != Kind::Identifier {
            return Ok(extractions);
        }
        loop {
            let name = self.expect_kind(Kind::Identifier, &["IDENTIFIER"])?;
            let expression = if self.take_symbol("=") {
                self.expect_kind(Kind::String, &["STRING"])?.text
            } else {
                name.text.clone()
            };
            let span = self.span_from(name.span.start);
            extractions.push(Extraction { name: name.text, expression, span });
            if !self.take_symbol(",") {
                return Ok(extractions);
            }
        }
    }

    fn label_formats(&mut self) -> LogqlResult<Vec<LabelFormat>> {
        let mut formats = Vec::new();
        loop {
            let name = self.expect_kind(Kind::Identifier, &["IDENTIFIER"])?;
            self.expect_symbol("=", &["="])?;
            let source = match self.peek().kind {
                Kind::Identifier => LabelSource::Label(self.take().text),
                Kind::String => LabelSource::Template(self.take().text),
                _ => return Err(self.unexpected(&["IDENTIFIER", "STRING"])),
            };
            let span = self.span_from(name.span.start);
            formats.push(LabelFormat { name: name.text, source, span });
            if !self.take_symbol(",") {
                return Ok(formats);
            }
        }
    }

    fn named_matches(&mut self) -> LogqlResult<Vec<NamedMatch>> {
        let mut matches = Vec::new();
        loop {
            let name = self.expect_kind(Kind::Identifier, &["IDENTIFIER"])?;
            let has_operator = ["=", "!=", "=~", "!~"].iter().any(|op| self.at_symbol(op));
            matches.push(if has_operator {
                NamedMatch::Match(self.label_match(&name)?)
            } else {
                NamedMatch::Name(name.text)
            });
            if !self.take_symbol(",") {
                return Ok(matches);
            }
        }
    }

    /// A whole condition on labels.
    pub(super) fn label_filter(&mut self) -> LogqlResult<LabelFilter> {
        self.label_filter_at(0, &[])
    }

    /// `and` binds more strongly than `or`; a comma or plain juxtaposition has no strength in Loki's grammar, so that
    /// everything after it is its right side.
    fn label_filter_at(&mut self, strength: u8, expected: &[&str]) -> LogqlResult<LabelFilter> {
        self.nested(|parser| {
            let mut left = parser.label_filter_primary(expected)?;
            for chain in 1.. {
                parser.check_chain(chain)?;
                let right = if parser.at_symbol("or") && strength <= 1 {
                    parser.take();
                    let right = parser.label_filter_at(2, OPERAND)?;
                    left = LabelFilter::Or(Box::new(left), Box::new(right));
                    continue;
                } else if parser.at_symbol("and") && strength <= 2 {
                    parser.take();
                    parser.label_filter_at(3, OPERAND)?
                } else if parser.take_symbol(",")
                    || parser.peek().kind == Kind::Identifier
                    || parser.at_symbol("(")
                {
                    parser.label_filter_at(0, OPERAND)?
                } else {
                    return Ok(left);
                };
                left = LabelFilter::And(Box::new(left), Box::new(right));
            }
            unreachable!("the chain is bounded")
        })
    }

    fn label_filter_primary(&mut self, expected: &[&str]) -> LogqlResult<LabelFilter> {
        if self.take_symbol("(") {
            let inner = self.label_filter_at(0, OPERAND)?;
            self.expect_symbol(")", &[])?;
            return Ok(inner);
        }
        let name = self.expect_kind(Kind::Identifier, expected)?;
        let op = match self.peek().text.as_str() {
            "=~" | "!~" => return Ok(LabelFilter::Text(self.label_match(&name)?)),
            "=" | "==" => CompareOp::Equal,
            "!=" => CompareOp::NotEqual,
            ">" => CompareOp::Greater,
            ">=" => CompareOp::GreaterOrEqual,
            "<" => CompareOp::Less,
            "<=" => CompareOp::LessOrEqual,
            _ => return Err(self.unexpected(&[])),
        };
        if self.peek().kind != Kind::Symbol {
            return Err(self.unexpected(&[]));
        }
        let takes_text = self.at_symbol("=") || self.at_symbol("!=");
        let second = self.peek_second();
        if takes_text && second.kind == Kind::String {
            return Ok(LabelFilter::Text(self.label_match(&name)?));
        }
        let is_ip = takes_text && second.kind == Kind::Function && second.text == "ip";
        self.take();
        if is_ip {
            let pattern = self.ip_argument()?;
            let negative = op == CompareOp::NotEqual;
            return Ok(LabelFilter::Ip {
                name: name.text,
                negative,
                pattern,
                span: self.span_from(name.span.start),
            });
        }
        let value = match self.peek().kind {
            Kind::Duration(ns) => {
                self.take();
                FilterValue::Duration(ns)
            }
            Kind::Bytes(bytes) => {
                self.take();
                FilterValue::Bytes(bytes)
            }
            Kind::Number => FilterValue::Number(self.literal()?),
            _ if self.at_symbol("+") || self.at_symbol("-") => FilterValue::Number(self.literal()?),
            _ => return Err(self.unexpected(&[])),
        };
        Ok(LabelFilter::Compare { name: name.text, op, value, span: self.span_from(name.span.start) })
    }

    fn next_is_unwrap(&self) -> bool {
        let second = self.peek_second();
        second.kind == Kind::Symbol && second.text == "unwrap"
    }
}
