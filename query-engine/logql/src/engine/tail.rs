//! A log query that runs on entries as they are appended, not on stored pages.

use std::sync::Arc;

use model::{ErrorKind, Labels, LogEntries, Matcher};

use super::{Engine, matchers, streams};
use crate::output::ResultEntry;
use crate::pipeline::{Pipeline, PipelineRun, Wanted};
use crate::syntax::{self, Expr};
use crate::{LogqlError, LogqlResult};

/// A log query, compiled, with the buffers of one reader.
pub struct TailQuery {
    matchers: Vec<Matcher>,
    pipeline: Pipeline,
    run: PipelineRun,
    hits: Vec<u32>,
}

impl Engine {
    /// Compiles a log query for entries that are still to come.
    pub fn tail(&self, query: &str) -> LogqlResult<TailQuery> {
        let Expr::Log(log) = syntax::parse(query)? else {
            return Err(LogqlError::new(ErrorKind::Invalid, "only log selector is supported"));
        };
        let pipeline = Pipeline::compile(&log.stages, self.settings.clock.now_ns())?;
        let run = PipelineRun::new(&pipeline, Arc::new(Wanted::everything()));
        Ok(TailQuery { matchers: matchers(&log.matchers)?, pipeline, run, hits: Vec::new() })
    }
}

impl TailQuery {
    /// Which streams to follow.
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// Whether lines are only searched: a time that their bytes bound, while that of a stage is whatever it asks for.
    pub fn is_search_only(&self) -> bool {
        self.pipeline.is_search_only()
    }

    /// Appends what the query makes of entries of a stream, in their order.
    pub fn apply(&mut self, labels: &Labels, entries: &LogEntries, out: &mut Vec<ResultEntry>) {
        self.hits.clear();
        self.pipeline.search().select(entries, 0..entries.len(), &mut self.hits);
        self.run.set_stream(labels);
        for &hit in &self.hits {
            let at = hit as usize;
            let (timestamp_ns, line) = (entries.timestamps_ns()[at], entries.line(at));
            if self.run.process(timestamp_ns, line, entries.metadata(at)) {
                out.push(streams::result_entry(&self.run, timestamp_ns, line));
            }
        }
    }
}

#[cfg(test)]
mod tests;
