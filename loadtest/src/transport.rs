//! One connection to the target: send an encoded OTLP request, learn what became of it.

mod grpc;
mod http;

use anyhow::Context;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use crate::cli::{OtlpArgs, Signal, Transport};

/// What the target said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All items were taken.
    Accepted,
    /// `partial_success`: so many items were refused for good.
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

/// A connection.
pub(crate) enum Connection {
    Grpc(grpc::GrpcConnection),
    Http(http::HttpConnection),
}

impl Connection {
    /// A connection that is opened with its first request, and again after a failure.
    pub(crate) fn new(args: &OtlpArgs) -> anyhow::Result<Self> {
        let endpoint = args.endpoint();
        let context = || format!("endpoint {endpoint:?}");
        Ok(match args.transport {
            Transport::Grpc => Self::Grpc(grpc::GrpcConnection::new(args).with_context(context)?),
            Transport::Http => Self::Http(http::HttpConnection::new(args).with_context(context)?),
        })
    }

    /// Sends one request and waits for the answer.
    pub(crate) async fn send(&mut self, request: Bytes) -> Answer {
        match self {
            Self::Grpc(connection) => connection.send(request).await,
            Self::Http(connection) => connection.send(request).await,
        }
    }
}

/// Reads the body of a successful answer.
fn accepted(signal: Signal, body: &[u8]) -> Answer {
    let partial = match signal {
        Signal::Metrics => ExportMetricsServiceResponse::decode(body)
            .map(|r| r.partial_success.map(|p| (p.rejected_data_points, p.error_message))),
        Signal::Logs => ExportLogsServiceResponse::decode(body)
            .map(|r| r.partial_success.map(|p| (p.rejected_log_records, p.error_message))),
        Signal::Traces => ExportTraceServiceResponse::decode(body)
            .map(|r| r.partial_success.map(|p| (p.rejected_spans, p.error_message))),
    };
    match partial {
        Ok(Some((rejected, message))) if rejected > 0 => {
            Answer::Partial { rejected: rejected.unsigned_abs(), message }
        }
        Ok(_) => Answer::Accepted,
        Err(error) => Answer::Unanswered { reason: format!("unreadable answer: {error}") },
    }
}
