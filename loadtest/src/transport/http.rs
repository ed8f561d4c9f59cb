//! OTLP/HTTP with protobuf bodies, over HTTP/1.1 with keep-alive.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Answer, accepted};
use crate::cli::{Compression, OtlpArgs, Signal};

/// The largest answer that is read; the OTLP specification lets clients cap it at 4 MiB.
const ANSWER_BYTES_MAX: usize = 4 << 20;

pub(crate) struct HttpConnection {
    authority: String,
    path: String,
    signal: Signal,
    compression: Compression,
    timeout: Duration,
    tenant: Option<HeaderValue>,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// Drives the open connection; dropped with it.
    driver: JoinSet<()>,
}

impl HttpConnection {
    pub(super) fn new(args: &OtlpArgs) -> anyhow::Result<Self> {
        let uri: Uri = match args.endpoint() {
            with_scheme if with_scheme.contains("://") => with_scheme.parse()?,
            bare => format!("http://{bare}").parse()?,
        };
        if uri.scheme_str() != Some("http") {
            bail!("only http:// is supported");
        }
        let host = uri.host().context("has no host")?;
        let prefix = uri.path().trim_end_matches('/');
        Ok(Self {
            authority: format!("{host}:{}", uri.port_u16().unwrap_or(80)),
            path: format!("{prefix}/v1/{}", args.signal.name()),
            signal: args.signal,
            compression: args.compression,
            timeout: args.timeout,
            tenant: args.tenant.as_deref().map(HeaderValue::from_str).transpose()?,
            sender: None,
            driver: JoinSet::new(),
        })
    }

    pub(super) async fn send(&mut self, request: Bytes) -> Answer {
        let reason = match tokio::time::timeout(self.timeout, self.call(request)).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "timeout".to_owned(),
        };
        self.sender = None;
        self.driver.abort_all();
        Answer::Unanswered { reason }
    }

    async fn call(&mut self, body: Bytes) -> anyhow::Result<Answer> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/x-protobuf");
        if let Some(encoding) = encoding(self.compression) {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        if let Some(tenant) = &self.tenant {
            request = request.header("x-scope-orgid", tenant);
        }
        let request = request.body(Full::new(compress(self.compression, body)?))?;
        let sender = self.connected().await?;
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("reading the answer: {error}"))?.to_bytes();
        if head.status.is_success() {
            return Ok(accepted(self.signal, &body));
        }
        let retry_hint = head.headers.contains_key(RETRY_AFTER);
        Ok(Answer::Refused { status: head.status.to_string(), retry_hint })
    }

    async fn connected(&mut self) -> anyhow::Result<&mut SendRequest<Full<Bytes>>> {
        if self.sender.as_ref().is_none_or(SendRequest::is_closed) {
            let stream = TcpStream::connect(&self.authority).await.context("connecting")?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            self.driver.spawn(async move {
                // Its end shows in the next send.
                let _ended = connection.await;
            });
            self.sender = Some(sender);
        }
        let sender = self.sender.as_mut().context("not connected")?;
        sender.ready().await?;
        Ok(sender)
    }
}

fn encoding(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => None,
        Compression::Gzip => Some("gzip"),
        Compression::Zstd => Some("zstd"),
    }
}

fn compress(compression: Compression, body: Bytes) -> std::io::Result<Bytes> {
    Ok(match compression {
        Compression::None => body,
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&body)?;
            encoder.finish()?.into()
        }
        Compression::Zstd => zstd::bulk::compress(&body, zstd::DEFAULT_COMPRESSION_LEVEL)?.into(),
    })
}
