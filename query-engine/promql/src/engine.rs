//! The query engine: parse, plan, select (async), evaluate (off the async threads).

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{ErrorKind, Sample, TenantId};
use runtime::Tasks;
use storage_api::{MetricsQuerier, MetricsSelect, SelectHints, Series};
use tokio::sync::Semaphore;

use crate::error::{PromqlError, PromqlResult};
use crate::exec::column::{Cell, Column, SeriesColumn};
use crate::exec::context::{Cancel, Context, Limits};
use crate::exec::grid::Grid;
use crate::exec::{Evaluator, Value};
use crate::output::{MatrixSeries, QueryOutput, QueryStats, QueryValue, SampleValue, VectorSample};
use crate::plan::{Plan, PlanContext, plan, split};
use crate::syntax::{Expr, ExprKind, ParseOptions, ValueType, parse_expr};

/// What an engine allows and assumes. The names of Prometheus' flags are in brackets.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Longest run of a query (`query.timeout`). Default 2 m.
    pub timeout: Duration,
    /// Most samples that a query holds at one time (`query.max-samples`). Default 50,000,000.
    pub samples_max: u64,
    /// Most bytes of columns that a query holds at one time. Default 512 MiB.
    pub memory_bytes_max: u64,
    /// How far back an instant selector looks (`query.lookback-delta`). Default 5 m.
    pub lookback_delta: Duration,
    /// Step of subqueries that name none (the global evaluation interval). Default 1 m.
    pub subquery_step: Duration,
    /// Queries that run at the same time; others wait (`query.max-concurrency`). Default 20.
    pub concurrency_max: usize,
    /// Threads that one query may use. Default: all cores.
    pub threads: usize,
    /// Below this many values (series times steps) a further thread costs more than it gains. Default 20,000; tests set 1.
    pub cells_per_thread_min: usize,
    /// Metric names are dropped at the end of a query only (`promql-delayed-name-removal`). Default off.
    pub delayed_name_removal: bool,
    /// `__type__` and `__unit__` are part of the data model (`type-and-unit-labels`). Default off.
    pub type_and_unit_labels: bool,
    /// Which parts of the language are on.
    pub parse: ParseOptions,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(120),
            samples_max: 50_000_000,
            memory_bytes_max: 512 << 20,
            lookback_delta: Duration::from_secs(300),
            subquery_step: Duration::from_secs(60),
            concurrency_max: 20,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
            cells_per_thread_min: 20_000,
            delayed_name_removal: false,
            type_and_unit_labels: false,
            parse: ParseOptions::default(),
        }
    }
}

/// Evaluates queries. Clones share everything.
#[derive(Clone, Debug)]
pub struct Engine {
    settings: Arc<EngineSettings>,
    tasks: Tasks,
    running: Arc<Semaphore>,
}

/// What a single query asks beside its text and time.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Whose data.
    pub tenant: TenantId,
    /// A shorter timeout than the engine's.
    pub timeout: Option<Duration>,
    /// In place of the engine's.
    pub lookback_delta: Option<Duration>,
    /// A smaller limit than the engine's.
    pub samples_max: Option<u64>,
    /// Stops the query. Dropping its future does so too.
    pub cancel: Cancel,
}

/// The times of a query.
#[derive(Clone, Copy, Debug)]
struct Times {
    start_ms: i64,
    end_ms: i64,
    /// Absent for an instant query.
    step_ms: Option<i64>,
}

