//! One connection to the target: send an encoded request, learn what became of it.

mod answers;
mod grpc;
pub(crate) mod http;
pub(crate) mod tls;

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use anyhow::{Context, bail};
use bytes::Bytes;
use rustls::ClientConfig;
use wire::compression::Encoding;
use wire::otlp::json::from_protobuf;

use crate::cli::{Compression, Load, PushForm, Signal, Transport, WriteVersion};

/// What the target said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All items were taken.
    Accepted,
    /// So many items were refused for good.
    Partial {
        /// How many.
        rejected: u64,
        /// Why.
        message: String,
    },
    /// The whole request was refused.
    Refused {
        /// gRPC code or HTTP status, with its text.
        status: String,
        /// Whether the target asks to try again, and with a hint when (`RetryInfo`, `Retry-After`).
        retry_hint: bool,
    },
    /// No answer came: the connection broke or the time ran out.
    Unanswered {
        /// What happened.
        reason: String,
    },
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Otlp { signal: Signal, is_json: bool },
    RemoteWrite(WriteVersion),
    LokiPush(PushForm),
    Queries,
}

/// Everything a connection is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) protocol: Protocol,
    pub(crate) endpoint: String,
    pub(crate) compression: Compression,
    pub(crate) timeout: Duration,
    /// The tenant's and the user's own.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// With an https endpoint.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    is_grpc: bool,
}

impl Target {
    pub(crate) fn new(load: &Load) -> anyhow::Result<Self> {
        let (protocol, compression, is_grpc) = match load {
            Load::Otlp(args) => {
                let is_json = args.transport == Transport::HttpJson;
                let protocol = Protocol::Otlp { signal: args.signal, is_json };
                (protocol, args.compression, args.transport == Transport::Grpc)
            }
            Load::RemoteWrite(args) => (Protocol::RemoteWrite(args.protocol), Compression::None, false),
            Load::LokiPush(args) => (Protocol::LokiPush(args.form), Compression::None, false),
            Load::Promql(_) | Load::Logql(_) => (Protocol::Queries, Compression::None, false),
        };
        let pace = load.pace();
        let mut headers = Vec::new();
        if let Some(tenant) = &pace.tenant {
            headers.push((HeaderName::from_static("x-scope-orgid"), tenant.parse().context("tenant")?));
        }
        for (name, value) in &pace.headers {
            headers.push((name.parse().context("header")?, value.parse().context("header")?));
        }
        let endpoint = load.endpoint().to_owned();
        let tls = match tls::is_https(&endpoint) {
            true => Some(Arc::new(tls::client_config(&pace.trust)?)),
            false => None,
        };
        if is_grpc && !matches!(compression, Compression::None | Compression::Gzip | Compression::Zstd) {
            bail!("--compression {}: gRPC takes none, gzip or zstd", compression.encoding().name());
        }
        Ok(Self { protocol, endpoint, compression, timeout: pace.timeout, headers, tls, is_grpc })
    }

    /// What goes over the wire for a rendered request.
    pub(crate) fn encode(&self, body: Bytes) -> Bytes {
        if self.is_grpc {
            return grpc::framed(self.compression.encoding(), &body);
        }
        let (signal, encoding) = match self.protocol {
            Protocol::Otlp { signal, is_json } => {
                (Some(signal).filter(|_| is_json), self.compression.encoding())
            }
            Protocol::RemoteWrite(_) | Protocol::LokiPush(PushForm::Protobuf) => (None, Encoding::Snappy),
            Protocol::LokiPush(PushForm::Json) | Protocol::Queries => (None, Encoding::Identity),
        };
        let body = match signal {
            None => body,
            Some(signal) => {
                let mut json = Vec::with_capacity(body.len() * 3);
                from_protobuf(wire_signal(signal), &body, &mut json)
                    .expect("our own templates are well-formed");
                json.into()
            }
        };
        match encoding {
            Encoding::Identity => body,
            encoding => encoding.encode(None, &body).into(),
        }
    }
}

impl Compression {
    fn encoding(self) -> Encoding {
        match self {
            Self::None => Encoding::Identity,
            Self::Gzip => Encoding::Gzip,
            Self::Zstd => Encoding::Zstd,
            Self::Zlib => Encoding::Zlib,
            Self::Snappy => Encoding::Snappy,
            Self::Lz4 => Encoding::Lz4,
        }
    }
}

/// The signal as the codecs call it.
fn wire_signal(signal: Signal) -> wire::otlp::Signal {
    match signal {
        Signal::Metrics | Signal::Queries => wire::otlp::Signal::Metrics,
        Signal::Logs => wire::otlp::Signal::Logs,
        Signal::Traces => wire::otlp::Signal::Traces,
    }
}

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// To the endpoint's own path, with so many items.
    Post { body: Bytes, items: u64 },
    /// This path and query below the endpoint.
    Get { path: String },
}

/// A connection.
pub(crate) enum Connection {
    Grpc(grpc::GrpcConnection),
    Http(http::HttpConnection),
}

impl Connection {
    /// A connection that is opened when it is asked to or with its first request, and again after a failure.
    pub(crate) fn new(target: &Target) -> anyhow::Result<Self> {
        let context = || format!("endpoint {:?}", target.endpoint);
        Ok(if target.is_grpc {
            Self::Grpc(grpc::GrpcConnection::new(target).with_context(context)?)
        } else {
            Self::Http(http::HttpConnection::new(target).with_context(context)?)
        })
    }

    /// Connects, so that the first request does not have to. Whatever goes wrong shows again in that request.
    pub(crate) async fn open(&mut self) {
        let _failed = match self {
            Self::Grpc(connection) => connection.open().await,
            Self::Http(connection) => connection.open().await,
        };
    }

    /// Sends one request and waits for the answer.
    pub(crate) async fn send(&mut self, request: Request) -> Answer {
        match (self, request) {
            (Self::Grpc(connection), Request::Post { body, .. }) => connection.send(body).await,
            (Self::Grpc(_), Request::Get { .. }) => unreachable!("queries go over HTTP"),
            (Self::Http(connection), request) => connection.send(request).await,
        }
    }
}
