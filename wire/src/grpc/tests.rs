use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use tonic::codec::{Codec, EncodeBody, Streaming};

use super::RawCodec;

/// What a server reads from a body that arrives in these frames.
async fn received(frames: &[&[u8]]) -> Vec<Bytes> {
    let frames: Vec<_> = frames
        .iter()
        .map(|frame| Ok::<_, tonic::Status>(http_body::Frame::data(Bytes::copy_from_slice(frame))))
        .collect();
    let body = StreamBody::new(tokio_stream::iter(frames));
    let mut stream = Streaming::new_request(RawCodec.decoder(), body, None, None);
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await.expect("well-formed frames") {
        messages.push(message);
    }
    messages
}

#[tokio::test]
async fn messages_arrive_whole_however_they_are_framed() {
    assert_eq!(received(&[b"\0\0\0\0\x05hello"]).await, ["hello"]);
    assert_eq!(received(&[b"\0\0\0", b"\0\x05he", b"llo"]).await, ["hello"]);
    assert_eq!(received(&[b"\0\0\0\0\x01a\0\0\0\0\x01b"]).await, ["a", "b"]);
    assert_eq!(received(&[b"\0\0\0\0\0"]).await, [""], "an empty request is a request");
}

#[tokio::test]
async fn messages_leave_as_they_are() {
    let messages = tokio_stream::iter([Ok(Bytes::from_static(b"hello")), Ok(Bytes::new())]);
    let body = EncodeBody::new_client(RawCodec.encoder(), messages, None, None);
    let sent = body.collect().await.expect("cannot fail").to_bytes();
    assert_eq!(sent, b"\0\0\0\0\x05hello\0\0\0\0\0".as_slice());
}
