//! OTLP/gRPC over one HTTP/2 connection, one call at a time.
//!
//! Messages are framed here: compression is done before a call begins, so that its time is not the target's, and a broken
//! answer is a failure to be counted, whatever it says. Protocol: grpc/grpc doc/PROTOCOL-HTTP2.md.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::task::JoinSet;
use wire::compression::Encoding;
use wire::grpc;
use wire::rpc_status::Status;

use super::{Answer, Protocol, Target, answers, tls, wire_signal};
use crate::cli::Signal;

/// Windows large enough that flow control is never what is measured.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
/// The largest answer; the OTLP specification lets clients cap it at 4 MiB.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Names of the status codes, by number (grpc/grpc doc/statuscodes.md).
const CODES: [&str; 17] = [
    "Ok",
    "Cancelled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
pub(crate) struct GrpcConnection {
    /// Host and port, with which it is connected.
    authority: String,
    host: String,
    tls: Option<Arc<ClientConfig>>,
    /// With the path of the service's one method.
    uri: Uri,
    signal: Signal,
    timeout: Duration,
    headers: HeaderMap,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// Drives the open connection; dropped with it.
    driver: JoinSet<()>,
}

/// A message as it goes over the wire.
pub(super) fn framed(encoding: Encoding, message: &[u8]) -> Bytes {
    let packed = match encoding {
        Encoding::Identity => None,
        encoding => Some(encoding.encode(None, message)),
    };
    let body = packed.as_deref().unwrap_or(message);
    let length = u32::try_from(body.len()).expect("a request of at most 100,000 items is far below 4 GiB");
    [&grpc::prefix(packed.is_some(), length), body].concat().into()
}

impl GrpcConnection {
    pub(super) fn new(target: &Target) -> anyhow::Result<Self> {
        let endpoint: Uri = target.endpoint.parse()?;
        let Protocol::Otlp { signal, .. } = target.protocol else { bail!("only OTLP goes over gRPC") };
        let path = match signal {
            Signal::Metrics | Signal::Queries => {
                "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
            }
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        };
        let authority = tls::authority(&endpoint)?;
        let scheme = endpoint.scheme_str().unwrap_or("http");
        let mut headers: HeaderMap = target.headers.iter().cloned().collect();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        let agent = concat!("tidegate-loadtest/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let encoding = target.compression.encoding();
        if encoding != Encoding::Identity {
            headers.insert("grpc-encoding", HeaderValue::from_static(encoding.name()));
        }
        Ok(Self {
            host: endpoint.host().context("has no host")?.to_owned(),
            tls: target.tls.clone(),
            uri: format!("{scheme}://{authority}{path}").parse()?,
            authority,
            signal,
            timeout: target.timeout,
            headers,
            sender: None,
            driver: JoinSet::new(),
        })
    }

    /// Connects, if it is not connected.
    pub(super) async fn open(&mut self) -> anyhow::Result<()> {
        tokio::time::timeout(self.timeout, self.connected()).await.context("timeout")?.map(|_| ())
    }

    /// Sends a framed message.
    pub(super) async fn send(&mut self, message: Bytes) -> Answer {
        let reason = match tokio::time::timeout(self.timeout, self.call(message)).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "timeout".to_owned(),
        };
        self.sender = None;
        self.driver.abort_all();
        Answer::Unanswered { reason }
    }

    async fn call(&mut self, message: Bytes) -> anyhow::Result<Answer> {
        let mut request = Request::new(Full::new(message));
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let signal = self.signal;
        let response = self.connected().await?.send_request(request).await?;
        let (head, body) = response.into_parts();
        // Without a message the status comes in the head.
        if let Some(status) = grpc::status(&head.headers) {
            return answer(signal, &status, &head.headers, &Bytes::new());
        }
        if head.status != StatusCode::OK {
            return Ok(Answer::Refused { status: format!("HTTP {}", head.status), retry_hint: false });
        }
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("reading the answer: {error}"))?;
        let status =
            body.trailers().and_then(grpc::status).context("the answer ends without a grpc-status")?;
        answer(signal, &status, &head.headers, &body.to_bytes())
    }

    async fn connected(&mut self) -> anyhow::Result<&mut SendRequest<Full<Bytes>>> {
        // What the peer has closed meanwhile is opened again.
        let is_open = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            let stream = tls::open(&self.authority, &self.host, self.tls.as_deref(), b"h2").await?;
            let sender = drive(&mut self.driver, stream).await?;
            self.sender.insert(sender).ready().await?;
        }
        self.sender.as_mut().context("not connected")
    }
}

/// Begins to speak HTTP/2 on a stream.
async fn drive(driver: &mut JoinSet<()>, stream: tls::Stream) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    driver.spawn(async move {
        // Its end shows in the next send.
        let _ended = connection.await;
    });
    Ok(sender)
}

fn answer(signal: Signal, status: &Status, head: &HeaderMap, framed: &Bytes) -> anyhow::Result<Answer> {
    if status.code != 0 {
        let name = usize::try_from(status.code).ok().and_then(|code| CODES.get(code)).unwrap_or(&"Unknown");
        return Ok(Answer::Refused {
            status: format!("{name}: {}", status.message),
            retry_hint: status.retry_delay.is_some(),
        });
    }
    // Servers of grpc-go answer in the encoding of the request, asked or not.
    let encoding = head.get("grpc-encoding").and_then(|name| name.to_str().ok()).unwrap_or_default();
    let message = grpc::answer_message(framed, encoding, ANSWER_BYTES_MAX)
        .context("unreadable answer: it is not one gRPC message")?;
    Ok(answers::otlp(wire_signal(signal), false, &message))
}

#[cfg(test)]
mod tests;
