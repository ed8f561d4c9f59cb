//! What a connection is doing: bytes that came, requests in flight and how far their bodies came.
//!
//! The stream under hyper and the bodies above it count here; `connection` judges. One atomic add per read and a few per
//! request. Answers that nobody reads are in `answer`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::answer::Answers;

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
    /// Another protocol took the connection over.
    has_left_http: AtomicBool,
    /// Requests in flight of which more is to come.
    bodies_open: AtomicUsize,
    /// A request was answered before the whole of it was read.
    left_unread: AtomicBool,
    /// Milliseconds after `opened`, plus one, since which a write waits for the client; 0 while none does.
    write_waits_since: AtomicU64,
    /// Answers that are on their way.
    pub(super) answers: Answers,
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
            has_left_http: AtomicBool::new(false),
            bodies_open: AtomicUsize::new(0),
            left_unread: AtomicBool::new(false),
            write_waits_since: AtomicU64::new(0),
            answers: Answers::default(),
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

    /// Bytes that came, if every request in flight waits for more of them.
    pub(super) fn waits_for_bodies(&self) -> Option<u64> {
        let in_flight = self.in_flight.load(Ordering::Acquire);
        let waits = in_flight > 0 && self.bodies_open.load(Ordering::Acquire) == in_flight;
        waits.then(|| self.received.load(Ordering::Relaxed))
    }

    /// Whether what is left of a request has to be taken before the connection is closed: a client that still sends
    /// would get a reset and lose the answer.
    pub(super) fn must_linger(&self) -> bool {
        self.left_unread.load(Ordering::Relaxed) && !self.is_http2.load(Ordering::Relaxed)
    }

    /// Whether whole HTTP/1.1 requests came and every one is answered, so that what comes next is the start of another, if
    /// hyper has nothing left of what came before.
    pub(super) fn is_between_requests(&self) -> bool {
        let is_off = |flag: &AtomicBool| !flag.load(Ordering::Relaxed);
        self.in_flight.load(Ordering::Acquire) == 0
            && self.requests.load(Ordering::Acquire) > 0
            && self.bodies_open.load(Ordering::Acquire) == 0
            && is_off(&self.is_http2)
            && is_off(&self.has_left_http)
            && is_off(&self.left_unread)
    }

    /// What comes from now on is no HTTP.
    pub(super) fn leave_http(&self) {
        self.has_left_http.store(true, Ordering::Relaxed);
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

/// What is taken from a client that still sends a request that was answered already.
const LINGER_BYTES_MAX: usize = 256 << 20;
/// And for how long.
const LINGER_TIME_MAX: Duration = Duration::from_secs(10);

/// A stream whose reads and writes are counted.
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    /// Set once the writing half is closed while the client still sends.
    linger: Option<Linger>,
}

struct Linger {
    end: Pin<Box<Sleep>>,
    left_bytes: usize,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity, linger: None }
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Reads and throws away what the client still sends, up to a limit.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { stream, linger: Some(Linger { end, left_bytes }), .. } = self else {
            return Poll::Ready(());
        };
        let mut piece = [std::mem::MaybeUninit::uninit(); 16 << 10];
        while end.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::uninit(&mut piece);
            let is_read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer)).is_ok();
            let came = buffer.filled().len();
            if !is_read || came == 0 || came > *left_bytes {
                break;
            }
            *left_bytes -= came;
        }
        Poll::Ready(())
    }
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
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
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if self.activity.must_linger() {
                let end = Box::pin(tokio::time::sleep(LINGER_TIME_MAX));
                self.linger = Some(Linger { end, left_bytes: LINGER_BYTES_MAX });
            }
        }
        self.poll_linger(cx).map(Ok)
    }
}

/// The body of a request, as far as it came.
pub(super) struct RequestBody {
    body: Incoming,
    /// Until its end was read.
    open: Option<OpenBody>,
}

struct OpenBody {
    activity: Arc<Activity>,
    is_read: bool,
}

impl OpenBody {
    fn ended(mut self) {
        self.is_read = true;
    }
}

impl Drop for OpenBody {
    fn drop(&mut self) {
        if !self.is_read {
            self.activity.left_unread.store(true, Ordering::Relaxed);
        }
        self.activity.bodies_open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl RequestBody {
    pub(super) fn new(body: Incoming, activity: &Arc<Activity>) -> Self {
        use http_body::Body as _;
        let open = (!body.is_end_stream()).then(|| {
            activity.bodies_open.fetch_add(1, Ordering::AcqRel);
            OpenBody { activity: Arc::clone(activity), is_read: false }
        });
        Self { body, open }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.open.take().into_iter().for_each(OpenBody::ended);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
