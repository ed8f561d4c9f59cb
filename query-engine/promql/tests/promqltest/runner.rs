//! Runs scripts against the engine, with the re-runs of Prometheus' own runner: each instant evaluation once more as
//! the middle step of a range, and with `@` on every selector at five other times.

use model::{FloatHistogram, Labels, is_stale_nan};
use promql::{
    At, Engine, EngineSettings, Expr, ExprKind, MatrixSeries, ParseOptions, PromqlError, QueryOptions,
    QueryOutput, QueryValue, SampleValue, VectorSample, parse_expr,
};
use runtime::Tasks;
use storage_api::MetricsQuerier;

use super::mutate::Mutation;
use super::script::{Command, Eval, Pattern, Times, parse_script};
use super::series::Item;
use super::storage::{Kind, Storage};

const EPSILON: f64 = 0.000001;

/// How a script went.
#[derive(Debug, Default)]
pub struct Report {
    pub evals: usize,
    /// Queries that were run and compared, re-runs included.
    pub checks: usize,
    /// Line and reason.
    pub failures: Vec<(usize, String)>,
}

/// Settings with which Prometheus runs its scripts; with more than one thread even two series are shared out.
pub fn settings(threads: usize) -> EngineSettings {
    EngineSettings {
        samples_max: 10_000,
        delayed_name_removal: true,
        parse: ParseOptions::ALL,
        threads,
        cells_per_thread_min: 1,
        ..EngineSettings::default()
    }
}

/// Runs a whole script over a store of a kind.
pub async fn run_script(text: &str, kind: Kind, settings: EngineSettings) -> Result<Report, String> {
    run_commands(parse_script(text)?, kind, settings).await
}

/// Runs a script whose expectations are made wrong in one way, as far as each has something to make wrong; the lines of
/// those that passed, and how many there were.
pub async fn run_mutated(text: &str, mutation: Mutation) -> Result<(Vec<usize>, usize), String> {
    let mut commands = parse_script(text)?;
    commands.retain_mut(|command| match command {
        Command::Eval(eval) => mutation.apply(eval),
        Command::Clear | Command::Load(_) => true,
    });
    let lines: Vec<usize> = commands
        .iter()
        .filter_map(|command| match command {
            Command::Eval(eval) => Some(eval.line),
            Command::Clear | Command::Load(_) => None,
        })
        .collect();
    let report = run_commands(commands, Kind::Memory, settings(1)).await?;
    let has_failed = |line: &usize| report.failures.iter().any(|(failed, _)| failed == line);
    let passed = lines.iter().copied().filter(|line| !has_failed(line)).collect();
    Ok((passed, lines.len()))
}

async fn run_commands(
    commands: Vec<Command>,
    kind: Kind,
    settings: EngineSettings,
) -> Result<Report, String> {
    let engine = Engine::new(settings, Tasks::new());
    let mut storage = Storage::new(kind);
    let mut report = Report::default();
    for command in commands {
        match command {
            Command::Clear => storage = Storage::new(kind),
            Command::Load(load) => {
                storage.load(&load.series).await?;
                if load.with_nhcb {
                    storage.load(&super::nhcb::convert(&load.series)?).await?;
                }
            }
            Command::Eval(eval) => {
                report.evals += 1;
                storage.settle().await?;
                let mut run = Run { engine: &engine, storage: storage.querier(), eval: &eval, checks: 0 };
                if let Err(reason) = run.all().await {
                    report.failures.push((eval.line, format!("{}: {reason}", eval.query)));
                }
                report.checks += run.checks;
            }
        }
    }
    Ok(report)
}

struct Run<'r> {
    engine: &'r Engine,
    storage: &'r dyn MetricsQuerier,
    eval: &'r Eval,
    checks: usize,
}

