//! Log queries: the newest (or oldest) entries that pass the pipeline.
//!
//! Pages come in the order in which their first entry can matter. Threads take them in that order and give what they
//! find to one collector, which keeps the best `limit` entries; once it is full and the next page can only hold worse
//! ones, reading ends. The order is total (time, stream labels, page, position), so that a client that pages by
//! asking again from the last timestamp sees equal times in the same order.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::Ordering as Atomic;

use model::{Direction, TimeRange};
use parking_lot::Mutex;

use super::QueryParams;
use crate::output::{ResultEntry, Streams};
use crate::pipeline::{Pipeline, PipelineRun, Wanted};
use crate::scan::{self, Budget, PageVisitor, ScanPage};
use crate::{LogqlError, LogqlResult};

/// Where an entry stands: time, stream, page of the stream, position in the page; ascending is forward.
type Place = (i64, u32, u32, u32);

struct Candidate {
    place: Place,
    /// Set when another page may hold a copy.
    identity: Option<u128>,
    entry: ResultEntry,
}

/// Entries found so far.
struct Collector {
    direction: Direction,
    /// How many entries the answer needs; without thinning also how many are kept.
    limit: usize,
    interval_ns: i64,
    candidates: Vec<Candidate>,
    /// With `interval`, how many candidates there are when the next try is made to settle some of them.
    settle_at: usize,
    /// With `interval`, thinned entries that nothing can come before any more.
    settled: Vec<ResultEntry>,
    last_kept_ns: Option<i64>,
    /// Which pages have been looked at, and the first that has not.
    visited: Vec<bool>,
    first_open: usize,
}

/// Sort the candidates when there are this many more than needed, so that each is moved a few times only.
const SLACK_MIN: usize = 256;

/// Runs a log query over planned pages.
pub(super) async fn run(
    tasks: &runtime::Tasks,
    budget: &Arc<Budget>,
    pages: Vec<ScanPage>,
    pipeline: &Arc<Pipeline>,
    params: &QueryParams,
    range: TimeRange,
    threads: usize,
) -> LogqlResult<Streams> {
    let collector = Arc::new(Mutex::new(Collector {
        direction: params.direction,
        limit: params.limit as usize,
        interval_ns: params.interval_ns.max(0),
        candidates: Vec::new(),
        settle_at: SLACK_MIN,
        settled: Vec::new(),
        last_kept_ns: None,
        visited: vec![false; pages.len()],
        first_open: 0,
    }));
    let bounds: Arc<Vec<TimeRange>> = Arc::new(pages.iter().map(|page| page.page.range()).collect());
    let wanted = Arc::new(Wanted::everything());
    let visitors: Vec<Visitor> = (0..threads.min(pages.len()).max(1))
        .map(|_| Visitor {
            pipeline: Arc::clone(pipeline),
            run: PipelineRun::new(pipeline, Arc::clone(&wanted)),
            collector: Arc::clone(&collector),
            bounds: Arc::clone(&bounds),
            budget: Arc::clone(budget),
            range,
            hits: Vec::new(),
        })
        .collect();
    scan::run(tasks, budget, Arc::new(pages), visitors).await?;
    let mut collector = collector.lock();
    let entries = collector.take(&bounds);
    Ok(Streams { entries })
}

struct Visitor {
    pipeline: Arc<Pipeline>,
    run: PipelineRun,
    collector: Arc<Mutex<Collector>>,
    bounds: Arc<Vec<TimeRange>>,
    budget: Arc<Budget>,
    range: TimeRange,
    hits: Vec<u32>,
}

impl PageVisitor for Visitor {
    type Output = ();

