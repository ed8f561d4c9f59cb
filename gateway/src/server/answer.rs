//! Answers on their way, so that one that its client does not read is given up and what it holds with it.
//!
//! Over HTTP/1.1 an unread answer shows as a write that waits, over HTTP/2 only in this: nobody asks for its next piece.
//! hyper asks for one when the stream's window has room, so an answer whose last piece was taken and whose next is not
//! asked for waits for its client. Pieces are small, because one that hyper has is held until the connection ends. One
//! lock a piece, which nobody else wants but `connection` every other second.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::activity::{Activity, InFlight};

/// Largest piece that is given away at once over HTTP/2, bytes. Answers that are not larger are not watched.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// The answers of one connection that are on their way and large or of unknown length.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<Vec<Arc<Mutex<Answer>>>>);

/// How far an answer is.
#[derive(Debug)]
enum Answer {
    Going(Going),
    Done,
    /// Its client did not read it.
    GivenUp,
}

#[derive(Debug)]
struct Going {
    body: Body,
    /// What of a frame is not given away yet.
    rest: Bytes,
    /// When the next piece was last asked for.
    asked: Instant,
    /// Whether a piece was there then, so that the client is waited for and not the body.
    was_there: bool,
    _in_flight: InFlight,
}

/// An answer that was not read in time.
#[derive(Debug, thiserror::Error)]
#[error("the client does not read its answer")]
struct Unread;

impl Answers {
    /// Gives up the answers that wait for their client for longer than `time_max`; tells how many.
    pub(super) fn give_up_unread(&self, time_max: Duration) -> usize {
        let mut count = 0;
        for answer in self.0.lock().iter() {
            let mut answer = answer.lock();
            let is_unread =
                matches!(&*answer, Answer::Going(own) if own.was_there && own.asked.elapsed() > time_max);
            if is_unread {
                let gone = std::mem::replace(&mut *answer, Answer::GivenUp);
                drop(answer);
                drop(gone);
                count += 1;
            }
        }
        count
    }
}

/// The body of an answer; its request is in flight until the last frame was taken.
pub(super) struct AnswerBody {
    answer: Arc<Mutex<Answer>>,
    /// Where it is watched, if it is.
    watched_by: Option<Arc<Activity>>,
    is_http2: bool,
}

impl AnswerBody {
    pub(super) fn new(body: Body, in_flight: InFlight, activity: &Arc<Activity>, is_http2: bool) -> Self {
        use http_body::Body as _;
        let is_small = body.size_hint().upper().is_some_and(|bytes| bytes <= PIECE_BYTES_MAX as u64);
        let rest = Bytes::new();
        let going = Going { body, rest, asked: Instant::now(), was_there: true, _in_flight: in_flight };
        let answer = Arc::new(Mutex::new(Answer::Going(going)));
        let watched_by = (!is_small).then(|| Arc::clone(activity));
        if let Some(activity) = &watched_by {
            activity.answers.0.lock().push(Arc::clone(&answer));
        }
        Self { answer, watched_by, is_http2 }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Some(activity) = &self.watched_by {
            let mut answers = activity.answers.0.lock();
            if let Some(index) = answers.iter().position(|own| Arc::ptr_eq(own, &self.answer)) {
                answers.swap_remove(index);
            }
        }
    }
}

impl Going {
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        bytes_max: usize,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        use http_body::Body as _;
        self.asked = Instant::now();
        self.was_there = false;
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => {
                        self.was_there = true;
                        return Poll::Ready(Some(Ok(trailers)));
                    }
                },
                end => return Poll::Ready(end),
            }
        }
        self.was_there = true;
        let piece = self.rest.split_to(self.rest.len().min(bytes_max));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let bytes_max = if self.is_http2 { PIECE_BYTES_MAX } else { usize::MAX };
        let mut answer = self.answer.lock();
        match &mut *answer {
            Answer::Done => Poll::Ready(None),
            Answer::GivenUp => Poll::Ready(Some(Err(axum::Error::new(Unread)))),
            Answer::Going(going) => {
                let piece = ready!(going.poll_piece(cx, bytes_max));
                if piece.is_none() {
                    *answer = Answer::Done;
                }
                Poll::Ready(piece)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &*self.answer.lock() {
            Answer::Going(going) => going.rest.is_empty() && going.body.is_end_stream(),
            Answer::Done => true,
            Answer::GivenUp => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let answer = self.answer.lock();
        let Answer::Going(going) = &*answer else { return SizeHint::new() };
        let (body, rest) = (going.body.size_hint(), going.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
