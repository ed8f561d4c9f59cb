//! The patterns of the lines of some streams, counted by level and step.
//!
//! Reads an even sample of pages where there are more lines than its budget; counts are then scaled up. So the cost of
//! an answer is bounded whatever the range.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use model::{Direction, Matcher, TenantId, TimeRange};
use storage_api::LogQuerier;
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::LogqlResult;
use crate::patterns::PatternMiner;
use crate::pipeline::Pipeline;
use crate::scan::{self, Budget, PageVisitor, ScanPage};

/// Lines that are looked at; at 1 µs each that is a second of one core.
const LINES_MAX: usize = 1_000_000;
/// Patterns in an answer (Loki's pattern ingester keeps as many clusters).
const PATTERNS_MAX: usize = 300;
/// Where the level of a line is noted.
const LEVEL: &str = "detected_level";
const UNKNOWN: &str = "unknown";

/// A pattern of lines of one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinePattern {
    /// The pattern, in the form of a `|>` filter.
    pub pattern: String,
    /// The level of its lines, or `unknown`.
    pub level: String,
    /// Start of a step in nanoseconds and number of lines, ascending.
    pub counts: Vec<(i64, u64)>,
}

impl Engine {
    /// Finds the patterns of the lines in `range`, those with the most lines first. Cancel-safe.
    pub async fn patterns(
        &self,
        matchers: Vec<Matcher>,
        range: TimeRange,
        step_ns: i64,
        tenant: &TenantId,
        querier: Arc<dyn LogQuerier>,
    ) -> LogqlResult<Vec<LinePattern>> {
        let cancel = CancellationToken::new();
        let (execution, _stop) = self.execution(tenant, querier.as_ref(), &cancel);
        let pipeline = Pipeline::compile(&[], self.settings.clock.now_ns())?;
        let pages = execution.select(matchers, range, &pipeline, Direction::Forward).await?;
        let lines: usize = pages.iter().map(|page| page.len()).sum();
        let stride = lines.div_ceil(LINES_MAX).max(1);
        let pages = scan::plan(pages.into_iter().step_by(stride).collect());
        let visitors = (0..self.settings.threads.min(pages.len()).max(1)).map(|_| Visitor {
            budget: Arc::clone(&execution.budget),
            range,
            step_ns: step_ns.max(1),
            weight: stride as u64,
            miners: HashMap::new(),
        });
        let visitors = visitors.collect();
        let run = scan::run(&self.settings.tasks, &execution.budget, Arc::new(pages), visitors);
        let mut all: BTreeMap<String, PatternMiner> = BTreeMap::new();
        for miners in execution.guarded(run).await? {
            for (level, miner) in miners {
                all.entry(level).or_default().merge(miner);
            }
        }
        let of_level = |(level, miner): (String, PatternMiner)| {
            let named = move |mined: crate::patterns::MinedPattern| LinePattern {
                pattern: mined.pattern,
                level: level.clone(),
                counts: mined.counts,
            };
            miner.finish().into_iter().filter(|mined| !mined.pattern.is_empty()).map(named)
        };
        let mut patterns: Vec<LinePattern> = all.into_iter().flat_map(of_level).collect();
        patterns
            .sort_by_key(|found| std::cmp::Reverse(found.counts.iter().map(|(_, count)| count).sum::<u64>()));
        patterns.truncate(PATTERNS_MAX);
        Ok(patterns)
    }
}

struct Visitor {
    budget: Arc<Budget>,
    range: TimeRange,
    step_ns: i64,
    weight: u64,
    miners: HashMap<String, PatternMiner>,
}

impl PageVisitor for Visitor {
    type Output = HashMap<String, PatternMiner>;

    fn visit(&mut self, _index: usize, page: &ScanPage) -> LogqlResult<bool> {
        let (entries, rows) = page.page.read_rows()?;
        let (line_bytes, metadata_bytes) = scan::text_bytes(&entries, rows.clone());
        let inside = scan::inside(&entries, rows, self.range);
        self.budget.charge_page(line_bytes + metadata_bytes, metadata_bytes, inside.len())?;
        let of_stream = page.labels.get(LEVEL).unwrap_or(UNKNOWN);
        for at in inside {
            self.budget.check_stop()?;
            if !page.contested.is_empty() && !page.contested.is_first(&entries, at) {
                continue;
            }
            let noted = entries.metadata(at).find(|(name, _)| *name == LEVEL).map(|(_, value)| value);
            let level = noted.unwrap_or(of_stream);
            let time = entries.timestamps_ns()[at];
            let step = time - time.rem_euclid(self.step_ns);
            self.miners.entry_ref(level).or_default().add(entries.line(at), step, self.weight);
        }
        Ok(true)
    }

    fn finish(self) -> Self::Output {
        self.miners
    }
}

#[cfg(test)]
mod tests;