impl Run<'_> {
    async fn all(&mut self) -> Result<(), String> {
        let eval = self.eval;
        let at = match eval.times {
            Times::Range { start, end, step } => {
                let options = QueryOptions::default();
                let answer = self.engine.range(&eval.query, start, end, step, self.storage, options).await;
                return self.compare(answer).map(|_| ());
            }
            Times::Instant(at) => at,
        };
        self.instant(&eval.query, at).await?;
        for (query, at) in at_modifier_queries(&eval.query, at) {
            self.instant(&query, at).await.map_err(|reason| format!("as {query} at {at}: {reason}"))?;
        }
        Ok(())
    }

    async fn instant(&mut self, query: &str, at: i64) -> Result<(), String> {
        let answer = self.engine.instant(query, at, self.storage, QueryOptions::default()).await;
        let Some(value) = self.compare(answer)? else { return Ok(()) };
        let eval = self.eval;
        let has_context_function =
            ["start()", "end()", "range()", "step()"].iter().any(|name| query.contains(name));
        if eval.string.is_some() || eval.range_vector.is_some() || has_context_function {
            return Ok(());
        }
        let minute = 60_000;
        let options = QueryOptions::default();
        let range = self.engine.range(query, at - minute, at + minute, minute, self.storage, options).await;
        let range = range.map_err(|error| format!("in range mode: {error}"))?;
        self.checks += 1;
        if eval.is_ordered {
            return Ok(());
        }
        let QueryValue::Matrix(series) = range.value else {
            return Err("a range query answered no matrix".to_owned());
        };
        check_sorted(&series)?;
        let middle = middle_step(&series, at);
        let result = match value {
            QueryValue::Scalar(_) => match middle.first().map(|sample| &sample.value) {
                Some(SampleValue::Float(value)) => self.compare_scalar(*value),
                _ => Err("no scalar".to_owned()),
            },
            _ => self.compare_vector(&middle),
        };
        result.map_err(|reason| format!("in range mode: {reason}"))
    }

    /// Compares an answer with what is expected; the value if there should be one.
    fn compare(&mut self, answer: Result<QueryOutput, PromqlError>) -> Result<Option<QueryValue>, String> {
        self.checks += 1;
        let eval = self.eval;
        let output = match (answer, &eval.fail) {
            (Err(error), Some(pattern)) if pattern.matches(&error.to_string()) => return Ok(None),
            (Err(error), Some(_)) => return Err(format!("failed with another error: {error}")),
            (Err(error), None) => return Err(format!("failed: {error}")),
            (Ok(_), Some(_)) => return Err("did not fail".to_owned()),
            (Ok(output), None) => output,
        };
        check_annotations("warning", &eval.warns, eval.no_warn, &output.warnings)?;
        check_annotations("info", &eval.infos, eval.no_info, &output.infos)?;
        match &output.value {
            QueryValue::Scalar(sample) => self.compare_scalar(sample.value)?,
            QueryValue::String { value, .. } => {
                if eval.string.as_ref() != Some(value) {
                    return Err(format!("expected string {:?}, got {value:?}", eval.string));
                }
            }
            QueryValue::Vector(samples) => self.compare_vector(samples)?,
            QueryValue::Matrix(series) => self.compare_matrix(series)?,
        }
        Ok(Some(output.value))
    }

    fn compare_scalar(&self, got: f64) -> Result<(), String> {
        match self.eval.scalar {
            Some(expected) if almost_equal(expected, got) => Ok(()),
            expected => Err(format!("expected scalar {expected:?}, got {got}")),
        }
    }

    fn compare_vector(&self, samples: &[VectorSample]) -> Result<(), String> {
        let eval = self.eval;
        if eval.scalar.is_some() {
            return Err("expected a scalar, got a vector".to_owned());
        }
        for (position, sample) in samples.iter().enumerate() {
            let found = eval.series.iter().rposition(|(labels, _)| *labels == sample.labels);
            let Some(index) = found else {
                return Err(format!("unexpected {} {:?}", sample.labels, sample.value));
            };
            if eval.is_ordered && index != position {
                return Err(format!("{} at position {position}, expected at {index}", sample.labels));
            }
            let item = eval.series[index].1.first().ok_or("an expectation without value")?;
            if !matches(item, &sample.value) {
                return Err(format!("{}: expected {item:?}, got {:?}", sample.labels, sample.value));
            }
        }
        self.all_found(|labels| samples.iter().any(|sample| sample.labels == *labels))
    }

    fn compare_matrix(&self, got: &[MatrixSeries]) -> Result<(), String> {
        let eval = self.eval;
        if eval.is_ordered {
            return Err("expected an ordered result, got a matrix".to_owned());
        }
        if eval.scalar.is_some() {
            return Err("expected a scalar, got a matrix".to_owned());
        }
        let (start, step) = match (eval.range_vector, eval.times) {
            (Some((start, _, step)), _) => (start, step),
            (None, Times::Range { start, step, .. }) => (start, step),
            (None, Times::Instant(at)) => (at, 1),
        };
        check_sorted(got)?;
        for series in got {
            let expected = eval.series.iter().rfind(|(labels, _)| *labels == series.labels);
            let Some((labels, items)) = expected else {
                return Err(format!("unexpected series {series:?}"));
            };
            let mut floats = series.floats.iter();
            let mut histograms = series.histograms.iter();
            for (index, item) in items.iter().enumerate() {
                let time = start + step * index as i64;
                let (got, value) = match item {
                    Item::Omitted => continue,
                    Item::Float(_) => match floats.next() {
                        Some(sample) => (sample.timestamp_ms, SampleValue::Float(sample.value)),
                        None => return Err(format!("{labels}: a float at {time} is missing: {series:?}")),
                    },
                    Item::Histogram { .. } => match histograms.next() {
                        Some((time, value)) => (*time, SampleValue::Histogram(value.clone())),
                        None => {
                            return Err(format!("{labels}: a histogram at {time} is missing: {series:?}"));
                        }
                    },
                };
                if got != time || !matches(item, &value) {
                    return Err(format!(
                        "{labels}: expected {item:?} at {time}, got {value:?} at {got}: {series:?}"
                    ));
                }
            }
            if floats.next().is_some() || histograms.next().is_some() {
                return Err(format!("{labels}: more points than expected: {series:?}"));
            }
        }
        self.all_found(|labels| got.iter().any(|series| series.labels == *labels))
    }

    fn all_found(&self, is_there: impl Fn(&Labels) -> bool) -> Result<(), String> {
        match self.eval.series.iter().find(|(labels, _)| !is_there(labels)) {
            Some((labels, _)) => Err(format!("{labels} is missing")),
            None => Ok(()),
        }
    }
}

