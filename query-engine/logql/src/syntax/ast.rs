//! The tree of a query. Every node knows which bytes of the query text it came from.

use model::MatchOp;

/// A range of bytes in the query text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A whole query.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A query for log lines.
    Log(LogExpr),
    /// A query for numbers.
    Metric(MetricExpr),
}

/// `{selector} stage stage …`
#[derive(Clone, Debug, PartialEq)]
pub struct LogExpr {
    /// Conditions on stream labels.
    pub matchers: Vec<LabelMatch>,
    /// What happens to each line, in order.
    pub stages: Vec<Stage>,
    /// Where.
    pub span: Span,
}

/// `name="value"` in a selector, a label filter, `drop` or `keep`.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelMatch {
    /// The label.
    pub name: String,
    /// How to compare.
    pub op: MatchOp,
    /// The value or pattern as written.
    pub value: String,
    /// Where.
    pub span: Span,
}

/// One step of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Which.
    pub kind: StageKind,
    /// Where.
    pub span: Span,
}

/// The steps of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub enum StageKind {
    /// `|= "a" or "b"`
    LineFilter(LineFilter),
    /// `| json` with optional expressions
    Json(Vec<Extraction>),
    /// `| logfmt` with flags and optional expressions
    Logfmt {
        /// Stop at the first bad pair and report it.
        strict: bool,
        /// Keep pairs whose value is empty.
        keep_empty: bool,
        /// Empty: every pair.
        extractions: Vec<Extraction>,
    },
    /// `| regexp "…"`
    Regexp(String),
    /// `| pattern "…"`
    Pattern(String),
    /// `| unpack`
    Unpack,
    /// `| status >= 500 and method="GET"`
    LabelFilter(LabelFilter),
    /// `| line_format "…"`
    LineFormat(String),
    /// `| label_format a=b, c="…"`
    LabelFormat(Vec<LabelFormat>),
    /// `| decolorize`
    Decolorize,
    /// `| drop a, b="c"`
    Drop(Vec<NamedMatch>),
    /// `| keep a, b="c"`
    Keep(Vec<NamedMatch>),
}

/// How a line filter compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineOp {
    /// `|=`
    Contains,
    /// `!=`
    NotContains,
    /// `|~`
    Regex,
    /// `!~`
    NotRegex,
    /// `|>`
    Pattern,
    /// `!>`
    NotPattern,
}

impl LineOp {
    /// Whether a line that matches is left out.
    pub fn is_negative(self) -> bool {
        matches!(self, Self::NotContains | Self::NotRegex | Self::NotPattern)
    }

    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Contains => "|=",
            Self::NotContains => "!=",
            Self::Regex => "|~",
            Self::NotRegex => "!~",
            Self::Pattern => "|>",
            Self::NotPattern => "!>",
        }
    }
}

/// A line filter: any of `terms` for the positive operators, none of them for the negative ones.
#[derive(Clone, Debug, PartialEq)]
pub struct LineFilter {
    /// How to compare.
    pub op: LineOp,
    /// At least one.
    pub terms: Vec<LineTerm>,
}

/// One alternative of a line filter.
#[derive(Clone, Debug, PartialEq)]
pub enum LineTerm {
    /// A text, regular expression or pattern, by the operator.
    Text(String),
    /// `ip("…")`
    Ip(String),
}

/// `name="expression"` after `json` or `logfmt`.
#[derive(Clone, Debug, PartialEq)]
pub struct Extraction {
    /// Label to make.
    pub name: String,
    /// What to take.
    pub expression: String,
    /// Where.
    pub span: Span,
}

/// One assignment of `label_format`.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelFormat {
    /// Label to set.
    pub name: String,
    /// From what.
    pub source: LabelSource,
    /// Where.
    pub span: Span,
}

/// The right side of a `label_format` assignment.
#[derive(Clone, Debug, PartialEq)]
pub enum LabelSource {
    /// Rename this label.
    Label(String),
    /// A template.
    Template(String),
}

