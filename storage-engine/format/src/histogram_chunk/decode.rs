//! Reading histogram chunks, sample by sample.

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, SampleColumns, TimeRange, is_stale_nan};

use super::HEADER_BYTES;
use super::append::reader_hint;
use super::kind::ChunkHistogram;
use super::layout::{Layout, reset_header};
use super::state::State;
use crate::FormatError;
use crate::bits::{BitReader, OutOfBits};
use crate::start_time::StartTimes;
use crate::varbit::read_varbit_int;

/// The finest schema in use; histograms of finer ones are reduced to it.
const SCHEMA_MAX: i32 = 8;

/// Number of samples in a chunk of encoding 2 or 3.
pub fn histogram_samples(chunk: &[u8]) -> Result<u16, FormatError> {
    let header = header(chunk)?;
    Ok(u16::from_be_bytes([header[0], header[1]]))
}

/// What the header of a chunk of encoding 2 or 3 says about a counter reset at its beginning.
pub fn histogram_chunk_header(chunk: &[u8]) -> Result<CounterResetHint, FormatError> {
    Ok(reset_header(header(chunk)?[2]))
}

fn header(chunk: &[u8]) -> Result<&[u8; HEADER_BYTES], FormatError> {
    chunk.first_chunk().ok_or_else(|| FormatError::chunk("it has no header"))
}

/// Calls `visit` with time (ms) and value of each histogram of a chunk of encoding 2 or 3 as it was stored, for
/// writing it elsewhere.
pub fn read_histograms<H: ChunkHistogram>(
    chunk: &[u8],
    mut visit: impl FnMut(i64, H),
) -> Result<(), FormatError> {
    read_all(Reader::new(chunk, false)?, &mut visit)
}

/// The same for a chunk of encoding 5 or 6.
pub(crate) fn read_histograms_st<H: ChunkHistogram>(
    chunk: &[u8],
    visit: &mut impl FnMut(i64, H),
) -> Result<(), FormatError> {
    read_all(Reader::new(chunk, true)?, visit)
}

fn read_all<H: ChunkHistogram>(
    mut reader: Reader<'_, H>,
    visit: &mut impl FnMut(i64, H),
) -> Result<(), FormatError> {
    while reader.next()?.is_some() {
        visit(reader.timestamp_ms(), reader.histogram());
    }
    Ok(())
}

/// Appends the histograms of a chunk that lie in `range` to `out`, as float histograms. One that equals the one before
/// it is not copied.
pub(crate) fn decode_histograms<H: ChunkHistogram>(
    chunk: &[u8],
    has_start_times: bool,
    samples_max: u16,
    range: TimeRange,
    out: &mut SampleColumns,
) -> Result<(), FormatError> {
    let mut reader: Reader<'_, H> = Reader::new(chunk, has_start_times)?;
    reader.total = reader.total.min(samples_max);
    let mut shared: Option<Arc<FloatHistogram>> = None;
    while let Some(changed) = reader.next()? {
        if reader.timestamp_ms > range.max {
            break;
        }
        // The second sample has another hint than the first.
        if changed || reader.read <= 2 {
            shared = None;
        }
        if reader.timestamp_ms >= range.min {
            let histogram = shared.get_or_insert_with(|| Arc::new(reader.float()));
            out.push_histogram(reader.timestamp_ms, Arc::clone(histogram));
        }
    }
    Ok(())
}

/// Walks a chunk.
pub(super) struct Reader<'a, H: ChunkHistogram> {
    bits: BitReader<'a>,
    header: CounterResetHint,
    starts: StartTimes,
    /// Samples that there are and that were read.
    total: u16,
    read: u16,
    timestamp_ms: i64,
    delta: i64,
    /// There from the first sample on.
    current: Option<(Layout, H::State)>,
}

impl<'a, H: ChunkHistogram> Reader<'a, H> {
    pub(super) fn new(chunk: &'a [u8], has_start_times: bool) -> Result<Self, FormatError> {
        let [high, low, flags] = *header(chunk)?;
        let count = u16::from_be_bytes([high, low]);
        let (total, header, starts) = if has_start_times {
            (count & 0x3fff, reset_header(high), StartTimes::new(flags))
        } else {
            (count, reset_header(flags), StartTimes::none())
        };
        let bits = BitReader::new(&chunk[HEADER_BYTES..]);
        Ok(Self { bits, header, starts, total, read: 0, timestamp_ms: 0, delta: 0, current: None })
    }

    /// Reads on; `None` at the end, else whether the histogram differs from the one before.
    pub(super) fn next(&mut self) -> Result<Option<bool>, FormatError> {
        if self.read == self.total {
            return Ok(None);
        }
        let cut = |OutOfBits| FormatError::chunk("it ends inside a sample");
        let changed = match &mut self.current {
            None => {
                let layout = Layout::read(&mut self.bits)?;
                self.timestamp_ms = read_varbit_int(&mut self.bits).map_err(cut)?;
                let (positive, negative) = layout.buckets();
                let state = H::State::read_first(&mut self.bits, positive, negative).map_err(cut)?;
                self.current = Some((layout, state));
                true
            }
            Some((_, state)) => {
                let change = read_varbit_int(&mut self.bits).map_err(cut)?;
                self.delta = self.delta.wrapping_add(change);
                self.timestamp_ms = self.timestamp_ms.wrapping_add(self.delta);
                state.read_next(&mut self.bits).map_err(cut)?
            }
        };
        self.starts.skip(self.read, &mut self.bits).map_err(cut)?;
        self.read += 1;
        Ok(Some(changed))
    }

    pub(super) fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }

    /// Layout and values of the sample that was read last.
    pub(super) fn current(&self) -> (&Layout, &H::State) {
        let (layout, state) = self.current.as_ref().expect("a sample was read");
        (layout, state)
    }

    fn histogram(&self) -> H {
        let (layout, state) = self.current();
        let sum = state.totals().sum;
        if is_stale_nan(sum) {
            return H::stale(sum);
        }
        H::from_state(state, layout, reader_hint(self.header, self.read - 1))
    }

    fn float(&self) -> FloatHistogram {
        let histogram = self.histogram().into_float();
        if histogram.schema > SCHEMA_MAX { histogram.reduced_to(SCHEMA_MAX) } else { histogram }
    }
}
