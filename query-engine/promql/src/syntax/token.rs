//! Tokens of PromQL and how error messages name them.

use super::quote::quote;
use super::span::Span;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Eof,
    Identifier,
    MetricIdentifier,
    Number,
    Duration,
    String,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    At,
    /// `=` alone.
    Assign,
    RegexMatch,
    RegexNoMatch,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    TrimUpper,
    TrimLower,
    And,
    Or,
    Unless,
    Atan2,
    /// An aggregation's name.
    Aggregator,
    Offset,
    Anchored,
    Smoothed,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// A token with its place and text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'q> {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
    pub(crate) text: &'q str,
}

/// The keyword that `word` is, in any case of letters.
pub(crate) fn keyword(word: &str) -> Option<TokenKind> {
    use TokenKind as K;
    Some(match word.to_ascii_lowercase().as_str() {
        "and" => K::And,
        "or" => K::Or,
        "unless" => K::Unless,
        "atan2" => K::Atan2,
        "sum" | "avg" | "count" | "min" | "max" | "group" | "stddev" | "stdvar" | "topk" | "bottomk"
        | "count_values" | "quantile" | "limitk" | "limit_ratio" => K::Aggregator,
        "offset" => K::Offset,
        "smoothed" => K::Smoothed,
        "anchored" => K::Anchored,
        "by" => K::By,
        "without" => K::Without,
        "on" => K::On,
        "ignoring" => K::Ignoring,
        "group_left" => K::GroupLeft,
        "group_right" => K::GroupRight,
        "fill" => K::Fill,
        "fill_left" => K::FillLeft,
        "fill_right" => K::FillRight,
        "bool" => K::Bool,
        "start" => K::Start,
        "end" => K::End,
        "step" => K::Step,
        "range" => K::Range,
        "max_of" => K::MaxOf,
        "min_of" => K::MinOf,
        "inf" | "nan" => K::Number,
        _ => return None,
    })
}

impl TokenKind {
    /// Whether a keyword may stand where a metric name is expected.
    pub(crate) fn is_metric_name(self) -> bool {
        use TokenKind as K;
        matches!(
            self,
            K::Identifier
                | K::MetricIdentifier
                | K::Aggregator
                | K::By
                | K::Without
                | K::Fill
                | K::FillLeft
                | K::FillRight
                | K::And
                | K::Or
                | K::Unless
                | K::Offset
                | K::Start
                | K::End
                | K::Step
                | K::Range
                | K::Anchored
                | K::Smoothed
                | K::MaxOf
                | K::MinOf
        )
    }

    /// Whether a token may stand as a label name in a grouping.
    pub(crate) fn is_label_name(self) -> bool {
        use TokenKind as K;
        self.is_metric_name()
            || matches!(self, K::Bool | K::GroupLeft | K::GroupRight | K::Ignoring | K::On | K::Atan2)
    }

    /// Binding power (left, right) of a binary operator.
    pub(crate) fn binding(self) -> Option<(u8, u8)> {
        use TokenKind as K;
        Some(match self {
            K::Or => (1, 2),
            K::And | K::Unless => (3, 4),
            K::Equal
            | K::NotEqual
            | K::Less
            | K::LessEqual
            | K::Greater
            | K::GreaterEqual
            | K::TrimUpper
            | K::TrimLower => (5, 6),
            K::Add | K::Sub => (7, 8),
            K::Mul | K::Div | K::Mod | K::Atan2 => (9, 10),
            K::Pow => (12, 11),
            _ => return None,
        })
    }
}

impl Token<'_> {
    /// The token in an error message.
    pub(crate) fn description(&self) -> String {
        use TokenKind as K;
        match self.kind {
            K::Eof => "end of input".to_owned(),
            K::Identifier => format!("identifier {}", quote(self.text)),
            K::MetricIdentifier => format!("metric identifier {}", quote(self.text)),
            K::String => format!("string {}", shortened(self.text)),
            K::Number => format!("number {}", shortened(self.text)),
            K::Duration => format!("duration {}", shortened(self.text)),
            K::Aggregator => format!("<aggr:{}>", self.text),
            K::Offset
            | K::Anchored
            | K::Smoothed
            | K::By
            | K::Without
            | K::On
            | K::Ignoring
            | K::GroupLeft
            | K::GroupRight
            | K::Fill
            | K::FillLeft
            | K::FillRight
            | K::Bool
            | K::Start
            | K::End
            | K::Step
            | K::Range
            | K::MaxOf
            | K::MinOf => format!("<{}>", self.text),
            _ if self.is_operator() => format!("<op:{}>", self.text),
            _ => shortened(self.text),
        }
    }

    fn is_operator(&self) -> bool {
        use TokenKind as K;
        self.kind.binding().is_some() || matches!(self.kind, K::RegexMatch | K::RegexNoMatch | K::At)
    }
}

/// Go's `%.10q...` for long texts, `%q` for short ones.
fn shortened(text: &str) -> String {
    if text.len() > 10 {
        let cut: String = text.chars().take(10).collect();
        format!("{}...", quote(&cut))
    } else {
        quote(text)
    }
}
