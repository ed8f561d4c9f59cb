//! One HTTP server loop for every listener: HTTP/1.1 and HTTP/2, over TCP, TLS and unix sockets, told apart by the
//! connection's first bytes.
//!
//! [`Listening`] is an open listener whose handler and settings can be exchanged while connections live, which is how a
//! reload works. Invariant SERVE-1: after `stop` no connection is accepted, requests in flight are answered, idle
//! connections end at once, and then the listener's tasks are gone. Windows and frames are large because one export
//! request is some hundred KiB: with the protocol's defaults (64 KiB windows, 16 KiB frames) a request needs several
//! round trips and a dozen frames.

mod activity;
mod answer;
pub mod auth;
pub mod body;
mod connection;
pub mod cors;
pub mod listen;
mod listening;
mod request_line;
pub mod section;
pub mod tls;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tower::Service;

use self::listen::Transport;
use self::tls::TlsServerConfig;
pub use listening::{Exchange, Listening};

/// Takes a request, answers it.
pub type Handler = Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// A router as a handler.
pub fn router_handler(router: Router) -> Handler {
    Arc::new(move |request| {
        let mut router = router.clone();
        Box::pin(async move {
            let answer: Result<_, Infallible> = router.call(request).await;
            answer.unwrap_or_else(|never| match never {})
        })
    })
}

/// How a listener treats its connections.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// What the endpoint names. Default TCP.
    pub transport: Transport,
    /// TLS; `None` is plain.
    pub tls: Option<TlsServerConfig>,
    /// Speak HTTP/2 only, as gRPC does.
    pub http2_only: bool,
    /// HTTP/2 flow-control window of one request, bytes.
    pub stream_window_bytes: u32,
    /// HTTP/2 flow-control window of a connection, bytes.
    pub connection_window_bytes: u32,
    /// Largest HTTP/2 frame that a client may send, bytes.
    pub frame_bytes_max: u32,
    /// Requests in flight on one HTTP/2 connection; `None` is no limit. Default 200, as in hyper: each holds a task
    /// and a window, which one client must not have without bound.
    pub concurrent_streams_max: Option<u32>,
    /// How long a client may take for the TLS handshake, for the head of a first request and, over HTTP/1.1, for the
    /// head of any other; `None` is for ever. Default 30s: whoever opens connections and sends a byte now and then must
    /// not hold them.
    pub header_read_timeout: Option<Duration>,
    /// A connection without a request for this long is ended; `None` keeps it. Default 5m, longer than clients keep
    /// idle connections and than SDKs wait between two exports.
    pub idle_timeout: Option<Duration>,
    /// How long a client may leave an answer unread; what it holds is missing elsewhere. Default 60s. Over HTTP/1.1 the
    /// connection ends then, over HTTP/2 the request.
    pub unread_time_max: Duration,
    /// Whether HTTP/1.1 connections are kept after an answer.
    pub keep_alive: bool,
    /// HTTP/2 pings: sent after this long without a frame. `None` sends none.
    pub ping_interval: Option<Duration>,
    /// A connection whose ping is not answered for this long is closed.
    pub ping_timeout: Duration,
    /// A connection of this age is told to end after the requests in flight; `None` is never.
    pub connection_age_max: Option<Duration>,
    /// How long those requests may go on after that; `None` is for ever.
    pub connection_age_grace: Option<Duration>,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            transport: Transport::Tcp,
            tls: None,
            http2_only: false,
            stream_window_bytes: 512 << 10,
            connection_window_bytes: 1 << 20,
            frame_bytes_max: 1 << 20,
            concurrent_streams_max: Some(CONCURRENT_STREAMS_DEFAULT),
            header_read_timeout: Some(HEADER_READ_TIMEOUT_DEFAULT),
            idle_timeout: Some(IDLE_TIMEOUT_DEFAULT),
            unread_time_max: UNREAD_TIME_MAX_DEFAULT,
            keep_alive: true,
            ping_interval: None,
            ping_timeout: Duration::from_secs(20),
            connection_age_max: None,
            connection_age_grace: None,
        }
    }
}

/// Requests in flight on one HTTP/2 connection unless the config says otherwise.
pub const CONCURRENT_STREAMS_DEFAULT: u32 = 200;
/// Time for the head of a request unless the config says otherwise.
pub const HEADER_READ_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Time without a request after which a connection ends unless the config says otherwise.
pub const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);
/// Time that a client may leave an answer unread.
pub const UNREAD_TIME_MAX_DEFAULT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
