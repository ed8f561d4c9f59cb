//! `POST read`: remote read as Prometheus serves it (storage/remote/read_handler.go): decoded samples in one answer, or
//! encoded chunks as a stream, whichever the client names first.
//!
//! Series get the external labels, and a matcher for one of those asks for nothing else.
//!
//! A request has one of the slots for queries and the time of one until its answer is made. The stream is made piece by
//! piece while the client reads; an answer with samples is made whole, under the limit of samples that Prometheus has,
//! which holds for all queries of a request together, and within the room for answers that wait. Both are made away from
//! the async threads.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use model::{ErrorKind, Labels, MatchOp, Matcher, SampleColumns, TenantId, TimeRange};
use runtime::{MemoryBudget, Reservation};
use storage_api::{MetricsSelect, Series, StorageError, StorageResult};
use wire::compression::Encoding;
use wire::remote_read::{
    Chunk, Query, ReadRequest, ResponseType, SAMPLES_TYPE, STREAMED_TYPE, SamplesWriter, put_frames,
};

use super::slot::{Refusal, Slot};
use super::{PrometheusApi, Shared};
use crate::receivers::tenant;
use crate::server::body::{self, Announced, BodyError};

/// Cap on a request, as sent and after decompression, bytes (`decodeReadLimit`).
const REQUEST_BYTES_MAX: usize = 32 << 20;
/// Bytes of all requests that are being read: a request names queries and has some hundred.
const REQUESTS_BYTES_MAX: u64 = 4 * REQUEST_BYTES_MAX as u64;
/// Most samples of one answer (`--storage.remote.read-sample-limit`).
const SAMPLES_MAX: usize = 50_000_000;
/// About the largest frame, bytes (`--storage.remote.read-max-bytes-in-frame`).
const FRAME_BYTES_MAX: usize = 1 << 20;
/// Bytes of a stream that are made at once.
const PIECE_BYTES: usize = 256 << 10;
/// An answer with samples asks for room whenever it has grown by this, bytes.
const ROOM_STEP_BYTES: u64 = 4 << 20;

/// The requests of the process that are being read.
static REQUESTS: LazyLock<Arc<MemoryBudget>> = LazyLock::new(|| MemoryBudget::new(REQUESTS_BYTES_MAX));

pub(super) async fn read(State(api): Shared, request: Request<Body>) -> Response<Body> {
    answer(&api, request).await.unwrap_or_else(|(status, message)| (status, message + "\n").into_response())
}

fn bad_request(error: impl std::fmt::Display) -> Refusal {
    (StatusCode::BAD_REQUEST, error.to_string())
}

fn internal(error: impl std::fmt::Display) -> Refusal {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn of_body(error: BodyError) -> Refusal {
    let status = match error {
        BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::OutOfMemory => StatusCode::SERVICE_UNAVAILABLE,
        BodyError::Idle | BodyError::Slow => StatusCode::REQUEST_TIMEOUT,
        BodyError::Broken(_) => StatusCode::BAD_REQUEST,
    };
    (status, error.to_string())
}

fn storage(error: StorageError) -> Refusal {
    let status = match error.kind() {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        kind if kind.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.to_string())
}

async fn answer(api: &Arc<PrometheusApi>, request: Request<Body>) -> Result<Response<Body>, Refusal> {
    let tenant = tenant(request.headers()).map_err(bad_request)?;
    let (head, mut body) = request.into_parts();
    let limit = REQUEST_BYTES_MAX as u64;
    let read = body::read(&head.headers, &mut body, Announced::Header, limit, &REQUESTS).await;
    let read = read.map_err(of_body)?;
    let slot = Slot::take(api).await?;
    let decode = move || {
        let plain = Encoding::Snappy.decode(&read.bytes, REQUEST_BYTES_MAX).map_err(bad_request)?;
        ReadRequest::decode(&plain).map_err(bad_request)
    };
    let decoded = api.tasks.spawn_blocking("remote_read_decode", decode).await;
    let ReadRequest { queries, response_type } = decoded.map_err(internal)??;
    let reader = Reader { api: Arc::clone(api), tenant, slot: Arc::new(slot) };
    match response_type {
        ResponseType::Samples => samples(reader, queries).await,
        ResponseType::StreamedChunks => chunks(reader, queries).await,
    }
}

/// Reads for one request.
struct Reader {
    api: Arc<PrometheusApi>,
    tenant: TenantId,
    slot: Arc<Slot>,
}

impl Reader {
    async fn select(&self, query: Query) -> Result<Vec<Series>, Refusal> {
        let Query { range, matchers } = query;
        let external = &self.api.external_labels;
        let select =
            MetricsSelect { tenant: self.tenant.clone(), range, matchers: stored(matchers, external) };
        let mut found = self.slot.within(self.api.querier.select(&select)).await?.map_err(storage)?;
        if !external.is_empty() {
            found.iter_mut().for_each(|series| series.labels = shown(&series.labels, external));
        }
        Ok(found)
    }

    /// Runs a step of the work away from the async threads; the slot goes with it, for it goes on when the client leaves.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Slot) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let slot = Arc::clone(&self.slot);
        self.api.tasks.spawn_blocking("remote_read", move || work(&slot)).await.map_err(internal)?
    }
}

