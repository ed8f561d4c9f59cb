//! `tail`: lines over a WebSocket as they are stored (pkg/querier/tail).
//!
//! First the newest `limit` lines that are there, then what is appended. The way: the store's bounded queue, then lines
//! that wait for `delay_for` so that those that came late take their place, then frames. TAIL-1: a reader that does not
//! read holds nothing up; what it misses is told as `dropped_entries`, and after a while its connection ends.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, State};
use axum::response::IntoResponse;
use futures_util::SinkExt;
use http::{Request, Response, StatusCode};
use logql::{QueryOutput, QueryParams, QueryResult, ResultEntry, Streams, TailQuery};
use model::{Direction, Labels, TenantId};
use parking_lot::Mutex;
use runtime::Tasks;
use storage_api::{LogFollow, StreamEntries};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::params::{LokiError, bounds, limit};
use super::query::{categorize, query_error, query_text, slot};
use super::result::tail_frame;
use super::{LokiApi, Shared};
use crate::api::form::Form;
use crate::receivers::tenant;

/// `delay_for` may be this long, seconds (pkg/loghttp/tail.go).
const DELAY_SECONDS_MAX: u64 = 5;
/// Tails that a tenant may have at a time (`max_concurrent_tail_requests`).
const TAILS_MAX: usize = 10;
/// Entries of one frame.
const FRAME_ENTRIES_MAX: usize = 100;
/// Entries that may wait for `delay_for` to pass. More go out at once.
const WAITING_ENTRIES_MAX: usize = 50_000;
/// Bytes of lines and their own labels that may wait. More go out at once.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Bytes of text that a query looks through without leaving the async threads: some 10 µs.
const INLINE_TEXT_BYTES_MAX: usize = 4 << 10;
/// A reader says nothing but pongs and goodbye.
const READER_MESSAGE_BYTES_MAX: usize = 4 << 10;
/// How often the reader is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// How long the last word of a conversation may wait for the reader.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a frame may wait for the reader.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Close code for an error (RFC 6455, section 7.4.1).
const INTERNAL_ERROR: u16 = 1011;

/// Tails of each tenant that run.
#[derive(Clone, Default)]
pub struct RunningTails(Arc<Mutex<BTreeMap<TenantId, usize>>>);

/// The place of one tail among them.
struct TailSlot(RunningTails, TenantId);

impl RunningTails {
    fn enter(&self, tenant: &TenantId) -> Result<TailSlot, LokiError> {
        let mut running = self.0.lock();
        let count = running.entry(tenant.clone()).or_default();
        if *count >= TAILS_MAX {
            return Err(LokiError::bad_request(format!(
                "max concurrent tail requests limit exceeded, count > limit ({} > {TAILS_MAX})",
                *count + 1
            )));
        }
        *count += 1;
        Ok(TailSlot(self.clone(), tenant.clone()))
    }
}

impl Drop for TailSlot {
    fn drop(&mut self) {
        let mut running = self.0.0.lock();
        if let Some(count) = running.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.1);
            }
        }
    }
}

/// What a tail was asked for.
struct TailRequest {
    tenant: TenantId,
    query: String,
    start_ns: i64,
    limit: u32,
    delay: Duration,
    categorize: bool,
}

/// `tail`.
pub(super) async fn tail(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let (mut head, _) = request.into_parts();
    let asked = match TailRequest::read(&api, &head).await {
        Ok(asked) => asked,
        Err(error) => return error.into_response(),
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut head, &()).await {
        Ok(upgrade) => upgrade,
        // gorilla/websocket's answer to a request that asks for no upgrade.
        Err(_) => {
            let headers = [("sec-websocket-version", "13")];
            return (StatusCode::BAD_REQUEST, headers, "Bad Request\n").into_response();
        }
    };
    let slot = match api.tails.enter(&asked.tenant) {
        Ok(slot) => slot,
        Err(error) => return error.into_response(),
    };
    let upgrade = upgrade.max_message_size(READER_MESSAGE_BYTES_MAX).max_frame_size(READER_MESSAGE_BYTES_MAX);
    upgrade.on_upgrade(move |socket| async move {
        let tasks = api.tasks.clone();
        // The socket's task is one of ours, so that a shutdown ends it and waits for it.
        let running = tasks.spawn("loki_tail", async move {
            let _slot = slot;
            let mut reader = Reader { socket };
            let stopped = api.tasks.clone();
            let ended = tokio::select! {
                () = stopped.cancelled() => Err("the server is stopping".to_owned()),
                ended = run(&api, &asked, &mut reader) => ended,
            };
            match ended {
                Ok(()) => reader.goodbye().await,
                Err(reason) => reader.close(INTERNAL_ERROR, reason).await,
            }
        });
        if running.await.is_err() {
            tracing::error!("a log tail ended with a panic");
        }
    })
}

