//! The streams of one tenant in memory: numbers for label sets, and which streams have which label.
//!
//! A stream gets its number when its first entry is appended or a file with it is first opened, and keeps it while the
//! store is open. Regular expressions run on the values of one label, not on streams.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use model::{Labels, MatchOp, Matcher};
use parking_lot::RwLock;
use roaring::RoaringBitmap;

/// Streams of one tenant.
#[derive(Debug, Default)]
pub(crate) struct StreamIndex(RwLock<Streams>);

#[derive(Debug, Default)]
struct Streams {
    ids: HashMap<Labels, u32>,
    /// Name, value, streams.
    postings: HashMap<String, BTreeMap<String, RoaringBitmap>>,
}

impl StreamIndex {
    /// The numbers of label sets, given to those that have none yet.
    pub(crate) fn ids<'a>(&self, labels: impl Iterator<Item = &'a Labels> + Clone) -> Vec<u32> {
        let known: Option<Vec<u32>> = {
            let streams = self.0.read();
            labels.clone().map(|labels| streams.ids.get(labels).copied()).collect()
        };
        known.unwrap_or_else(|| {
            let streams = &mut *self.0.write();
            labels.map(|labels| streams.id(labels)).collect()
        })
    }

    /// The number of a label set, if it has one.
    pub(crate) fn known(&self, labels: &Labels) -> Option<u32> {
        self.0.read().ids.get(labels).copied()
    }

    /// Streams whose labels meet all matchers.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> RoaringBitmap {
        self.0.read().select(matchers)
    }
}

impl Streams {
    fn id(&mut self, labels: &Labels) -> u32 {
        if let Some(&id) = self.ids.get(labels) {
            return id;
        }
        let id = u32::try_from(self.ids.len()).expect("4 G label sets do not fit into memory");
        self.ids.insert(labels.clone(), id);
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

    fn select(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let mut selected = RoaringBitmap::new();
        selected.insert_range(0..self.ids.len() as u32);
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
