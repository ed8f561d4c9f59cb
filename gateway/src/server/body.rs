//! Reads request bodies under the memory budget.
//!
//! Invariant ADMIT-1: bytes are reserved before they are read: the announced length at once, otherwise each frame as it
//! comes. A body that arrives in one frame is handed on without a copy.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Version, request};
use http_body::Frame;
use http_body_util::BodyExt;
use runtime::{MemoryBudget, Reservation};
use tokio::time::Instant;
use wire::grpc;

/// How long a client may pause within a body; what is reserved for it is missing elsewhere.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// Slowest body that is read after the first [`IDLE_TIME_MAX`], bytes a second over its whole time: one that drips holds
/// its reservation for hours otherwise.
const RATE_MIN: u64 = 1 << 10;
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
        /// The announced length, if one was, bytes.
        length: Option<u64>,
        /// The limit, bytes.
        limit: u64,
    },
    /// The budget has no room now.
    #[error("data refused due to high memory usage")]
    OutOfMemory,
    /// The client paused for longer than it may.
    #[error("the request body did not go on for {} seconds", IDLE_TIME_MAX.as_secs())]
    Idle,
    /// The client sends too slowly.
    #[error("the request body came with less than {RATE_MIN} bytes a second")]
    Slow,
    /// The client went away or broke the protocol.
    #[error("reading the request body failed: {0}")]
    Broken(String),
}

/// Which part of a request tells how long its body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// The `Content-Length` header.
    Header,
    /// The length in front of a gRPC message, at the start of the body.
    GrpcPrefix,
}

/// Reads a body of at most `limit` bytes from a client that never pauses for more than [`IDLE_TIME_MAX`].
pub async fn read(
    headers: &HeaderMap,
    body: &mut Body,
    announced: Announced,
    limit: u64,
    budget: &Arc<MemoryBudget>,
) -> Result<ReadBody, BodyError> {
    read_within(headers, body, announced, limit, budget, IDLE_TIME_MAX).await
}

async fn read_within(
    headers: &HeaderMap,
    body: &mut Body,
    announced: Announced,
    limit: u64,
    budget: &Arc<MemoryBudget>,
    idle: Duration,
) -> Result<ReadBody, BodyError> {
    let mut announced_bytes = match announced {
        Announced::Header => content_length(headers),
        Announced::GrpcPrefix => None,
    };
    if announced_bytes.is_some_and(|length| length > limit) {
        return Err(BodyError::TooLarge { length: announced_bytes, limit });
    }
    // A closed budget refuses even a body of unknown length before its first byte.
    let mut reservation = budget.try_reserve(announced_bytes.unwrap_or(0)).ok_or(BodyError::OutOfMemory)?;
    let mut collected = Collected::default();
    let started = Instant::now();
    while let Some(frame) = next_frame(body, idle).await? {
        let frame = frame.map_err(|error| BodyError::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if announced == Announced::GrpcPrefix && announced_bytes.is_none() {
            announced_bytes = grpc_length(collected.peek(&data));
        }
        let length = collected.length + data.len() as u64;
        let elapsed = started.elapsed();
        if elapsed > idle && length < elapsed.as_secs() * RATE_MIN {
            *body = Body::empty();
            return Err(BodyError::Slow);
        }
        let wanted = announced_bytes.unwrap_or(0).max(length);
        if wanted > limit {
            return Err(BodyError::TooLarge { length: announced_bytes, limit });
        }
        if wanted > reservation.bytes() && !reservation.try_resize(wanted) {
            return Err(BodyError::OutOfMemory);
        }
        // The announced length is within the limit and reserved by now.
        collected.push(data, wanted as usize);
    }
    Ok(ReadBody { bytes: collected.finish(), reservation })
}

/// The next frame, from a client that goes on sending. Cancel-safe.
async fn next_frame(
    body: &mut Body,
    idle: Duration,
) -> Result<Option<Result<Frame<Bytes>, axum::Error>>, BodyError> {
    let frame = tokio::time::timeout(idle, body.frame()).await;
    frame.map_err(|_| {
        // Nothing is left to wait for before the refusal is answered.
        *body = Body::empty();
        BodyError::Idle
    })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The length of a first gRPC message with its prefix, once that much has come.
fn grpc_length(start: &[u8]) -> Option<u64> {
    let (_, length) = grpc::announced(start)?;
    Some(grpc::PREFIX_BYTES as u64 + u64::from(length))
}

/// Frames put together; a lone frame is not copied.
#[derive(Default)]
struct Collected {
    first: Bytes,
    joined: Option<BytesMut>,
    length: u64,
}

impl Collected {
    /// The start of the body as known with `data` behind it; only the first frames matter.
    fn peek<'a>(&'a self, data: &'a [u8]) -> &'a [u8] {
        match &self.joined {
            Some(joined) => joined,
            None if self.first.is_empty() => data,
            None => &self.first,
        }
    }

    fn push(&mut self, data: Bytes, capacity: usize) {
        self.length += data.len() as u64;
        match &mut self.joined {
            Some(joined) => joined.extend_from_slice(&data),
            None if self.first.is_empty() => self.first = data,
            None => {
                let mut joined = BytesMut::with_capacity(capacity);
                joined.extend_from_slice(&self.first);
                joined.extend_from_slice(&data);
                self.first = Bytes::new();
                self.joined = Some(joined);
            }
        }
    }

    fn finish(self) -> Bytes {
        self.joined.map_or(self.first, BytesMut::freeze)
    }
}

/// Reads what is left of a refused HTTP/1.1 request and throws it away, so that the client, which may not look for the
/// answer before it has sent everything, reads the refusal and not a reset connection.
/// A client that waits for `100 Continue` has sent nothing and reads the answer at once.
pub async fn discard(head: &request::Parts, body: &mut Body, limit: u64) {
    if head.version >= Version::HTTP_2 || head.headers.contains_key(EXPECT) {
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

#[cfg(test)]
mod tests;
