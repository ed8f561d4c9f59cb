//! `POST read`: remote read as Prometheus serves it (storage/remote/read_handler.go): decoded samples in one answer, or
//! encoded chunks as a stream, whichever the client names first.
//!
//! The stream is made series by series while the client reads; an answer with samples is made whole, under the limit of
//! samples that Prometheus has.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use model::{ErrorKind, SampleColumns, TenantId, TimeRange};
use storage_api::{MetricsSelect, Series, StorageError, StorageResult};
use wire::compression::Encoding;
use wire::remote_read::{
    Chunk, Query, ReadRequest, ResponseType, SAMPLES_TYPE, STREAMED_TYPE, SamplesWriter, put_frames,
};

use super::{PrometheusApi, Shared};
use crate::receivers::tenant;

/// Cap on a request, as sent and after decompression, bytes (`decodeReadLimit`).
const REQUEST_BYTES_MAX: usize = 32 << 20;
/// Most samples of one query's answer (`--storage.remote.read-sample-limit`).
const SAMPLES_MAX: usize = 50_000_000;
/// About the largest frame, bytes (`--storage.remote.read-max-bytes-in-frame`).
const FRAME_BYTES_MAX: usize = 1 << 20;

pub(super) async fn read(State(api): Shared, request: Request<Body>) -> Response<Body> {
    answer(&api, request).await.unwrap_or_else(|(status, message)| (status, message + "\n").into_response())
}

type Refusal = (StatusCode, String);

fn bad_request(error: impl std::fmt::Display) -> Refusal {
    (StatusCode::BAD_REQUEST, error.to_string())
}

fn storage(error: StorageError) -> Refusal {
    let status = match error.kind() {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        kind if kind.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.to_string())
}

async fn answer(api: &PrometheusApi, request: Request<Body>) -> Result<Response<Body>, Refusal> {
    let tenant = tenant(request.headers()).map_err(bad_request)?;
    let body = axum::body::to_bytes(request.into_body(), REQUEST_BYTES_MAX).await.map_err(bad_request)?;
    let plain = Encoding::Snappy.decode(&body, REQUEST_BYTES_MAX).map_err(bad_request)?;
    let ReadRequest { queries, response_type } = ReadRequest::decode(&plain).map_err(bad_request)?;
    let Ok(_slot) = api.slots.acquire().await else {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down".to_owned()));
    };
    match response_type {
        ResponseType::Samples => samples(api, &tenant, queries).await,
        ResponseType::StreamedChunks => chunks(api, &tenant, queries).await,
    }
}

async fn select(api: &PrometheusApi, tenant: &TenantId, query: Query) -> Result<Vec<Series>, Refusal> {
    let Query { range, matchers } = query;
    let select = MetricsSelect { tenant: tenant.clone(), range, matchers };
    api.querier.select(&select).await.map_err(storage)
}

async fn samples(
    api: &PrometheusApi,
    tenant: &TenantId,
    queries: Vec<Query>,
) -> Result<Response<Body>, Refusal> {
    let mut writer = SamplesWriter::default();
    for query in queries {
        let range = query.range;
        let mut left = SAMPLES_MAX;
        let mut columns = SampleColumns::default();
        for series in select(api, tenant, query).await? {
            columns.clear();
            series.chunks.decode(range, &mut columns).map_err(storage)?;
            let Some(rest) = left.checked_sub(columns.len()) else {
                return Err(bad_request(format!("exceeded sample limit ({SAMPLES_MAX})")));
            };
            left = rest;
            if !columns.is_empty() {
                writer.put_series(&series.labels, &columns);
            }
            // Other requests get their turn between two series.
            tokio::task::yield_now().await;
        }
        writer.end_query();
    }
    let body = Encoding::Snappy.encode(None, &writer.finish());
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(SAMPLES_TYPE));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    Ok(response)
}

async fn chunks(
    api: &PrometheusApi,
    tenant: &TenantId,
    queries: Vec<Query>,
) -> Result<Response<Body>, Refusal> {
    let mut all = Vec::new();
    for (index, query) in (0..).zip(queries) {
        let range = query.range;
        all.extend(select(api, tenant, query).await?.into_iter().map(|series| (index, range, series)));
    }
    let frames = all.into_iter().map(|(index, range, series)| frames(index, range, &series));
    let mut response = Response::new(Body::from_stream(stream::iter(frames)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(STREAMED_TYPE));
    Ok(response)
}

/// The frames of one series, which keeps its snapshot until then.
fn frames(query: u64, range: TimeRange, series: &Series) -> StorageResult<Bytes> {
    let mut chunks = series.chunks.encoded()?;
    chunks.retain(|chunk| chunk.range.overlaps(range));
    chunks.sort_by_key(|chunk| (chunk.range.min, chunk.range.max));
    let mut out = Vec::new();
    let chunks = chunks.iter().map(|chunk| Chunk {
        range: chunk.range,
        encoding: chunk.encoding.number(),
        data: &chunk.data,
    });
    put_frames(&mut out, query, &series.labels, chunks, FRAME_BYTES_MAX);
    Ok(Bytes::from(out))
}
