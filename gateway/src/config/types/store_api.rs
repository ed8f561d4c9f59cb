//! `server.store_api`: Thanos' StoreAPI over gRPC.

use serde::Deserialize;

use crate::server::auth::AuthConfig;
use crate::server::tls::TlsServerConfig;

/// `server.store_api`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreApiConfig {
    /// As for `server.prometheus`. Default none: without it nothing listens. The built-in config has `localhost:10901`.
    pub endpoint: String,
    /// TLS. Default none.
    pub tls: Option<TlsServerConfig>,
    /// Who may ask. Default everybody.
    pub auth: Option<AuthConfig>,
    /// As what Thanos' queriers list this store: `receive` (default), `sidecar`, `store`. It changes nothing else.
    pub component: StoreComponent,
}

/// Kinds of stores that Thanos knows.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum StoreComponent {
    /// Written to by remote write.
    #[default]
    Receive,
    /// Beside a Prometheus.
    Sidecar,
    /// Over a bucket.
    Store,
}

impl StoreComponent {
    /// Its name in `Info`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Sidecar => "sidecar",
            Self::Store => "store",
        }
    }
}
