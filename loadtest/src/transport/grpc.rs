//! OTLP/gRPC.

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use wire::grpc::RawCodec;

use super::{Answer, accepted};
use crate::cli::{Compression, OtlpArgs, Signal};

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
    tenant: Option<MetadataValue<Ascii>>,
}

impl GrpcConnection {
    pub(super) fn new(args: &OtlpArgs) -> anyhow::Result<Self> {
        let endpoint = match args.endpoint() {
            with_scheme if with_scheme.contains("://") => with_scheme.to_owned(),
            bare => format!("http://{bare}"),
        };
        let channel = Endpoint::from_shared(endpoint)?
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .tcp_nodelay(true)
            .connect_timeout(args.timeout)
            .connect_lazy();
        let mut grpc = Grpc::new(channel).max_decoding_message_size(4 << 20);
        match args.compression {
            Compression::None => {}
            Compression::Gzip => grpc = grpc.send_compressed(CompressionEncoding::Gzip),
            Compression::Zstd => grpc = grpc.send_compressed(CompressionEncoding::Zstd),
        }
        let path = PathAndQuery::from_static(match args.signal {
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        });
        let tenant = args.tenant.as_deref().map(str::parse).transpose()?;
        Ok(Self { grpc, path, signal: args.signal, timeout: args.timeout, tenant })
    }

    pub(super) async fn send(&mut self, request: Bytes) -> Answer {
        match tokio::time::timeout(self.timeout, self.call(request)).await {
            Err(_) => Answer::Unanswered { reason: "timeout".to_owned() },
            Ok(Ok(response)) => accepted(self.signal, response.into_inner().as_ref()),
            Ok(Err(status)) => refused(&status),
        }
    }

    async fn call(&mut self, message: Bytes) -> Result<tonic::Response<Bytes>, tonic::Status> {
        self.grpc.ready().await.map_err(|error| tonic::Status::from_error(error.into()))?;
        let mut request = tonic::Request::new(message);
        if let Some(tenant) = &self.tenant {
            request.metadata_mut().insert("x-scope-orgid", tenant.clone());
        }
        self.grpc.unary(request, self.path.clone(), RawCodec).await
    }
}

fn refused(status: &tonic::Status) -> Answer {
    // A status that tonic made of a broken connection has a source; one that the peer sent has none.
    if std::error::Error::source(status).is_some() {
        return Answer::Unanswered { reason: format!("{:?}: {}", status.code(), status.message()) };
    }
    let details = status.details();
    let retry_hint = details.windows(RETRY_INFO_TYPE.len()).any(|window| window == RETRY_INFO_TYPE);
    Answer::Refused { status: format!("{:?}: {}", status.code(), status.message()), retry_hint }
}
