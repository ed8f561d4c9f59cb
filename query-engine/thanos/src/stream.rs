//! One store's answer to `Series` as a stream of series in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use model::TimeRange;
use runtime::Tasks;
use tonic::Status;

use crate::grpc::client::Messages;
use crate::local::{FoundSeries, chunks};
use crate::series_frame::{AggrChunk, RawChunk, Received, StoreSeries, read};

/// Series of this process whose chunks are read at a time.
const LOCAL_SERIES: usize = 512;

/// A store's series, in the order of their labels.
pub(crate) struct SeriesStream {
    name: String,
    source: Source,
    ready: VecDeque<StoreSeries>,
    /// What the store warned of, told when the series before it were taken.
    warning: Option<String>,
}

enum Source {
    Remote { messages: Box<Messages>, timeout: Option<Duration> },
    Local { found: std::vec::IntoIter<FoundSeries>, range: TimeRange, tasks: Tasks },
    Ended,
}

impl SeriesStream {
    /// The answer of another process; `timeout` is how long it may be silent.
    pub(crate) fn remote(name: String, messages: Messages, timeout: Option<Duration>) -> Self {
        Self::new(name, Source::Remote { messages: Box::new(messages), timeout })
    }

    /// What was found in this process; its chunks are read as they are asked for.
    pub(crate) fn local(found: Vec<FoundSeries>, range: TimeRange, tasks: Tasks) -> Self {
        Self::new("local".to_owned(), Source::Local { found: found.into_iter(), range, tasks })
    }

    /// Series that are there already.
    pub(crate) fn ready(name: String, series: Vec<StoreSeries>) -> Self {
        Self { ready: series.into(), ..Self::new(name, Source::Ended) }
    }

    fn new(name: String, source: Source) -> Self {
        Self { name, source, ready: VecDeque::new(), warning: None }
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
            if let Some(warning) = self.warning.take() {
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
                    Received::Warning(text) => self.warning = Some(text),
                }
                Ok(true)
            }
            Source::Local { found, range, tasks } => {
                let batch: Vec<FoundSeries> = found.by_ref().take(LOCAL_SERIES).collect();
                if batch.is_empty() {
                    return Ok(false);
                }
                let range = *range;
                let read = tasks.spawn_blocking("store-select-chunks", move || {
                    batch.into_iter().map(|series| read_local(series, range)).collect::<Result<Vec<_>, _>>()
                });
                let read = read.await.map_err(|error| error.to_string())?;
                self.ready.extend(read.map_err(|error: storage_api::StorageError| error.to_string())?);
                self.ready.retain(|series| !series.chunks.is_empty());
                Ok(true)
            }
        }
    }
}

/// As grpc-go prints a status.
pub(crate) fn describe(status: &Status) -> String {
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}

fn read_local(series: FoundSeries, range: TimeRange) -> storage_api::StorageResult<StoreSeries> {
    let handle = series.chunks.as_ref().map(Arc::clone);
    let encoded = handle.map_or(Ok(Vec::new()), |handle| chunks(handle.as_ref(), range))?;
    let chunk = |chunk: storage_api::EncodedChunk| AggrChunk {
        range: chunk.range,
        raw: Some(RawChunk { encoding: chunk.encoding.number(), data: chunk.data }),
        aggregates: None,
    };
    Ok(StoreSeries { labels: series.labels, chunks: encoded.into_iter().map(chunk).collect() })
}
