//! All that is due in a bucket, step by step, in Thanos' order but for one thing: retention and cleaning wait for no
//! backlog of compaction.

use std::collections::HashSet;
use std::sync::Arc;

use bucket::{Bucket, BucketBlock, BucketView, Fetcher, Mark, MarkKind, Reason, delete_block};
use model::ErrorKind;
use runtime::Clock;
use ulid::Ulid;

use crate::downsample::{RESOLUTION_1H, RESOLUTION_5M};
use crate::downsampling::{due, expired};
use crate::error::{CompactorError, CompactorResult};
use crate::group::{Group, groups, is_settled};
use crate::plan::{LeaveOut, Plan, plan};
use crate::settings::CompactorSettings;
use crate::watch::Watch;
use crate::work::{Workshop, tidy};

/// Blocks that are removed or marked at a time do not matter; compactions of one run have this bound, so that a fault in
/// a plan cannot turn it into a loop without end.
const STEPS_MAX: usize = 100_000;

/// Works on one bucket.
pub struct Compactor {
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
    settings: CompactorSettings,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Blocks that were made of several.
    pub compacted: usize,
    /// Blocks with windows that were made.
    pub downsampled: usize,
    /// Blocks that were marked to be removed.
    pub marked: usize,
    /// Blocks that were removed.
    pub removed: usize,
    /// Leftovers of uploads that were removed.
    pub cleaned: usize,
    /// Blocks that were left out because they are damaged or cannot be compacted.
    pub left_out: usize,
    /// Steps that failed and are due again.
    pub failed: usize,
}

/// What there is to do now.
#[derive(Clone, Debug, Default)]
pub struct Due {
    /// The next plan of each group that has one: its name, what it has in common, the plan.
    pub plans: Vec<(crate::GroupKey, Plan)>,
    /// Blocks to be downsampled, and to what, ms.
    pub downsample: Vec<(Ulid, i64)>,
    /// Blocks whose data others hold.
    pub duplicates: Vec<Ulid>,
    /// Blocks whose time is over.
    pub expired: Vec<Ulid>,
    /// Blocks that were marked long enough ago to be removed.
    pub removable: Vec<Ulid>,
    /// Leftovers of uploads that can be removed.
    pub leftovers: Vec<Ulid>,
}

impl Compactor {
    /// Works on `bucket`.
    pub fn new(bucket: Bucket, clock: Arc<dyn Clock>, settings: CompactorSettings) -> CompactorResult<Self> {
        settings.validate()?;
        Ok(Self { fetcher: Fetcher::new(bucket), clock, settings })
    }

    /// What is in the bucket now. Blocks.
    pub fn view(&self) -> CompactorResult<BucketView> {
        Ok(self.bucket().wait(self.fetcher.fetch())?)
    }

    fn bucket(&self) -> &Bucket {
        self.fetcher.bucket()
    }

    /// What is due, without doing it. Pure but for the time.
    pub fn due(&self, view: &BucketView) -> Due {
        let now_ms = self.clock.now_ms();
        let found = groups(view, &self.settings, now_ms);
        let visible: Vec<&BucketBlock> =
            found.groups.iter().flat_map(|group| group.blocks.iter().copied()).collect();
        let plans = found.groups.iter().map(|group| (group.key.clone(), self.plan(group)));
        let mut downsample = Vec::new();
        if self.settings.downsampling {
            for resolution_ms in [RESOLUTION_5M, RESOLUTION_1H] {
                let blocks = due(&visible, resolution_ms);
                downsample.extend(blocks.into_iter().map(|block| (block.ulid(), resolution_ms)));
            }
        }
        let is_old = |since_ms: i64, delay_ms: i64| now_ms.saturating_sub(since_ms) > delay_ms;
        let marks = view
            .blocks
            .iter()
            .map(|block| (block.ulid(), &block.deletion))
            .chain(view.partial.iter().map(|partial| (partial.ulid, &partial.deletion)));
        let removable = marks
            .filter(|(_, mark)| {
                mark.as_ref().is_some_and(|mark| {
                    is_old(mark.time_s.saturating_mul(1000), self.settings.delete_delay_ms)
                })
            })
            .map(|(ulid, _)| ulid)
            .collect();
        // One that has a description is none, even if nobody here can read it.
        let is_leftover = |partial: &&bucket::PartialBlock| {
            partial.fault.is_none()
                && partial.deletion.is_none()
                && is_old(partial.modified_ms, self.settings.partial_age_ms)
        };
        Due {
            plans: plans.filter(|(_, plan)| *plan != Plan::default()).collect(),
            downsample,
            expired: expired(&visible, &self.settings, now_ms),
            duplicates: found.duplicates,
            removable,
            leftovers: view.partial.iter().filter(is_leftover).map(|partial| partial.ulid).collect(),
        }
    }

