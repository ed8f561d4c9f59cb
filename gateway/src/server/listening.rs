//! An open listener: accepts connections, and can be given another handler and other settings while they live.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use parking_lot::RwLock;
use runtime::{ShutdownError, Tasks};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection;
use super::listen::{BoundAddress, Socket, bind};
use super::tls::ReloadingTls;
use super::{HEADER_READ_TIMEOUT_DEFAULT, Handler, ServeSettings};

/// Connections that one listener holds at a time; more wait in the kernel's backlog. Each costs a few KiB idle.
const CONNECTIONS_MAX: usize = 10_000;
/// Pause after a failed accept, e.g. when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A listener that is open. Dropping it without [`Listening::stop`] leaves its tasks running.
pub struct Listening {
    shared: Arc<Shared>,
    /// Bound and not yet served.
    sockets: Vec<Socket>,
    address: BoundAddress,
}

/// What all connections of a listener share.
pub(super) struct Shared {
    pub(super) tasks: Tasks,
    current: RwLock<Current>,
}

/// What can be exchanged.
struct Current {
    handler: Handler,
    settings: Arc<ServeSettings>,
    tls: Option<Arc<ReloadingTls>>,
}

impl Current {
    fn new(handler: Handler, settings: &ServeSettings) -> anyhow::Result<Self> {
        let tls =
            settings.tls.as_ref().map(|tls| ReloadingTls::load(tls, settings.http2_only)).transpose()?;
        Ok(Self { handler, settings: Arc::new(settings.clone()), tls: tls.map(Arc::new) })
    }
}

/// Another handler and other settings for a listener, checked and not yet in use.
pub struct Exchange(Current);

impl Exchange {
    /// Reads the certificates that the settings name.
    pub fn prepare(handler: Handler, settings: &ServeSettings) -> anyhow::Result<Self> {
        Ok(Self(Current::new(handler, settings)?))
    }
}

impl Shared {
    /// Calls the handler of this moment; once another one took its place, no request enters the old one.
    pub(super) fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        (self.current.read().handler)(request)
    }

    pub(super) fn settings(&self) -> Arc<ServeSettings> {
        Arc::clone(&self.current.read().settings)
    }
}

impl Listening {
    /// Opens `endpoint`; nothing is accepted before [`Listening::start`].
    pub async fn bind(endpoint: &str, handler: Handler, settings: &ServeSettings) -> anyhow::Result<Self> {
        let current = Current::new(handler, settings)?;
        let sockets = bind(endpoint, settings.transport).await?;
        let address = sockets.first().context("the name has no address")?.address()?;
        let shared = Shared { tasks: Tasks::new(), current: RwLock::new(current) };
        Ok(Self { shared: Arc::new(shared), sockets, address })
    }

    /// Where it can be reached.
    pub fn address(&self) -> &BoundAddress {
        &self.address
    }

    /// Accepts from now on.
    pub fn start(&mut self) {
        for socket in self.sockets.drain(..) {
            self.shared.tasks.spawn("http_accept", Arc::clone(&self.shared).accept(socket));
        }
    }

    /// Gives requests to another handler from now on. Connections stay; new settings hold for new ones.
    pub fn exchange(&self, exchange: Exchange) {
        *self.shared.current.write() = exchange.0;
    }

    /// Accepts no more, answers the requests in flight, and ends.
    pub async fn stop(&self, deadline: Duration) -> Result<(), ShutdownError> {
        self.shared.tasks.shutdown(deadline).await
    }
}

/// A connection that was accepted.
enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Shared {
    async fn accept(self: Arc<Self>, socket: Socket) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                () = self.tasks.cancelled() => return,
                accepted = accept_one(&socket, &slots) => accepted,
            };
            match accepted {
                Ok((Accepted::Tcp(stream, peer), slot)) => {
                    // Answers are written whole; waiting for more (Nagle) would only delay them.
                    let _ = stream.set_nodelay(true);
                    self.serve(stream, Some(peer), slot);
                }
                Ok((Accepted::Unix(stream), slot)) => self.serve(stream, None, slot),
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn serve<S: Stream>(self: &Arc<Self>, stream: S, peer: Option<SocketAddr>, slot: OwnedSemaphorePermit) {
        let shared = Arc::clone(self);
        let tls = shared.current.read().tls.clone();
        self.tasks.spawn("http_connection", async move {
            let _slot = slot;
            let Some(tls) = tls else { return connection::serve(shared, stream, peer).await };
            let timeout = shared.settings().header_read_timeout.unwrap_or(HEADER_READ_TIMEOUT_DEFAULT);
            let handshake = handshake(&tls, stream);
            let stream = tokio::select! {
                () = shared.tasks.cancelled() => return,
                stream = tokio::time::timeout(timeout, handshake) => stream,
            };
            match stream {
                Ok(Ok(Some(stream))) => connection::serve(shared, stream, peer).await,
                Ok(Ok(None)) => tracing::debug!(?peer, "a client sent an HTTP request without TLS"),
                Ok(Err(error)) => tracing::debug!(?peer, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(?peer, "a TLS handshake did not come to its end in time"),
            }
        });
    }
}

/// A connection as it was accepted.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {
    /// Whether the first bytes are those of an HTTP request. Waits for them and leaves them where they are.
    fn starts_as_http(&self) -> impl Future<Output = bool> + Send;
}

impl Stream for TcpStream {
    async fn starts_as_http(&self) -> bool {
        let mut start = [0; 5];
        // As crypto/tls of Go looks at them; what came in smaller pieces fails as a handshake.
        let is_read = self.peek(&mut start).await.is_ok();
        is_read && [b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"].contains(&&start)
    }
}

impl Stream for UnixStream {
    fn starts_as_http(&self) -> impl Future<Output = bool> + Send {
        std::future::ready(false)
    }
}

/// What Go's servers answer to HTTP where TLS is spoken.
const NOT_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// What is read of such a request, bytes, and for how long: a client that still sends would get a reset and lose the answer.
const NOT_TLS_BYTES_MAX: u64 = 64 << 10;
const NOT_TLS_TIME_MAX: Duration = Duration::from_secs(1);

/// The encrypted stream; `None` for a client that speaks plain HTTP and was told so.
async fn handshake<S: Stream>(tls: &ReloadingTls, mut stream: S) -> std::io::Result<Option<TlsStream<S>>> {
    if !stream.starts_as_http().await {
        return TlsAcceptor::from(tls.current()).accept(stream).await.map(Some);
    }
    stream.write_all(NOT_TLS).await?;
    stream.shutdown().await?;
    let mut request = stream.take(NOT_TLS_BYTES_MAX);
    // The client has its answer whether it ends in time or not.
    let _ =
        tokio::time::timeout(NOT_TLS_TIME_MAX, tokio::io::copy(&mut request, &mut tokio::io::sink())).await;
    Ok(None)
}

/// Cancel-safe: a connection is either accepted and returned or still in the backlog.
async fn accept_one(
    socket: &Socket,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(Accepted, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
    let accepted = match socket {
        Socket::Tcp(listener) => {
            let (stream, peer) = listener.accept().await?;
            Accepted::Tcp(stream, peer)
        }
        Socket::Unix(listener, _) => Accepted::Unix(listener.accept().await?.0),
    };
    Ok((accepted, slot))
}
