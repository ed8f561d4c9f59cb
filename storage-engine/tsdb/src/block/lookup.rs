//! Values of a label and their postings lists.

use format::{FormatError, take_postings_entry};
use storage_api::StorageResult;

use super::index::BlockIndex;

impl BlockIndex {
    /// All label names, in order.
    pub(crate) fn label_names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &**name)
    }

    /// Number of values that a label has.
    pub(crate) fn value_count(&self, name: &str) -> usize {
        self.names.get(name).map_or(0, |values| values.count)
    }

    /// Calls `visit` with each value of a label, in order, and the place of its postings list.
    pub(crate) fn values(&self, name: &str, mut visit: impl FnMut(&str, u64)) -> StorageResult<()> {
        let Some(values) = self.names.get(name) else { return Ok(()) };
        let Some((_, from)) = values.sampled.first() else { return Ok(()) };
        self.walk(*from, values.end, |value, at| {
            visit(value, at);
            true
        })
    }

    /// The place of the postings list of one value.
    pub(crate) fn value(&self, name: &str, value: &str) -> StorageResult<Option<u64>> {
        let Some(values) = self.names.get(name) else { return Ok(None) };
        let next = values.sampled.partition_point(|(sampled, _)| &**sampled <= value);
        let Some((_, from)) = next.checked_sub(1).map(|before| &values.sampled[before]) else {
            return Ok(None);
        };
        let to = values.sampled.get(next).map_or(values.end, |(_, at)| *at);
        let mut found = None;
        self.walk(*from, to, |have, at| {
            if have == value {
                found = Some(at);
            }
            have < value
        })?;
        Ok(found)
    }

    fn walk(&self, from: usize, to: usize, mut visit: impl FnMut(&str, u64) -> bool) -> StorageResult<()> {
        let part = self.table_part(from, to)?;
        let mut rest = part.as_slice();
        while !rest.is_empty() {
            let cut = FormatError::new("index", "an entry of its postings table changed since it was opened");
            let (_, value, at) = take_postings_entry(&mut rest).ok_or_else(|| self.damaged(&cut))?;
            if !visit(value, at) {
                break;
            }
        }
        Ok(())
    }
}
