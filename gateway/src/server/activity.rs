//! What a connection is doing: bytes that came, requests in flight, answers that nobody reads.
//!
//! The stream under hyper and the answers above it count here; `connection` judges. One atomic add per read and two per
//! request; no lock.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The start of an HTTP/2 connection (RFC 9113, 3.4), and its whole length.
const PREFACE_START: &[u8] = b"PRI";
/// Bytes of the whole HTTP/2 preface.
const PREFACE_BYTES: u64 = 24;

/// The counts of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    received: AtomicU64,
    /// `received` when the last request ended.
    received_at_rest: AtomicU64,
    in_flight: AtomicUsize,
    requests: AtomicU64,
    is_http2: AtomicBool,
    /// Milliseconds after `opened`, plus one, since which a write waits for the client; 0 while none does.
    write_waits_since: AtomicU64,
}

/// What a connection without a request in flight is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request is being answered, or its body read.
    Busy,
    /// Part of a request's head has come, or nothing at all since the connection was made.
    Head,
    /// Between two requests.
    Idle,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            received: AtomicU64::new(0),
            received_at_rest: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            is_http2: AtomicBool::new(false),
            write_waits_since: AtomicU64::new(0),
        })
    }

    /// What goes on, and a number that is another one for another request.
    pub(super) fn phase(&self) -> (Phase, u64) {
        let requests = self.requests.load(Ordering::Acquire);
        let phase = if self.in_flight.load(Ordering::Acquire) > 0 {
            Phase::Busy
        } else if self.is_http2.load(Ordering::Relaxed) {
            // Frames between requests (pings, windows) are no sign of a head; h2 itself bounds heads.
            let begun = self.received.load(Ordering::Relaxed) >= PREFACE_BYTES;
            if begun { Phase::Idle } else { Phase::Head }
        } else if requests == 0
            || self.received.load(Ordering::Relaxed) > self.received_at_rest.load(Ordering::Relaxed)
        {
            Phase::Head
        } else {
            Phase::Idle
        };
        (phase, requests)
    }

    /// How long a write has been waiting for the client to read.
    pub(super) fn write_waits_for(&self) -> Duration {
        match self.write_waits_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.opened.elapsed().saturating_sub(Duration::from_millis(since - 1)),
        }
    }

    /// A request has begun.
    pub(super) fn enter(self: &Arc<Self>, is_http2: bool) -> InFlight {
        self.is_http2.fetch_or(is_http2, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.requests.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }
}

/// A request until its answer is written.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let Activity { received, received_at_rest, in_flight, .. } = &*self.0;
        received_at_rest.store(received.load(Ordering::Relaxed), Ordering::Relaxed);
        in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A stream whose reads and writes are counted.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let came = &buffer.filled()[before..];
        if !came.is_empty() {
            let known = self.activity.received.fetch_add(came.len() as u64, Ordering::Relaxed);
            if known == 0 && came.starts_with(PREFACE_START) {
                self.activity.is_http2.store(true, Ordering::Relaxed);
            }
        }
        read
    }
}

impl<S> Watched<S> {
    fn note_write<T>(&self, write: &Poll<T>) {
        let since = &self.activity.write_waits_since;
        if write.is_ready() {
            if since.load(Ordering::Relaxed) != 0 {
                since.store(0, Ordering::Relaxed);
            }
        } else if since.load(Ordering::Relaxed) == 0 {
            let ms = u64::try_from(self.activity.opened.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
            since.store(ms + 1, Ordering::Relaxed);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.note_write(&written);
        written
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

/// The body of an answer; its request is in flight until the last frame was taken.
pub(super) struct AnswerBody {
    body: Body,
    in_flight: Option<InFlight>,
}

impl AnswerBody {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        Self { body, in_flight: Some(in_flight) }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) {
            self.in_flight = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
