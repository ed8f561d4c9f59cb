//! Label sets: immutable, sorted by name, cheap to clone.
//!
//! Invariant LABELS-1: names are unique and in byte order, and no value is empty (an empty value equals an absent
//! label in the Prometheus and Loki data models). `LabelsBuilder` upholds it; nothing else makes a `Labels`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::METRIC_NAME;

/// A sorted set of `name="value"` pairs. Cloning copies a pointer.
///
/// All text lies in one buffer, so that a label set costs two allocations whatever its size.
#[derive(Clone, PartialEq, Eq)]
pub struct Labels(Arc<Text>);

#[derive(PartialEq, Eq, Default)]
struct Text {
    text: Box<str>,
    /// End offsets in `text`: name 0, value 0, name 1, value 1, …
    ends: Box<[u32]>,
}

impl Labels {
    /// The empty label set `{}`.
    pub fn empty() -> Self {
        Self(Arc::new(Text::default()))
    }

    /// Builds a label set from pairs in any order; of equal names the last wins, empty values are left out.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        // Stable, so that the last of equal names stays last.
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let is_last =
            |index: usize| pairs.get(index + 1).is_none_or(|next| next.0.as_ref() != pairs[index].0.as_ref());
        let kept = pairs.iter().enumerate().filter(|(index, _)| is_last(*index));
        let kept = kept.map(|(_, (name, value))| (name.as_ref(), value.as_ref()));
        Self::from_sorted(kept.filter(|(_, value)| !value.is_empty()))
    }

    /// Takes pairs that are in name order already, each name once and no value empty; `None` when they are not. For
    /// decoders: it costs no search.
    pub fn try_from_sorted(pairs: &[(&str, &str)]) -> Option<Self> {
        let sound =
            pairs.is_sorted_by(|left, right| left.0 < right.0) && pairs.iter().all(|(_, v)| !v.is_empty());
        sound.then(|| Self::from_sorted(pairs.iter().copied()))
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.0.ends.len() / 2
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.0.ends.is_empty()
    }

    /// Bytes of all names and values together.
    pub fn text_bytes(&self) -> usize {
        self.0.text.len()
    }

    /// The pair at position `index` in name order. Panics when `index >= len()`.
    pub fn at(&self, index: usize) -> (&str, &str) {
        let start = if index == 0 { 0 } else { self.0.ends[2 * index - 1] as usize };
        let name_end = self.0.ends[2 * index] as usize;
        let value_end = self.0.ends[2 * index + 1] as usize;
        (&self.0.text[start..name_end], &self.0.text[name_end..value_end])
    }

    /// All pairs in name order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        (0..self.len()).map(|index| self.at(index))
    }

    /// The value of `name`, or `None` when the label is absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        // Label sets have about ten labels: a linear walk beats a binary search over split strings.
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The metric name, i.e. the value of `__name__`.
    pub fn metric_name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// A builder that starts with these labels.
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    /// These labels without those that `drop` names.
    pub fn without(&self, drop: impl Fn(&str) -> bool) -> Self {
        Self::from_sorted(self.iter().filter(|(n, _)| !drop(n)))
    }

    /// Joins pairs that uphold LABELS-1 already: names unique and ascending, no value empty.
    pub fn from_sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut text = String::new();
        let mut ends = Vec::new();
        let mut last = None;
        for (name, value) in pairs {
            debug_assert!(last < Some(name) && !value.is_empty(), "LABELS-1: {name:?} after {last:?}");
            last = Some(name);
            text.push_str(name);
            ends.push(offset(text.len()));
            text.push_str(value);
            ends.push(offset(text.len()));
        }
        Self(Arc::new(Text { text: text.into_boxed_str(), ends: ends.into_boxed_slice() }))
    }
}

fn offset(len: usize) -> u32 {
    u32::try_from(len).expect("decoders cap a label set far below 4 GiB")
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
        self.0.ends.hash(state);
    }
}

impl Ord for Labels {
    /// Order of `labels.Compare` in Prometheus: pair by pair, name first, a prefix before its extension.
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Labels {
    /// `{a="1", b="2"}`, as Prometheus and Loki print a label set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Collects pairs and makes a [`Labels`] of them.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `name` to `value`, replacing what it had; an empty value removes the label.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.iter_mut().find(|(n, _)| n == name) {
            Some(pair) => {
                pair.1.clear();
                pair.1.push_str(value);
            }
            None => self.pairs.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes `name`.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(n, _)| n != name);
        self
    }

    /// The value of `name` so far.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// The finished label set; the builder is left empty for reuse.
    pub fn build(&mut self) -> Labels {
        self.pairs.retain(|(_, value)| !value.is_empty());
        self.pairs.sort_unstable();
        let labels = Labels::from_sorted(self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        self.pairs.clear();
        labels
    }
}

#[cfg(test)]
mod tests;
