//! The query APIs: Prometheus', Loki's and Thanos', and what every server answers about itself.

pub mod answers;
pub mod form;
pub mod json;
pub mod loki;
pub mod process;
pub mod prometheus;
pub mod thanos;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

/// Bytes of an answer that are written before they are sent on.
const CHUNK_BYTES: usize = 64 << 10;

/// An answer that is written piece by piece while it is sent: a large result never lies in memory twice.
///
/// `write` appends some of the answer to the buffer and returns whether there is more.
fn streamed(
    status: StatusCode,
    content_type: &'static str,
    write: impl FnMut(&mut Vec<u8>) -> bool + Send + 'static,
) -> Response<Body> {
    let pieces = stream::unfold(Some(write), |write| async move {
        let mut write = write?;
        let mut piece = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
        let mut more = true;
        while more && piece.len() < CHUNK_BYTES {
            more = write(&mut piece);
        }
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(piece)), more.then_some(write)))
    });
    // Compression asks once more after the end.
    let mut response = Response::new(Body::from_stream(pieces.fuse()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer that is all there.
fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