    fn plan(&self, group: &Group<'_>) -> Plan {
        // One block alone is done, even if another will follow.
        if group.blocks.len() < 2 {
            return Plan::default();
        }
        plan(&group.blocks, &self.settings.ranges_ms, self.settings.index_bytes_max)
    }

    /// Does all that is due until nothing is. Blocks for as long as that takes. A step that fails is counted, and the
    /// others are done; an error is one of the whole bucket.
    pub fn run(&self, watch: &dyn Watch) -> CompactorResult<Done> {
        let mut done = Done::default();
        tidy(&self.settings)?;
        self.clean(watch, &mut done)?;
        self.compact(watch, &mut done)?;
        self.downsample(watch, &mut done)?;
        self.retain(watch, &mut done)?;
        tidy(&self.settings)?;
        Ok(done)
    }

    /// Removes blocks that were marked long enough ago, and leftovers of uploads.
    pub fn clean(&self, watch: &dyn Watch, done: &mut Done) -> CompactorResult<()> {
        let due = self.due(&self.view()?);
        for ulid in due.removable {
            check(watch)?;
            watch.begin(&format!("remove {ulid}"), 0);
            self.bucket().wait(delete_block(self.bucket(), ulid))?;
            done.removed += 1;
            metrics::counter!("thanos_compact_blocks_cleaned_total").increment(1);
        }
        for ulid in due.leftovers {
            check(watch)?;
            watch.begin(&format!("remove what is left of the upload of {ulid}"), 0);
            self.bucket().wait(delete_block(self.bucket(), ulid))?;
            done.cleaned += 1;
            metrics::counter!("thanos_compact_aborted_partial_uploads_deletion_attempts_total").increment(1);
        }
        Ok(())
    }

    /// Compacts until no group has anything left to do.
    pub fn compact(&self, watch: &dyn Watch, done: &mut Done) -> CompactorResult<()> {
        // Groups with a step that failed are left for the next run.
        let mut failed: HashSet<String> = HashSet::new();
        for _ in 0..STEPS_MAX {
            let view = self.view()?;
            let now_ms = self.clock.now_ms();
            let found = groups(&view, &self.settings, now_ms);
            for ulid in &found.duplicates {
                check(watch)?;
                self.mark(*ulid, "outdated block", done)?;
                metrics::counter!("thanos_compact_garbage_collected_blocks_total").increment(1);
            }
            let mut is_done = true;
            for group in &found.groups {
                check(watch)?;
                if failed.contains(&group.key.name()) {
                    continue;
                }
                let plan = self.plan(group);
                if plan == Plan::default() {
                    continue;
                }
                is_done = false;
                if let Err(error) = self.compact_group(group, &plan, watch, done) {
                    // A damaged block that is left out from now on changes the plan: the group goes on without it.
                    if !self.failed(error, MarkKind::NoCompact, done)? {
                        failed.insert(group.key.name());
                    }
                }
            }
            if is_done {
                return Ok(());
            }
        }
        Err(CompactorError::settings(format!("no end after {STEPS_MAX} rounds of compaction")))
    }

    fn compact_group(
        &self,
        group: &Group<'_>,
        plan: &Plan,
        watch: &dyn Watch,
        done: &mut Done,
    ) -> CompactorResult<()> {
        for (ulid, why) in &plan.leave_out {
            let (reason, details) = match why {
                LeaveOut::IndexSize => (
                    Reason::IndexSizeExceeding,
                    "with it the index of the compacted block could pass the limit",
                ),
                LeaveOut::DownsampledOverlap => (
                    Reason::DownsampleVerticalCompaction,
                    "downsampled blocks that overlap cannot become one",
                ),
            };
            self.leave_out(*ulid, MarkKind::NoCompact, reason, details, done)?;
        }
        let blocks: Vec<&BucketBlock> =
            group.blocks.iter().copied().filter(|block| plan.compact.contains(&block.ulid())).collect();
        if blocks.is_empty() {
            return Ok(());
        }
        let resolution = group.key.resolution_ms.to_string();
        metrics::counter!("thanos_compact_group_compaction_runs_started_total", "resolution" => resolution.clone())
            .increment(1);
        let series = blocks.iter().map(|block| block.meta.stats.num_series).max().unwrap_or_default();
        watch.begin(&format!("compact {} blocks of {}", blocks.len(), group.key.name()), series);
        let new = match self.workshop(watch).compact(&group.key, &blocks) {
            Ok(new) => new,
            Err(error) => {
                metrics::counter!("thanos_compact_group_compactions_failures_total", "resolution" => resolution)
                    .increment(1);
                return Err(error);
            }
        };
        match new {
            Some(ulid) => watch.end(&ulid.to_string()),
            None => watch.end("no samples"),
        }
        for block in blocks {
            self.mark(block.ulid(), "source of compacted block", done)?;
        }
        done.compacted += usize::from(new.is_some());
        metrics::counter!("thanos_compact_group_compactions_total", "resolution" => resolution).increment(1);
        Ok(())
    }

