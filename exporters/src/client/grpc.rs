//! A unary gRPC client that sends and receives raw bytes over a tonic channel.
//!
//! It frames the message itself: a payload goes out without a copy, compression runs on whole bodies with reused
//! contexts and off the async threads, and a broken answer of a server is an error (tonic's own client panics on a
//! `grpc-status-details-bin` that is not base64). Protocol: grpc/grpc doc/PROTOCOL-HTTP2.md. Connections are made on
//! demand and made again when they break.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body::Frame;
use http_body_util::{BodyExt, LengthLimitError, Limited, StreamBody};
use hyper_util::rt::TokioIo;
use model::{ErrorKind, error_chain};
use pipelines::{PipelineError, PipelineResult};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::{Service, ServiceExt as _};
use wire::compression::Encoding;
use wire::grpc;
use wire::rpc_status::Status;

use super::status::grpc_failure;
use super::{Credentials, TlsConfig, USER_AGENT, permanent, tls};

/// Largest answer that is read, as OTLP asks of clients.
const RESPONSE_BYTES_MAX: usize = 4 << 20;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach a server.
#[derive(Clone, Debug)]
pub(crate) struct GrpcSettings {
    /// `http://…` or `https://…`.
    pub(crate) uri: Uri,
    /// TLS keys, used with `https`.
    pub(crate) tls: TlsConfig,
    /// What every request carries.
    pub(crate) headers: HeaderMap,
    /// What every request carries besides, as it is at that moment.
    pub(crate) credentials: Credentials,
    /// `grpc-encoding` and how bodies are written; identity sends them as they are.
    pub(crate) encoding: (&'static str, Encoding),
    /// Interval and timeout of HTTP/2 pings, and whether idle connections ping too.
    pub(crate) keepalive: Option<(Duration, Duration, bool)>,
    /// `:authority` to send instead of the endpoint's.
    pub(crate) authority: Option<Uri>,
}

/// A connection that is made when needed.
pub(crate) struct GrpcClient {
    channel: Channel,
    settings: GrpcSettings,
    tasks: runtime::Tasks,
}

impl GrpcClient {
    /// Makes a client; connects on the first call.
    pub(crate) fn new(settings: GrpcSettings, tasks: runtime::Tasks) -> PipelineResult<Self> {
        let failed = |error: tonic::transport::Error| {
            PipelineError::new(
                ErrorKind::Invalid,
                format!("cannot connect to {}: {}", settings.uri, error_chain(&error)),
            )
        };
        let is_encrypted = settings.uri.scheme_str() == Some("https");
        let mut endpoint = Endpoint::from(plain(&settings.uri)?)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .user_agent(USER_AGENT)
            .map_err(failed)?;
        if let Some((interval, timeout, while_idle)) = settings.keepalive {
            endpoint = endpoint
                .http2_keep_alive_interval(interval)
                .keep_alive_timeout(timeout)
                .keep_alive_while_idle(while_idle);
        }
        if is_encrypted || settings.authority.is_some() {
            endpoint = endpoint.origin(settings.authority.as_ref().unwrap_or(&settings.uri).clone());
        }
        let channel = match is_encrypted {
            true => endpoint.connect_with_connector_lazy(encrypted(&settings.tls)?),
            false => endpoint.connect_lazy(),
        };
        Ok(Self { channel, settings, tasks })
    }

    /// Calls `path` with `message` and returns the answer's message.
    pub(crate) async fn call(
        &self,
        path: &'static str,
        message: Bytes,
        timeout: Duration,
    ) -> PipelineResult<Bytes> {
        let request = self.request(path, message, timeout).await?;
        let mut channel = self.channel.clone();
        let unreachable = |error: tonic::transport::Error| {
            let text = format!(
                "rpc error: code = Unavailable desc = {}: {}",
                self.settings.uri,
                error_chain(&error)
            );
            PipelineError::new(ErrorKind::Unavailable, text)
        };
        let channel = channel.ready().await.map_err(unreachable)?;
        let response = Service::call(channel, request).await.map_err(unreachable)?;
        answer(response).await
    }

