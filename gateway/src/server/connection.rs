//! One connection from its first byte to its end.
//!
//! A client may be slow, silent or gone; each of these has a limit here, so that it costs a connection for a while and
//! never for ever. Limits on a request's body are in `body`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::ServeSettings;
use super::activity::{Activity, Phase, RequestBody, Watched};
use super::answer::AnswerBody;
use super::listening::Shared;
use super::request_line::Mended;

/// Longest time between two looks at a connection.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How long a client may be silent in the middle of its requests, or not read its answers, on a connection that is ending:
/// it must not hold up the end of the process.
const DRAIN_STALL_MAX: Duration = Duration::from_secs(5);
/// Time between two looks at a connection that is ending.
const DRAIN_LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// A connection that is ending goes after this long without a request: what a client sent before it read that the
/// connection ends is still answered.
const DRAIN_QUIET_TIME: Duration = Duration::from_millis(200);
/// Largest head of an HTTP/2 request, bytes; grpc-go sends some hundred.
const HTTP2_HEAD_BYTES_MAX: u32 = 64 << 10;

type ConnectionResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Why a connection is ended from this side.
enum Verdict {
    /// It is between two requests and may be told.
    Idle,
    /// Nothing good is to be expected of it.
    Cut(&'static str),
}

/// Serves a connection until it ends. `peer` is `None` for unix sockets.
pub(super) async fn serve<S>(shared: Arc<Shared>, stream: S, peer: Option<SocketAddr>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let settings = shared.settings();
    let activity = Activity::new();
    let watched = Watched::new(stream, Arc::clone(&activity));
    let io = TokioIo::new(Mended::new(watched, Arc::clone(&activity)));
    let (handlers, requests, http2_only) = (Arc::clone(&shared), Arc::clone(&activity), settings.http2_only);
    let service = service_fn(move |request: Request<Incoming>| {
        let is_http2 = request.version() == Version::HTTP_2;
        let in_flight = requests.enter(is_http2);
        let mut request = request.map(|body| Body::new(RequestBody::new(body, &requests)));
        if let Some(peer) = peer {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        let answer = if let Some(fault) = host_fault(&request) {
            Box::pin(std::future::ready(bad_request(fault)))
        } else if is_http2 && !http2_only && is_grpc(&request) {
            Box::pin(std::future::ready(not_a_grpc_port()))
        } else {
            handlers.answer(request)
        };
        let activity = Arc::clone(&requests);
        async move {
            let wrap = |body| AnswerBody::new(body, in_flight, &activity, is_http2);
            let mut answer = answer.await;
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                activity.leave_http();
            } else if activity.must_linger() {
                // What comes next cannot be told from the rest of this request, so that nothing more is taken.
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer.map(wrap))
        }
    });
    let builder = builder(&settings);
    // With upgrades: the Loki API answers a WebSocket.
    let connection = builder.serve_connection_with_upgrades(io, service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shared.tasks.cancelled() => {
            connection.as_mut().graceful_shutdown();
            drain(connection.as_mut(), &activity).await
        }
        verdict = judge(&activity, &settings) => match verdict {
            Verdict::Idle => {
                connection.as_mut().graceful_shutdown();
                drain(connection.as_mut(), &activity).await
            }
            Verdict::Cut(why) => Err(why.into()),
        },
        () = after(settings.connection_age_max) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = drain(connection.as_mut(), &activity) => ended,
                () = after(settings.connection_age_grace) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = ?peer, %error, "a connection ended with an error");
    }
}

/// What is wrong with the `Host` of a request (RFC 9112, 3.2; Go's net/http refuses the same): who stands in front and
/// routes by it may have read another one.
fn host_fault(request: &Request<Body>) -> Option<&'static str> {
    let is_http1 = request.version() < Version::HTTP_2;
    match request.headers().get_all(HOST).iter().count() {
        0 if request.version() == Version::HTTP_11 && request.method() != Method::CONNECT => {
            Some("400 Bad Request: missing required Host header")
        }
        0 | 1 => None,
        _ => is_http1.then_some("400 Bad Request: too many Host headers"),
    }
}

