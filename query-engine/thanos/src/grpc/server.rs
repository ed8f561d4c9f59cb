//! The server side of a call: one message in, a stream of messages out.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use tonic::{Code, Status};

use super::{ACCEPTED, Compression, MessageReader, Room, put_message};

/// The body of an answer.
pub type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;

/// Pieces of an answer: whole messages with their prefixes. An error ends the answer.
pub(crate) type Pieces = BoxStream<'static, Result<Bytes, Status>>;

/// The head of a call.
pub(crate) struct Call {
    /// Compression of the request's message, and of the answer's.
    pub(crate) compression: Compression,
}

/// Refuses what is no call of gRPC.
pub(crate) fn check<B>(request: &Request<B>) -> Result<Call, Box<Response<AnswerBody>>> {
    let plain = |status: StatusCode| {
        let mut response = Response::new(Empty::new().boxed_unsync());
        *response.status_mut() = status;
        Err(Box::new(response))
    };
    if request.method() != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED);
    }
    let content_type = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !content_type.starts_with(b"application/grpc") {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let name = request.headers().get("grpc-encoding").map_or("", |value| value.to_str().unwrap_or("?"));
    match Compression::from_name(name).filter(|_| name != "none") {
        Some(compression) => Ok(Call { compression }),
        None => {
            let text = format!("grpc: Decompressor is not installed for grpc-encoding {name:?}");
            Err(Box::new(refused(&Status::unimplemented(text))))
        }
    }
}

/// Reads the one message of a request, with the room that it takes: that for the message as it comes is reserved when its
/// length is known.
pub(crate) async fn read_message<B>(
    body: B,
    compression: Compression,
    message_bytes_max: usize,
    mut room: Room,
) -> Result<(Bytes, Room), Status>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let mut body = std::pin::pin!(body);
    let mut reader = MessageReader::new(compression, message_bytes_max);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::cancelled(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        reader.push(&data);
        room.grow(reader.awaited()?.unwrap_or_default())?;
        if let Some(message) = reader.next_message_within(&mut room)? {
            return if reader.is_empty() {
                Ok((message, room))
            } else {
                Err(Status::internal("grpc: more than one message in a unary request"))
            };
        }
    }
    Err(Status::internal(if reader.is_empty() {
        "grpc: no message in a unary request"
    } else {
        "unexpected EOF"
    }))
}

/// One message as the whole answer.
pub(crate) fn single(message: &impl prost::Message, compression: Compression) -> Result<Pieces, Status> {
    let mut out = Vec::new();
    put_message(&mut out, &message.encode_to_vec(), compression)?;
    Ok(stream::once(async move { Ok(Bytes::from(out)) }).boxed())
}

/// An answer of messages that are made while it is sent.
pub(crate) fn streamed(pieces: Pieces, compression: Compression) -> Response<AnswerBody> {
    let mut response = Response::new(StreamBody::new(frames(pieces)).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static(ACCEPTED));
    if compression != Compression::None {
        headers.insert("grpc-encoding", HeaderValue::from_static(compression.name()));
    }
    response
}

/// Data frames, then trailers with the status; an error ends the data.
fn frames(pieces: Pieces) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    stream::unfold(Some(pieces), |pieces| async move {
        let mut pieces = pieces?;
        Some(match pieces.next().await {
            Some(Ok(piece)) => (Ok(Frame::data(piece)), Some(pieces)),
            Some(Err(status)) => (Ok(Frame::trailers(trailers(&status))), None),
            None => (Ok(Frame::trailers(trailers(&Status::new(Code::Ok, "")))), None),
        })
    })
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    if status.add_header(&mut trailers).is_err() {
        // The text cannot be a header; the code always can.
        trailers.clear();
        trailers.insert("grpc-status", HeaderValue::from(i32::from(status.code())));
    }
    trailers
}

/// An answer that is a status alone.
pub(crate) fn refused(status: &Status) -> Response<AnswerBody> {
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.headers_mut() = trailers(status);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static(ACCEPTED));
    response
}
