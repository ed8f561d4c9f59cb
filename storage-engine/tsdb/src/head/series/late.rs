//! Samples that are not newer than the newest of their series: what is known about their time, and how they get into
//! their place; and deletion, which takes samples out of theirs.
//!
//! The chunk that a late sample belongs into is taken apart and made again: about 4 µs. That is dear beside a sample in
//! order and cheap beside a second kind of chunk that all readers, the flush and the log would have to know.

use format::XOR_SAMPLES_MAX;
use model::{CounterResetHint, TimeRange};

use super::{Before, ClosedChunk, Series, Verdict, XorAppender, block_end};
use crate::head::value::{Built, OpenAppender, Value, decode_values, encode_values};

/// Bits of a histogram chunk's third byte that say what is known about a counter reset.
const RESET_BITS: u8 = 0b1100_0000;

impl Series {
    /// What a sample is if there is one of its time already.
    #[cold]
    pub(crate) fn verdict_of(&self, time_ms: i64, value: &Value) -> Option<Verdict> {
        let stored = self.stored_at(time_ms)?;
        Some(if stored.same(value) { Verdict::Duplicate } else { Verdict::Conflict })
    }

    fn stored_at(&self, time_ms: i64) -> Option<Value> {
        let index = self.closed.partition_point(|chunk| chunk.range().max < time_ms);
        let (encoding, data) = match self.closed.get(index) {
            Some(chunk) if chunk.min_ms <= time_ms => (chunk.encoding, &*chunk.data),
            Some(_) => return None,
            None if !self.open.is_empty() && self.open_min_ms <= time_ms => {
                if self.appender.0.samples() > 0 && self.appender.0.last_timestamp_ms() == time_ms {
                    return Some(Value::Float(self.appender.0.last_value()));
                }
                if self.last_ms().is_some_and(|last| last < time_ms) {
                    return None;
                }
                (self.open_encoding(), &*self.open)
            }
            None => return None,
        };
        let mut values = own_values(encoding, data);
        let at = values.binary_search_by_key(&time_ms, |value| value.0).ok()?;
        Some(values.swap_remove(at).1)
    }

    /// Puts a sample of whatever age into its place, unless there is one of its time: what the log and the out-of-order
    /// window bring.
    pub(crate) fn insert(&mut self, time_ms: i64, value: &Value, epoch: u64, block_ms: i64) -> Verdict {
        if self.last_ms().is_none_or(|last| time_ms > last) {
            match value {
                Value::Float(value) => self.push(time_ms, *value, epoch, block_ms),
                Value::Histogram(histogram) => self.push_histogram(time_ms, histogram, epoch, block_ms),
            };
            return Verdict::Stored;
        }
        if let Some(verdict) = self.verdict_of(time_ms, value) {
            return verdict;
        }
        self.keep_for_queries(epoch);
        self.insert_absent(time_ms, value, block_ms);
        Verdict::Stored
    }

    /// Keeps what queries of `epoch` see, before the first change that is not at the end.
    fn keep_for_queries(&mut self, epoch: u64) {
        // No query runs while the log is replayed, in epoch 0.
        if epoch > 0 && self.before(epoch).is_none() {
            let chunks = self.snapshot(TimeRange::ALL, epoch);
            self.rare.get_or_insert_default().before = Some(Before { epoch, chunks });
        }
    }

    fn insert_absent(&mut self, time_ms: i64, value: &Value, block_ms: i64) {
        let end = block_end(time_ms, block_ms);
        let same_block = |min_ms: i64| block_end(min_ms, block_ms) == end;
        let index = self.closed.partition_point(|chunk| chunk.range().max < time_ms);
        let of_closed = |index: usize| self.closed.get(index).filter(|chunk| same_block(chunk.min_ms));
        let inside = self.closed.get(index).is_some_and(|chunk| chunk.min_ms <= time_ms);
        let at_end = index == self.closed.len() && !self.open.is_empty();
        if at_end && self.open_min_ms <= time_ms {
            return self.insert_into_open(time_ms, value);
        }
        let target = if inside {
            Some(index)
        } else if index > 0 && of_closed(index - 1).is_some() {
            Some(index - 1)
        } else if at_end && same_block(self.open_min_ms) {
            return self.insert_into_open(time_ms, value);
        } else {
            of_closed(index).map(|_| index)
        };
        let mut values = match target {
            Some(target) => {
                let chunk = self.closed.remove(target);
                own_values(chunk.encoding, &chunk.data)
            }
            None => Vec::new(),
        };
        insert_value(&mut values, time_ms, value);
        let at = target.unwrap_or(index);
        let built = encode_values(&values);
        let after = at + built.len();
        self.closed.splice(at..at, built.into_iter().map(close));
        self.forget_reset_of(after);
    }