fn check_sorted(series: &[MatrixSeries]) -> Result<(), String> {
    match series.windows(2).find(|pair| pair[0].labels >= pair[1].labels) {
        Some(pair) => Err(format!("{} before {}", pair[0].labels, pair[1].labels)),
        None => Ok(()),
    }
}

fn check_annotations(kind: &str, expected: &[Pattern], none: bool, got: &[String]) -> Result<(), String> {
    if none && !got.is_empty() {
        return Err(format!("unexpected {kind} annotations {got:?}"));
    }
    if expected.is_empty() {
        return Ok(());
    }
    let all_met = expected.iter().all(|pattern| got.iter().any(|text| pattern.matches(text)));
    let all_expected = got.iter().all(|text| expected.iter().any(|pattern| pattern.matches(text)));
    if all_met && all_expected { Ok(()) } else { Err(format!("other {kind} annotations: {got:?}")) }
}

fn middle_step(series: &[MatrixSeries], at: i64) -> Vec<VectorSample> {
    let mut samples = Vec::new();
    for series in series {
        let float = series.floats.iter().find(|sample| sample.timestamp_ms == at);
        let histogram = series.histograms.iter().find(|(time, _)| *time == at);
        let values = float
            .map(|sample| SampleValue::Float(sample.value))
            .into_iter()
            .chain(histogram.map(|(_, histogram)| SampleValue::Histogram(histogram.clone())));
        samples.extend(values.map(|value| VectorSample {
            labels: series.labels.clone(),
            timestamp_ms: at,
            value,
        }));
    }
    samples
}