    /// Makes windows of 5 minutes, and then of an hour, of all blocks that are long enough.
    pub fn downsample(&self, watch: &dyn Watch, done: &mut Done) -> CompactorResult<()> {
        if !self.settings.downsampling {
            return Ok(());
        }
        for resolution_ms in [RESOLUTION_5M, RESOLUTION_1H] {
            let view = self.view()?;
            let found = groups(&view, &self.settings, self.clock.now_ms());
            let visible: Vec<&BucketBlock> =
                found.groups.iter().flat_map(|group| group.blocks.iter().copied()).collect();
            for block in due(&visible, resolution_ms) {
                check(watch)?;
                let what = format!("downsample {} to {} s", block.ulid(), resolution_ms / 1000);
                watch.begin(&what, block.meta.stats.num_series);
                match self.workshop(watch).downsample(block, resolution_ms) {
                    Ok(new) => {
                        watch.end(&new.map_or_else(|| "no samples".to_owned(), |ulid| ulid.to_string()));
                        done.downsampled += usize::from(new.is_some());
                        let from = block.thanos.resolution_ms().to_string();
                        metrics::counter!("thanos_compact_downsample_total", "resolution" => from)
                            .increment(1);
                    }
                    Err(error) => {
                        self.failed(error, MarkKind::NoDownsample, done)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Marks blocks whose time is over.
    pub fn retain(&self, watch: &dyn Watch, done: &mut Done) -> CompactorResult<()> {
        let view = self.view()?;
        let now_ms = self.clock.now_ms();
        let settled: Vec<&BucketBlock> =
            view.blocks.iter().filter(|block| is_settled(block, &self.settings, now_ms)).collect();
        for ulid in expired(&settled, &self.settings, now_ms) {
            check(watch)?;
            self.mark(ulid, "block exceeding retention", done)?;
        }
        Ok(())
    }

    fn workshop<'a>(&'a self, watch: &'a dyn Watch) -> Workshop<'a> {
        Workshop { bucket: self.bucket(), clock: &*self.clock, settings: &self.settings, watch }
    }

    fn mark(&self, ulid: Ulid, details: &str, done: &mut Done) -> CompactorResult<()> {
        let mark =
            Mark { time_s: self.clock.now_ms() / 1000, details: details.to_owned(), reason: String::new() };
        let put = self.bucket().wait(MarkKind::Deletion.put(self.bucket(), ulid, &mark))?;
        done.marked += usize::from(put);
        Ok(())
    }

    fn leave_out(
        &self,
        ulid: Ulid,
        kind: MarkKind,
        reason: Reason,
        details: &str,
        done: &mut Done,
    ) -> CompactorResult<()> {
        let time_s = self.clock.now_ms() / 1000;
        let mark = Mark { time_s, details: details.to_owned(), reason: reason.as_str().to_owned() };
        let put = self.bucket().wait(kind.put(self.bucket(), ulid, &mark))?;
        tracing::warn!(block = %ulid, reason = mark.reason, details, "a block is left out from now on");
        done.left_out += usize::from(put);
        Ok(())
    }

    /// Deals with a step that failed: a damaged block is left out, anything else is due again. Says whether a block
    /// was left out.
    fn failed(&self, error: CompactorError, kind: MarkKind, done: &mut Done) -> CompactorResult<bool> {
        let before = done.left_out;
        match error.kind() {
            ErrorKind::Canceled => return Err(error),
            ErrorKind::Corrupt if error.damaged_block().is_some() => {
                let (ulid, fault) = error.damaged_block().expect("it was asked a moment ago");
                self.leave_out(ulid, kind, Reason::BlockIndexOutOfOrderChunk, fault, done)?;
            }
            _ => tracing::error!(%error, "a step of the compactor failed; it is due again"),
        }
        done.failed += 1;
        Ok(done.left_out > before)
    }
}

/// Ends the work when somebody wants it to end.
fn check(watch: &dyn Watch) -> CompactorResult<()> {
    if watch.is_canceled() { Err(CompactorError::canceled()) } else { Ok(()) }
}

impl std::fmt::Debug for Compactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compactor").field("bucket", self.bucket()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
