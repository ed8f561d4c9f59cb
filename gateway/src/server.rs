//! One HTTP server loop for every listener: HTTP/1.1 and HTTP/2 without TLS, told apart by the connection's first bytes.
//!
//! Every connection is a task of the server's own task set. Invariant SERVE-1: after `shutdown` no connection is
//! accepted, requests in flight are answered, and then the connection ends. Windows and frames are large because one
//! export request is some hundred KiB: with the protocol's defaults (64 KiB windows, 16 KiB frames) a request needs
//! several round trips and a dozen frames.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use runtime::Tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;

pub mod body;

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
    /// How long an HTTP/1.1 client may take to send a request's head; `None` is for ever.
    pub header_read_timeout: Option<Duration>,
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
            http2_only: false,
            stream_window_bytes: 512 << 10,
            connection_window_bytes: 1 << 20,
            frame_bytes_max: 1 << 20,
            concurrent_streams_max: Some(CONCURRENT_STREAMS_DEFAULT),
            header_read_timeout: Some(Duration::from_secs(60)),
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
/// Connections that one listener holds at a time; more wait in the kernel's backlog. Each costs a few KiB idle.
const CONNECTIONS_MAX: usize = 10_000;
/// Pause after a failed accept, e.g. when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves a bound listener until `tasks` is cancelled.
pub fn serve(listener: TcpListener, handler: Handler, settings: &ServeSettings, tasks: &Tasks) {
    let server = Arc::new(Server {
        builder: builder(settings),
        settings: settings.clone(),
        handler,
        tasks: tasks.clone(),
    });
    tasks.spawn("http_accept", server.accept(listener));
}

struct Server {
    builder: auto::Builder<TokioExecutor>,
    settings: ServeSettings,
    handler: Handler,
    tasks: Tasks,
}

impl Server {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                () = self.tasks.cancelled() => return,
                accepted = accept_one(&listener, &slots) => accepted,
            };
            match accepted {
                Ok((stream, peer, slot)) => {
                    let server = Arc::clone(&self);
                    self.tasks.spawn("http_connection", server.connection(stream, peer, slot));
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, _slot: OwnedSemaphorePermit) {
        // Answers are written whole; waiting for more (Nagle) would only delay them.
        let _ = stream.set_nodelay(true);
        let handler = Arc::clone(&self.handler);
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = handler(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.tasks.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = after(self.settings.connection_age_max) => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = after(self.settings.connection_age_grace) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection ended with an error");
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

/// Cancel-safe: a connection is either accepted and returned or still in the backlog.
async fn accept_one(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, slot))
}

fn builder(settings: &ServeSettings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if settings.http2_only {
        builder = builder.http2_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_read_timeout)
        .keep_alive(settings.keep_alive)
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(settings.stream_window_bytes)
        .initial_connection_window_size(settings.connection_window_bytes)
        .max_frame_size(settings.frame_bytes_max)
        .max_concurrent_streams(settings.concurrent_streams_max)
        .keep_alive_interval(settings.ping_interval)
        .keep_alive_timeout(settings.ping_timeout);
    builder
}
