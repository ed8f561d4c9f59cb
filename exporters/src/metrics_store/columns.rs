//! The samples of one batch as columns, and which data point each belongs to.
//!
//! Invariant COLUMNS-1: a point is known by its ordinal, the number of the look-up that resolved it. The translation is
//! deterministic, so that a second walk over the same bytes gives every point the same ordinal, whatever became of the
//! points before it.

use hashbrown::{HashMap, HashSet};
use model::{AppendReport, Exemplar, NativeHistogram};
use storage_api::{SampleBatch, SeriesRef};
use wire::otlp_to_prometheus::SampleSink;

/// A series, and which look-up gave it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handle {
    pub(super) series: SeriesRef,
    pub(super) ordinal: u32,
}

/// Set in the ordinal of a sample that belongs to no data point.
const NO_POINT: u32 = 1 << 31;

/// Samples to resolve and send again: for each ordinal the places in the run of its point.
#[derive(Debug, Default)]
pub(super) struct Resend(HashMap<u32, HashSet<u32>>);

impl Resend {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a sample of this look-up was not stored.
    pub(super) fn concerns(&self, ordinal: u32) -> bool {
        self.0.contains_key(&ordinal)
    }
}

/// The columns of a batch.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// What the store gets.
    pub(super) samples: SampleBatch,
    /// What became of the exemplars, once they were appended.
    pub(super) exemplars: AppendReport,
    /// Data points that the samples come from.
    pub(super) points: u64,
    /// For each sample the ordinal of its point, and [`NO_POINT`].
    ordinals: Vec<u32>,
    /// For each exemplar the ordinal of its point.
    exemplar_ordinals: Vec<u32>,
    /// For each sample its place in the run of its point; empty when no run has holes, as the place shows then.
    places: Vec<u32>,
}

/// Where a translation puts its samples: all of them, or only those to send again.
pub(super) struct Sink<'r> {
    columns: Columns,
    only: Option<&'r Resend>,
}

impl Columns {
    /// The ordinal of the data point at a position of the batch; `None` for a sample without a point.
    pub(super) fn point_at(&self, position: u32) -> Option<u32> {
        self.ordinals.get(position as usize).copied().filter(|ordinal| ordinal & NO_POINT == 0)
    }

    /// What to send again, given the positions of samples and of exemplars whose series the store did not know.
    pub(super) fn resend(&self, stale: &[u32], stale_exemplars: &[u32]) -> Resend {
        let mut resend = Resend::default();
        for &position in stale_exemplars {
            if let Some(&ordinal) = self.exemplar_ordinals.get(position as usize) {
                resend.0.entry(ordinal).or_default();
            }
        }
        for &position in stale {
            let position = position as usize;
            if let Some(&ordinal) = self.ordinals.get(position) {
                resend.0.entry(ordinal & !NO_POINT).or_default().insert(self.place(position));
            }
        }
        resend
    }

    fn place(&self, position: usize) -> u32 {
        if let Some(&place) = self.places.get(position) {
            return place;
        }
        let ordinal = self.ordinals[position];
        let before = self.ordinals[..position].iter().rev().take_while(|&&other| other == ordinal).count();
        u32::try_from(before).unwrap_or(u32::MAX)
    }
}

impl<'r> Sink<'r> {
    /// A sink for about `items` points, or for what `only` says.
    pub(super) fn new(items: usize, only: Option<&'r Resend>) -> Self {
        let mut columns = Columns::default();
        if only.is_none() {
            columns.samples.refs.reserve(items);
            columns.samples.timestamps_ms.reserve(items);
            columns.samples.values.reserve(items);
            columns.ordinals.reserve(items);
        }
        Self { columns, only }
    }

    pub(super) fn into_columns(self) -> Columns {
        self.columns
    }

    #[inline]
    fn push(&mut self, handle: Handle, place: u32, flag: u32, timestamp_ms: i64, value: f64) {
        if self.is_wanted(handle, place, flag) {
            self.columns.samples.push(handle.series, timestamp_ms, value);
        }
    }

    /// Whether a sample is to be pushed; if so its point is noted.
    #[inline]
    fn is_wanted(&mut self, handle: Handle, place: u32, flag: u32) -> bool {
        if let Some(only) = self.only {
            if !only.0.get(&handle.ordinal).is_some_and(|places| places.contains(&place)) {
                return false;
            }
            self.columns.places.push(place);
        }
        self.columns.ordinals.push(handle.ordinal | flag);
        true
    }
}

impl SampleSink<Handle> for Sink<'_> {
    #[inline]
    fn point(&mut self, handles: &[Handle], timestamp_ms: i64, values: &[f64]) {
        self.columns.points += 1;
        for (place, (handle, value)) in (0..).zip(handles.iter().zip(values)) {
            self.push(*handle, place, 0, timestamp_ms, *value);
        }
    }

    fn histogram(&mut self, handle: Handle, timestamp_ms: i64, histogram: NativeHistogram) {
        self.columns.points += 1;
        if self.is_wanted(handle, 0, 0) {
            self.columns.samples.push_histogram(handle.series, timestamp_ms, histogram);
        }
    }

    fn exemplar(&mut self, handle: Handle, exemplar: Exemplar) {
        // One that is sent again although the store has it is a duplicate, of which the store keeps one.
        if self.only.is_none_or(|only| only.concerns(handle.ordinal)) {
            self.columns.exemplar_ordinals.push(handle.ordinal);
            self.columns.samples.push_exemplar(handle.series, exemplar);
        }
    }

    fn target_info(&mut self, handle: Handle, timestamp_ms: i64) {
        // Samples of one look-up differ by time only and share place 0: one that is sent again brings the others with
        // it, which the store takes for the duplicates that they are.
        self.push(handle, 0, NO_POINT, timestamp_ms, 1.0);
    }
}
