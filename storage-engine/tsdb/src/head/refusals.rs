//! Samples of a batch that were refused: counted by reason, each reason with one example for the sender.

use std::fmt::Display;

use model::AppendReport;
use storage_api::reject_reason;

use super::{Head, Place};

/// Why a sample is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Conflict,
    OutOfOrder,
    TooOld,
    OutOfBounds,
    Future,
    InvalidHistogram,
    Unreadable,
}

/// All reasons with their names, in the order of the enum, which is that of reports.
const NAMES: [(Why, &str); 7] = [
    (Why::Conflict, reject_reason::DUPLICATE_TIMESTAMP),
    (Why::OutOfOrder, reject_reason::OUT_OF_ORDER),
    (Why::TooOld, reject_reason::TOO_OLD),
    (Why::OutOfBounds, reject_reason::OUT_OF_BOUNDS),
    (Why::Future, reject_reason::TOO_FAR_IN_FUTURE),
    (Why::InvalidHistogram, reject_reason::INVALID_HISTOGRAM),
    (Why::Unreadable, reject_reason::UNREADABLE),
];

/// Refused samples by reason.
#[derive(Default)]
pub(super) struct Refusals([Refusal; NAMES.len()]);

#[derive(Default)]
struct Refusal {
    positions: Vec<u32>,
    example: Option<Example>,
}

struct Example {
    place: Place,
    time_ms: i64,
    /// What the time was compared with, ms.
    limit_ms: i64,
    /// What is wrong with a histogram.
    fault: String,
}

impl Refusals {
    /// Refuses the sample at a position; `limit_ms` is what its time was compared with.
    #[cold]
    pub(super) fn add(&mut self, why: Why, position: u32, place: Place, time_ms: i64, limit_ms: i64) {
        let refusal = &mut self.0[why as usize];
        refusal.positions.push(position);
        refusal.example.get_or_insert_with(|| Example { place, time_ms, limit_ms, fault: String::new() });
    }

    /// Refuses a histogram that is not sound.
    #[cold]
    pub(super) fn add_invalid(&mut self, position: u32, place: Place, error: &dyn Display) {
        let refusal = &mut self.0[Why::InvalidHistogram as usize];
        refusal.positions.push(position);
        let fault = || error.to_string();
        refusal.example.get_or_insert_with(|| Example { place, time_ms: 0, limit_ms: 0, fault: fault() });
    }

    /// Tells the sender and the metrics.
    pub(super) fn report(
        &self,
        head: &Head,
        time_max_ms: i64,
        report: &mut AppendReport,
        refused: &mut Vec<(u32, u32)>,
    ) {
        for ((why, name), refusal) in NAMES.iter().zip(&self.0) {
            let Some(example) = &refusal.example else { continue };
            let count = refusal.positions.len() as u64;
            head.metrics.rejected(name, count);
            let index = u32::try_from(report.rejected.len()).expect("a few reasons");
            refused.extend(refusal.positions.iter().map(|position| (*position, index)));
            report.reject(name, count, || {
                let labels = head.labels(example.place);
                let Example { time_ms, limit_ms, fault, .. } = example;
                match why {
                    Why::Conflict => {
                        format!("series {labels} has another value at {time_ms} ms already")
                    }
                    Why::OutOfOrder => format!(
                        "series {labels}: the sample at {time_ms} ms is older than the newest one, at {limit_ms} ms, \
                         and none may be late (out_of_order_window)"
                    ),
                    Why::TooOld => format!(
                        "series {labels}: the sample at {time_ms} ms is too old, late ones are taken from {limit_ms} \
                         ms on (out_of_order_window)"
                    ),
                    Why::OutOfBounds => format!(
                        "series {labels}: the sample at {time_ms} ms is out of bounds, allowed is from {limit_ms} ms \
                         on, and none may be late (out_of_order_window)"
                    ),
                    Why::Future => format!(
                        "series {labels}: the sample at {time_ms} ms is too far in the future, allowed is up to \
                         {time_max_ms} ms"
                    ),
                    Why::Unreadable => format!(
                        "series {labels}: what is stored around {time_ms} ms cannot be read back, so that the sample \
                         at that time cannot be put into its place"
                    ),
                    Why::InvalidHistogram => format!("series {labels}: {fault}"),
                }
            });
        }
        refused.sort_unstable();
    }
}