/// Cancels the evaluation when the future that waits for it is dropped.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Engine {
    /// An engine that runs its evaluations as tasks of `tasks`.
    pub fn new(settings: EngineSettings, tasks: Tasks) -> Self {
        let running = Arc::new(Semaphore::new(settings.concurrency_max.clamp(1, Semaphore::MAX_PERMITS)));
        Self { settings: Arc::new(settings), tasks, running }
    }

    /// The settings.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// Evaluates `query` at one time (ms).
    pub async fn instant(
        &self,
        query: &str,
        at_ms: i64,
        querier: &dyn MetricsQuerier,
        options: QueryOptions,
    ) -> PromqlResult<QueryOutput> {
        let times = Times { start_ms: at_ms, end_ms: at_ms, step_ms: None };
        self.run(query, times, querier, options).await
    }

    /// Evaluates `query` at every `step_ms` from `start_ms` to `end_ms`.
    pub async fn range(
        &self,
        query: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        querier: &dyn MetricsQuerier,
        options: QueryOptions,
    ) -> PromqlResult<QueryOutput> {
        if step_ms <= 0 {
            let text =
                "zero or negative query resolution step widths are not accepted. Try a positive integer";
            return Err(PromqlError::execution(text));
        }
        let times = Times { start_ms, end_ms, step_ms: Some(step_ms) };
        self.run(query, times, querier, options).await
    }

    async fn run(
        &self,
        query: &str,
        times: Times,
        querier: &dyn MetricsQuerier,
        options: QueryOptions,
    ) -> PromqlResult<QueryOutput> {
        let settings = &self.settings;
        let timeout = options.timeout.map_or(settings.timeout, |timeout| timeout.min(settings.timeout));
        let deadline = Instant::now() + timeout;
        let expr = parse_expr(query, settings.parse)?;
        let expr_type = expr.value_type();
        if times.step_ms.is_some() && !matches!(expr_type, ValueType::Scalar | ValueType::Vector) {
            let got = match expr_type {
                ValueType::Matrix => "range vector",
                _ => "string",
            };
            return Err(PromqlError::invalid_range_type(got));
        }
        let grid = match times.step_ms {
            None => Grid::instant(times.start_ms),
            Some(step_ms) => Grid::range(times.start_ms, times.end_ms, step_ms),
        };
        let lookback = options.lookback_delta.unwrap_or(settings.lookback_delta);
        let plan_context = PlanContext {
            grid,
            end_ms: times.end_ms,
            step_ms: times.step_ms.unwrap_or(0),
            lookback_ms: millis(lookback),
            subquery_step_ms: millis(settings.subquery_step).max(1),
        };
        let mut plan = plan(expr, &plan_context)?;
        let hints = if querier.wants_hints() { split(&mut plan, &plan_context) } else { Vec::new() };
        let context = Context::new(Limits {
            cancel: options.cancel.clone(),
            deadline,
            samples_max: options
                .samples_max
                .map_or(settings.samples_max, |max| max.min(settings.samples_max)),
            memory_bytes_max: settings.memory_bytes_max,
            threads: settings.threads,
            cells_per_thread_min: settings.cells_per_thread_min,
            lookback_ms: plan_context.lookback_ms,
            subquery_step_ms: plan_context.subquery_step_ms,
            delayed_name_removal: settings.delayed_name_removal,
            type_and_unit_labels: settings.type_and_unit_labels,
        });
        let _cancel = CancelOnDrop(options.cancel);
        let queued =
            tokio::time::timeout_at(deadline.into(), Arc::clone(&self.running).acquire_owned()).await;
        let Ok(Ok(permit)) = queued else {
            return Err(PromqlError::of_kind(ErrorKind::Timeout, "query timed out in query queue"));
        };
        let selected = select(&plan, &hints, querier, &options.tenant, deadline).await?;
        context.check()?;
        let query = query.to_owned();
        let is_instant = times.step_ms.is_none();
        let work = move || {
            // Held until the evaluation really ended, even if nobody waits for it any more.
            let _permit = permit;
            let evaluate = || evaluate(&query, &plan, grid, is_instant, expr_type, &context, &selected);
            if depth(&plan.expr) <= SHALLOW_DEPTH { evaluate() } else { on_large_stack(evaluate) }
        };
        self.tasks.spawn_blocking("promql query", work).await.map_err(|error| {
            PromqlError::of_kind(ErrorKind::Internal, format!("query evaluation failed: {error}"))
        })?
    }
}

/// Trees up to this depth are evaluated on the thread at hand.
const SHALLOW_DEPTH: usize = 32;

/// Enough for the deepest tree that the parser accepts; only what is touched takes memory.
const LARGE_STACK_BYTES: usize = 64 << 20;

fn depth(expr: &Expr) -> usize {
    1 + expr.children().into_iter().map(depth).max().unwrap_or(0)
}

