//! Whether a replicated write has succeeded (pkg/receive/handler.go: `fanoutForward`, `replicationErrors`). Pure.
//!
//! Each series counts by itself: it is written when a quorum of its replicas has it. It has failed for good when so many
//! refused it as a conflict that no quorum is left; other failures are waited for, because they decide whether the sender
//! is to try again.

use model::ErrorKind;

/// What became of the replicas of each series so far.
pub(crate) struct Quorum {
    /// Replicas that have to have a series.
    wanted: usize,
    /// Failures after which they cannot any more.
    lost: usize,
    series: Vec<Tally>,
    /// Series of which it is not known yet what becomes of them.
    open: usize,
}

#[derive(Clone, Default)]
struct Tally {
    written: u16,
    conflicts: u16,
    /// Members that cannot be reached or are not ready.
    unavailable: u16,
    others: u16,
    is_decided: bool,
}

impl Tally {
    fn failures(&self) -> usize {
        usize::from(self.conflicts) + usize::from(self.unavailable) + usize::from(self.others)
    }
}

/// What the sender is told of a write that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It can never succeed.
    Conflict,
    /// It may succeed later.
    Unavailable,
}

/// Replicas that have to have a series (`writeQuorum`): of two, one is enough.
fn wanted(replication_factor: usize) -> usize {
    if replication_factor == 2 { 1 } else { replication_factor / 2 + 1 }
}

impl Quorum {
    /// For so many series, each sent to so many members.
    pub(crate) fn new(series: usize, replicas: usize) -> Self {
        let wanted = wanted(replicas);
        Self { wanted, lost: replicas - wanted + 1, series: vec![Tally::default(); series], open: series }
    }

    /// A member answered for these series.
    pub(crate) fn add(&mut self, series: &[u32], answer: Result<(), ErrorKind>) {
        for index in series {
            let tally = &mut self.series[*index as usize];
            match answer {
                Ok(()) => tally.written += 1,
                Err(ErrorKind::Conflict) => tally.conflicts += 1,
                Err(ErrorKind::Unavailable | ErrorKind::Closed) => tally.unavailable += 1,
                Err(_) => tally.others += 1,
            }
            let is_over =
                usize::from(tally.written) >= self.wanted || usize::from(tally.conflicts) >= self.lost;
            if is_over && !tally.is_decided {
                tally.is_decided = true;
                self.open -= 1;
            }
        }
    }

    /// Whether no answer that is still to come changes anything.
    pub(crate) fn is_decided(&self) -> bool {
        self.open == 0
    }

    /// What the sender is told: what may succeed later comes first.
    pub(crate) fn verdict(&self) -> Result<(), Verdict> {
        let mut verdict = Ok(());
        for tally in self.series.iter().filter(|tally| tally.failures() >= self.lost) {
            let is_conflict =
                usize::from(tally.conflicts) >= self.wanted && tally.conflicts >= tally.unavailable;
            if !is_conflict {
                return Err(Verdict::Unavailable);
            }
            verdict = Err(Verdict::Conflict);
        }
        verdict
    }
}

#[cfg(test)]
mod tests;
