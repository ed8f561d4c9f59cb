//! The log store's seam: append entries by stream, read pages of streams.

use std::ops::Range;
use std::sync::Arc;

use model::{AppendReport, Direction, Labels, LogEntries, Matcher, TenantId, TimeRange};

use crate::{BoxFuture, StorageResult};

/// Entries of one stream, to append.
#[derive(Clone, Debug)]
pub struct StreamEntries {
    /// The stream's index labels.
    pub labels: Labels,
    /// Entries in any time order.
    pub entries: LogEntries,
}

/// Entries of several streams, to append as one unit.
#[derive(Clone, Debug, Default)]
pub struct LogBatch {
    /// The streams; a label set may come more than once.
    pub streams: Vec<StreamEntries>,
}

/// Writes into a log store.
pub trait LogAppender: Send + Sync {
    /// Appends entries; resolves when they are durable. An exact duplicate (stream, time, line, metadata) of a
    /// stored entry counts as stored and is kept once.
    fn append<'a>(
        &'a self,
        tenant: &'a TenantId,
        batch: LogBatch,
    ) -> BoxFuture<'a, StorageResult<AppendReport>>;
}

/// What to read from a log store.
#[derive(Clone, Debug)]
pub struct LogSelect {
    /// Whose data.
    pub tenant: TenantId,
    /// Nanoseconds, both ends included.
    pub range: TimeRange,
    /// All must match the stream's labels; empty means every stream.
    pub matchers: Vec<Matcher>,
    /// Texts that a line must contain, one of each list, whatever the case of their ASCII letters. Known to the reader
    /// before it looks: a store may leave out pages that its index proves not to contain them. Never needed for
    /// correctness.
    pub line_contains: Vec<Vec<String>>,
}

/// A stream as a whole: what can be said about it without reading lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// The stream's labels.
    pub labels: Labels,
    /// Entries in the range, rounded up to whole pages or minutes where the range cuts one.
    pub entries: u64,
    /// Bytes of their lines, likewise.
    pub bytes: u64,
}

/// Which entries to count without reading them.
#[derive(Clone, Debug)]
pub struct LogCountSelect {
    /// Whose data.
    pub tenant: TenantId,
    /// Nanoseconds, both ends included. Buckets that it cuts may be counted in full.
    pub range: TimeRange,
    /// All must match the stream's labels; empty means every stream.
    pub matchers: Vec<Matcher>,
    /// Labels by which the counts will be told apart: those of streams and `detected_level`; entries whose metadata
    /// has another of them are not counted. `None` when all metadata matters: only entries without any are counted.
    pub by: Option<Vec<String>>,
    /// Length of a bucket, minutes, at least 1.
    pub bucket_minutes: i64,
    /// Minutes since the Unix epoch at which a bucket starts, and with it all others.
    pub origin_minute: i64,
}

/// How many entries, and the bytes of their lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryCount {
    /// Number of entries.
    pub entries: u64,
    /// Bytes of their lines.
    pub bytes: u64,
}

/// Entries of a bucket with one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketCount {
    /// Minutes since the Unix epoch at which the bucket starts.
    pub minute: i64,
    /// Value of `detected_level` in their metadata, empty for none, or when it was not asked for.
    pub level: Arc<str>,
    /// Those whose time is just the start of the bucket.
    pub at_start: EntryCount,
    /// All others.
    pub later: EntryCount,
}

/// What is known of a stream without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// The stream's labels.
    pub labels: Labels,
    /// First and last nanosecond of each stretch whose entries are all in `buckets`, each once; ascending and apart.
    /// The others have to be read.
    pub counted: Vec<(i64, i64)>,
    /// Their counts, ascending by minute and level.
    pub buckets: Vec<BucketCount>,
}

/// Reads from a log store.
pub trait LogQuerier: Send + Sync {
    /// Pages that may have matching entries, in the order in which `direction` wants their first entry: ascending
    /// by `range().min`, or descending by `range().max`. Pages may overlap in time, and an entry that was appended
    /// twice may be in two pages of one stream.
    fn select<'a>(
        &'a self,
        select: &'a LogSelect,
        direction: Direction,
    ) -> BoxFuture<'a, StorageResult<Vec<Arc<dyn LogPage>>>>;

    /// Counts what can be counted without reading entries; what is not in the answer has to be read. To be asked
    /// before `select`, so that an entry on its way to another place is in one of the two. A store need not know any.
    fn counts<'a>(&'a self, select: &'a LogCountSelect) -> BoxFuture<'a, StorageResult<Vec<StreamCounts>>> {
        let _ = select;
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Streams that match, sorted by labels, each once.
    fn streams<'a>(&'a self, select: &'a LogSelect) -> BoxFuture<'a, StorageResult<Vec<StreamSummary>>>;

    /// A sentence for each piece of data with entries inside `range` (ns, both ends included) that is damaged and that
    /// answers miss. To be asked after pages were read: it is reading that finds damage.
    fn missing(&self, _tenant: &TenantId, _range: TimeRange) -> Vec<String> {
        Vec::new()
    }
}