    fn visit(&mut self, index: usize, page: &ScanPage) -> LogqlResult<bool> {
        let bound = page.page.range();
        let (limit, direction, threshold, thins) = {
            let collector = self.collector.lock();
            if collector.is_settled_before(bound) {
                return Ok(false);
            }
            (collector.limit, collector.direction, collector.threshold(), collector.interval_ns > 0)
        };
        let found_max = if thins { usize::MAX } else { limit + copies(page, limit) };
        let mut found = Vec::new();
        if bound.overlaps(self.range)
            && let Some((entries, rows)) = scan::search(&*page.page, &self.budget)?
        {
            let (line_bytes, metadata_bytes) = scan::text_bytes(&entries, rows.clone());
            let inside = scan::inside(&entries, rows, self.range);
            self.budget.charge_page(line_bytes + metadata_bytes, metadata_bytes, inside.len())?;
            self.hits.clear();
            self.pipeline.search().select(&entries, inside, &mut self.hits);
            if direction == Direction::Backward {
                self.hits.reverse();
            }
            self.run.set_stream(&page.labels);
            for &hit in &self.hits {
                self.budget.check_stop()?;
                let at = hit as usize;
                let place = (entries.timestamps_ns()[at], page.stream, page.rank, hit);
                // Entries of a page come best first: after `limit` of them, or below what is kept, none can matter.
                let identity = page.contested.identity(&entries, at);
                if threshold.is_some_and(|worst| is_too_late(direction, place, worst, identity.is_some())) {
                    break;
                }
                if found.len() >= found_max {
                    break;
                }
                if !self.run.process(place.0, entries.line(at), entries.metadata(at)) {
                    continue;
                }
                let entry = result_entry(&self.run, place.0, entries.line(at));
                self.budget.charge_memory(held_bytes(&entry))?;
                found.push(Candidate { place, identity, entry });
            }
            self.budget.lines_kept.fetch_add(found.len() as u64, Atomic::Relaxed);
        }
        self.collector.lock().add(index, found, &self.bounds);
        Ok(true)
    }

    fn finish(self) {}
}

/// How many of a page's entries may turn out to be copies of others: then more than `limit` are needed from it.
fn copies(page: &ScanPage, limit: usize) -> usize {
    if page.contested.is_empty() { 0 } else { limit.max(page.page.len()) }
}

pub(super) fn result_entry(run: &PipelineRun, timestamp_ns: i64, original: &str) -> ResultEntry {
    let labels = run.labels();
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let stream = if labels.is_unchanged() {
        labels.base().clone()
    } else {
        let left = labels.stream_labels();
        let kept: Vec<(&str, &str)> = left.collect();
        if kept.len() == labels.base().len() {
            labels.base().clone()
        } else {
            model::Labels::from_pairs(kept)
        }
    };
    ResultEntry {
        timestamp_ns,
        line: run.line(original).to_owned(),
        stream,
        structured_metadata: labels.metadata().map(own).collect(),
        parsed: labels.parsed().map(own).collect(),
    }
}

/// About what an entry of the answer holds; labels that it shares with its stream are counted again.
fn held_bytes(entry: &ResultEntry) -> usize {
    const PAIR_BYTES: usize = 48;
    let pairs = entry.structured_metadata.len() + entry.parsed.len();
    entry.text_bytes() + pairs * PAIR_BYTES + entry.stream.text_bytes() + 128
}

/// Whether nothing from here on in a page can be better than `worst`. An entry that may have copies counts by its time
/// only, because the copy that gives it its place may not have been read yet.
fn is_too_late(direction: Direction, place: Place, worst: Place, may_have_copies: bool) -> bool {
    if may_have_copies {
        return match direction {
            Direction::Forward => place.0 > worst.0,
            Direction::Backward => place.0 < worst.0,
        };
    }
    order(direction, place, worst) == Ordering::Greater
}

/// Order in the answer: `Less` comes first.
fn order(direction: Direction, a: Place, b: Place) -> Ordering {
    match direction {
        Direction::Forward => a.cmp(&b),
        Direction::Backward => b.cmp(&a),
    }
}

impl Collector {
    /// The worst entry of a full set: worse ones need not be looked at.
    fn threshold(&self) -> Option<Place> {
        // A full set is sorted: see `trim`.
        let worst = self.candidates.get(self.limit - 1).filter(|_| self.interval_ns == 0);
        worst.map(|worst| worst.place)
    }

