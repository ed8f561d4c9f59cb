//! `Series`: labels first, chunks while they are sent.
//!
//! A piece of the answer is made on a thread that may block, when the connection asks for the next one: a slow reader
//! holds handles of chunks and one piece, not the answer.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use model::{ErrorKind, TimeRange};
use runtime::Tasks;
use storage_api::EncodedChunk;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::StoreApiServer;
use crate::error::{ThanosError, ThanosResult};
use crate::grpc::server::Pieces;
use crate::grpc::{Compression, put_message};
use crate::local::{FoundSeries, chunks};
use crate::proto::SeriesRequest;
use crate::select::StoreSelect;
use crate::series_frame::{BATCH_SERIES, SERIES, put_batch, put_series};

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
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|_| Status::unavailable("the server is shutting down"))?;
        let found = self.store.select(&select).await.map_err(|error| error.to_status())?;
        let writer = SeriesWriter {
            found: found.into_iter(),
            rest: None,
            range: select.range,
            batch: usize::try_from(request.response_batch_size).unwrap_or(0).min(BATCH_SERIES_MAX),
            compression,
            message: Vec::new(),
            series: Vec::new(),
            _slot: slot,
        };
        Ok(pieces(writer, self.tasks.clone()))
    }
}

/// The answer, piece by piece.
fn pieces(writer: SeriesWriter, tasks: Tasks) -> Pieces {
    stream::unfold(Some(writer), move |writer| {
        let tasks = tasks.clone();
        async move {
            let mut writer = writer?;
            let made = tasks.spawn_blocking("store-api-series", move || {
                let piece = writer.piece();
                (piece, writer)
            });
            match made.await {
                Ok((Ok(None), _)) => None,
                Ok((Ok(Some(piece)), writer)) => Some((Ok(piece), Some(writer))),
                Ok((Err(error), _)) => Some((Err(error.to_status()), None)),
                Err(error) => Some((Err(Status::internal(error.to_string())), None)),
            }
        }
    })
    .boxed()
}

/// Writes the messages of an answer.
struct SeriesWriter {
    found: std::vec::IntoIter<FoundSeries>,
    /// A series that did not fit into the last message: its labels' owner and the chunks that are left.
    rest: Option<(FoundSeries, Vec<EncodedChunk>)>,
    range: TimeRange,
    batch: usize,
    compression: Compression,
    /// Reused: one message.
    message: Vec<u8>,
    /// Reused: the series of a batch.
    series: Vec<u8>,
    _slot: OwnedSemaphorePermit,
}

impl SeriesWriter {
    /// The next messages, some hundred KiB of them; `None` after the last.
    fn piece(&mut self) -> ThanosResult<Option<Bytes>> {
        let mut piece = Vec::new();
        while piece.len() < PIECE_BYTES && self.message()? {
            put_message(&mut piece, &self.message, self.compression)
                .map_err(|status| ThanosError::new(ErrorKind::Internal, status.message()))?;
        }
        Ok((!piece.is_empty()).then(|| Bytes::from(piece)))
    }

    /// Writes the next message into `message`; false after the last.
    fn message(&mut self) -> ThanosResult<bool> {
        self.message.clear();
        if self.batch <= 1 {
            let Some((series, chunks)) = self.next_series()? else { return Ok(false) };
            put_series(&mut self.message, SERIES, &series.labels, &chunks);
            return Ok(true);
        }
        self.series.clear();
        let mut count = 0;
        while count < self.batch && self.series.len() < BATCH_BYTES_MAX {
            let Some((series, chunks)) = self.next_series()? else { break };
            put_series(&mut self.series, BATCH_SERIES, &series.labels, &chunks);
            count += 1;
        }
        if count > 0 {
            put_batch(&mut self.message, &self.series);
        }
        Ok(count > 0)
    }

    /// The next series, or the next part of one with many chunks. Series without a chunk in the range are left out.
    fn next_series(&mut self) -> ThanosResult<Option<(FoundSeries, Vec<EncodedChunk>)>> {
        let (series, mut chunks) = loop {
            if let Some(rest) = self.rest.take() {
                break rest;
            }
            let Some(series) = self.found.next() else { return Ok(None) };
            let Some(handle) = &series.chunks else { return Ok(Some((series, Vec::new()))) };
            let chunks = chunks(handle.as_ref(), self.range)?;
            if !chunks.is_empty() {
                break (series, chunks);
            }
        };
        let mut bytes = 0;
        let fits = chunks.iter().position(|chunk| {
            let is_full = bytes >= SERIES_BYTES_MAX;
            bytes += chunk.data.len();
            is_full
        });
        if let Some(count) = fits {
            self.rest = Some((series.clone(), chunks.split_off(count)));
        }
        Ok(Some((series, chunks)))
    }
}
