//! OTLP/gRPC.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use wire::grpc::RawCodec;

use super::{Answer, Protocol, Target, answers, tls, wire_signal};
use crate::cli::{Compression, Signal};

/// Key of the binary `google.rpc.Status` in trailers, where RetryInfo travels.
const RETRY_INFO_TYPE: &[u8] = b"google.rpc.RetryInfo";
/// Windows large enough that flow control is never what is measured.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

pub(crate) struct GrpcConnection {
    grpc: Grpc<Channel>,
    path: PathAndQuery,
    signal: Signal,
    timeout: Duration,
    headers: HeaderMap,
}

impl GrpcConnection {
    pub(super) fn new(target: &Target) -> anyhow::Result<Self> {
        let channel = channel(target)?;
        let mut grpc = Grpc::new(channel).max_decoding_message_size(4 << 20);
        match target.compression {
            // Others are refused before.
            Compression::None | Compression::Zlib | Compression::Snappy | Compression::Lz4 => {}
            // Servers may compress their answers as requests are; grpc-go does.
            Compression::Gzip => {
                let encoding = CompressionEncoding::Gzip;
                grpc = grpc.send_compressed(encoding).accept_compressed(encoding);
            }
            Compression::Zstd => {
                let encoding = CompressionEncoding::Zstd;
                grpc = grpc.send_compressed(encoding).accept_compressed(encoding);
            }
        }
        let Protocol::Otlp { signal, .. } = target.protocol else { bail!("only OTLP goes over gRPC") };
        let path = PathAndQuery::from_static(match signal {
            Signal::Metrics | Signal::Queries => {
                "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
            }
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        });
        let headers = target.headers.iter().cloned().collect();
        Ok(Self { grpc, path, signal, timeout: target.timeout, headers })
    }

    pub(super) async fn send(&mut self, request: Bytes) -> Answer {
        match tokio::time::timeout(self.timeout, self.call(request)).await {
            Err(_) => Answer::Unanswered { reason: "timeout".to_owned() },
            Ok(Ok(response)) => {
                answers::otlp(wire_signal(self.signal), false, response.into_inner().as_ref())
            }
            Ok(Err(status)) => refused(&status),
        }
    }

    async fn call(&mut self, message: Bytes) -> Result<tonic::Response<Bytes>, tonic::Status> {
        self.grpc.ready().await.map_err(|error| tonic::Status::from_error(error.into()))?;
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
        self.grpc.unary(request, self.path.clone(), RawCodec).await
    }
}

fn channel(target: &Target) -> anyhow::Result<Channel> {
    let uri: Uri = target.endpoint.parse()?;
    let Some(config) = target.tls.clone() else { return Ok(endpoint(uri, target.timeout).connect_lazy()) };
    let mut plain = uri.clone().into_parts();
    // The connector brings TLS by itself; tonic would want its own for this scheme. Requests name the real one.
    plain.scheme = Some(Scheme::HTTP);
    let endpoint = endpoint(Uri::from_parts(plain)?, target.timeout).origin(uri.clone());
    let connector = tower::service_fn(move |_: Uri| secured(uri.clone(), Arc::clone(&config)));
    Ok(endpoint.connect_with_connector_lazy(connector))
}

fn endpoint(uri: Uri, timeout: Duration) -> Endpoint {
    Endpoint::from(uri)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .tcp_nodelay(true)
        .connect_timeout(timeout)
}

async fn secured(uri: Uri, config: Arc<ClientConfig>) -> anyhow::Result<TokioIo<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(tls::authority(&uri)?).await?;
    stream.set_nodelay(true)?;
    let host = uri.host().unwrap_or_default();
    Ok(TokioIo::new(tls::connect(stream, host, &config, b"h2").await?))
}

fn refused(status: &tonic::Status) -> Answer {
    // A status that tonic made of a broken connection has a source; one that the peer sent has none.
    let mut source = std::error::Error::source(status);
    if source.is_some() {
        let mut reason = format!("{:?}: {}", status.code(), status.message());
        while let Some(cause) = source {
            let text = cause.to_string();
            if !reason.contains(&text) {
                reason.push_str(": ");
                reason.push_str(&text);
            }
            source = cause.source();
        }
        return Answer::Unanswered { reason };
    }
    let details = status.details();
    let retry_hint = details.windows(RETRY_INFO_TYPE.len()).any(|window| window == RETRY_INFO_TYPE);
    Answer::Refused { status: format!("{:?}: {}", status.code(), status.message()), retry_hint }
}
