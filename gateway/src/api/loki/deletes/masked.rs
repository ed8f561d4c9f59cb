//! A log store without the lines that were asked to be deleted.
//!
//! MASK-1: no query sees a line that a request deletes, from the moment the request was answered. Stream tables and
//! sums of streams still count it, as in Loki until its compactor ran. While it is not known what is deleted (DELETES-2)
//! no line is read.

use std::sync::Arc;

use model::{Direction, ErrorKind, Labels, LogEntries, TenantId, TimeRange};
use storage_api::{
    BoxFuture, LogCountSelect, LogPage, LogQuerier, LogSelect, StorageError, StorageResult, StreamCounts,
    StreamSummary,
};

use super::requests::{Delete, DeleteRequests};

const MINUTE_NS: i64 = 60_000_000_000;

/// Reads from a store through the requests.
pub struct MaskedQuerier {
    inner: Arc<dyn LogQuerier>,
    requests: Arc<DeleteRequests>,
}

/// A page of which some entries may be deleted. Its length and range are those of the whole page.
struct MaskedPage {
    inner: Arc<dyn LogPage>,
    deletes: Vec<Arc<Delete>>,
}

impl MaskedQuerier {
    /// `inner` without what `requests` delete.
    pub fn new(inner: Arc<dyn LogQuerier>, requests: Arc<DeleteRequests>) -> Self {
        Self { inner, requests }
    }

    fn must_be_known(&self) -> StorageResult<()> {
        match self.requests.unknown() {
            None => Ok(()),
            Some(reason) => Err(StorageError::new(ErrorKind::Corrupt, reason)),
        }
    }
}

impl LogQuerier for MaskedQuerier {
    fn select<'a>(
        &'a self,
        select: &'a LogSelect,
        direction: Direction,
    ) -> BoxFuture<'a, StorageResult<Vec<Arc<dyn LogPage>>>> {
        Box::pin(async move {
            self.must_be_known()?;
            // Before the select: the files that it finds may be those from before a request was processed. And after
            // it: a request that is answered while it ran is applied too.
            let mut deletes = self.requests.in_range(&select.tenant, select.range);
            let pages = self.inner.select(select, direction).await?;
            for later in self.requests.in_range(&select.tenant, select.range) {
                if !deletes.iter().any(|known| known.request().id == later.request().id) {
                    deletes.push(later);
                }
            }
            if deletes.is_empty() {
                return Ok(pages);
            }
            Ok(pages.into_iter().filter_map(|page| mask(page, &deletes)).collect())
        })
    }

    /// Counts hold deleted entries too: where there may be some, everything is read.
    fn counts<'a>(&'a self, select: &'a LogCountSelect) -> BoxFuture<'a, StorageResult<Vec<StreamCounts>>> {
        if let Err(error) = self.must_be_known() {
            return Box::pin(std::future::ready(Err(error)));
        }
        // Buckets at both ends may be counted beyond the range.
        let bucket_ns = select.bucket_minutes.saturating_mul(MINUTE_NS);
        let (min, max) = (select.range.min, select.range.max);
        let range = TimeRange::new(min.saturating_sub(bucket_ns), max.saturating_add(bucket_ns));
        if self.requests.in_range(&select.tenant, range).is_empty() {
            return self.inner.counts(select);
        }
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn streams<'a>(&'a self, select: &'a LogSelect) -> BoxFuture<'a, StorageResult<Vec<StreamSummary>>> {
        self.inner.streams(select)
    }

    fn missing(&self, tenant: &TenantId, range: TimeRange) -> Vec<String> {
        self.inner.missing(tenant, range)
    }
}

/// The page with its deletes; `None` when nothing of it is left.
fn mask(page: Arc<dyn LogPage>, deletes: &[Arc<Delete>]) -> Option<Arc<dyn LogPage>> {
    let range = page.range();
    let concerns = deletes.iter().filter(|delete| delete.concerns(page.labels(), range));
    let deletes: Vec<Arc<Delete>> = concerns.map(Arc::clone).collect();
    if deletes.is_empty() {
        return Some(page);
    }
    if deletes.iter().any(|delete| delete.takes_all_in(range)) {
        return None;
    }
    Some(Arc::new(MaskedPage { inner: page, deletes }))
}

impl LogPage for MaskedPage {
    fn labels(&self) -> &Labels {
        self.inner.labels()
    }

    fn range(&self) -> TimeRange {
        self.inner.range()
    }

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn place(&self) -> (u64, u32) {
        self.inner.place()
    }

    fn read(&self) -> StorageResult<Arc<LogEntries>> {
        let entries = self.inner.read()?;
        let mut gone = vec![false; entries.len()];
        for delete in &self.deletes {
            delete.mark(self.inner.labels(), &entries, &mut gone);
        }
        if !gone.contains(&true) {
            return Ok(entries);
        }
        let mut left = LogEntries::new();
        let mut at = 0;
        while at < gone.len() {
            let end =
                gone[at..].iter().position(|&other| other != gone[at]).map_or(gone.len(), |len| at + len);
            if !gone[at] {
                left.extend_from(&entries, at..end);
            }
            at = end;
        }
        Ok(Arc::new(left))
    }
}