fn bad_request(text: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn is_grpc(request: &Request<Body>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    content_type == b"application/grpc" || content_type.starts_with(b"application/grpc+")
}

/// What a gRPC client gets from a port that speaks plain HTTP; its own words for it would be of a broken transport.
fn not_a_grpc_port() -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    // UNIMPLEMENTED.
    headers.insert("grpc-status", HeaderValue::from_static("12"));
    let message = "this is an HTTP port; gRPC is taken by another one (OTLP: 4317 unless configured)";
    headers.insert("grpc-message", HeaderValue::from_static(message));
    answer
}

/// Waits for the end of a connection that was told to end; one without a request goes soon, whether it heard or not.
async fn drain(
    mut connection: std::pin::Pin<&mut impl Future<Output = ConnectionResult>>,
    activity: &Activity,
) -> ConnectionResult {
    let mut quiet_since = Instant::now();
    let (mut waited_for, mut waits_since) = (None, Instant::now());
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = tokio::time::sleep(DRAIN_LOOK_INTERVAL) => {}
        }
        activity.answers.give_up_unread(DRAIN_STALL_MAX);
        let waits_for = activity.waits_for_bodies();
        if waits_for.is_none() || waits_for != waited_for {
            (waited_for, waits_since) = (waits_for, Instant::now());
        }
        let is_stalled =
            activity.write_waits_for() > DRAIN_STALL_MAX || waits_since.elapsed() > DRAIN_STALL_MAX;
        if is_stalled && activity.phase().0 == Phase::Busy {
            return Err("the client neither sends nor reads, and the connection is to end".into());
        }
        if activity.phase().0 == Phase::Busy {
            quiet_since = Instant::now();
        } else if quiet_since.elapsed() >= DRAIN_QUIET_TIME {
            return Ok(());
        }
    }
}

/// Resolves when a connection must end. Cancel-safe.
async fn judge(activity: &Activity, settings: &ServeSettings) -> Verdict {
    let unread = Some(settings.unread_time_max);
    let limits = [settings.header_read_timeout, settings.idle_timeout, unread, Some(LOOK_INTERVAL * 4)];
    let shortest = limits.into_iter().flatten().min().unwrap_or(LOOK_INTERVAL);
    let interval = (shortest / 4).clamp(Duration::from_millis(10), LOOK_INTERVAL);
    let (mut seen, mut since) = (activity.phase(), Instant::now());
    loop {
        tokio::time::sleep(interval).await;
        if activity.write_waits_for() > settings.unread_time_max {
            return Verdict::Cut("the client does not read its answer");
        }
        let given_up = activity.answers.give_up_unread(settings.unread_time_max);
        if given_up > 0 {
            tracing::debug!(given_up, "answers that the client does not read are given up");
        }
        let now = activity.phase();
        if now != seen || now.0 == Phase::Busy {
            (seen, since) = (now, Instant::now());
            continue;
        }
        let passed = |limit: Option<Duration>| limit.is_some_and(|limit| since.elapsed() >= limit);
        match now.0 {
            Phase::Head if passed(settings.header_read_timeout) => {
                return Verdict::Cut("the head of a request did not come in time");
            }
            Phase::Idle if passed(settings.idle_timeout) => return Verdict::Idle,
            _ => {}
        }
    }
}

/// Resolves after `time`, or never without one. Cancel-safe.
async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

fn builder(settings: &ServeSettings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if settings.http2_only {
        builder = builder.http2_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        // `judge` looks after heads: hyper's timer counts the time between two requests as well.
        .header_read_timeout(None)
        .keep_alive(settings.keep_alive)
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(settings.stream_window_bytes)
        .initial_connection_window_size(settings.connection_window_bytes)
        .max_frame_size(settings.frame_bytes_max)
        .max_concurrent_streams(settings.concurrent_streams_max)
        .max_header_list_size(HTTP2_HEAD_BYTES_MAX)
        .keep_alive_interval(settings.ping_interval)
        .keep_alive_timeout(settings.ping_timeout);
    builder
}
