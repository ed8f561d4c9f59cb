//! Runs queries: plans, reads pages through the store's seam on several threads, evaluates.
//!
//! Invariant ENGINE-1: a query reads at most its budget of bytes and lines, ends soon after its deadline or
//! cancellation, and no thread goes on working for a query whose future was dropped.

mod aggregate;
mod binary;
mod counted;
mod evaluate;
mod grid;
mod mine;
mod plan;
mod samples;
mod series;
mod streams;
mod tail;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::{Direction, ErrorKind, Labels, Matcher, TenantId, TimeRange};
use parking_lot::Mutex;
use runtime::{Clock, SystemClock, Tasks};
use storage_api::{LogPage, LogQuerier, LogSelect};
use tokio_util::sync::CancellationToken;

use crate::output::{MatrixSeries, QueryOutput, QueryResult, QueryStats, VectorSample};
use crate::pipeline::Pipeline;
use crate::scan::{self, Budget, StopOnDrop};
use crate::syntax::{self, Expr, LogExpr, MetricExpr};
use crate::{LogqlError, LogqlResult};
use counted::Counted;
use evaluate::Value;
use grid::Grid;
use series::SeriesSet;

pub use mine::LinePattern;
pub(crate) use plan::matchers;
pub use tail::TailQuery;

/// How queries run and what they may use.
#[derive(Clone)]
pub struct EngineSettings {
    /// What `now` is in templates.
    pub clock: Arc<dyn Clock>,
    /// Owner of the threads that read pages.
    pub tasks: Tasks,
    /// Threads per query; default all cores.
    pub threads: usize,
    /// Longest run of a query; default 1 minute (Loki's `query_timeout`).
    pub timeout: Duration,
    /// Most lines a log query may ask for; default 5000 (Loki's `max_entries_limit_per_query`), 0 for no limit.
    pub entries_max: u32,
    /// Most steps of a range query less one; default 11,000.
    pub steps_max: u32,
    /// Most series in an answer; default 10,000. Beyond it the largest are answered, with a warning.
    pub series_max: usize,
    /// Most bytes of lines a query may look at; default no limit.
    pub bytes_max: u64,
    /// Most lines a query may look at; default no limit.
    pub lines_max: u64,
    /// Most bytes that results in the making may hold; default 256 MiB, because 20 queries may run at once.
    pub memory_max: u64,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            tasks: Tasks::new(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            timeout: Duration::from_secs(60),
            entries_max: 5000,
            steps_max: 11_000,
            series_max: 10_000,
            bytes_max: u64::MAX,
            lines_max: u64::MAX,
            memory_max: 256 << 20,
        }
    }
}

/// Parameters of a range query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryParams {
    /// First time, ns, included.
    pub start_ns: i64,
    /// Last time, ns: excluded for log lines, included for steps.
    pub end_ns: i64,
    /// Distance of steps, ns; ignored by log queries.
    pub step_ns: i64,
    /// Most lines; ignored by metric queries.
    pub limit: u32,
    /// Order of lines.
    pub direction: Direction,
    /// Least distance between two lines of the answer, ns; 0 for all lines.
    pub interval_ns: i64,
}

/// Runs LogQL queries.
#[derive(Clone, Default)]
pub struct Engine {
    settings: EngineSettings,
}

/// What a running query works with.
struct Execution<'a> {
    settings: &'a EngineSettings,
    tenant: &'a TenantId,
    querier: &'a dyn LogQuerier,
    budget: Arc<Budget>,
    cancel: &'a CancellationToken,
    /// Times that were read: for them the store is asked what answers miss.
    read: Mutex<Vec<TimeRange>>,
}

impl Engine {
    /// An engine.
    pub fn new(settings: EngineSettings) -> Self {
        Self { settings }
    }

    /// How its queries run.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// Runs a query over a range of time. Cancel-safe: dropping the future ends the work.
    pub async fn query_range(
        &self,
        query: &str,
        params: QueryParams,
        tenant: &TenantId,
        querier: Arc<dyn LogQuerier>,
        cancel: &CancellationToken,
    ) -> LogqlResult<QueryOutput> {
        let started = Instant::now();
        let (execution, _stop) = self.execution(tenant, querier.as_ref(), cancel);
        let (result, warnings) = match syntax::parse(query)? {
            Expr::Log(log) => (execution.streams(&log, &params).await?, Vec::new()),
            Expr::Metric(metric) => {
                let grid =
                    Grid::range(params.start_ns, params.end_ns, params.step_ns, self.settings.steps_max)?;
                let (value, _) = execution.metric(metric, grid).await?;
                matrix(value, &grid, self.settings.series_max)
            }
        };
        Ok(execution.output(result, warnings, started))
    }

