//! A batch that left the queue, until its outcome is known.
//!
//! Batching behind the queue can put several of them into one delivery or one into several; a batch is settled when all
//! its pieces are. Dropping an unsettled one is what a deadline does: a queue on disk keeps it, one in memory has lost
//! it.

use model::AppendReport;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::disk::Handed;
use crate::{PipelineError, PipelineResult};

/// Where a batch came from and who waits for its outcome.
pub(super) enum Source {
    /// A queue in memory; the share of its capacity is given back when this is dropped.
    Memory { outcome: Option<oneshot::Sender<PipelineResult<AppendReport>>>, _share: OwnedSemaphorePermit },
    /// A queue on disk.
    Disk(Handed),
}

/// A batch that left the queue.
pub(super) struct Taken(Mutex<State>);

struct State {
    source: Option<Source>,
    /// Pieces whose outcome is not known.
    open: usize,
    report: AppendReport,
    failure: Option<PipelineError>,
    /// Some piece is to stay in the queue.
    keep: bool,
}

impl Taken {
    /// A batch of one piece.
    pub(super) fn new(source: Source) -> Self {
        Self(Mutex::new(State {
            source: Some(source),
            open: 1,
            report: AppendReport::default(),
            failure: None,
            keep: false,
        }))
    }

    /// Says that the batch has so many pieces. To be called before one of them is settled.
    pub(super) fn in_pieces(&self, pieces: usize) {
        self.0.lock().open = pieces;
    }

    /// Tells the outcome of a piece. With `keep` it stays in a queue on disk, whatever the outcome.
    pub(super) fn settle(&self, result: &PipelineResult<AppendReport>, keep: bool) {
        let state = &mut *self.0.lock();
        state.keep |= keep;
        match result {
            Ok(report) => {
                state.report.stored += report.stored;
                state.report.rejected.extend(report.rejected.iter().cloned());
            }
            Err(error) => state.failure = state.failure.take().or_else(|| Some(error.clone())),
        }
        state.open = state.open.saturating_sub(1);
        if state.open > 0 {
            return;
        }
        match state.source.take() {
            Some(Source::Memory { outcome: Some(outcome), .. }) => {
                let outcome_of_all = match state.failure.take() {
                    Some(error) => Err(error),
                    None => Ok(std::mem::take(&mut state.report)),
                };
                // The sender may have gone; then nobody needs the outcome.
                let _ = outcome.send(outcome_of_all);
            }
            Some(Source::Disk(handed)) if !state.keep => handed.finish(),
            _ => {}
        }
    }

    /// Whether somebody waits for the outcome.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(&self.0.lock().source, Some(Source::Memory { outcome: Some(_), .. }))
    }
}
