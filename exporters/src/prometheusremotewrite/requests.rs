//! The samples of a batch as compressed write requests, by lane.

use bytes::Bytes;
use model::{Exemplar, MetricMetadata, NativeHistogram, Sample};
use wire::compression::Encoding;
use wire::remote_write::{RequestWriter, SeriesParts, Version, put_metadata, put_series};

use super::series::{Item, ItemList, SeriesTable};

/// Requests to send one after the other.
pub(super) type Lane = Vec<Request>;

/// A compressed write request.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) body: Bytes,
    /// What is inside.
    pub(super) counts: Counts,
}

/// Samples, native histograms and exemplars of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) samples: u64,
    pub(super) histograms: u64,
    pub(super) exemplars: u64,
}

impl Counts {
    /// What counts as points.
    pub(super) fn points(self) -> u64 {
        self.samples + self.histograms
    }
}

/// How requests are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) version: Version,
    pub(super) lanes_max: usize,
    /// A request is closed once it has so many bytes before compression.
    pub(super) bytes_max: usize,
}

/// Spreads `items` over at most `lanes_max` lanes: equal labels always share a lane, and a series' samples are in time
/// order. `families` go to version 1, where they are messages of their own; in version 2 each series carries them.
pub(super) fn lanes(
    items: &mut ItemList,
    series: &SeriesTable,
    families: &[(String, MetricMetadata)],
    form: Form,
) -> Vec<Lane> {
    let lanes_max = form.lanes_max as u64;
    let same = |before: u32, after: u32| before == after || series.labels(before) == series.labels(after);
    let lane_of = |number: u32| series.labels_hash(number) % lanes_max;
    // Equal labels may have several numbers, when resources differ in bytes only.
    items.0.sort_by_key(|(number, item)| {
        let hash = series.labels_hash(*number);
        (hash % lanes_max, hash, item.timestamp_ms())
    });
    let mut lanes: Vec<Lane> = Vec::new();
    let mut open = OpenRequest::new(form.version);
    let mut parts = OwnedParts::default();
    let mut current = None;
    for run in items.0.chunk_by(|(before, _), (after, _)| same(*before, *after)) {
        let (number, _) = run[0];
        if current != Some(lane_of(number)) {
            current = Some(lane_of(number));
            open.close_into(&mut lanes);
            lanes.push(Lane::new());
        } else if open.len() >= form.bytes_max {
            open.close_into(&mut lanes);
        }
        parts.fill(run);
        open.put(number, series, &parts);
    }
    if form.version == Version::V1 {
        if lanes.is_empty() && !families.is_empty() {
            lanes.push(Lane::new());
        }
        families.iter().for_each(|(family, metadata)| put_metadata(&mut open.body, family, metadata));
    }
    open.close_into(&mut lanes);
    lanes
}

/// The items of one series by kind.
#[derive(Default)]
struct OwnedParts {
    samples: Vec<Sample>,
    histograms: Vec<(i64, NativeHistogram)>,
    exemplars: Vec<Exemplar>,
}

impl OwnedParts {
    fn fill(&mut self, run: &[(u32, Item)]) {
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
        for (_, item) in run {
            match item {
                Item::Sample(sample) => self.samples.push(*sample),
                Item::Histogram(time, histogram) => self.histograms.push((*time, histogram.clone())),
                Item::Exemplar(exemplar) => self.exemplars.push((**exemplar).clone()),
            }
        }
    }
}

/// The request that is being filled.
struct OpenRequest {
    version: Version,
    body: Vec<u8>,
    writer: RequestWriter,
    counts: Counts,
}

impl OpenRequest {
    fn new(version: Version) -> Self {
        Self { version, body: Vec::new(), writer: RequestWriter::default(), counts: Counts::default() }
    }

    fn len(&self) -> usize {
        match self.version {
            Version::V1 => self.body.len(),
            Version::V2 => self.writer.len(),
        }
    }

    fn put(&mut self, number: u32, series: &SeriesTable, parts: &OwnedParts) {
        let OwnedParts { samples, histograms, exemplars } = parts;
        let labels = series.labels(number);
        let borrowed = SeriesParts { samples, histograms, exemplars };
        match self.version {
            Version::V1 => put_series(&mut self.body, labels, borrowed),
            Version::V2 => self.writer.put_series(labels, borrowed, series.metadata_of(number)),
        }
        self.counts.samples += samples.len() as u64;
        self.counts.histograms += histograms.len() as u64;
        self.counts.exemplars += exemplars.len() as u64;
    }

    /// Compresses what is there into the last lane and starts anew.
    fn close_into(&mut self, lanes: &mut [Lane]) {
        if self.version == Version::V2 && !self.writer.is_empty() {
            self.body = self.writer.finish();
        }
        if let (Some(lane), false) = (lanes.last_mut(), self.body.is_empty()) {
            let body = Bytes::from(Encoding::Snappy.encode(None, &self.body));
            lane.push(Request { body, counts: self.counts });
        }
        self.body.clear();
        self.counts = Counts::default();
    }
}
