//! What was sent and what became of it: a few words for each request, from which every item can be made again.

/// What the target said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Acknowledged in full: all of it must be readable.
    Acked,
    /// Refused, refused in part, or never answered: its items may or may not be stored, and neither is a fault.
    Uncertain,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Which of the worker's templates.
    pub(crate) template: usize,
    /// How often that template was sent before.
    pub(crate) round: u64,
    /// Timestamp of the first item, ns since the Unix epoch.
    pub(crate) time_ns: i64,
    /// What became of it.
    pub(crate) outcome: Outcome,
}

/// Everything one connection sent, in order.
pub(crate) type Ledger = Vec<Sent>;
