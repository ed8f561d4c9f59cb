//! Reads over everything that a tenant has: its head and its blocks.
//!
//! The head is read first: what leaves it is in a block before, so that a reader finds it in at least one of the two.

use std::sync::Arc;

use model::{Labels, Matcher, TimeRange};
use storage_api::{Series, StorageResult};

use super::Tenant;
use crate::block::BlockReader;
use crate::union::{merge_series, merge_sorted};

impl Tenant {
    /// Matching series with samples in `range`, sorted by labels. Reads the blocks' indexes; their chunks are read when
    /// they are decoded.
    pub(crate) fn select(&self, matchers: &[Matcher], range: TimeRange) -> StorageResult<Vec<Series>> {
        let head = self.head.select(matchers, range);
        let mut sources = self.of_blocks(range, |block| block.select(matchers, range))?;
        sources.push(head);
        Ok(merge_series(sources))
    }

    /// Label sets of matching series with samples in `range`, sorted.
    pub(crate) fn series_labels(&self, matchers: &[Matcher], range: TimeRange) -> StorageResult<Vec<Labels>> {
        let head = self.head.series_labels(matchers, range);
        let mut sources = self.of_blocks(range, |block| block.series_labels(matchers, range))?;
        sources.push(head);
        Ok(merge_sorted(sources))
    }

    /// Label names of matching series with samples in `range`, sorted.
    pub(crate) fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> StorageResult<Vec<String>> {
        let head = self.head.label_names(matchers, range);
        let mut sources = self.of_blocks(range, |block| block.label_names(matchers, range))?;
        sources.push(head);
        Ok(merge_sorted(sources))
    }

    /// Values of label `name` in matching series with samples in `range`, sorted.
    pub(crate) fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> StorageResult<Vec<String>> {
        let head = self.head.label_values(name, matchers, range);
        let mut sources = self.of_blocks(range, |block| block.label_values(name, matchers, range))?;
        sources.push(head);
        Ok(merge_sorted(sources))
    }

    /// Times between which the samples of the head and of the blocks lie.
    pub(crate) fn bounds(&self) -> Option<TimeRange> {
        // The head first, as for every read: what leaves it is in a block before.
        let head = self.head.stats().range;
        let blocks = self.blocks.readers();
        let ranges = head.into_iter().chain(blocks.iter().map(|block| block.range()));
        ranges.reduce(|all, range| TimeRange::new(all.min.min(range.min), all.max.max(range.max)))
    }

    fn of_blocks<T>(
        &self,
        range: TimeRange,
        read: impl Fn(&Arc<BlockReader>) -> StorageResult<T>,
    ) -> StorageResult<Vec<T>> {
        let readers = self.blocks.readers();
        readers.iter().filter(|block| block.range().overlaps(range)).map(read).collect()
    }
}
