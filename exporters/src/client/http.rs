//! HTTP requests of exporters: one pooled client for each exporter.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use model::ErrorKind;
use pipelines::{ConfigDuration, ConfigError, Extensions, PipelineError, PipelineResult};
use serde::Deserialize;
use serde_json::Value;

use super::{AuthConfig, Credentials, Headers, TlsConfig, USER_AGENT, tls, unsupported};

/// Largest body of an answer that is read, as OTLP asks of clients.
const RESPONSE_BYTES_MAX: usize = 4 << 20;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Client keys of config/confighttp besides endpoint, compression and timeout, whose defaults differ by exporter.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HttpClientConfig {
    /// TLS keys.
    pub(crate) tls: TlsConfig,
    /// Headers of every request. Default none.
    pub(crate) headers: Headers,
    /// URL of a proxy; default from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
    proxy_url: String,
    /// Idle connections kept to a host. Default 100.
    max_idle_conns_per_host: usize,
    /// How long an idle connection is kept. Default 90s.
    idle_conn_timeout: ConfigDuration,
    /// Whether each request takes a connection of its own. Default false.
    disable_keep_alives: bool,
    /// Read for compatibility, no effect: buffers are sized by what is sent.
    read_buffer_size: u64,
    /// Read for compatibility, no effect.
    write_buffer_size: u64,
    /// Read for compatibility, no effect: there is one host.
    max_idle_conns: u64,
    /// The extension that puts credentials on requests. Default none.
    auth: Option<AuthConfig>,
    #[serde(skip)]
    credentials: Credentials,
    middlewares: Option<Value>,
    cookies: Option<Value>,
    max_conns_per_host: Option<Value>,
    http2_read_idle_timeout: Option<Value>,
    http2_ping_timeout: Option<Value>,
    force_attempt_http2: Option<Value>,
    compression_params: Option<Value>,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        Self {
            tls: TlsConfig::default(),
            headers: Headers::default(),
            proxy_url: String::new(),
            max_idle_conns_per_host: 100,
            idle_conn_timeout: ConfigDuration::from_secs(90),
            disable_keep_alives: false,
            read_buffer_size: 0,
            write_buffer_size: 0,
            max_idle_conns: 0,
            auth: None,
            credentials: Credentials::default(),
            middlewares: None,
            cookies: None,
            max_conns_per_host: None,
            http2_read_idle_timeout: None,
            http2_ping_timeout: None,
            force_attempt_http2: None,
            compression_params: None,
        }
    }
}

impl HttpClientConfig {
    /// The keys of this struct, which stand beside an exporter's own keys in its section.
    pub(crate) const KEYS: &[&str] = &[
        "tls",
        "headers",
        "proxy_url",
        "max_idle_conns_per_host",
        "idle_conn_timeout",
        "disable_keep_alives",
        "read_buffer_size",
        "write_buffer_size",
        "max_idle_conns",
        "auth",
        "middlewares",
        "cookies",
        "max_conns_per_host",
        "http2_read_idle_timeout",
        "http2_ping_timeout",
        "force_attempt_http2",
        "compression_params",
    ];

    /// Refuses what contradicts itself and what is not there, and finds the extensions that it names.
    pub(crate) fn validate(&mut self, extensions: &Extensions) -> Result<(), ConfigError> {
        self.tls.validate()?;
        self.credentials = Credentials::resolve(self.auth.as_ref(), extensions)?;
        unsupported(&[
            ("tls.server_name_override", !self.tls.server_name_override.is_empty()),
            ("middlewares", self.middlewares.is_some()),
            ("cookies", self.cookies.is_some()),
            ("max_conns_per_host", self.max_conns_per_host.is_some()),
            ("http2_read_idle_timeout", self.http2_read_idle_timeout.is_some()),
            ("http2_ping_timeout", self.http2_ping_timeout.is_some()),
            ("force_attempt_http2", self.force_attempt_http2.is_some()),
            ("compression_params", self.compression_params.is_some()),
        ])?;
        self.headers.to_map().map(drop)
    }
}

/// A pooled client.
pub(crate) struct HttpClient {
    client: reqwest::Client,
    /// What every request carries.
    headers: HeaderMap,
    /// What every request carries besides, as it is at that moment.
    credentials: Credentials,
}

/// An answer, its body cut off at the limit.
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl HttpClient {
    /// Makes a client for requests to `url`; connects on the first one.
    pub(crate) fn new(config: &HttpClientConfig, url: &str) -> PipelineResult<Self> {
        let invalid = |message: String| PipelineError::new(ErrorKind::Invalid, message);
        let headers = config.headers.to_map().map_err(|error| invalid(error.to_string()))?;
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .default_headers(headers.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .pool_idle_timeout(config.idle_conn_timeout.0)
            .pool_max_idle_per_host(if config.disable_keep_alives {
                0
            } else {
                config.max_idle_conns_per_host
            })
            .tls_backend_preconfigured(tls::client(&config.tls, &[b"h2", b"http/1.1"])?);
        if !config.proxy_url.is_empty() {
            let proxy = reqwest::Proxy::all(&config.proxy_url);
            builder = builder.proxy(proxy.map_err(|error| invalid(format!("proxy_url: {error}")))?);
        } else if is_loopback(url) {
            // As in Go: the proxy of the environment is not asked for this machine.
            builder = builder.no_proxy();
        }
        let client = builder.build();
        let client = client.map_err(|error| invalid(format!("cannot make an HTTP client: {error}")))?;
        Ok(Self { client, headers, credentials: config.credentials.clone() })
    }

    /// What every request carries by configuration.
    pub(crate) fn default_headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Posts `body`; an error means that there was no answer.
    pub(crate) async fn post(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> PipelineResult<HttpResponse> {
        let unreachable = |error: reqwest::Error| {
            PipelineError::new(ErrorKind::Unavailable, format!("Post {url:?}: {}", chain(error)))
        };
        let mut headers = headers;
        self.credentials.add_to(&mut headers)?;
        let mut response =
            self.client.post(url).headers(headers).body(body).send().await.map_err(unreachable)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        // A body that breaks off does not change what the status says.
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = RESPONSE_BYTES_MAX - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() >= room {
                break;
            }
        }
        Ok(HttpResponse { status, headers, body: Bytes::from(body) })
    }
}

fn is_loopback(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An error with its causes and without the URL, which the caller names.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