/// An argument of `drop` or `keep`.
#[derive(Clone, Debug, PartialEq)]
pub enum NamedMatch {
    /// A label by name.
    Name(String),
    /// A label if its value matches.
    Match(LabelMatch),
}

/// A condition on labels.
#[derive(Clone, Debug, PartialEq)]
pub enum LabelFilter {
    /// Both.
    And(Box<LabelFilter>, Box<LabelFilter>),
    /// Either.
    Or(Box<LabelFilter>, Box<LabelFilter>),
    /// On the text.
    Text(LabelMatch),
    /// On a number, duration or byte size.
    Compare {
        /// The label.
        name: String,
        /// How.
        op: CompareOp,
        /// With what.
        value: FilterValue,
        /// Where.
        span: Span,
    },
    /// `label = ip("…")`
    Ip {
        /// The label.
        name: String,
        /// `!=`
        negative: bool,
        /// Address, range or prefix.
        pattern: String,
        /// Where.
        span: Span,
    },
}

/// Right side of a comparison in a label filter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FilterValue {
    /// A plain number.
    Number(f64),
    /// Nanoseconds.
    Duration(i64),
    /// Bytes.
    Bytes(u64),
}

/// Comparison operators of label filters and binary operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    /// `==` (label filters also take `=`)
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

impl CompareOp {
    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
        }
    }

    /// Whether `left op right` holds.
    pub fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
        }
    }
}

/// A query for numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricExpr {
    /// What.
    pub kind: MetricKind,
    /// Where.
    pub span: Span,
}

/// Kinds of queries for numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricKind {
    /// `rate({…}[5m])`
    Range(RangeAggregation),
    /// `sum by (a) (…)`
    Vector(VectorAggregation),
    /// `a + b`
    Binary(Box<BinaryExpr>),
    /// `1.5`; only ever one side of a binary operation or the whole query
    Literal(f64),
    /// `label_replace(…)`
    LabelReplace(Box<LabelReplace>),
    /// `vector(1)`
    Constant(f64),
}

/// Functions over the entries of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as in the language")]
pub enum RangeOp {
    CountOverTime,
    Rate,
    RateCounter,
    BytesOverTime,
    BytesRate,
    AvgOverTime,
    SumOverTime,
    MinOverTime,
    MaxOverTime,
    StdvarOverTime,
    StddevOverTime,
    QuantileOverTime,
    FirstOverTime,
    LastOverTime,
    AbsentOverTime,
}

impl RangeOp {
    /// The function's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CountOverTime => "count_over_time",
            Self::Rate => "rate",
            Self::RateCounter => "rate_counter",
            Self::BytesOverTime => "bytes_over_time",
            Self::BytesRate => "bytes_rate",
            Self::AvgOverTime => "avg_over_time",
            Self::SumOverTime => "sum_over_time",
            Self::MinOverTime => "min_over_time",
            Self::MaxOverTime => "max_over_time",
            Self::StdvarOverTime => "stdvar_over_time",
            Self::StddevOverTime => "stddev_over_time",
            Self::QuantileOverTime => "quantile_over_time",
            Self::FirstOverTime => "first_over_time",
            Self::LastOverTime => "last_over_time",
            Self::AbsentOverTime => "absent_over_time",
        }
    }
}

/// A function over the entries of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeAggregation {
    /// Which.
    pub op: RangeOp,
    /// The quantile of `quantile_over_time`.
    pub parameter: Option<f64>,
    /// Over what.
    pub range: LogRange,
    /// `by` or `without` after the parentheses.
    pub grouping: Option<Grouping>,
}

/// `{…} | … | unwrap x [5m] offset 1h`
#[derive(Clone, Debug, PartialEq)]
pub struct LogRange {
    /// Which lines.
    pub log: LogExpr,
    /// Which label gives the number.
    pub unwrap: Option<Unwrap>,
    /// Length of the window, ns.
    pub interval_ns: i64,
    /// How far back to shift the window, ns; may be negative.
    pub offset_ns: i64,
    /// Where.
    pub span: Span,
}

