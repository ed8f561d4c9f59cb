//! `Series`: labels first, chunks while they are sent.
//!
//! A piece of the answer is made when the connection asks for the next one, on a thread that may block: a slow reader
//! holds places of chunks, one batch of each source and one piece, not the answer.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use model::ErrorKind;
use runtime::Tasks;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::StoreApiServer;
use crate::error::{ThanosError, ThanosResult};
use crate::grpc::server::Pieces;
use crate::grpc::{Compression, put_message};
use crate::merge::Merged;
use crate::proto::SeriesRequest;
use crate::select::StoreSelect;
use crate::series_frame::{AggrChunk, BATCH_SERIES, SERIES, StoreSeries, put_batch, put_series};
use crate::stream::SeriesStream;

/// Bytes of chunks of one series that go into one message (`RemoteReadFrameLimit` in pkg/store/tsdb.go).
const SERIES_BYTES_MAX: usize = 1 << 20;
/// Bytes after which a batch is not filled up any more.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Most series of a batch, whatever is asked for.
const BATCH_SERIES_MAX: usize = 4096;
/// Bytes of a piece: enough that changing threads does not count, little enough to hold for a slow reader.
const PIECE_BYTES: usize = 256 << 10;

impl StoreApiServer {
    pub(super) async fn series(
        &self,
        request: SeriesRequest,
        compression: Compression,
    ) -> Result<Pieces, Status> {
        let select = StoreSelect::from_request(&request).map_err(|error| error.to_status())?;
        let slot = std::sync::Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|_| Status::unavailable("the server is shutting down"))?;
        let streams = self.streams(&select).await.map_err(|error| error.to_status())?;
        let batch = usize::try_from(request.response_batch_size).unwrap_or(0).clamp(1, BATCH_SERIES_MAX);
        let answer = Answer {
            merged: Merged::new(streams),
            left: if select.limit > 0 { select.limit } else { usize::MAX },
            writer: Some(SeriesWriter { batch, compression, ..SeriesWriter::default() }),
            tasks: self.tasks.clone(),
            _slot: slot,
        };
        let pieces = stream::unfold(Some(answer), |answer| async move {
            let mut answer = answer?;
            match answer.piece().await {
                Ok(None) => None,
                Ok(Some(piece)) => Some((Ok(piece), Some(answer))),
                Err(error) => Some((Err(error.to_status()), None)),
            }
        });
        Ok(pieces.boxed())
    }

    /// What each source has.
    async fn streams(&self, select: &StoreSelect) -> ThanosResult<Vec<SeriesStream>> {
        let mut streams = Vec::new();
        if let Some(local) = &self.sources.local {
            let found = local.select(select).await?;
            streams.push(SeriesStream::local(found, select, self.tasks.clone()));
        }
        if let Some(bucket) = &self.sources.bucket {
            streams.append(&mut bucket.known().await.select(select).await?);
        }
        Ok(streams)
    }
}

/// An answer on its way.
struct Answer {
    merged: Merged,
    /// Series that may still come.
    left: usize,
    /// `None` at the end, and while a piece is written elsewhere.
    writer: Option<SeriesWriter>,
    tasks: Tasks,
    _slot: OwnedSemaphorePermit,
}

impl Answer {
    /// The next messages, some hundred KiB of them; `None` after the last.
    async fn piece(&mut self) -> ThanosResult<Option<Bytes>> {
        let Some(mut writer) = self.writer.take() else { return Ok(None) };
        loop {
            let (mut series, mut bytes) = (Vec::new(), 0);
            while bytes < PIECE_BYTES && self.left > 0 {
                let next = self.merged.next().await;
                let next = next.map_err(|failed| ThanosError::new(ErrorKind::Unavailable, failed.message))?;
                let Some(next) = next else {
                    self.left = 0;
                    break;
                };
                bytes += next.bytes();
                self.left -= 1;
                series.push(next);
            }
            let is_last = self.left == 0;
            let written = self.tasks.spawn_blocking("store-api-series", move || {
                let piece = writer.write(series, is_last);
                (piece, writer)
            });
            let (piece, back) =
                written.await.map_err(|error| ThanosError::new(ErrorKind::Internal, error.to_string()))?;
            let piece = piece?;
            if is_last {
                return Ok((!piece.is_empty()).then_some(piece));
            }
            if !piece.is_empty() {
                self.writer = Some(back);
                return Ok(Some(piece));
            }
            writer = back;
        }
    }
}

/// Writes the messages of an answer.
#[derive(Default)]
struct SeriesWriter {
    /// Series of a message; 1 is one without a batch around it.
    batch: usize,
    compression: Compression,
    /// Series of the message that is filled up, and their number.
    series: Vec<u8>,
    count: usize,
    /// Reused: one message.
    message: Vec<u8>,
}

impl SeriesWriter {
    /// The messages that these series fill; with `is_last` the one that is not full as well.
    fn write(&mut self, series: Vec<StoreSeries>, is_last: bool) -> ThanosResult<Bytes> {
        let mut piece = Vec::new();
        for series in &series {
            for chunks in parts(&series.chunks) {
                if self.batch == 1 {
                    self.message.clear();
                    put_series(&mut self.message, SERIES, &series.labels, chunks);
                    self.put(&mut piece)?;
                    continue;
                }
                put_series(&mut self.series, BATCH_SERIES, &series.labels, chunks);
                self.count += 1;
                if self.count == self.batch || self.series.len() >= BATCH_BYTES_MAX {
                    self.finish_batch(&mut piece)?;
                }
            }
        }
        if is_last {
            self.finish_batch(&mut piece)?;
        }
        Ok(piece.into())
    }

    fn finish_batch(&mut self, piece: &mut Vec<u8>) -> ThanosResult<()> {
        if self.count == 0 {
            return Ok(());
        }
        self.message.clear();
        put_batch(&mut self.message, &self.series);
        self.series.clear();
        self.count = 0;
        self.put(piece)
    }

    fn put(&self, piece: &mut Vec<u8>) -> ThanosResult<()> {
        put_message(piece, &self.message, self.compression)
            .map_err(|status| ThanosError::new(ErrorKind::Internal, status.message()))
    }
}

/// The chunks of a series in parts that fit into a message; a series without chunks is one part.
fn parts(chunks: &[AggrChunk]) -> Vec<&[AggrChunk]> {
    let mut parts = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (index, chunk) in chunks.iter().enumerate() {
        if bytes >= SERIES_BYTES_MAX {
            parts.push(&chunks[from..index]);
            (from, bytes) = (index, 0);
        }
        bytes += chunk.parts().map(|part| part.data.len()).sum::<usize>();
    }
    parts.push(&chunks[from..]);
    parts
}