    fn insert_into_open(&mut self, time_ms: i64, value: &Value) {
        let mut values = own_values(self.open_encoding(), &self.open);
        insert_value(&mut values, time_ms, value);
        self.replace_open(encode_values(&values));
    }

    /// Makes the last of `built` the open chunk and closes those before it.
    fn replace_open(&mut self, mut built: Vec<Built>) {
        self.appender.0 = XorAppender::EMPTY;
        self.open.clear();
        if let Some(rare) = &mut self.rare {
            rare.histogram = None;
        }
        let Some(last) = built.pop() else { return };
        self.closed.extend(built.into_iter().map(close));
        self.open = last.data;
        self.open_min_ms = last.range.min;
        match last.appender {
            OpenAppender::Xor(appender) => self.appender.0 = appender,
            OpenAppender::Histogram(open) => {
                self.rare.get_or_insert_default().histogram = Some(open);
            }
        }
    }

    /// A histogram chunk says whether a reset lies before it; what lies there changed.
    fn forget_reset_of(&mut self, index: usize) {
        let Some(chunk) = self.closed.get_mut(index) else { return };
        if chunk.encoding == format::ENCODING_XOR
            || format::histogram_chunk_header(&chunk.data) != Ok(CounterResetHint::NotReset)
        {
            return;
        }
        let mut data = chunk.data.to_vec();
        data[2] &= !RESET_BITS;
        chunk.data = data.into();
    }

    /// Takes the samples inside `range` away; tells how many there were.
    pub(crate) fn delete(&mut self, range: TimeRange, epoch: u64) -> usize {
        if !self.overlaps(range) {
            return 0;
        }
        self.keep_for_queries(epoch);
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
            let mut values = own_values(chunk.encoding, &chunk.data);
            keep(&mut values);
            closed.extend(encode_values(&values).into_iter().map(close));
        }
        self.closed = closed;
        let open = (!self.open.is_empty()).then(|| own_values(self.open_encoding(), &self.open));
        if let Some(mut values) = open.filter(|values| values.iter().any(|value| range.contains(value.0))) {
            keep(&mut values);
            self.replace_open(encode_values(&values));
        }
        for index in 0..self.closed.len() {
            self.forget_reset_of(index);
        }
        deleted
    }

    /// Makes the newest closed chunk of floats grow again, as it did before a restart.
    pub(crate) fn reopen(&mut self, block_ms: i64) {
        if !self.open.is_empty()
            || self.closed.last().is_none_or(|last| last.encoding != format::ENCODING_XOR)
        {
            return;
        }
        let Some(last) = self.closed.pop() else { return };
        for (time_ms, value) in own_values(last.encoding, &last.data) {
            if let Value::Float(value) = value {
                self.push(time_ms, value, 0, block_ms);
            }
        }
    }
}

fn close(built: Built) -> ClosedChunk {
    ClosedChunk::new(built.range, built.appender.encoding(), &built.data)
}

fn insert_value(values: &mut Vec<(i64, Value)>, time_ms: i64, value: &Value) {
    let at = values.partition_point(|(other, _)| *other < time_ms);
    values.insert(at, (time_ms, value.clone()));
}

fn own_values(encoding: u8, chunk: &[u8]) -> Vec<(i64, Value)> {
    decode_values(encoding, chunk, XOR_SAMPLES_MAX).expect("the head encoded or checked this chunk itself")
}
