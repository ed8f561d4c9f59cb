//! Samples that are not newer than the newest of their series: what is known about their time, and how they get into
//! their place; and deletion, which takes samples out of theirs.
//!
//! The chunk that a late sample belongs into is taken apart and made again: about 4 µs. That is dear beside a sample in
//! order and cheap beside a second kind of chunk that all readers, the flush and the log would have to know.

use format::XOR_SAMPLES_MAX;
use model::{CounterResetHint, TimeRange};

use super::{Before, ChunkData, ClosedChunk, Room, Series, Verdict, block_end};
use crate::error::TsdbError;
use crate::head::value::{Built, OpenAppender, Value, decode_values, encode_values};

/// Bits of a histogram chunk's third byte that say what is known about a counter reset.
const RESET_BITS: u8 = 0b1100_0000;

impl Series {
    /// What a sample is if there is one of its time already.
    #[cold]
    pub(crate) fn verdict_of(&self, room: &mut Room<'_>, time_ms: i64, value: &Value) -> Option<Verdict> {
        match self.stored_at(room, time_ms) {
            Ok(stored) if stored.as_ref()?.same(value) => Some(Verdict::Duplicate),
            Ok(_) => Some(Verdict::Conflict),
            Err(_) => Some(Verdict::Unreadable),
        }
    }

    fn stored_at(&self, room: &mut Room<'_>, time_ms: i64) -> Result<Option<Value>, TsdbError> {
        let index = self.closed.partition_point(|chunk| chunk.range().max < time_ms);
        match self.closed.get(index) {
            Some(chunk) if chunk.min_ms <= time_ms => Ok(value_at(room.look_into(chunk)?, time_ms)),
            Some(_) => Ok(None),
            None if self.has_open() && self.open_min_ms <= time_ms => {
                if self.appender.0.samples() > 0 && self.appender.0.last_timestamp_ms() == time_ms {
                    return Ok(Some(Value::Float(self.appender.0.last_value())));
                }
                if self.last_ms().is_some_and(|last| last < time_ms) {
                    return Ok(None);
                }
                Ok(value_at(&self.open_values(room), time_ms))
            }
            None => Ok(None),
        }
    }

    fn open_values(&self, room: &Room<'_>) -> Vec<(i64, Value)> {
        self.with_open(room.pieces, |data| own_values(self.open_encoding(), data))
    }

    /// Puts a sample of whatever age into its place, unless there is one of its time: what the log and the out-of-order
    /// window bring.
    pub(crate) fn insert(&mut self, room: &mut Room<'_>, time_ms: i64, value: &Value, epoch: u64) -> Verdict {
        let is_newest = self.last_ms().is_none_or(|last| time_ms > last);
        match if is_newest { None } else { self.verdict_of(room, time_ms, value) } {
            Some(verdict) => verdict,
            None => self.insert_absent(room, time_ms, value, epoch),
        }
    }

    /// The same for a sample of whose time there is none, as its caller knows from [`Series::verdict_of`].
    pub(crate) fn insert_absent(
        &mut self,
        room: &mut Room<'_>,
        time_ms: i64,
        value: &Value,
        epoch: u64,
    ) -> Verdict {
        if self.last_ms().is_none_or(|last| time_ms > last) {
            match value {
                Value::Float(value) => self.push(room, time_ms, *value, epoch),
                Value::Histogram(histogram) => self.push_histogram(room, time_ms, histogram, epoch),
            };
            return Verdict::Stored;
        }
        self.keep_for_queries(room, epoch);
        match self.insert_between(room, time_ms, value) {
            Ok(()) => Verdict::Stored,
            Err(_) => Verdict::Unreadable,
        }
    }

    /// Keeps what queries of `epoch` see, before the first change that is not at the end.
    fn keep_for_queries(&mut self, room: &Room<'_>, epoch: u64) {
        // No query runs while the log is replayed, in epoch 0.
        if epoch > 0 && self.before(epoch).is_none() {
            let chunks = self.snapshot(room.pieces, room.spill, TimeRange::ALL, epoch);
            self.rare.get_or_insert_default().before = Some(Before { epoch, chunks });
        }
    }

    fn insert_between(&mut self, room: &mut Room<'_>, time_ms: i64, value: &Value) -> Result<(), TsdbError> {
        let block_ms = room.block_ms;
        let end = block_end(time_ms, block_ms);
        let same_block = |min_ms: i64| block_end(min_ms, block_ms) == end;
        let index = self.closed.partition_point(|chunk| chunk.range().max < time_ms);
        let of_closed = |index: usize| self.closed.get(index).filter(|chunk| same_block(chunk.min_ms));
        let inside = self.closed.get(index).is_some_and(|chunk| chunk.min_ms <= time_ms);
        let at_end = index == self.closed.len() && self.has_open();
        if at_end && self.open_min_ms <= time_ms {
            self.insert_into_open(room, time_ms, value);
            return Ok(());
        }
        let target = if inside {
            Some(index)
        } else if index > 0 && of_closed(index - 1).is_some() {
            Some(index - 1)
        } else if at_end && same_block(self.open_min_ms) {
            self.insert_into_open(room, time_ms, value);
            return Ok(());
        } else {
            of_closed(index).map(|_| index)
        };
        let mut values = match target {
            Some(target) => room.take_from(&self.closed[target])?,
            None => Vec::new(),
        };
        insert_value(&mut values, time_ms, value);
        let at = target.unwrap_or(index);
        let built = encode_values(&values);
        let after = at + built.len();
        let replaced = at..at + usize::from(target.is_some());
        self.closed.splice(replaced, built.into_iter().map(close));
        self.forget_reset_of(room, after);
        Ok(())
    }

