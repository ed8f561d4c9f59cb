//! A log query as a yes or no about entries: which of them it selects, whatever it makes of their lines.

use std::sync::Arc;

use model::{ErrorKind, Labels, LogEntries, Matcher};

use crate::engine::matchers;
use crate::pipeline::{Pipeline, PipelineRun, Wanted};
use crate::syntax::{self, Expr};
use crate::{LogqlError, LogqlResult};

/// A compiled log query.
#[derive(Clone, Debug)]
pub struct EntryFilter {
    matchers: Vec<Matcher>,
    pipeline: Pipeline,
    takes_all: bool,
}

impl EntryFilter {
    /// Compiles a log query; templates see `now_ns` as the time.
    pub fn compile(query: &str, now_ns: i64) -> LogqlResult<Self> {
        let Expr::Log(log) = syntax::parse(query)? else {
            return Err(LogqlError::new(ErrorKind::Invalid, "only log selector is supported"));
        };
        let pipeline = Pipeline::compile(&log.stages, now_ns)?;
        let takes_all = log.stages.is_empty();
        Ok(Self { matchers: matchers(&log.matchers)?, pipeline, takes_all })
    }

    /// Whether a stream is selected at all.
    pub fn selects_stream(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches_labels(labels))
    }

    /// Whether every entry of a selected stream is.
    pub fn takes_all(&self) -> bool {
        self.takes_all
    }

    /// Appends the positions of the selected entries of a selected stream, ascending.
    pub fn select(&self, labels: &Labels, entries: &LogEntries, out: &mut Vec<u32>) {
        let first = out.len();
        self.pipeline.search().select(entries, 0..entries.len(), out);
        if self.pipeline.is_search_only() {
            return;
        }
        let mut run = PipelineRun::new(&self.pipeline, Arc::new(Wanted::everything()));
        run.set_stream(labels);
        let mut kept = first;
        for at in first..out.len() {
            let index = out[at] as usize;
            if run.process(entries.timestamps_ns()[index], entries.line(index), entries.metadata(index)) {
                out[kept] = out[at];
                kept += 1;
            }
        }
        out.truncate(kept);
    }
}