impl TailRequest {
    async fn read(api: &LokiApi, head: &http::request::Parts) -> Result<Self, LokiError> {
        let tenant = tenant(&head.headers).map_err(LokiError::bad_request)?;
        let mut parameters = Request::new(Body::empty());
        *parameters.uri_mut() = head.uri.clone();
        let form = Form::read(parameters).await.map_err(LokiError::bad_request)?;
        let query = query_text(form.get("query"))?.to_owned();
        logql::syntax::parse(&query).map_err(|error| query_error(&error))?;
        let (start_ns, _) = bounds(&form, api.clock.now_ns())?;
        let delay = match form.get("delay_for") {
            None => 0,
            Some(text) => text.parse::<u64>().map_err(|_| {
                LokiError::bad_request(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
            })?,
        };
        if delay > DELAY_SECONDS_MAX {
            return Err(LokiError::bad_request(format!(
                "delay_for can't be greater than {DELAY_SECONDS_MAX}"
            )));
        }
        Ok(Self {
            tenant,
            query,
            start_ns,
            // What comes after the look back has no limit: more than a query may give is no reason to refuse a tail.
            limit: limit(&form)?.min(api.engine.settings().entries_max),
            delay: Duration::from_secs(delay),
            categorize: categorize(&head.headers),
        })
    }
}

/// The other end.
struct Reader {
    socket: WebSocket,
}

impl Reader {
    /// Sends a message; the error says that the reader is gone or does not read.
    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        match tokio::time::timeout(SEND_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    async fn close(&mut self, code: u16, reason: String) {
        // A control frame has room for 123 bytes of reason (RFC 6455, section 5.5).
        let mut end = reason.len().min(123);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let frame = CloseFrame { code, reason: reason[..end].into() };
        // Nothing is lost when a reader that is gone does not hear why.
        let _ = self.send(Message::Close(Some(frame))).await;
    }

    /// Answers a reader that ended the conversation (RFC 6455, section 5.5.1); one that is gone does not hear it.
    async fn goodbye(mut self) {
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, self.socket.close()).await;
    }

