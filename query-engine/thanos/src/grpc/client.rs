//! The client side of a call: one message out, a stream of messages in, over a connection that is made when needed and
//! made again when it breaks.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use model::error_chain;
use tonic::body::Body;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

use super::{ACCEPTED, Compression, MessageReader, put_message};
use crate::error::{ThanosError, ThanosResult};

/// Largest message of a store that is read, bytes. Thanos allows 2 GiB; its stores send about a MiB a series.
const MESSAGE_BYTES_MAX: usize = 512 << 20;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pings, as every client of Thanos sends them (pkg/extgrpc/client.go).
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// HTTP/2 windows: chunks of a store that is asked come in MiB.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// TLS towards a peer, PEM texts.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    /// Authorities to trust instead of the system's.
    pub ca_pem: Option<String>,
    /// Certificate and key to show.
    pub identity: Option<(String, String)>,
    /// Name to expect in the peer's certificate.
    pub server_name: Option<String>,
}

/// A connection to a peer. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct GrpcClient {
    channel: Channel,
    compression: Compression,
}

impl GrpcClient {
    /// A client of `host:port`, which is not connected to yet.
    pub(crate) fn new(
        address: &str,
        tls: Option<&ClientTls>,
        compression: Compression,
    ) -> ThanosResult<Self> {
        let wrong = |error: &dyn std::fmt::Display| {
            ThanosError::invalid(format!("{address:?} is no address: {error}"))
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let uri: Uri = format!("{scheme}://{address}").parse().map_err(|error| wrong(&error))?;
        if uri.port_u16().is_none() {
            return Err(wrong(&"it has no port"));
        }
        let mut endpoint = Endpoint::from(uri)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true);
        if let Some(tls) = tls {
            let mut config = match &tls.ca_pem {
                Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                None => ClientTlsConfig::new().with_native_roots(),
            };
            if let Some((certificate, key)) = &tls.identity {
                config = config.identity(Identity::from_pem(certificate, key));
            }
            if let Some(name) = &tls.server_name {
                config = config.domain_name(name);
            }
            endpoint = endpoint.tls_config(config).map_err(|error| wrong(&error))?;
        }
        Ok(Self { channel: endpoint.connect_lazy(), compression })
    }

    /// Calls a method; resolves when the head of the answer is there.
    pub(crate) async fn call(
        &self,
        path: &'static str,
        message: &impl prost::Message,
        tenant: Option<&str>,
    ) -> Result<Messages, Status> {
        self.call_raw(path, &message.encode_to_vec(), tenant).await
    }

    /// As [`GrpcClient::call`], with the message as bytes.
    pub(crate) async fn call_raw(
        &self,
        path: &'static str,
        message: &[u8],
        tenant: Option<&str>,
    ) -> Result<Messages, Status> {
        let mut framed = Vec::new();
        put_message(&mut framed, message, self.compression)?;
        let frame = Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(framed)));
        let mut request = Request::new(Body::new(StreamBody::new(stream::iter([frame]))));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(path);
        let headers = request.headers_mut();
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-accept-encoding", HeaderValue::from_static(ACCEPTED));
        if self.compression != Compression::None {
            headers.insert("grpc-encoding", HeaderValue::from_static(self.compression.name()));
        }
        if let Some(tenant) = tenant.and_then(|tenant| HeaderValue::from_str(tenant).ok()) {
            headers.insert("thanos-tenant", tenant);
        }
        let mut channel = self.channel.clone();
        let unreachable = |error: tonic::transport::Error| Status::unavailable(error_chain(&error));
        let channel = channel.ready().await.map_err(unreachable)?;
        let response = channel.call(request).await.map_err(unreachable)?;
        Messages::new(response)
    }

    /// Calls a method that answers with one message.
    pub(crate) async fn call_unary<M: prost::Message + Default>(
        &self,
        path: &'static str,
        message: &impl prost::Message,
        tenant: Option<&str>,
    ) -> Result<M, Status> {
        let mut messages = self.call(path, message, tenant).await?;
        let Some(answer) = messages.next().await? else {
            return Err(Status::internal("the answer has no message"));
        };
        // The status comes behind the message.
        if messages.next().await?.is_some() {
            return Err(Status::internal("the answer has more than one message"));
        }
        M::decode(answer).map_err(|error| Status::internal(format!("the answer cannot be read: {error}")))
    }
}

/// The messages of an answer. Dropping it ends the call.
pub(crate) struct Messages {
    body: Body,
    reader: MessageReader,
    has_ended: bool,
}

impl Messages {
    fn new(response: http::Response<Body>) -> Result<Self, Status> {
        let (head, body) = response.into_parts();
        if let Some(status) = status(&head.headers).filter(|status| status.code() != Code::Ok) {
            return Err(status);
        }
        if head.status != http::StatusCode::OK {
            let text = format!("unexpected HTTP status code {}", head.status.as_u16());
            return Err(Status::unavailable(text));
        }
        let encoding = head.headers.get("grpc-encoding").map_or("", |name| name.to_str().unwrap_or("?"));
        let compression = Compression::from_name(encoding).ok_or_else(|| {
            Status::internal(format!("grpc: Decompressor is not installed for grpc-encoding {encoding:?}"))
        })?;
        let has_ended = head.headers.contains_key("grpc-status");
        Ok(Self { body, reader: MessageReader::new(compression, MESSAGE_BYTES_MAX), has_ended })
    }

    /// The next message; `None` after an answer that ended well.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.reader.next_message()? {
                return Ok(Some(message));
            }
            if self.has_ended {
                return Ok(None);
            }
            match self.body.frame().await {
                None => return Err(Status::unavailable("the connection ended before the answer did")),
                Some(Err(status)) => return Err(Status::unavailable(error_chain(&status))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.reader.push(&data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        match status(&trailers) {
                            Some(status) if status.code() != Code::Ok => return Err(status),
                            Some(_) if !self.reader.is_empty() => {
                                return Err(Status::internal("the answer ends in the middle of a message"));
                            }
                            Some(_) => self.has_ended = true,
                            None => return Err(Status::internal("the answer has no status")),
                        }
                    }
                },
            }
        }
    }
}

/// The status in a head or in trailers. Details are left out: tonic panics on those that are not base64.
fn status(headers: &HeaderMap) -> Option<Status> {
    let mut known = HeaderMap::with_capacity(2);
    for name in ["grpc-status", "grpc-message"] {
        if let Some(value) = headers.get(name) {
            known.insert(name, value.clone());
        }
    }
    Status::from_header_map(&known)
}
