//! What exporters that speak over the network share: TLS, headers, the two transports and what their answers mean.

mod auth;
mod config;
mod forwarder;
mod grpc;
mod http;
mod status;
mod tls;

pub use tls::provider as tls_provider;

pub(crate) use auth::{AuthConfig, Credentials};
pub(crate) use config::{Headers, TlsConfig, TlsSource, unsupported};
pub(crate) use forwarder::{Attempts, Forwarder, SendingConfig};
pub(crate) use grpc::{GrpcClient, GrpcSettings};
pub(crate) use http::{HttpClient, HttpClientConfig, HttpResponse};
pub(crate) use status::{body_text, http_failure, not_started, otlp_report, permanent};

/// How this program names itself to servers.
pub(crate) const USER_AGENT: &str = concat!("Tidegate/", env!("CARGO_PKG_VERSION"));