    /// Runs a metric query at one time. Cancel-safe: dropping the future ends the work.
    pub async fn query_instant(
        &self,
        query: &str,
        time_ns: i64,
        tenant: &TenantId,
        querier: Arc<dyn LogQuerier>,
        cancel: &CancellationToken,
    ) -> LogqlResult<QueryOutput> {
        let started = Instant::now();
        let (execution, _stop) = self.execution(tenant, querier.as_ref(), cancel);
        let Expr::Metric(metric) = syntax::parse(query)? else {
            return Err(LogqlError::new(
                ErrorKind::Invalid,
                "log queries are not supported as an instant query type, please change your query to a range query \
                 type",
            ));
        };
        let grid = Grid::instant(time_ns)?;
        let (value, sorted_by_value) = execution.metric(metric, grid).await?;
        let (result, warnings) = vector(value, &grid, sorted_by_value, self.settings.series_max);
        Ok(execution.output(result, warnings, started))
    }

    fn execution<'a>(
        &'a self,
        tenant: &'a TenantId,
        querier: &'a dyn LogQuerier,
        cancel: &'a CancellationToken,
    ) -> (Execution<'a>, StopOnDrop) {
        let settings = &self.settings;
        let budget = Arc::new(Budget {
            deadline: Instant::now() + settings.timeout,
            bytes_max: settings.bytes_max,
            lines_max: settings.lines_max,
            memory_max: settings.memory_max,
            memory: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            metadata_bytes: AtomicU64::new(0),
            lines: AtomicU64::new(0),
            lines_kept: AtomicU64::new(0),
            pages_read: AtomicU64::new(0),
            pages_selected: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let stop = StopOnDrop(Arc::clone(&budget));
        (Execution { settings, tenant, querier, budget, cancel, read: Mutex::default() }, stop)
    }
}

impl Execution<'_> {
    async fn streams(&self, log: &LogExpr, params: &QueryParams) -> LogqlResult<QueryResult> {
        streams::check_limit(params.limit, self.settings.entries_max)?;
        if params.end_ns < params.start_ns {
            return Err(LogqlError::limit("end timestamp must not be before or equal to start time"));
        }
        let pipeline = Arc::new(Pipeline::compile(&log.stages, self.settings.clock.now_ns())?);
        // The end is excluded; an empty range (start = end) selects nothing.
        let range = TimeRange::new(params.start_ns, params.end_ns.saturating_sub(1));
        let pages = self.select(matchers(&log.matchers)?, range, &pipeline, params.direction).await?;
        let run = streams::run(
            &self.settings.tasks,
            &self.budget,
            scan::plan(pages),
            &pipeline,
            params,
            range,
            self.settings.threads,
        );
        Ok(QueryResult::Streams(self.guarded(run).await?))
    }

    /// The value of a metric query, and whether it is ordered by value.
    async fn metric(&self, metric: MetricExpr, grid: Grid) -> LogqlResult<(Value, bool)> {
        let plan = plan::plan(metric, &grid, self.settings.clock.now_ns())?;
        let mut samples = Vec::with_capacity(plan.leaves.len());
        for leaf in &plan.leaves {
            let range = samples::select_range(&leaf.spec);
            let counted = self.counts(leaf).await?;
            let mut pages =
                self.offered(leaf.matchers.clone(), range, &leaf.spec.pipeline, Direction::Forward).await?;
            let wanted = |page: TimeRange| TimeRange::new(page.min.max(range.min), page.max.min(range.max));
            pages.retain(|page| !counted.covers(page.labels(), wanted(page.range())));
            self.note_selected(&pages);
            let collect = samples::collect(
                &self.settings.tasks,
                &self.budget,
                scan::plan(pages),
                Arc::new(counted),
                Arc::clone(&leaf.spec),
                self.settings.threads,
            );
            samples.push(self.guarded(collect).await?);
        }
        let budget = Arc::clone(&self.budget);
        let evaluation = self.settings.tasks.spawn_blocking("logql evaluate", move || {
            evaluate::evaluate(&plan, &grid, samples, &budget).map(|value| (value, plan.sorts))
        });
        self.guarded(async {
            evaluation.await.map_err(|error| {
                LogqlError::new(ErrorKind::Internal, format!("the evaluation of the query failed: {error}"))
            })?
        })
        .await
    }

    /// What needs no reading. To be asked before pages are.
    async fn counts(&self, leaf: &plan::Leaf) -> LogqlResult<Counted> {
        let select = counted::plan(&leaf.spec, self.tenant, &leaf.matchers);
        let Some(select) = select.filter(|select| !select.range.is_empty()) else {
            return Ok(Counted::default());
        };
        let asked = async { self.querier.counts(&select).await.map_err(LogqlError::from) };
        Ok(Counted::new(self.guarded(asked).await?))
    }

    async fn select(
        &self,
        matchers: Vec<Matcher>,
        range: TimeRange,
        pipeline: &Pipeline,
        direction: Direction,
    ) -> LogqlResult<Vec<Arc<dyn LogPage>>> {
        let pages = self.offered(matchers, range, pipeline, direction).await?;
        self.note_selected(&pages);
        Ok(pages)
    }

    fn note_selected(&self, pages: &[Arc<dyn LogPage>]) {
        self.budget.pages_selected.fetch_add(pages.len() as u64, Ordering::Relaxed);
    }

    /// Pages that the store offers, of which not all need be read.
    async fn offered(
        &self,
        matchers: Vec<Matcher>,
        range: TimeRange,
        pipeline: &Pipeline,
        direction: Direction,
    ) -> LogqlResult<Vec<Arc<dyn LogPage>>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let select = LogSelect {
            tenant: self.tenant.clone(),
            range,
            matchers,
            line_contains: pipeline.search().contained_texts(),
        };
        self.read.lock().push(range);
        self.guarded(async { self.querier.select(&select, direction).await.map_err(LogqlError::from) }).await
    }

    /// Waits for `work` until the deadline or cancellation.
    async fn guarded<T>(&self, work: impl Future<Output = LogqlResult<T>>) -> LogqlResult<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(LogqlError::new(ErrorKind::Canceled, "the query was canceled")),
            result = work => result,
            () = tokio::time::sleep_until(self.budget.deadline.into()) => Err(LogqlError::timed_out()),
        }
    }

    fn output(&self, result: QueryResult, mut warnings: Vec<String>, started: Instant) -> QueryOutput {
        for range in self.read.lock().drain(..) {
            let missing = self.querier.missing(self.tenant, range).into_iter();
            let new: Vec<String> = missing.filter(|sentence| !warnings.contains(sentence)).collect();
            warnings.extend(new);
        }
        let entries_returned = match &result {
            QueryResult::Streams(streams) => streams.entries.len(),
            QueryResult::Matrix(series) => series.len(),
            QueryResult::Vector(samples) => samples.len(),
            QueryResult::Scalar { .. } => 0,
        };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let stats = QueryStats {
            exec_time: started.elapsed(),
            bytes_processed: count(&self.budget.bytes),
            metadata_bytes_processed: count(&self.budget.metadata_bytes),
            lines_processed: count(&self.budget.lines),
            lines_after_filters: count(&self.budget.lines_kept),
            pages_read: count(&self.budget.pages_read),
            pages_selected: count(&self.budget.pages_selected),
            entries_returned: entries_returned as u64,
        };
        QueryOutput { result, stats, warnings }
    }
}

