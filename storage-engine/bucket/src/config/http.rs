//! `http_config`: how the client connects (exthttp/transport.go of Thanos' objstore).

use std::path::PathBuf;
use std::time::Duration;

use object_store::{Certificate, ClientOptions};
use serde::Deserialize;
use serde_json::Value;

use super::duration;
use crate::{BucketError, BucketResult};

/// Waiting for the head of an answer, when nothing else is said (`response_header_timeout`).
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// Keeping a connection that nobody uses (`idle_conn_timeout`).
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Waiting for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HttpConfig {
    #[serde(deserialize_with = "duration")]
    idle_conn_timeout: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    response_header_timeout: Option<Duration>,
    insecure_skip_verify: bool,
    #[serde(deserialize_with = "duration")]
    tls_handshake_timeout: Option<Duration>,
    /// Thanos' client only.
    #[serde(rename = "expect_continue_timeout")]
    _expect_continue_timeout: Value,
    /// Thanos' client only.
    #[serde(rename = "max_idle_conns")]
    _max_idle_conns: Value,
    max_idle_conns_per_host: usize,
    /// Thanos' client only.
    #[serde(rename = "max_conns_per_host")]
    _max_conns_per_host: Value,
    tls_config: TlsConfig,
    /// Objects are never sent compressed.
    #[serde(rename = "disable_compression")]
    _disable_compression: Value,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsConfig {
    ca_file: PathBuf,
    cert_file: PathBuf,
    key_file: PathBuf,
    server_name: String,
    insecure_skip_verify: bool,
}

impl HttpConfig {
    /// The client's options; `allow_http` for endpoints without TLS.
    pub(super) fn options(&self, allow_http: bool) -> BucketResult<ClientOptions> {
        let tls = &self.tls_config;
        let lacked = [
            ("cert_file", !tls.cert_file.as_os_str().is_empty()),
            ("key_file", !tls.key_file.as_os_str().is_empty()),
            ("server_name", !tls.server_name.is_empty()),
        ];
        if let Some((key, _)) = lacked.into_iter().find(|(_, is_set)| *is_set) {
            let path = format!("config.http_config.tls_config.{key}");
            return Err(BucketError::config(path, "is not supported by this version"));
        }
        let idle = self.idle_conn_timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(IDLE_TIMEOUT);
        let read = self.response_header_timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(READ_TIMEOUT);
        let connect =
            self.tls_handshake_timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(CONNECT_TIMEOUT);
        let mut options = ClientOptions::new()
            .with_allow_http(allow_http)
            // A timeout of the whole request would cut large parts on slow lines; this one is for each read.
            .with_timeout_disabled()
            .with_read_timeout(read)
            .with_connect_timeout(connect)
            .with_pool_idle_timeout(idle)
            .with_allow_invalid_certificates(self.insecure_skip_verify || tls.insecure_skip_verify);
        if self.max_idle_conns_per_host > 0 {
            options = options.with_pool_max_idle_per_host(self.max_idle_conns_per_host);
        }
        if !tls.ca_file.as_os_str().is_empty() {
            let fault =
                |message: String| BucketError::config("config.http_config.tls_config.ca_file", message);
            let pem = std::fs::read(&tls.ca_file)
                .map_err(|error| fault(format!("{}: {error}", tls.ca_file.display())))?;
            for certificate in Certificate::from_pem_bundle(&pem).map_err(|error| fault(error.to_string()))? {
                options = options.with_root_certificate(certificate);
            }
        }
        Ok(options)
    }
}
