//! Request lines as people type them: `curl 'http://…/api/v1/query?query=up{job="x"}'` sends the quotes as they are. Go's
//! servers take that, hyper refuses it without a word, and so the bytes that it does not take in a target are
//! percent-encoded in the stream under it.
//!
//! REQUEST-LINE-1: a byte is changed only in the first line of an HTTP/1 request, and a line keeps its end. Where a request
//! begins is known without reading what lies between: at the start of a connection, and where every request before is
//! answered, its body read, and the last bytes that came were the empty line that ends a head or a body in chunks, so that
//! hyper holds nothing that is not parsed. Anywhere else (a request sent on before the last one is answered, or after a
//! body with a length) bytes pass as they came.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;

/// What ends a head.
const HEAD_END: [u8; 4] = *b"\r\n\r\n";

/// Longer lines pass as they came; hyper refuses targets of this length.
const LINE_BYTES_MAX: usize = 64 << 10;

/// A stream of HTTP requests whose targets hyper takes.
pub(super) struct Mended<S> {
    stream: S,
    activity: Arc<Activity>,
    has_begun: bool,
    /// The last bytes that came.
    tail: [u8; 4],
    /// Bytes of the request line so far, in the midst of one.
    line_bytes: Option<usize>,
    /// What did not fit into the reader's buffer, and how far it was read.
    rest: Vec<u8>,
    read: usize,
}

impl<S> Mended<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        let tail = HEAD_END;
        Self { stream, activity, has_begun: false, tail, line_bytes: None, rest: Vec::new(), read: 0 }
    }

    /// Whether the next bytes start a request.
    fn is_at_start(&self) -> bool {
        self.line_bytes.is_none()
            && self.tail == HEAD_END
            && (!self.has_begun || self.activity.is_between_requests())
    }

    /// Gives what is left of a line that grew.
    fn give_rest(&mut self, buffer: &mut ReadBuf<'_>) {
        let left = &self.rest[self.read..];
        let piece = &left[..left.len().min(buffer.remaining())];
        buffer.put_slice(piece);
        self.read += piece.len();
        if self.read == self.rest.len() {
            (self.rest, self.read) = (Vec::new(), 0);
        }
    }

    /// Looks at bytes that came; gives them mended if they have to be.
    fn look(&mut self, is_start: bool, came: &[u8]) -> Option<Vec<u8>> {
        self.has_begun = true;
        match came.last_chunk() {
            Some(last) => self.tail = *last,
            None => {
                self.tail.rotate_left(came.len());
                self.tail[4 - came.len()..].copy_from_slice(came);
            }
        }
        // A method; not the handshake of TLS on a port without it, nor an empty line.
        if is_start && came[0].is_ascii_uppercase() {
            self.line_bytes = Some(0);
        }
        let known = self.line_bytes?;
        let end = came.iter().position(|byte| *byte == b'\n');
        let line = &came[..end.unwrap_or(came.len())];
        self.line_bytes = Some(known + line.len()).filter(|all| end.is_none() && *all <= LINE_BYTES_MAX);
        line.iter().any(|byte| is_raw(*byte)).then(|| {
            let mut mended = Vec::with_capacity(came.len() + 2 * line.len());
            for byte in line {
                match is_raw(*byte) {
                    true => mended.extend([b'%', digit(byte >> 4), digit(byte & 15)]),
                    false => mended.push(*byte),
                }
            }
            mended.extend_from_slice(&came[line.len()..]);
            mended
        })
    }
}

/// Bytes that Go takes in a target and RFC 3986 does not allow there. `#` is one: a fragment is never sent.
fn is_raw(byte: u8) -> bool {
    matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80..)
}

fn digit(value: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(value)]
}

impl<S: AsyncRead + Unpin> AsyncRead for Mended<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.rest.is_empty() {
            self.give_rest(buffer);
            return Poll::Ready(Ok(()));
        }
        let is_start = self.is_at_start();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let came = &buffer.filled()[before..];
        if !came.is_empty()
            && let Some(mended) = self.look(is_start, came)
        {
            buffer.set_filled(before);
            self.rest = mended;
            self.give_rest(buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mended<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
