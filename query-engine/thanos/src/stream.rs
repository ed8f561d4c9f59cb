//! One store's answer to `Series` as a stream of series in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use model::TimeRange;
use runtime::Tasks;
use storage_api::StorageResult;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::bucket_store::{BUCKET_ADDRESS, BlockSeries};
use crate::grpc::client::Messages;
use crate::local::{FoundSeries, chunks};
use crate::select::StoreSelect;
use crate::series_frame::{AggrChunk, RawChunk, Received, StoreSeries, read};

/// The name of this process' own store in errors, and its address for `storeMatch[]`.
pub(crate) const LOCAL_ADDRESS: &str = "local";

/// Series of this process whose chunks are read at a time, and bytes after which no further one is.
const LOCAL_SERIES: usize = 512;
const LOCAL_BYTES: usize = 1 << 20;

/// A store's series, in the order of their labels.
pub(crate) struct SeriesStream {
    name: String,
    source: Source,
    ready: VecDeque<StoreSeries>,
    /// What the store warned of, told when the series before it were taken.
    warnings: VecDeque<String>,
}

enum Source {
    Remote {
        messages: Box<Messages>,
        timeout: Option<Duration>,
    },
    Local {
        found: std::vec::IntoIter<FoundSeries>,
        range: TimeRange,
        tasks: Tasks,
    },
    /// The next batch of a block is read while the last one is taken.
    Block {
        reading: JoinHandle<Batch>,
        bytes: u64,
        tasks: Tasks,
    },
    Ended,
}

impl SeriesStream {
    /// The answer of another process; `timeout` is how long it may be silent.
    pub(crate) fn remote(name: String, messages: Messages, timeout: Option<Duration>) -> Self {
        Self::new(name, Source::Remote { messages: Box::new(messages), timeout })
    }

    /// What was found in this process; its chunks, if they are asked for, are read as they are taken.
    pub(crate) fn local(found: Vec<FoundSeries>, select: &StoreSelect, tasks: Tasks) -> Self {
        if select.skip_chunks {
            let series = |found: FoundSeries| StoreSeries { labels: found.labels, chunks: Vec::new() };
            return Self::ready(LOCAL_ADDRESS.to_owned(), found.into_iter().map(series).collect());
        }
        let source = Source::Local { found: found.into_iter(), range: select.range, tasks };
        Self::new(LOCAL_ADDRESS.to_owned(), source)
    }

    /// Series of a block whose chunks are read ahead, about `bytes` at a time.
    pub(crate) fn block(found: BlockSeries, bytes: u64, tasks: &Tasks) -> Self {
        let source = Source::Block { reading: read_block(found, bytes, tasks), bytes, tasks: tasks.clone() };
        Self::new(BUCKET_ADDRESS.to_owned(), source)
    }

    /// Series that are there already.
    pub(crate) fn ready(name: String, series: Vec<StoreSeries>) -> Self {
        Self { ready: series.into(), ..Self::new(name, Source::Ended) }
    }

    /// The same, with what was warned of.
    pub(crate) fn ready_with(name: String, series: Vec<StoreSeries>, warnings: Vec<String>) -> Self {
        Self { warnings: warnings.into(), ..Self::ready(name, series) }
    }

    fn new(name: String, source: Source) -> Self {
        Self { name, source, ready: VecDeque::new(), warnings: VecDeque::new() }
    }

    /// Which store it is.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The next series; `None` after the last. After an error there is nothing more, after a warning there may be.
    pub(crate) async fn next(&mut self) -> Result<Option<StoreSeries>, String> {
        loop {
            if let Some(series) = self.ready.pop_front() {
                return Ok(Some(series));
            }
            if let Some(warning) = self.warnings.pop_front() {
                return Err(warning);
            }
            match self.fill().await {
                Ok(true) => {}
                Ok(false) => {
                    self.source = Source::Ended;
                    return Ok(None);
                }
                Err(message) => {
                    self.source = Source::Ended;
                    return Err(message);
                }
            }
        }
    }

    /// Reads more; false at the end.
    async fn fill(&mut self) -> Result<bool, String> {
        match &mut self.source {
            Source::Ended => Ok(false),
            Source::Remote { messages, timeout } => {
                let next = messages.next();
                let message = match timeout {
                    None => next.await,
                    Some(timeout) => tokio::time::timeout(*timeout, next).await.unwrap_or_else(|_| {
                        let text = format!("failed to receive any data in {timeout:?} from {}", self.name);
                        Err(Status::deadline_exceeded(text))
                    }),
                };
                let message = message
                    .map_err(|status| format!("receive series from {}: {}", self.name, describe(&status)))?;
                let Some(message) = message else { return Ok(false) };
                match read(&message).map_err(|error| error.to_string())? {
                    Received::Series(series) => self.ready.extend(series),
                    Received::Warning(text) => self.warnings.push_back(text),
                }
                Ok(true)
            }
            Source::Local { found, range, tasks } => {
                let range = *range;
                let mut rest = std::mem::take(found);
                let read = tasks.spawn_blocking("store-select-chunks", move || {
                    let batch = read_some(&mut rest, range);
                    (rest, batch)
                });
                let (rest, batch) = read.await.map_err(|error| error.to_string())?;
                *found = rest;
                let Some(batch) = batch.map_err(|error| error.to_string())? else { return Ok(false) };
                self.ready.extend(batch);
                Ok(true)
            }
            Source::Block { reading, bytes, tasks } => {
                let (found, batch) = (&mut *reading).await.map_err(|error| error.to_string())?;
                let batch = batch.map_err(|error| error.to_string())?;
                if batch.is_empty() {
                    return Ok(false);
                }
                *reading = read_block(found, *bytes, tasks);
                self.ready.extend(batch);
                Ok(true)
            }
        }
    }
}

/// As grpc-go prints a status.
pub(crate) fn describe(status: &Status) -> String {
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}

/// The next batch of a block, with the block for the one after.
type Batch = (BlockSeries, StorageResult<Vec<StoreSeries>>);

fn read_block(mut found: BlockSeries, bytes: u64, tasks: &Tasks) -> JoinHandle<Batch> {
    tasks.spawn_blocking("store-gateway-chunks", move || {
        let batch = found.batch(bytes);
        (found, batch)
    })
}

/// The next series that have chunks; `None` after the last.
fn read_some(
    found: &mut std::vec::IntoIter<FoundSeries>,
    range: TimeRange,
) -> StorageResult<Option<Vec<StoreSeries>>> {
    let (mut batch, mut bytes, mut count) = (Vec::new(), 0, 0);
    while bytes < LOCAL_BYTES && count < LOCAL_SERIES {
        let Some(series) = found.next() else { break };
        let series = read_local(series, range)?;
        count += 1;
        if !series.chunks.is_empty() {
            bytes += series.bytes();
            batch.push(series);
        }
    }
    Ok((count > 0).then_some(batch))
}

fn read_local(series: FoundSeries, range: TimeRange) -> StorageResult<StoreSeries> {
    let handle = series.chunks.as_ref().map(Arc::clone);
    let encoded = handle.map_or(Ok(Vec::new()), |handle| chunks(handle.as_ref(), range))?;
    let chunk = |chunk: storage_api::EncodedChunk| AggrChunk {
        range: chunk.range,
        raw: Some(RawChunk { encoding: chunk.encoding.number(), data: chunk.data }),
        aggregates: None,
    };
    Ok(StoreSeries { labels: series.labels, chunks: encoded.into_iter().map(chunk).collect() })
}
