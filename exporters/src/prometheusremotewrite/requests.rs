//! The samples of a batch as compressed write requests, by lane.

use bytes::Bytes;
use wire::compression::Encoding;
use wire::remote_write::put_series;

use super::series::{SampleList, SeriesTable};

/// Requests to send one after the other.
pub(super) type Lane = Vec<Request>;

/// A compressed write request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) body: Bytes,
    /// Samples inside.
    pub(super) samples: u64,
}

/// Spreads `samples` over at most `lanes_max` lanes: equal labels always share a lane, and a series' samples are in time
/// order. A request is closed once it has `bytes_max` bytes before compression.
pub(super) fn lanes(
    samples: &mut SampleList,
    series: &SeriesTable,
    lanes_max: usize,
    bytes_max: usize,
) -> Vec<Lane> {
    let same = |before: u32, after: u32| before == after || series.labels(before) == series.labels(after);
    let lane_of = |number: u32| (series.labels_hash(number) % lanes_max as u64) as usize;
    // Equal labels may have several numbers, when resources differ in bytes only.
    samples.0.sort_by_key(|(number, sample)| {
        let hash = series.labels_hash(*number);
        (hash % lanes_max as u64, hash, sample.timestamp_ms)
    });
    let mut lanes: Vec<Lane> = Vec::new();
    let mut open = OpenRequest::default();
    let mut current = None;
    for run in samples.0.chunk_by(|(before, _), (after, _)| same(*before, *after)) {
        let (number, _) = run[0];
        if current != Some(lane_of(number)) {
            current = Some(lane_of(number));
            open.close_into(&mut lanes);
            lanes.push(Lane::new());
        } else if open.body.len() >= bytes_max {
            open.close_into(&mut lanes);
        }
        put_series(&mut open.body, series.labels(number), run.iter().map(|(_, sample)| *sample));
        open.samples += run.len() as u64;
    }
    open.close_into(&mut lanes);
    lanes
}

#[derive(Default)]
struct OpenRequest {
    body: Vec<u8>,
    samples: u64,
}

impl OpenRequest {
    /// Compresses what is there into the last lane and starts anew.
    fn close_into(&mut self, lanes: &mut [Lane]) {
        if let (Some(lane), false) = (lanes.last_mut(), self.body.is_empty()) {
            let body = Bytes::from(Encoding::Snappy.encode(None, &self.body));
            lane.push(Request { body, samples: self.samples });
        }
        self.body.clear();
        self.samples = 0;
    }
}
