//! One batch to several destinations, acknowledged when all of them have it.
//!
//! Destinations work side by side on the same shared bytes. Invariant FANOUT-1: a destination that acknowledged a batch
//! is not given it again when its sender, told of another destination's failure, sends the same bytes again
//! ([`Outcomes`], whose bounds hold).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use model::AppendReport;

use crate::settled::{Outcomes, Settled, key};
use crate::{Batch, Consumer, PipelineResult};

/// Gives every batch to each of its destinations.
pub(crate) struct FanOut {
    destinations: Vec<Arc<dyn Consumer>>,
    outcomes: Outcomes,
}

impl FanOut {
    /// A consumer in front of `destinations`; a single one is returned as it is.
    pub(crate) fn over(mut destinations: Vec<Arc<dyn Consumer>>) -> Arc<dyn Consumer> {
        if destinations.len() == 1
            && let Some(only) = destinations.pop()
        {
            return only;
        }
        Arc::new(Self { destinations, outcomes: Outcomes::default() })
    }

    async fn send(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let parts = self.destinations.iter().map(|destination| (&**destination, batch.clone()));
        let settled = self.outcomes.deliver(|| key(&batch).digest128(), parts.collect()).await?;
        combine(settled)
    }
}

impl Consumer for FanOut {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(self.send(batch))
    }
}

/// One answer out of those of all destinations: a failure if one failed; else refusals as the destination that
/// refused most told them, so that an item that two destinations refuse counts once.
fn combine(settled: Vec<Settled>) -> PipelineResult<AppendReport> {
    let mut all: Option<AppendReport> = None;
    for outcome in settled {
        let report = outcome?;
        let Some(all) = &mut all else {
            all = Some(report);
            continue;
        };
        all.stored = all.stored.min(report.stored);
        for rejection in report.rejected {
            match all.rejected.iter_mut().find(|known| known.reason == rejection.reason) {
                Some(known) if known.count < rejection.count => *known = rejection,
                Some(_) => {}
                None => all.rejected.push(rejection),
            }
        }
    }
    Ok(all.unwrap_or_default())
}

#[cfg(test)]
mod tests;
