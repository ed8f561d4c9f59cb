//! The streams of one tenant in memory: numbers for label sets, and which streams have which label.
//!
//! A stream gets its number when its first entry is appended or a file with it is first opened, and keeps it while
//! something in memory has it; no number is given twice. Regular expressions run on the values of one label, not on
//! streams. Invariant STREAMS-1: a stream is forgotten only when it was unused twice in a row and nobody asked for its
//! number in between, so that whoever has just asked has put it to use meanwhile.

use std::collections::BTreeMap;

use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;
use model::{Labels, MatchOp, Matcher};
use parking_lot::RwLock;
use roaring::RoaringBitmap;

/// Streams of one tenant.
#[derive(Debug, Default)]
pub(crate) struct StreamIndex(RwLock<Streams>);

#[derive(Debug, Default)]
struct Streams {
    ids: HashMap<Labels, Stream>,
    /// The numbers of all of them.
    all: RoaringBitmap,
    next: u32,
    /// Name, value, streams.
    postings: HashMap<String, BTreeMap<String, RoaringBitmap>>,
}

#[derive(Debug)]
struct Stream {
    id: u32,
    /// Whether its number was asked for since it was last looked for streams to forget.
    is_asked_for: AtomicBool,
}

impl Stream {
    fn id(&self) -> u32 {
        self.is_asked_for.store(true, Ordering::Relaxed);
        self.id
    }
}

impl StreamIndex {
    /// The numbers of label sets, given to those that have none yet.
    pub(crate) fn ids<'a>(&self, labels: impl Iterator<Item = &'a Labels> + Clone) -> Vec<u32> {
        let known: Option<Vec<u32>> = {
            let streams = self.0.read();
            labels.clone().map(|labels| streams.ids.get(labels).map(Stream::id)).collect()
        };
        known.unwrap_or_else(|| {
            let streams = &mut *self.0.write();
            labels.map(|labels| streams.id(labels)).collect()
        })
    }

    /// Whether there is no stream.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.read().ids.is_empty()
    }

    /// The number of a label set, if it has one.
    pub(crate) fn known(&self, labels: &Labels) -> Option<u32> {
        self.0.read().ids.get(labels).map(|stream| stream.id)
    }

    /// Forgets streams that are not in `used`, were not at the last call, and that nobody asked for in between; gives
    /// how many.
    pub(crate) fn forget_unused(&self, used: &RoaringBitmap) -> usize {
        let streams = &mut *self.0.write();
        // One that is used counts as asked for: a reader may have taken its file from a cache that has just lost it.
        let is_unused = |_: &Labels, stream: &mut Stream| {
            let is_used = used.contains(stream.id);
            !stream.is_asked_for.swap(is_used, Ordering::Relaxed) && !is_used
        };
        let gone: Vec<(Labels, Stream)> = streams.ids.extract_if(is_unused).collect();
        for (labels, stream) in &gone {
            streams.forget(labels, stream.id);
        }
        gone.len()
    }

    /// Streams whose labels meet all matchers.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> RoaringBitmap {
        self.0.read().select(matchers)
    }
}

impl Streams {
    fn id(&mut self, labels: &Labels) -> u32 {
        if let Some(stream) = self.ids.get(labels) {
            return stream.id();
        }
        let id = self.next;
        self.next = id.checked_add(1).expect("a process does not see 4 G label sets");
        self.all.insert(id);
        self.ids.insert(labels.clone(), Stream { id, is_asked_for: AtomicBool::new(true) });
        for (name, value) in labels.iter() {
            let values = self.postings.entry_ref(name).or_default();
            match values.get_mut(value) {
                Some(streams) => {
                    streams.insert(id);
                }
                None => {
                    values.insert(value.to_owned(), RoaringBitmap::from_iter([id]));
                }
            }
        }
        id
    }

    fn forget(&mut self, labels: &Labels, id: u32) {
        self.all.remove(id);
        for (name, value) in labels.iter() {
            let Some(values) = self.postings.get_mut(name) else { continue };
            if let Some(streams) = values.get_mut(value) {
                streams.remove(id);
                if streams.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.postings.remove(name);
            }
        }
    }

    fn select(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let mut selected = self.all.clone();
        // A matcher that takes an absent label cannot be looked up: it takes away the values that it refuses.
        for matcher in matchers {
            if matcher.matches_empty() {
                selected -= self.with_values(matcher, |matcher, value| !matcher.matches(value));
            } else {
                selected &= self.with_values(matcher, Matcher::matches);
            }
        }
        selected
    }

    /// Streams with a value of the matcher's label that `wanted` takes.
    fn with_values(&self, matcher: &Matcher, wanted: impl Fn(&Matcher, &str) -> bool) -> RoaringBitmap {
        let Some(values) = self.postings.get(matcher.name()) else { return RoaringBitmap::new() };
        // `a="x"` looks for x, and `a!="x"` for what it refuses, which is x too.
        if matches!(matcher.op(), MatchOp::Equal | MatchOp::NotEqual) && !matcher.value().is_empty() {
            return values.get(matcher.value()).cloned().unwrap_or_default();
        }
        let mut found = RoaringBitmap::new();
        for (value, streams) in values {
            if wanted(matcher, value) {
                found |= streams;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