fn matches(expected: &Item, got: &SampleValue) -> bool {
    match (expected, got) {
        (Item::Float(expected), SampleValue::Float(got)) => almost_equal(*expected, *got),
        (Item::Histogram { histogram, has_hint }, SampleValue::Histogram(got)) => {
            histograms_match(histogram, got, *has_hint)
        }
        _ => false,
    }
}

fn histograms_match(expected: &FloatHistogram, got: &FloatHistogram, compare_hint: bool) -> bool {
    let (mut expected, mut got) = (expected.clone(), got.clone());
    expected.compact();
    got.compact();
    let counts_match =
        |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| almost_equal(*a, *b));
    let bounds = |h: &FloatHistogram| h.custom_values.as_deref().unwrap_or(&[]).to_vec();
    expected.schema == got.schema
        && almost_equal(expected.count, got.count)
        && almost_equal(expected.sum, got.sum)
        && (!expected.uses_custom_buckets() || bounds(&expected) == bounds(&got))
        && expected.zero_threshold == got.zero_threshold
        && almost_equal(expected.zero_count, got.zero_count)
        && expected.positive.spans == got.positive.spans
        && expected.negative.spans == got.negative.spans
        && counts_match(&expected.positive.counts, &got.positive.counts)
        && counts_match(&expected.negative.counts, &got.negative.counts)
        && (!compare_hint || expected.counter_reset_hint == got.counter_reset_hint)
}

/// Equal up to a relative error, as util/almost of Prometheus has it.
fn almost_equal(a: f64, b: f64) -> bool {
    if is_stale_nan(a) || is_stale_nan(b) {
        return is_stale_nan(a) && is_stale_nan(b);
    }
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}

/// Functions whose value depends on the time of evaluation whatever their arguments.
const UNSAFE_FUNCTIONS: [&str; 15] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "end",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
];

/// The query with `@ at` on every selector, at other times.
fn at_modifier_queries(query: &str, at: i64) -> Vec<(String, i64)> {
    let Ok(mut expr) = parse_expr(query, ParseOptions::ALL) else { return Vec::new() };
    if !pin(&mut expr, at, false) {
        return Vec::new();
    }
    let query = expr.to_string();
    let times = if at == 0 { vec![-1000, 0, 1000] } else { vec![-10 * at, 0, at / 5, at, 10 * at] };
    times.into_iter().map(|time| (query.clone(), time)).collect()
}

/// Sets `@ at` where none is; answers whether the query then has one value for all times.
fn pin(expr: &mut Expr, at: i64, inside_pinned: bool) -> bool {
    let at_modifier = Some(At::Timestamp(at));
    let mut inside = inside_pinned;
    let mut is_safe = true;
    match &mut expr.kind {
        ExprKind::Vector(selector) if !inside => selector.at = selector.at.or(at_modifier),
        ExprKind::Matrix(matrix) if !inside => matrix.vector.at = matrix.vector.at.or(at_modifier),
        ExprKind::Subquery(subquery) if !inside => {
            let own = matches!(subquery.at, Some(At::Timestamp(_)));
            subquery.at = subquery.at.or(at_modifier);
            // What is inside follows the subquery's own time.
            inside = own || matches!(subquery.at, Some(At::Timestamp(_)));
        }
        ExprKind::Call(call) if !inside => is_safe = !UNSAFE_FUNCTIONS.contains(&call.function.name),
        _ => {}
    }
    for child in expr.children_mut() {
        is_safe &= pin(child, at, inside);
    }
    is_safe
}
