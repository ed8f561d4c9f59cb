//! A query frontend inside the process (pkg/queryfrontend): a range query becomes one for each day, days that were
//! answered before come from memory, the others run side by side, and one whose store was away for a moment runs again.
//!
//! Unlike Thanos' frontend it does not move a query's start to a multiple of its step: where the steps lie is part of
//! what an answer is known by. FRONTEND-1: an answer in which something was missing is never kept, nor is what is newer
//! than `max_freshness`, nor what may still change.

mod cache;
mod split;

use std::future::Future;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use metrics::counter;
use model::ErrorKind;
use parking_lot::Mutex;
use promql::{PromqlResult, QueryOutput, QueryStats, QueryValue};
use runtime::Clock;

use cache::{Extent, Key, ResultCache, Values};
use split::{Steps, allowed};

/// How range queries are taken apart and kept.
#[derive(Clone, Copy, Debug)]
pub struct FrontendSettings {
    /// Length of the parts, ms; 0 leaves queries whole.
    pub split_interval_ms: i64,
    /// Memory for answers, bytes; 0 keeps none.
    pub cache_bytes: u64,
    /// What is newer than this is not kept, ms.
    pub max_freshness_ms: i64,
    /// How often a part runs again whose store was away.
    pub retries: usize,
    /// Parts of a query that run at a time.
    pub parallelism: usize,
}

/// Takes range queries apart and keeps their answers.
pub struct Frontend {
    settings: FrontendSettings,
    cache: Mutex<ResultCache>,
    clock: Arc<dyn Clock>,
}

/// A range query.
#[derive(Clone, Copy, Debug)]
pub struct RangeQuery<'a> {
    /// All that the answer depends on beside text and times: tenant, stores, how they are merged. `None` keeps nothing.
    pub scope: Option<&'a str>,
    /// The text.
    pub query: &'a str,
    /// First time, ms.
    pub start_ms: i64,
    /// Last time, ms.
    pub end_ms: i64,
    /// Time between two evaluations, ms.
    pub step_ms: i64,
}

/// What of an answer may be kept, once it is known that nothing was missing in it.
#[derive(Debug, Default)]
pub struct Answered {
    extents: Vec<(Key, Extent)>,
}

/// A part of a query: an interval with what is known of it.
struct Part {
    key: Option<Key>,
    steps: Steps,
    known: Option<Arc<Extent>>,
    /// Steps that have to be asked for, in front of and behind what is known.
    asked: Vec<Steps>,
}

impl Frontend {
    /// A frontend without any answers yet.
    pub fn new(settings: FrontendSettings, clock: Arc<dyn Clock>) -> Self {
        let bytes_max = usize::try_from(settings.cache_bytes).unwrap_or(usize::MAX);
        Self { settings, cache: Mutex::new(ResultCache::new(bytes_max)), clock }
    }

    /// Forgets all answers, as after a deletion.
    pub fn forget(&self) {
        let bytes_max = usize::try_from(self.settings.cache_bytes).unwrap_or(usize::MAX);
        *self.cache.lock() = ResultCache::new(bytes_max);
    }

