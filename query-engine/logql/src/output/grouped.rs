//! Log lines as streams: those with the same labels together, in the order of the labels' text, as Loki's answers have
//! them.
//!
//! An answer may have as many label sets as lines, so nothing is made per stream but a place in a list: labels are put
//! together again when they are written.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{ResultEntry, Streams};
use crate::syntax::quoted;

/// Which labels make a stream of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// All of an entry: those of its stream, its structured metadata, what the pipeline made.
    AllLabels,
    /// Those of its stream, for answers with `categorize-labels`.
    StreamLabels,
}

/// The entries of an answer, stream by stream.
#[derive(Clone, Debug)]
pub struct GroupedStreams {
    grouping: Grouping,
    entries: Vec<ResultEntry>,
    /// Where each stream ends in `entries`.
    ends: Vec<usize>,
}

type Pairs<'a> = Vec<(&'a str, &'a str)>;

impl Streams {
    /// Brings the entries of a stream together; among themselves they keep their order.
    pub fn grouped(self, grouping: Grouping) -> GroupedStreams {
        let (stream_of, keys) = streams_of(&self.entries, grouping);
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_unstable_by(|a, b| keys[*a].cmp(&keys[*b]));
        let mut ends = vec![0; keys.len()];
        let mut place_of = vec![0; keys.len()];
        order.iter().enumerate().for_each(|(place, stream)| place_of[*stream] = place);
        let mut placed: Vec<(usize, ResultEntry)> = Vec::with_capacity(self.entries.len());
        for (entry, stream) in self.entries.into_iter().zip(stream_of) {
            ends[place_of[stream]] += 1;
            placed.push((place_of[stream], entry));
        }
        for place in 1..ends.len() {
            ends[place] += ends[place - 1];
        }
        // Stable, for the order in a stream.
        placed.sort_by_key(|(place, _)| *place);
        GroupedStreams { grouping, entries: placed.into_iter().map(|(_, entry)| entry).collect(), ends }
    }
}

/// The stream of each entry, numbered as they come, and the text of each stream's labels.
fn streams_of(entries: &[ResultEntry], grouping: Grouping) -> (Vec<usize>, Vec<String>) {
    let hasher = DefaultHashBuilder::default();
    let mut known: HashTable<usize> = HashTable::new();
    let mut firsts: Vec<Pairs<'_>> = Vec::new();
    let mut stream_of = Vec::with_capacity(entries.len());
    let mut pairs: Pairs<'_> = Vec::new();
    for entry in entries {
        labels_of(entry, grouping, &mut pairs);
        // Neighbours are of the same stream more often than not.
        if let Some(last) = stream_of.last().copied().filter(|last: &usize| firsts[*last] == pairs) {
            stream_of.push(last);
            continue;
        }
        let is_same = |stream: &usize| firsts[*stream] == pairs;
        let found = known.entry(hasher.hash_one(&pairs), is_same, |stream| hasher.hash_one(&firsts[*stream]));
        let stream = *found.or_insert(firsts.len()).get();
        if stream == firsts.len() {
            firsts.push(pairs.clone());
        }
        stream_of.push(stream);
    }
    (stream_of, firsts.iter().map(|pairs| text_of(pairs)).collect())
}

/// The labels that make the entry's stream, in the order of their names: of equal names the last kind counts, an empty
/// value is no label.
fn labels_of<'a>(entry: &'a ResultEntry, grouping: Grouping, pairs: &mut Pairs<'a>) {
    pairs.clear();
    pairs.extend(entry.stream.iter());
    if grouping == Grouping::StreamLabels || (entry.structured_metadata.is_empty() && entry.parsed.is_empty())
    {
        return;
    }
    let own = entry.structured_metadata.iter().chain(&entry.parsed);
    pairs.extend(own.map(|(name, value)| (name.as_str(), value.as_str())));
    // Stable and reversed, so that the last of equal names is the one that stays.
    pairs.reverse();
    pairs.sort_by_key(|(name, _)| *name);
    pairs.dedup_by_key(|(name, _)| *name);
    pairs.retain(|(_, value)| !value.is_empty());
}

/// `{a="1", b="2"}` with Go's quotes, which Loki sorts streams by.
fn text_of(pairs: &[(&str, &str)]) -> String {
    let bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.len() + 5).sum();
    let mut text = String::with_capacity(bytes + 2);
    text.push('{');
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(name);
        text.push('=');
        let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
        if value.bytes().all(is_plain) {
            text.push('"');
            text.push_str(value);
            text.push('"');
        } else {
            text.push_str(&quoted(value));
        }
    }
    text.push('}');
    text
}

impl GroupedStreams {
    /// How many streams there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The entries of a stream. Panics when there are not so many streams.
    pub fn entries(&self, stream: usize) -> &[ResultEntry] {
        let start = if stream == 0 { 0 } else { self.ends[stream - 1] };
        &self.entries[start..self.ends[stream]]
    }

    /// The labels of a stream, in the order of their names. Panics when there are not so many streams.
    pub fn labels(&self, stream: usize) -> Vec<(&str, &str)> {
        let mut pairs = Vec::new();
        labels_of(&self.entries(stream)[0], self.grouping, &mut pairs);
        pairs
    }

    /// The labels of a stream as `{a="1", b="2"}`. Panics when there are not so many streams.
    pub fn labels_text(&self, stream: usize) -> String {
        text_of(&self.labels(stream))
    }

    /// Which labels make a stream.
    pub fn grouping(&self) -> Grouping {
        self.grouping
    }

    /// About what it takes in memory, bytes.
    pub fn held_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.text_bytes() + size_of::<ResultEntry>()).sum()
    }
}

#[cfg(test)]
mod tests;