    /// Waits until the reader ends the conversation. Cancel-safe.
    async fn gone(&mut self) {
        while let Some(Ok(message)) = self.socket.recv().await {
            if matches!(message, Message::Close(_)) {
                return;
            }
        }
    }
}

struct Gone;

/// Entries on their way to a reader.
struct Outgoing {
    delay: Duration,
    /// What the look back gave: the store may hand it on a moment after queries see it.
    known: HashSet<Identity>,
    /// By when they came, then time: those of one arrival go out in the order of their times.
    waiting: VecDeque<(Instant, ResultEntry)>,
    waiting_bytes: usize,
    dropped: Vec<(Labels, i64)>,
}

/// Runs a tail until the reader leaves (`Ok`) or the store ends or fails (the reason).
async fn run(api: &LokiApi, asked: &TailRequest, reader: &mut Reader) -> Result<(), String> {
    let query = api.engine.tail(&asked.query).map_err(|error| error.to_string())?;
    // Following begins before the look back, so that nothing falls between the two.
    let follow = api.follower.follow(&asked.tenant, query.matchers().to_vec());
    let history = tokio::select! {
        // Nobody waits for a slot, or holds one, for a reader that left.
        () = reader.gone() => return Ok(()),
        history = history(api, asked) => history.map_err(|error| error.message)?,
    };
    let known = history.iter().map(identity).collect();
    for frame in history.chunks(FRAME_ENTRIES_MAX) {
        if reader.send(frame_of(frame.to_vec(), &[], asked.categorize)).await.is_err() {
            return Ok(());
        }
    }
    drop(history);
    let out = Outgoing {
        delay: asked.delay,
        known,
        waiting: VecDeque::new(),
        waiting_bytes: 0,
        dropped: Vec::new(),
    };
    pump(&api.tasks, follow, query, out, reader, asked.categorize).await
}

async fn pump(
    tasks: &Tasks,
    mut follow: Box<dyn LogFollow>,
    mut query: TailQuery,
    mut out: Outgoing,
    reader: &mut Reader,
    categorize: bool,
) -> Result<(), String> {
    let mut ping = tokio::time::interval(PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.tick().await;
    loop {
        while let Some(frame) = out.next_frame(categorize) {
            if reader.send(frame).await.is_err() {
                return Ok(());
            }
        }
        let due = out.due();
        tokio::select! {
            () = reader.gone() => return Ok(()),
            followed = follow.next() => match followed {
                Some(followed) => {
                    let found;
                    (query, found) = apply(tasks, query, followed.streams).await?;
                    out.take(found, followed.dropped);
                }
                None => return Err("the log store is closed".to_owned()),
            },
            () = until(due) => {}
            _ = ping.tick() => {
                if reader.send(Message::Ping(Vec::new().into())).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// What the query makes of entries. Many of them take longer than an async thread may be held, and a stage takes any
/// time with one.
async fn apply(
    tasks: &Tasks,
    mut query: TailQuery,
    streams: Vec<StreamEntries>,
) -> Result<(TailQuery, Vec<ResultEntry>), String> {
    let text: usize = streams.iter().map(|stream| stream.entries.text_bytes()).sum();
    let is_brief = text <= INLINE_TEXT_BYTES_MAX && query.is_search_only();
    let work = move || {
        let found = apply_all(&mut query, &streams);
        (query, found)
    };
    if is_brief {
        return Ok(work());
    }
    let done = tasks.spawn_blocking("loki_tail_query", work).await;
    done.map_err(|_| "the query of a tail ended early".to_owned())
}

fn apply_all(query: &mut TailQuery, streams: &[StreamEntries]) -> Vec<ResultEntry> {
    let mut found = Vec::new();
    for stream in streams {
        query.apply(&stream.labels, &stream.entries, &mut found);
    }
    found
}

/// Resolves at `due`, or never without one. Cancel-safe.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The newest lines that are there, oldest first.
async fn history(api: &LokiApi, asked: &TailRequest) -> Result<Vec<ResultEntry>, LokiError> {
    let params = QueryParams {
        start_ns: asked.start_ns,
        end_ns: i64::MAX,
        step_ns: 0,
        limit: asked.limit,
        direction: Direction::Backward,
        interval_ns: 0,
    };
    let cancel = CancellationToken::new();
    let _slot = slot(api).await?;
    let found = api
        .engine
        .query_range(&asked.query, params, &asked.tenant, Arc::clone(&api.querier), &cancel)
        .await
        .map_err(|error| query_error(&error))?;
    let QueryOutput { result: QueryResult::Streams(Streams { mut entries }), .. } = found else {
        return Err(LokiError::bad_request("only log selector is supported"));
    };
    entries.reverse();
    Ok(entries)
}

/// What tells an entry from others: time, labels, line.
type Identity = (i64, String, String);

fn identity(entry: &ResultEntry) -> Identity {
    (entry.timestamp_ns, entry.all_labels().to_string(), entry.line.clone())
}

impl Outgoing {
    fn take(&mut self, mut found: Vec<ResultEntry>, dropped: Vec<(Labels, i64)>) {
        if !self.known.is_empty() {
            found.retain(|entry| !self.known.remove(&identity(entry)));
        }
        found.sort_by_key(|entry| entry.timestamp_ns);
        let now = Instant::now();
        self.waiting_bytes += found.iter().map(ResultEntry::text_bytes).sum::<usize>();
        self.waiting.extend(found.into_iter().map(|entry| (now, entry)));
        self.dropped.extend(dropped);
    }

    /// When the next entry is to go out.
    fn due(&self) -> Option<Instant> {
        self.waiting.front().map(|(came, _)| *came + self.delay)
    }

    fn next_frame(&mut self, categorize: bool) -> Option<Message> {
        let now = Instant::now();
        let ready = self.waiting.partition_point(|(came, _)| *came + self.delay <= now);
        let mut ready = ready.max(self.waiting.len().saturating_sub(WAITING_ENTRIES_MAX));
        if self.waiting_bytes > WAITING_BYTES_MAX {
            ready = ready.max(1);
        }
        if ready == 0 && self.dropped.is_empty() {
            return None;
        }
        let mut entries: Vec<(Instant, ResultEntry)> =
            self.waiting.drain(..ready.min(FRAME_ENTRIES_MAX)).collect();
        self.waiting_bytes -= entries.iter().map(|(_, entry)| entry.text_bytes()).sum::<usize>();
        entries.sort_by_key(|(_, entry)| entry.timestamp_ns);
        let dropped = std::mem::take(&mut self.dropped);
        Some(frame_of(entries.into_iter().map(|(_, entry)| entry).collect(), &dropped, categorize))
    }
}

fn frame_of(entries: Vec<ResultEntry>, dropped: &[(Labels, i64)], categorize: bool) -> Message {
    let text = tail_frame(Streams { entries }, dropped, categorize);
    Message::Text(String::from_utf8(text).expect("JSON made of texts is UTF-8").into())
}

#[cfg(test)]
mod tests;