/// Follows a log store: hands on what is appended.
pub trait LogFollower: Send + Sync {
    /// Follows the streams of a tenant that match all `matchers`, from now on.
    fn follow(&self, tenant: &TenantId, matchers: Vec<Matcher>) -> Box<dyn LogFollow>;
}

/// Entries as they are appended, for one reader. Dropping it ends it.
pub trait LogFollow: Send {
    /// Waits for entries and takes all that wait. They are durable as the store was configured to make them, and
    /// queries see them; one that is appended again may come again. A reader that is too slow loses entries and is
    /// told so. `None` when the store closed.
    /// Cancel-safe.
    fn next(&mut self) -> BoxFuture<'_, Option<Followed>>;
}

/// What a follower was handed.
#[derive(Clone, Debug, Default)]
pub struct Followed {
    /// Entries in the order in which they were appended.
    pub streams: Vec<StreamEntries>,
    /// Streams of which entries were left out because the reader was too slow, each with the time of the first one,
    /// ns; a bounded number of them.
    pub dropped: Vec<(Labels, i64)>,
}

/// A run of entries of one stream, on disk or in memory.
pub trait LogPage: Send + Sync {
    /// The stream's labels.
    fn labels(&self) -> &Labels;

    /// Time of the oldest and newest entry, ns.
    fn range(&self) -> TimeRange;

    /// Number of entries.
    fn len(&self) -> usize;

    /// Whether there is no entry.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the whole page (entries outside the selected range included), in ascending time order; entries of equal
    /// time keep the order in which they were appended. A damaged page has none, which `LogQuerier::missing` tells.
    /// May read from disk: call it off the async threads.
    fn read(&self) -> StorageResult<Arc<LogEntries>>;

    /// The page as part of what has to be decoded for it, and which entries of that are the page's: saves a copy where
    /// several pages are stored as one.
    fn read_rows(&self) -> StorageResult<(Arc<LogEntries>, Range<usize>)> {
        let entries = self.read()?;
        let rows = 0..entries.len();
        Ok((entries, rows))
    }

    /// As `read_rows`, for what the page was selected for: where no line can have the texts of `LogSelect::line_contains`
    /// the store may say so without decoding the page.
    fn search(&self) -> StorageResult<SearchedRows> {
        let (entries, rows) = self.read_rows()?;
        Ok(SearchedRows::Found(entries, rows))
    }

    /// Where the page is stored. Reading pages in the order of their places shares work between neighbours.
    fn place(&self) -> (u64, u32) {
        (0, 0)
    }
}

/// What a search finds in a page.
#[derive(Clone, Debug)]
pub enum SearchedRows {
    /// The entries and which of them are the page's: some may pass.
    Found(Arc<LogEntries>, Range<usize>),
    /// None passes.
    Nothing {
        /// Bytes of lines that were looked through, about.
        line_bytes: usize,
    },
}

/// Entries that are to go.
pub trait LogMask: Send + Sync {
    /// Whether it may take an entry of this stream in `range`.
    fn concerns(&self, labels: &Labels, range: TimeRange) -> bool;

    /// Sets `gone`, which has one flag for each of a stream's `entries`, for those that it takes.
    fn mark(&self, labels: &Labels, entries: &LogEntries, gone: &mut [bool]);
}

/// Upkeep of a log store, when somebody asks for it.
pub trait LogMaintenance: Send + Sync {
    /// Writes what is in memory to files; merging them goes on in the background.
    fn flush(&self) -> BoxFuture<'_, StorageResult<()>>;

    /// Takes the entries of a tenant that `mask` takes out of its files and resolves with their number once none of
    /// them can come back. What is appended while it runs may stay. After an error some are gone and some are not.
    fn remove<'a>(
        &'a self,
        tenant: &'a TenantId,
        mask: Arc<dyn LogMask>,
    ) -> BoxFuture<'a, StorageResult<u64>>;
}