    async fn request(
        &self,
        path: &'static str,
        message: Bytes,
        timeout: Duration,
    ) -> PipelineResult<Request<Body>> {
        let (encoding_name, encoding) = self.settings.encoding;
        let is_compressed = encoding != Encoding::Identity;
        let message = if is_compressed {
            let compress =
                self.tasks.spawn_blocking("compress", move || Bytes::from(encoding.encode(None, &message)));
            compress
                .await
                .map_err(|_| PipelineError::new(ErrorKind::Unavailable, "compression was cancelled"))?
        } else {
            message
        };
        let len = u32::try_from(message.len())
            .map_err(|_| permanent(format!("message of {} bytes, gRPC allows 4 GiB", message.len())))?;
        let prefix = Bytes::copy_from_slice(&grpc::prefix(is_compressed, len));
        let frames = [prefix, message].map(|data| Ok::<_, std::convert::Infallible>(Frame::data(data)));
        let mut request = Request::new(Body::new(StreamBody::new(stream::iter(frames))));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(path);
        let headers = request.headers_mut();
        headers.extend(self.settings.headers.clone());
        self.settings.credentials.add_to(headers)?;
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        if is_compressed {
            headers.insert("grpc-encoding", HeaderValue::from_static(encoding_name));
        }
        if !timeout.is_zero()
            && let Ok(value) = HeaderValue::from_str(&format!("{}m", timeout.as_millis().min(99_999_999)))
        {
            headers.insert("grpc-timeout", value);
        }
        Ok(request)
    }
}

/// The same place with the scheme of plain connections: encryption is the connector's matter.
fn plain(uri: &Uri) -> PipelineResult<Uri> {
    let mut parts = uri.clone().into_parts();
    if parts.scheme == Some(Scheme::HTTPS) {
        parts.scheme = Some(Scheme::HTTP);
        let authority = parts.authority.take();
        parts.authority = authority.map(|authority| match authority.port() {
            Some(_) => authority,
            None => format!("{authority}:443").parse().unwrap_or(authority),
        });
    }
    Uri::from_parts(parts).map_err(|error| PipelineError::new(ErrorKind::Invalid, format!("{uri}: {error}")))
}

type Encrypted = TokioIo<TlsStream<TcpStream>>;
type Connecting = Pin<Box<dyn Future<Output = std::io::Result<Encrypted>> + Send>>;

/// Connects and shakes hands.
fn encrypted(
    config: &TlsConfig,
) -> PipelineResult<
    impl Service<Uri, Response = Encrypted, Error = std::io::Error, Future = Connecting> + Clone + Send + 'static,
> {
    let connector = TlsConnector::from(Arc::new(tls::client(config, &[b"h2"])?));
    let name = config.server_name_override.clone();
    Ok(tower::service_fn(move |uri: Uri| {
        let (connector, name) = (connector.clone(), name.clone());
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let shown = if name.is_empty() { host.clone() } else { name };
            let shown = ServerName::try_from(shown).map_err(std::io::Error::other)?;
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(connector.connect(shown, stream).await?))
        }) as Connecting
    }))
}

/// The message of a successful answer.
async fn answer(response: Response<Body>) -> PipelineResult<Bytes> {
    let (head, body) = response.into_parts();
    if let Some(status) = grpc::status(&head.headers) {
        // "Trailers only": the status comes in the head, without a message.
        return if status.code == 0 { Ok(Bytes::new()) } else { Err(grpc_failure(&status)) };
    }
    if head.status != http::StatusCode::OK {
        let text = format!("unexpected HTTP status {}", head.status.as_u16());
        return Err(grpc_failure(&Status::new(code_of_http(head.status.as_u16()), text)));
    }
    let collected = Limited::new(body, RESPONSE_BYTES_MAX).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return permanent(format!("the answer is larger than {RESPONSE_BYTES_MAX} bytes"));
        }
        PipelineError::new(ErrorKind::Unavailable, format!("rpc error: code = Unavailable desc = {error}"))
    })?;
    let Some(status) = collected.trailers().and_then(grpc::status) else {
        return Err(grpc_failure(&Status::new(13, "server closed the stream without sending trailers")));
    };
    if status.code != 0 {
        return Err(grpc_failure(&status));
    }
    // Servers of grpc-go answer in the encoding of the request, asked or not.
    let encoding = head.headers.get("grpc-encoding").and_then(|name| name.to_str().ok()).unwrap_or_default();
    let message = grpc::answer_message(&collected.to_bytes(), encoding, RESPONSE_BYTES_MAX);
    Ok(message.unwrap_or_else(|| {
        // Accepted by the server all the same: sending it again would double the data.
        tracing::warn!(encoding, "the server's answer is not one gRPC message, taking it for success");
        Bytes::new()
    }))
}

/// grpc/grpc doc/http-grpc-status-mapping.md.
fn code_of_http(status: u16) -> i32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}