/// Runs `work` on a thread of its own with a stack for deep recursion, and waits for it.
fn on_large_stack<T: Send>(work: impl FnOnce() -> PromqlResult<T> + Send) -> PromqlResult<T> {
    let builder = std::thread::Builder::new().name("promql deep query".to_owned());
    std::thread::scope(|scope| {
        let thread = builder.stack_size(LARGE_STACK_BYTES).spawn_scoped(scope, work).map_err(|error| {
            let text = format!("no thread for a deep query: {error}");
            PromqlError::of_kind(ErrorKind::Unavailable, text)
        })?;
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Reads what the plan asks for, under the query's deadline.
///
/// `hints` has one entry for each select, or none at all.
async fn select(
    plan: &Plan,
    hints: &[SelectHints],
    querier: &dyn MetricsQuerier,
    tenant: &TenantId,
    deadline: Instant,
) -> PromqlResult<Vec<Arc<[Series]>>> {
    let read = async {
        let selects: Vec<MetricsSelect> = plan
            .selects
            .iter()
            .map(|s| MetricsSelect { tenant: tenant.clone(), range: s.range, matchers: s.matchers.clone() })
            .collect();
        let reads = selects.iter().enumerate().map(|(index, select)| match hints.get(index) {
            Some(hints) => querier.select_hinted(select, hints),
            None => querier.select(select),
        });
        futures_util::future::try_join_all(reads).await
    };
    let found = tokio::time::timeout_at(deadline.into(), read)
        .await
        .map_err(|_| PromqlError::of_kind(ErrorKind::Timeout, "query timed out in expanding series"))?;
    Ok(found?.into_iter().map(Arc::from).collect())
}

fn evaluate(
    query: &str,
    plan: &Plan,
    grid: Grid,
    is_instant: bool,
    expr_type: ValueType,
    context: &Context,
    selected: &[Arc<[Series]>],
) -> PromqlResult<QueryOutput> {
    let evaluator = Evaluator { context, selected };
    let value = match (is_instant, expr_type) {
        (true, ValueType::Matrix) => QueryValue::Matrix(sorted(evaluator.matrix(&plan.expr, grid)?)),
        (true, _) => instant_value(evaluator.run(plan, grid)?, grid),
        (false, _) => range_value(evaluator.run(plan, grid)?, grid),
    };
    let (warnings, infos) = context.take_annotations().into_texts(query);
    let (peak_samples, samples_read) = context.counts();
    let series_selected = selected.iter().map(|series| series.len() as u64).sum();
    let stats = QueryStats { peak_samples, samples_read, series_selected };
    Ok(QueryOutput { value, warnings, infos, stats })
}

fn sorted(mut series: Vec<MatrixSeries>) -> Vec<MatrixSeries> {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series
}

fn instant_value(value: Value, grid: Grid) -> QueryValue {
    let timestamp_ms = grid.start_ms;
    match value {
        Value::Scalar(values) => {
            QueryValue::Scalar(Sample { timestamp_ms, value: values.first().copied().unwrap_or(f64::NAN) })
        }
        Value::String(value) => QueryValue::String { timestamp_ms, value },
        Value::Vector(series) => {
            let sample = |SeriesColumn { key, column }: SeriesColumn| {
                let value = match column.get(0)? {
                    Cell::Float(value) => SampleValue::Float(value),
                    Cell::Histogram(histogram) => SampleValue::Histogram(Arc::clone(histogram)),
                };
                Some(VectorSample { labels: key.labels, timestamp_ms, value })
            };
            QueryValue::Vector(series.into_iter().filter_map(sample).collect())
        }
    }
}

fn range_value(value: Value, grid: Grid) -> QueryValue {
    let series = match value {
        Value::Scalar(values) => vec![matrix_series(model::Labels::empty(), &Column::floats(values), grid)],
        Value::String(_) => Vec::new(),
        Value::Vector(series) => {
            series.into_iter().map(|s| matrix_series(s.key.labels, &s.column, grid)).collect()
        }
    };
    QueryValue::Matrix(sorted(series))
}

/// The samples of a column.
pub(crate) fn matrix_series(labels: model::Labels, column: &Column, grid: Grid) -> MatrixSeries {
    let mut series = MatrixSeries { labels, floats: Vec::new(), histograms: Vec::new() };
    for step in 0..column.values.len() {
        let timestamp_ms = grid.time(step);
        match column.get(step) {
            None => {}
            Some(Cell::Float(value)) => series.floats.push(Sample { timestamp_ms, value }),
            Some(Cell::Histogram(histogram)) => {
                series.histograms.push((timestamp_ms, Arc::clone(histogram)));
            }
        }
    }
    series
}

/// Whether the query is only a range selector in parentheses.
pub(crate) fn unwrap_expr(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Paren(inner) | ExprKind::StepInvariant(inner) => unwrap_expr(inner),
        _ => expr,
    }
}