    /// Answers a query by `run`, which evaluates it between two times, and by what is known.
    pub async fn range<F, R>(&self, query: &RangeQuery<'_>, run: F) -> PromqlResult<(QueryOutput, Answered)>
    where
        F: Fn(i64, i64) -> R,
        R: Future<Output = PromqlResult<QueryOutput>>,
    {
        counter!("thanos_query_frontend_queries_total", "op" => "query_range").increment(1);
        let allowed = allowed(query.query);
        let steps = Steps::new(query.start_ms, query.end_ms, query.step_ms).filter(|_| allowed.split);
        let Some(steps) = steps else {
            return Ok((self.retried(|| run(query.start_ms, query.end_ms)).await?, Answered::default()));
        };
        let parts = self.parts(query, steps, allowed.cache);
        let asked: Vec<Steps> = parts.iter().flat_map(|part| part.asked.iter().copied()).collect();
        let answers: Vec<QueryOutput> = stream::iter(asked)
            .map(|steps| {
                self.retried({
                    let run = &run;
                    move || run(steps.first, steps.last)
                })
            })
            .buffered(self.settings.parallelism.max(1))
            .try_collect()
            .await?;
        Ok(self.put_together(parts, answers))
    }

    /// Keeps what was answered.
    pub fn keep(&self, answered: Answered) {
        let until = self.clock.now_ms().saturating_sub(self.settings.max_freshness_ms);
        let mut cache = self.cache.lock();
        for (key, Extent { steps, values }) in answered.extents {
            match steps.between(steps.first, until) {
                Some(old) if old == steps => cache.put(key, Extent { steps, values }),
                Some(old) => cache.put(key, Extent { steps: old, values: values.between(old) }),
                None => {}
            }
        }
    }

    /// Runs a part again while its store is away.
    async fn retried<R>(&self, run: impl Fn() -> R) -> PromqlResult<QueryOutput>
    where
        R: Future<Output = PromqlResult<QueryOutput>>,
    {
        let mut left = self.settings.retries;
        loop {
            match run().await {
                Err(error) if error.kind() == ErrorKind::Unavailable && left > 0 => left -= 1,
                done => return done,
            }
        }
    }

    fn parts(&self, query: &RangeQuery<'_>, steps: Steps, is_cached: bool) -> Vec<Part> {
        let interval = self.settings.split_interval_ms;
        let scope = query.scope.filter(|_| is_cached && self.settings.cache_bytes > 0);
        let shared = scope.map(|scope| (Arc::<str>::from(scope), Arc::<str>::from(query.query)));
        let mut cache = self.cache.lock();
        let part = |steps: Steps| {
            let key = shared.as_ref().map(|(scope, query)| Key {
                scope: Arc::clone(scope),
                query: Arc::clone(query),
                step: steps.step,
                phase: steps.first.rem_euclid(steps.step),
                interval: if interval > 0 { steps.first.div_euclid(interval) } else { 0 },
            });
            let known = key.as_ref().and_then(|key| cache.get(key));
            if key.is_some() {
                counter!("tidegate_query_frontend_cache_requests_total").increment(1);
                counter!("tidegate_query_frontend_cache_hits_total").increment(u64::from(known.is_some()));
            }
            // What does not touch the part is of no use to it: the runs in between would have to be asked for as well.
            let known = known.filter(|known| {
                known.steps.first <= steps.last.saturating_add(steps.step)
                    && steps.first <= known.steps.last.saturating_add(steps.step)
            });
            let asked = match &known {
                None => vec![steps],
                Some(known) => {
                    let front = steps.between(steps.first, known.steps.first.saturating_sub(1));
                    let back = steps.between(known.steps.last.saturating_add(1), steps.last);
                    front.into_iter().chain(back).collect()
                }
            };
            Part { key, steps, known, asked }
        };
        steps.split(interval).into_iter().map(part).collect()
    }

    /// The whole answer, and what of it is new.
    fn put_together(&self, parts: Vec<Part>, answers: Vec<QueryOutput>) -> (QueryOutput, Answered) {
        let mut stats = QueryStats::default();
        let mut answers = answers.into_iter();
        let mut values = Vec::new();
        let mut answered = Answered::default();
        for Part { key, steps, known, asked } in parts {
            let new = asked.iter().zip(&mut answers).map(|(steps, output)| {
                stats.peak_samples = stats.peak_samples.max(output.stats.peak_samples);
                stats.samples_read += output.stats.samples_read;
                stats.series_selected += output.stats.series_selected;
                Extent { steps: *steps, values: of_output(output) }
            });
            let new: Vec<Extent> = new.collect();
            if new.is_empty() {
                values.extend(known.map(|known| known.values.between(steps)));
                continue;
            }
            let Some(key) = key else {
                values.extend(new.into_iter().map(|extent| extent.values));
                continue;
            };
            let mut runs: Vec<Extent> = known.iter().map(|known| (**known).clone()).chain(new).collect();
            runs.sort_by_key(|run| run.steps.first);
            let first = runs.iter().map(|run| run.steps.first).min().unwrap_or(steps.first);
            let last = runs.iter().map(|run| run.steps.last).max().unwrap_or(steps.last);
            let joined = Values::join(runs.into_iter().map(|run| run.values).collect());
            let whole = Steps { first, last, step: steps.step };
            values.push(if whole == steps { joined.clone() } else { joined.between(steps) });
            answered.extents.push((key, Extent { steps: whole, values: joined }));
        }
        let Values { series, warnings, infos } = Values::join(values);
        (QueryOutput { value: QueryValue::Matrix(series), warnings, infos, stats }, answered)
    }
}

/// A range query always answers with a matrix.
fn of_output(output: QueryOutput) -> Values {
    let series = match output.value {
        QueryValue::Matrix(series) => series,
        QueryValue::Scalar(_) | QueryValue::String { .. } | QueryValue::Vector(_) => Vec::new(),
    };
    Values { series, warnings: output.warnings, infos: output.infos }
}

#[cfg(test)]
mod tests;
