//! Reads request bodies under the memory budget.
//!
//! Invariant ADMIT-1: bytes are reserved before they are read: the announced length at once, otherwise each frame as it
//! comes. A body that arrives in one frame is handed on without a copy.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Version};
use http_body_util::BodyExt;
use runtime::{MemoryBudget, Reservation};

/// Longest time spent on reading a refused body.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(10);

/// A body, and the bytes reserved for it.
#[derive(Debug)]
pub struct ReadBody {
    /// The whole body as sent.
    pub bytes: Bytes,
    /// At least `bytes.len()` bytes of the budget.
    pub reservation: Reservation,
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Over the limit.
    #[error("request body too large, at most {limit} bytes are allowed")]
    TooLarge {
        /// The limit, bytes.
        limit: u64,
    },
    /// The budget has no room now.
    #[error("data refused due to high memory usage")]
    OutOfMemory,
    /// The client went away or broke the protocol.
    #[error("reading the request body failed: {0}")]
    Broken(String),
}

/// The announced length, if there is one.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a body of at most `limit` bytes.
pub async fn read(
    headers: &HeaderMap,
    body: &mut Body,
    limit: u64,
    budget: &Arc<MemoryBudget>,
) -> Result<ReadBody, BodyError> {
    let announced = content_length(headers);
    if announced.is_some_and(|length| length > limit) {
        return Err(BodyError::TooLarge { limit });
    }
    // A closed budget refuses even a body of unknown length before its first byte.
    let mut reservation = budget.try_reserve(announced.unwrap_or(0)).ok_or(BodyError::OutOfMemory)?;
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    let mut length = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len() as u64;
        if length > limit {
            return Err(BodyError::TooLarge { limit });
        }
        if length > reservation.bytes() && !reservation.try_resize(length) {
            return Err(BodyError::OutOfMemory);
        }
        match &mut rest {
            Some(joined) => joined.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                // The announced length is within the limit and reserved.
                let capacity = announced.unwrap_or(0).max(length) as usize;
                let mut joined = BytesMut::with_capacity(capacity);
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&data);
                first = Bytes::new();
                rest = Some(joined);
            }
        }
    }
    let bytes = rest.map_or(first, BytesMut::freeze);
    Ok(ReadBody { bytes, reservation })
}

/// Reads what is left of a refused HTTP/1.1 request and throws it away, so that the client, which may not look for the
/// answer before it has sent everything, reads the refusal and not a reset connection.
pub async fn discard(version: Version, body: &mut Body, limit: u64) {
    if version >= Version::HTTP_2 {
        return;
    }
    let drain = async {
        let mut left = limit;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            if length > left {
                return;
            }
            left -= length;
        }
    };
    // A client that is slower than this does not get its answer; it must not hold the connection either.
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, drain).await;
}