/// The answer of a range query.
fn matrix(value: Value, grid: &Grid, series_max: usize) -> (QueryResult, Vec<String>) {
    let series = match value {
        Value::Series(series) => series,
        Value::Number(value) => {
            let points = (0..grid.count).map(|step| (step, value)).collect();
            vec![series::Series { labels: Labels::empty(), points }]
        }
    };
    let (mut series, warnings) = largest(series, series_max);
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    let with_times = |series: series::Series| MatrixSeries {
        labels: series.labels,
        points: series.points.into_iter().map(|(step, value)| (grid.time_ms(step), value)).collect(),
    };
    (QueryResult::Matrix(series.into_iter().map(with_times).collect()), warnings)
}

/// The answer of an instant query.
fn vector(value: Value, grid: &Grid, sorted_by_value: bool, series_max: usize) -> (QueryResult, Vec<String>) {
    let timestamp_ms = grid.time_ms(0);
    let series = match value {
        Value::Number(value) => return (QueryResult::Scalar { timestamp_ms, value }, Vec::new()),
        Value::Series(series) => series,
    };
    let (mut series, warnings) = largest(series, series_max);
    if !sorted_by_value {
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    let sample = |series: series::Series| {
        let value = series.points.first().expect("operators drop series without points").1;
        VectorSample { labels: series.labels, timestamp_ms, value }
    };
    (QueryResult::Vector(series.into_iter().map(sample).collect()), warnings)
}

/// At most `series_max` series: those with the largest sums, in their order, and a warning when some are left out.
fn largest(mut series: SeriesSet, series_max: usize) -> (SeriesSet, Vec<String>) {
    series.retain(|series| !series.points.is_empty());
    let total = series.len();
    if total <= series_max {
        return (series, Vec::new());
    }
    let sum = |series: &series::Series| series.points.iter().map(|(_, value)| value).sum::<f64>();
    let mut sums: Vec<(f64, usize)> = series.iter().map(sum).zip(0..).collect();
    sums.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut kept = vec![false; total];
    sums[..series_max].iter().for_each(|(_, index)| kept[*index] = true);
    let mut keep = kept.iter();
    series.retain(|_| *keep.next().expect("one flag per series"));
    let warning = format!(
        "maximum number of series ({series_max}) reached for a single query; the answer has the {series_max} largest \
         of {total}"
    );
    (series, vec![warning])
}

#[cfg(test)]
mod tests;
