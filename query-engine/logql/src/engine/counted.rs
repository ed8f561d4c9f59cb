//! What a range aggregation counts without reading lines: from the store's counts by stream and minute.
//!
//! Invariant COUNTED-1: an entry is either in a count or read, never both: times that the store counted are left out
//! of what is read, and counts are asked for before pages. Only windows whose edges all lie on whole minutes are
//! counted; then all entries of a bucket but those just at its start belong to the same windows.

use std::ops::Range;

use hashbrown::HashMap;
use model::{Labels, LogEntries, Matcher, TenantId, TimeRange};
use storage_api::{LogCountSelect, StreamCounts};

use super::samples::{Keep, SampleSpec, ValueOf};

/// Nanoseconds of a minute, the grain of the store's counts.
pub(super) const MINUTE_NS: i64 = 60_000_000_000;

/// First and last nanosecond of a stretch.
type Stretch = (i64, i64);

/// Counts of the streams of a range aggregation; without any, everything is read.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) streams: Vec<StreamCounts>,
    /// For each stream ascending, neither overlapping nor touching.
    stretches: HashMap<Labels, Vec<Stretch>>,
}

/// What to ask the store to count; `None` when lines or single times matter.
pub(super) fn plan(spec: &SampleSpec, tenant: &TenantId, matchers: &[Matcher]) -> Option<LogCountSelect> {
    let takes_all = spec.pipeline.is_search_only() && spec.pipeline.search().is_empty();
    if !takes_all || matches!(spec.value, ValueOf::Label { .. }) {
        return None;
    }
    let (origin_minute, bucket_minutes) = spec.windows.whole_minutes()?;
    Some(LogCountSelect {
        tenant: tenant.clone(),
        range: spec.windows.samples(),
        matchers: matchers.to_vec(),
        by: match &spec.keep {
            Keep::By(names) => Some(names.clone()),
            Keep::All | Keep::Without(_) => None,
        },
        bucket_minutes,
        origin_minute,
    })
}

impl Counted {
    pub(super) fn new(streams: Vec<StreamCounts>) -> Self {
        let mut stretches: HashMap<Labels, Vec<Stretch>> = HashMap::with_capacity(streams.len());
        for stream in &streams {
            let joined = stretches.entry(stream.labels.clone()).or_default();
            for &(first, last) in &stream.counted {
                match joined.last_mut() {
                    Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                    _ => joined.push((first, last)),
                }
            }
        }
        Self { streams, stretches }
    }

    fn stretches(&self, labels: &Labels) -> &[Stretch] {
        self.stretches.get(labels).map_or(&[], Vec::as_slice)
    }

    /// Whether nothing of the stream is left to read in `range`.
    pub(super) fn covers(&self, labels: &Labels, range: TimeRange) -> bool {
        let stretches = self.stretches(labels);
        let at = stretches.partition_point(|stretch| stretch.1 < range.min);
        stretches.get(at).is_some_and(|stretch| stretch.0 <= range.min && range.max <= stretch.1)
    }

    /// The parts of `inside` whose entries are in no count, ascending.
    pub(super) fn left_to_read(
        &self,
        labels: &Labels,
        entries: &LogEntries,
        inside: Range<usize>,
    ) -> Vec<Range<usize>> {
        let times = entries.timestamps_ns();
        let mut left = Vec::with_capacity(1);
        let mut at = inside.start;
        let stretches = self.stretches(labels);
        let begin = times[inside.clone()]
            .first()
            .map_or(0, |&time| stretches.partition_point(|stretch| stretch.1 < time));
        for &(first, last) in &stretches[begin..] {
            let rest = &times[at..inside.end];
            if rest.last().is_none_or(|&time| time < first) {
                break;
            }
            let from = at + rest.partition_point(|&time| time < first);
            if at < from {
                left.push(at..from);
            }
            at += rest.partition_point(|&time| time <= last);
        }
        if at < inside.end {
            left.push(at..inside.end);
        }
        left
    }
}
