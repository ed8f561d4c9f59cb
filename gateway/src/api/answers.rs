//! A bound on the bytes of answers that wait for their readers.
//!
//! An answer is written while it is read, and until then its result lies in memory, outside of any query's slot. All
//! results together may take a share of the process' memory; one that passes it is refused, unless it is alone.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::RETRY_AFTER;
use http_body::{Frame, SizeHint};
use runtime::{MemoryBudget, Reservation};

/// Part of the process' memory that waiting answers may take: one of so many.
const MEMORY_SHARE: u64 = 4;
/// And the most where the process has no limit of its memory, bytes.
const WAITING_BYTES_MAX: u64 = 1 << 30;
/// Answers that are not larger are not counted, bytes: those of all connections fit beside.
const SMALL_BYTES: u64 = 16 << 10;

/// Bytes that an answer holds until it is read, for answers whose body does not tell; an extension of the response.
#[derive(Clone, Copy, Debug)]
pub struct HeldBytes(pub u64);

/// The answers of a process that wait for their readers.
#[derive(Debug)]
pub struct WaitingAnswers {
    /// The memory of the process, of which they take a share.
    memory: OnceLock<Arc<MemoryBudget>>,
    waiting: Arc<MemoryBudget>,
}

impl Default for WaitingAnswers {
    fn default() -> Self {
        Self { memory: OnceLock::new(), waiting: MemoryBudget::new(WAITING_BYTES_MAX) }
    }
}

impl WaitingAnswers {
    /// Says whose share they take; the first call counts.
    pub fn share(&self, memory: &Arc<MemoryBudget>) {
        self.memory.get_or_init(|| Arc::clone(memory));
    }

    /// Room for an answer, if there is some or no other answer waits.
    pub fn hold(&self, bytes: u64) -> Option<Reservation> {
        let memory = self.memory.get().map_or(u64::MAX, |memory| memory.ceiling_bytes());
        self.waiting.set_limit_bytes((memory / MEMORY_SHARE).min(WAITING_BYTES_MAX));
        let held = self.waiting.try_reserve(bytes);
        held.or_else(|| (self.waiting.reserved_bytes() == 0).then(|| self.waiting.reserve_unchecked(bytes)))
    }
}

/// `routes` with the bytes of their answers bounded.
pub fn bounded(routes: Router, answers: Arc<WaitingAnswers>) -> Router {
    routes.layer(from_fn(move |request: Request, next: Next| {
        let answers = Arc::clone(&answers);
        async move {
            let answer = next.run(request).await;
            let told = answer.extensions().get::<HeldBytes>().map(|held| held.0);
            let bytes = told.unwrap_or_else(|| http_body::Body::size_hint(answer.body()).lower());
            if bytes <= SMALL_BYTES {
                return answer;
            }
            match answers.hold(bytes) {
                Some(held) => holding(answer, held),
                None => refusal(),
            }
        }
    }))
}

/// The answer, which keeps `held` until its last byte is taken or its reader is gone.
pub(super) fn holding<H: Send + Unpin + 'static>(answer: Response, held: H) -> Response {
    answer.map(|body| Body::new(Held { body, _held: held }))
}

fn refusal() -> Response {
    let text = "too many large answers wait for their readers\n";
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], text).into_response()
}

/// A body with what it holds until it is gone.
struct Held<H> {
    body: Body,
    _held: H,
}

impl<H: Unpin> http_body::Body for Held<H> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