    fn insert_into_open(&mut self, room: &mut Room<'_>, time_ms: i64, value: &Value) {
        let mut values = self.open_values(room);
        insert_value(&mut values, time_ms, value);
        self.replace_open(room, encode_values(&values));
    }

    /// Makes the last of `built` the open chunk and closes those before it.
    fn replace_open(&mut self, room: &mut Room<'_>, mut built: Vec<Built>) {
        self.forget_open(room.pieces);
        let Some(last) = built.pop() else { return };
        self.closed.extend(built.into_iter().map(close));
        self.open_min_ms = last.range.min;
        match last.appender {
            OpenAppender::Xor(appender) => {
                self.open.extend(room.pieces, &last.data);
                self.appender.0 = appender;
            }
            OpenAppender::Histogram(open) => {
                let rare = self.rare.get_or_insert_default();
                (rare.histogram, rare.open) = (Some(open), last.data);
            }
        }
    }

    /// A histogram chunk says whether a reset lies before it; what lies there changed.
    fn forget_reset_of(&mut self, room: &Room<'_>, index: usize) {
        let Some(chunk) = self.closed.get_mut(index) else { return };
        if chunk.encoding == format::ENCODING_XOR {
            return;
        }
        // Who reads it finds that it cannot be read as well.
        let Ok(mut data) = chunk.bytes(room) else { return };
        if format::histogram_chunk_header(&data) == Ok(CounterResetHint::NotReset) {
            data[2] &= !RESET_BITS;
            *chunk = ClosedChunk::held(chunk.range(), chunk.encoding, &data);
        }
    }

    /// Takes the samples inside `range` away; tells how many there were. Fails without a change when one of the chunks
    /// cannot be read.
    pub(crate) fn delete(
        &mut self,
        room: &mut Room<'_>,
        range: TimeRange,
        epoch: u64,
    ) -> Result<usize, TsdbError> {
        if !self.overlaps(range) {
            return Ok(0);
        }
        let concerned = self.closed.iter().filter(|chunk| chunk.range().overlaps(range));
        let read: Vec<_> = concerned.map(|chunk| chunk.values(room)).collect::<Result<_, _>>()?;
        let mut read = read.into_iter();
        self.keep_for_queries(room, epoch);
        let mut deleted = 0;
        let mut keep = |values: &mut Vec<(i64, Value)>| {
            let before = values.len();
            values.retain(|(time_ms, _)| !range.contains(*time_ms));
            deleted += before - values.len();
        };
        let mut closed = Vec::with_capacity(self.closed.len());
        for chunk in self.closed.drain(..) {
            if !chunk.range().overlaps(range) {
                closed.push(chunk);
                continue;
            }
            let mut values = read.next().expect("one for each chunk that overlaps");
            keep(&mut values);
            closed.extend(encode_values(&values).into_iter().map(close));
        }
        self.closed = closed;
        let open = self.has_open().then(|| self.open_values(room));
        if let Some(mut values) = open.filter(|values| values.iter().any(|value| range.contains(value.0))) {
            keep(&mut values);
            self.replace_open(room, encode_values(&values));
        }
        for index in 0..self.closed.len() {
            self.forget_reset_of(room, index);
        }
        Ok(deleted)
    }

    /// Makes the newest closed chunk of floats grow again, as it did before a restart.
    pub(crate) fn reopen(&mut self, room: &mut Room<'_>) {
        let Some(last) = self.closed.last().filter(|last| last.encoding == format::ENCODING_XOR) else {
            return;
        };
        if self.has_open() {
            return;
        }
        let Ok(values) = last.values(room) else { return };
        self.closed.pop();
        for (time_ms, value) in values {
            if let Value::Float(value) = value {
                self.push(room, time_ms, value, 0);
            }
        }
    }
}

impl Room<'_> {
    /// The samples of a chunk, which stay for the next look into the same one.
    fn look_into(&mut self, chunk: &ClosedChunk) -> Result<&[(i64, Value)], TsdbError> {
        let values = self.take_from(chunk)?;
        Ok(&self.looked.insert((chunk.data.clone(), values)).1)
    }

    /// The samples of a chunk that is about to be another one.
    fn take_from(&mut self, chunk: &ClosedChunk) -> Result<Vec<(i64, Value)>, TsdbError> {
        match self.looked.take() {
            Some((data, values)) if data.is(&chunk.data) => Ok(values),
            _ => chunk.values(self),
        }
    }
}

impl ClosedChunk {
    fn bytes(&self, room: &Room<'_>) -> Result<Vec<u8>, TsdbError> {
        match &self.data {
            ChunkData::Held(data) => Ok(data.to_vec()),
            ChunkData::Spilled(place) => room.spill.read(*place),
        }
    }

    fn values(&self, room: &Room<'_>) -> Result<Vec<(i64, Value)>, TsdbError> {
        Ok(own_values(self.encoding, &self.bytes(room)?))
    }
}

fn close(built: Built) -> ClosedChunk {
    ClosedChunk::held(built.range, built.appender.encoding(), &built.data)
}

fn value_at(values: &[(i64, Value)], time_ms: i64) -> Option<Value> {
    let at = values.binary_search_by_key(&time_ms, |value| value.0).ok()?;
    Some(values[at].1.clone())
}

fn insert_value(values: &mut Vec<(i64, Value)>, time_ms: i64, value: &Value) {
    let at = values.partition_point(|(other, _)| *other < time_ms);
    values.insert(at, (time_ms, value.clone()));
}

fn own_values(encoding: u8, chunk: &[u8]) -> Vec<(i64, Value)> {
    decode_values(encoding, chunk, XOR_SAMPLES_MAX).expect("the head encoded or checked this chunk itself")
}