/// `| unwrap duration(x) | x > 1`
#[derive(Clone, Debug, PartialEq)]
pub struct Unwrap {
    /// The label.
    pub label: String,
    /// How its text becomes a number.
    pub conversion: Conversion,
    /// Label filters after it.
    pub filters: Vec<LabelFilter>,
    /// Where.
    pub span: Span,
}

/// How an unwrapped label becomes a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// A plain number.
    Number,
    /// A byte size, in bytes.
    Bytes,
    /// A Go duration, in seconds.
    Duration,
    /// The same under its other name.
    DurationSeconds,
}

/// `by (a, b)` or `without (a, b)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// Whether the labels are those to drop.
    pub without: bool,
    /// The labels as written.
    pub labels: Vec<String>,
}

impl Grouping {
    /// Whether everything falls into one group without labels.
    pub fn is_single_group(&self) -> bool {
        self.labels.is_empty() && !self.without
    }
}

/// Aggregations over series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as in the language")]
pub enum VectorOp {
    Sum,
    Avg,
    Count,
    Max,
    Min,
    Stddev,
    Stdvar,
    Bottomk,
    Topk,
    Sort,
    SortDesc,
    ApproxTopk,
}

impl VectorOp {
    /// The function's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Max => "max",
            Self::Min => "min",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Bottomk => "bottomk",
            Self::Topk => "topk",
            Self::Sort => "sort",
            Self::SortDesc => "sort_desc",
            Self::ApproxTopk => "approx_topk",
        }
    }

    /// Whether it takes a count first.
    pub fn takes_count(self) -> bool {
        matches!(self, Self::Bottomk | Self::Topk | Self::ApproxTopk)
    }
}

/// An aggregation over series.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorAggregation {
    /// Which.
    pub op: VectorOp,
    /// The count of `topk`, `bottomk`, `approx_topk`; 0 for the others.
    pub count: usize,
    /// Into which groups; without one everything is one group.
    pub grouping: Grouping,
    /// Of what.
    pub inner: Box<MetricExpr>,
}

/// Operators between two queries for numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as in the language")]
pub enum BinaryOp {
    Or,
    And,
    Unless,
    Compare(CompareOp),
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
}

impl BinaryOp {
    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Unless => "unless",
            Self::Compare(op) => op.as_str(),
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
        }
    }

    /// Whether it works on sets of series rather than values.
    pub fn is_set(self) -> bool {
        matches!(self, Self::Or | Self::And | Self::Unless)
    }
}

/// `left op right` with its matching rules.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryExpr {
    /// Which.
    pub op: BinaryOp,
    /// Left side.
    pub left: MetricExpr,
    /// Right side.
    pub right: MetricExpr,
    /// `bool`: comparisons give 0 or 1 rather than filter.
    pub return_bool: bool,
    /// Which series meet.
    pub matching: Matching,
}

/// Which series of the two sides meet.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Matching {
    /// How many series may meet one.
    pub cardinality: Cardinality,
    /// `on(…)` rather than `ignoring(…)`.
    pub on: bool,
    /// Whether `on` or `ignoring` was written at all.
    pub explicit: bool,
    /// Their labels.
    pub labels: Vec<String>,
    /// Labels of `group_left(…)`, taken from the one side; `None` when no parentheses were written.
    pub include: Option<Vec<String>>,
}

/// How many series may meet one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Cardinality {
    /// One to one.
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
}

/// `label_replace(inner, "dst", "replacement", "src", "regex")`
#[derive(Clone, Debug, PartialEq)]
pub struct LabelReplace {
    /// Of what.
    pub inner: MetricExpr,
    /// Label to set.
    pub destination: String,
    /// Its value, with `$1` for groups.
    pub replacement: String,
    /// Label to read.
    pub source: String,
    /// Anchored pattern on its value.
    pub regex: String,
}
