//! Requests over HTTP/1.1 with keep-alive, one at a time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::task::JoinSet;
use wire::compression::Encoding;
use wire::remote_write::{MEDIA_TYPE, Version};

use super::{Answer, Protocol, Request, Target, answers, tls};
use crate::cli::{PushForm, WriteVersion};

/// The largest answer to pushed data; the OTLP specification lets clients cap it at 4 MiB.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// The largest answer to a query.
const QUERY_ANSWER_BYTES_MAX: usize = 1 << 30;

pub(crate) struct HttpConnection {
    /// Host and port, with which it is connected.
    authority: String,
    host: String,
    tls: Option<Arc<ClientConfig>>,
    /// Path of pushes; queries append theirs.
    path: String,
    protocol: Protocol,
    timeout: Duration,
    headers: Vec<(HeaderName, HeaderValue)>,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// Drives the open connection; dropped with it.
    driver: JoinSet<()>,
}

impl HttpConnection {
    pub(super) fn new(target: &Target) -> anyhow::Result<Self> {
        let uri: Uri = target.endpoint.parse()?;
        let host = uri.host().context("has no host")?;
        let mut path = uri.path().trim_end_matches('/').to_owned();
        match target.protocol {
            Protocol::Otlp { signal, .. } => path.push_str(&format!("/v1/{}", signal.name())),
            // An address alone means the usual path.
            Protocol::RemoteWrite(_) if path.is_empty() => path.push_str("/api/v1/write"),
            Protocol::LokiPush(_) if path.is_empty() => path.push_str("/loki/api/v1/push"),
            Protocol::RemoteWrite(_) | Protocol::LokiPush(_) | Protocol::Queries => {}
        }
        let mut headers = target.headers.clone();
        headers.extend(content_headers(target));
        Ok(Self {
            authority: tls::authority(&uri)?,
            host: host.to_owned(),
            tls: target.tls.clone(),
            path,
            protocol: target.protocol,
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

    pub(super) async fn send(&mut self, request: Request) -> Answer {
        let reason = match tokio::time::timeout(self.timeout, self.call(request)).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "timeout".to_owned(),
        };
        self.sender = None;
        self.driver.abort_all();
        Answer::Unanswered { reason }
    }

    async fn call(&mut self, request: Request) -> anyhow::Result<Answer> {
        let (method, path, body, items, cap) = match request {
            Request::Post { body, items } => (Method::POST, self.path.clone(), body, items, ANSWER_BYTES_MAX),
            Request::Get { path } => {
                (Method::GET, format!("{}{path}", self.path), Bytes::new(), 1, QUERY_ANSWER_BYTES_MAX)
            }
        };
        let mut builder = http::Request::builder().method(method).uri(path).header(HOST, &self.authority);
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        let request = builder.body(Full::new(body))?;
        let sender = self.connected().await?;
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, cap).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("reading the answer: {error}"))?.to_bytes();
        Ok(answers::http(self.protocol, items, head.status, &head.headers, &body))
    }

    async fn connected(&mut self) -> anyhow::Result<&mut SendRequest<Full<Bytes>>> {
        // What the peer has closed meanwhile is opened again.
        let is_open = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            let stream = tls::open(&self.authority, &self.host, self.tls.as_deref(), b"http/1.1").await?;
            let sender = drive(&mut self.driver, stream).await?;
            self.sender.insert(sender).ready().await?;
        }
        self.sender.as_mut().context("not connected")
    }
}

/// Begins to speak HTTP/1.1 on a stream.
async fn drive(driver: &mut JoinSet<()>, stream: tls::Stream) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    driver.spawn(async move {
        // Its end shows in the next send.
        let _ended = connection.await;
    });
    Ok(sender)
}

/// What says how a body is to be read.
fn content_headers(target: &Target) -> Vec<(HeaderName, HeaderValue)> {
    let (media_type, encoding) = match target.protocol {
        Protocol::Otlp { is_json: false, .. } => (MEDIA_TYPE, target.compression.encoding()),
        Protocol::Otlp { is_json: true, .. } => ("application/json", target.compression.encoding()),
        Protocol::RemoteWrite(version) => (version_of(version).content_type(), Encoding::Snappy),
        // Loki's protobuf is always snappy, and says so nowhere.
        Protocol::LokiPush(PushForm::Protobuf) => (MEDIA_TYPE, Encoding::Identity),
        Protocol::LokiPush(PushForm::Json) => ("application/json", Encoding::Identity),
        Protocol::Queries => return Vec::new(),
    };
    let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static(media_type))];
    if encoding != Encoding::Identity {
        headers.push((CONTENT_ENCODING, HeaderValue::from_static(encoding.name())));
    }
    if let Protocol::RemoteWrite(version) = target.protocol {
        let (name, value) = version_of(version).header();
        let name = HeaderName::try_from(name).expect("a constant header name");
        headers.push((name, HeaderValue::from_static(value)));
    }
    headers
}

fn version_of(version: WriteVersion) -> Version {
    match version {
        WriteVersion::V1 => Version::V1,
        WriteVersion::V2 => Version::V2,
    }
}