/// What matchers mean to a store that does not keep the external labels: one that asks for such a label as it is finds the
/// series without it (`filterExtLabelsFromMatchers`).
fn stored(matchers: Vec<Matcher>, external: &Labels) -> Vec<Matcher> {
    let is_external = |matcher: &Matcher| {
        matcher.op() == MatchOp::Equal && external.get(matcher.name()) == Some(matcher.value())
    };
    let stored = |matcher: Matcher| match is_external(&matcher) {
        true => Matcher::equal(matcher.name(), ""),
        false => matcher,
    };
    matchers.into_iter().map(stored).collect()
}

/// The labels of a series as others see them: with the external ones that it does not have itself (`MergeLabels`).
fn shown(labels: &Labels, external: &Labels) -> Labels {
    let mut builder = external.to_builder();
    for (name, value) in labels.iter() {
        builder.set(name, value);
    }
    builder.build()
}

/// An answer with samples while it is made.
struct Samples {
    writer: SamplesWriter,
    left: usize,
    room: Reservation,
}

impl Samples {
    fn add(&mut self, range: TimeRange, found: Vec<Series>, slot: &Slot) -> Result<(), Refusal> {
        let mut columns = SampleColumns::default();
        for series in found {
            slot.check()?;
            columns.clear();
            series.chunks.decode(range, &mut columns).map_err(storage)?;
            let Some(rest) = self.left.checked_sub(columns.len()) else {
                return Err(bad_request(format!("exceeded sample limit ({SAMPLES_MAX})")));
            };
            self.left = rest;
            if !columns.is_empty() {
                self.writer.put_series(&series.labels, &columns);
            }
            self.take_room()?;
        }
        self.writer.end_query();
        self.take_room()
    }

    /// Asks for room for what is written by now and the compressed form of it.
    fn take_room(&mut self) -> Result<(), Refusal> {
        let wanted = 2 * self.writer.len() as u64;
        if wanted <= self.room.bytes() || self.room.try_resize(wanted + ROOM_STEP_BYTES) {
            return Ok(());
        }
        Err(no_room())
    }
}

fn no_room() -> Refusal {
    let message = "too many large answers wait for their readers, ask for less or for streamed chunks";
    (StatusCode::SERVICE_UNAVAILABLE, message.to_owned())
}

async fn samples(reader: Reader, queries: Vec<Query>) -> Result<Response<Body>, Refusal> {
    let room = reader.api.process.answers.hold(0).ok_or_else(no_room)?;
    let mut samples = Samples { writer: SamplesWriter::default(), left: SAMPLES_MAX, room };
    for query in queries {
        let range = query.range;
        let found = reader.select(query).await?;
        let add = move |slot: &Slot| samples.add(range, found, slot).map(|()| samples);
        samples = reader.blocking(add).await?;
    }
    let encode = move |_: &Slot| {
        let Samples { writer, room, .. } = samples;
        let body = Encoding::Snappy.encode(None, &writer.finish());
        // From here on the body's size counts.
        drop(room);
        Ok(body)
    };
    let mut response = Response::new(Body::from(reader.blocking(encode).await?));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(SAMPLES_TYPE));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    Ok(response)
}

/// A stream of chunks while it is made.
struct Chunks {
    reader: Reader,
    queries: VecDeque<(u64, Query)>,
    /// Series of the query at hand, with its number and range.
    series: Option<(u64, TimeRange, std::vec::IntoIter<Series>)>,
}

impl Chunks {
    /// Selects what the next query asks for, unless the one at hand has series left; `false` behind the last.
    async fn select(&mut self) -> Result<bool, Refusal> {
        while self.series.as_ref().is_none_or(|(.., series)| series.as_slice().is_empty()) {
            let Some((index, query)) = self.queries.pop_front() else { return Ok(false) };
            let range = query.range;
            self.series = Some((index, range, self.reader.select(query).await?.into_iter()));
        }
        Ok(true)
    }

    /// The next piece, if there is one.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Refusal> {
        if !self.select().await? {
            return Ok(None);
        }
        let Some((index, range, mut series)) = self.series.take() else { return Ok(None) };
        let make = move |slot: &Slot| {
            let mut piece = Vec::new();
            while piece.len() < PIECE_BYTES
                && let Some(series) = series.next()
            {
                slot.check()?;
                put(&mut piece, index, range, &series).map_err(storage)?;
            }
            Ok((piece, series))
        };
        let (piece, series) = self.reader.blocking(make).await?;
        self.series = Some((index, range, series));
        Ok(Some((Bytes::from(piece), self)))
    }
}

async fn chunks(reader: Reader, queries: Vec<Query>) -> Result<Response<Body>, Refusal> {
    let mut chunks = Chunks { reader, queries: (0..).zip(queries).collect(), series: None };
    // A selection that fails at once is a status, a later one ends the stream in its middle.
    chunks.select().await?;
    let pieces = stream::try_unfold(chunks, |chunks| async move {
        chunks.next().await.map_err(|(_, message)| std::io::Error::other(message))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(STREAMED_TYPE));
    Ok(response)
}

/// Writes the frames of one series.
fn put(out: &mut Vec<u8>, query: u64, range: TimeRange, series: &Series) -> StorageResult<()> {
    let mut chunks = series.chunks.encoded()?;
    chunks.retain(|chunk| chunk.range.overlaps(range));
    chunks.sort_by_key(|chunk| (chunk.range.min, chunk.range.max));
    let chunks = chunks.iter().map(|chunk| Chunk {
        range: chunk.range,
        encoding: chunk.encoding.number(),
        data: &chunk.data,
    });
    put_frames(out, query, &series.labels, chunks, FRAME_BYTES_MAX);
    Ok(())
}

#[cfg(test)]
mod tests;