    /// Whether the answer is certain, given that all pages still to come lie within or beyond `bound`.
    fn is_settled_before(&self, bound: TimeRange) -> bool {
        if self.interval_ns > 0 {
            return self.settled.len() >= self.limit;
        }
        self.threshold().is_some_and(|(worst_ns, ..)| match self.direction {
            Direction::Forward => worst_ns < bound.min,
            Direction::Backward => worst_ns > bound.max,
        })
    }

    fn add(&mut self, index: usize, found: Vec<Candidate>, bounds: &[TimeRange]) {
        self.visited[index] = true;
        while self.visited.get(self.first_open) == Some(&true) {
            self.first_open += 1;
        }
        self.candidates.extend(found);
        if self.interval_ns > 0 {
            self.settle(bounds);
        } else if self.candidates.len() >= self.limit {
            self.trim();
        }
    }

    /// Sorts, drops copies and, without thinning, what is beyond the limit; only entries that may have copies and are
    /// as old as the last one stay, see `is_too_late`.
    fn trim(&mut self) {
        let direction = self.direction;
        drop_copies(&mut self.candidates);
        self.candidates.sort_unstable_by(|a, b| order(direction, a.place, b.place));
        let Some(worst) = self.threshold() else { return };
        let mut left = self.limit;
        self.candidates.retain(|candidate| {
            let within = left > 0;
            left = left.saturating_sub(1);
            within || (candidate.identity.is_some() && candidate.place.0 == worst.0)
        });
    }

    /// With thinning: moves entries that no open page can come before into the answer.
    fn settle(&mut self, bounds: &[TimeRange]) {
        let open = bounds.get(self.first_open);
        if open.is_some() && self.candidates.len() < self.settle_at {
            return;
        }
        self.trim();
        let certain = match (open, self.direction) {
            (None, _) => self.candidates.len(),
            (Some(open), Direction::Forward) => self.candidates.partition_point(|c| c.place.0 < open.min),
            (Some(open), Direction::Backward) => self.candidates.partition_point(|c| c.place.0 > open.max),
        };
        for candidate in self.candidates.drain(..certain) {
            let time = candidate.entry.timestamp_ns;
            let far_enough = self.last_kept_ns.is_none_or(|last| match self.direction {
                Direction::Forward => time >= last.saturating_add(self.interval_ns),
                Direction::Backward => time <= last.saturating_sub(self.interval_ns),
            });
            if far_enough && self.settled.len() < self.limit {
                self.last_kept_ns = Some(time);
                self.settled.push(candidate.entry);
            }
        }
        // Those that stay are sorted again only when as many have come, so that each is moved a few times only.
        self.settle_at = (2 * self.candidates.len()).max(SLACK_MIN);
    }

    fn take(&mut self, bounds: &[TimeRange]) -> Vec<ResultEntry> {
        self.first_open = bounds.len();
        if self.interval_ns > 0 {
            self.settle(bounds);
            return std::mem::take(&mut self.settled);
        }
        self.trim();
        self.candidates.truncate(self.limit);
        std::mem::take(&mut self.candidates).into_iter().map(|candidate| candidate.entry).collect()
    }
}

/// Of copies only the one in the oldest page stays, whatever the direction.
fn drop_copies(candidates: &mut Vec<Candidate>) {
    let mut first: hashbrown::HashMap<(u32, u128), Place> = hashbrown::HashMap::new();
    for candidate in candidates.iter() {
        let Some(identity) = candidate.identity else { continue };
        let place = first.entry((candidate.place.1, identity)).or_insert(candidate.place);
        *place = candidate.place.min(*place);
    }
    if !first.is_empty() {
        candidates.retain(|candidate| {
            candidate.identity.is_none_or(|identity| first[&(candidate.place.1, identity)] == candidate.place)
        });
    }
}

/// The check of a log query's limit, with Loki's text.
pub(super) fn check_limit(limit: u32, limit_max: u32) -> LogqlResult<()> {
    if limit == 0 {
        return Err(LogqlError::limit("limit must be a positive value"));
    }
    if limit_max > 0 && limit > limit_max {
        return Err(LogqlError::limit(format!(
            "max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {limit_max})"
        )));
    }
    Ok(())
}
