//! Receivers: one file a protocol, and the table of them.
//!
//! A receiver is a description: listeners of its own and routes on the API servers. Making one opens nothing, so that
//! `validate` can make them all; `wiring` binds and serves.

pub(crate) mod decoding;
pub mod kafka;
pub mod loki;
pub mod otlp;
pub mod prometheusremotewrite;
mod push;

use std::sync::Arc;

use axum::Router;
use futures_util::future::BoxFuture;
use model::{Signal, TenantId};
use pipelines::{ClientMetadata, ComponentConfig, ConfigError, Consumer, PipelineResult, Stability};
use runtime::{MemoryBudget, Tasks};
use serde::{Deserialize, Deserializer, de};

use crate::server::auth::ServerAuths;
use crate::server::{Handler, ServeSettings};

/// Every receiver: the types that `receivers:` may name.
pub const RECEIVERS: &[ReceiverFactory] =
    &[kafka::FACTORY, loki::FACTORY, otlp::FACTORY, prometheusremotewrite::FACTORY];

/// A row of the receiver table.
pub struct ReceiverFactory {
    /// The type in configs.
    pub kind: &'static str,
    /// Signals that it produces.
    pub signals: &'static [Signal],
    /// How far it is.
    pub stability: Stability,
    /// Checks the config and makes the receiver. Opens and spawns nothing.
    pub create: fn(&ComponentConfig<'_>, &ReceiverContext) -> Result<Receiver, ConfigError>,
}

/// What a receiver may use of its surroundings.
#[derive(Clone)]
pub struct ReceiverContext {
    /// Where its batches go.
    pub entries: Entries,
    /// The process' one memory budget.
    pub budget: Arc<MemoryBudget>,
    /// Where its work that blocks runs.
    pub tasks: Tasks,
    /// The authenticators that its config may name.
    pub auths: ServerAuths,
}

/// For each signal the start of its pipelines, if a pipeline names the receiver.
#[derive(Clone, Default)]
pub struct Entries([Option<Arc<dyn Consumer>>; 3]);

impl Entries {
    /// Asks `entry` for each signal.
    pub fn new(entry: impl FnMut(Signal) -> Option<Arc<dyn Consumer>>) -> Self {
        Self(Signal::ALL.map(entry))
    }

    /// Where batches of `signal` go.
    pub fn get(&self, signal: Signal) -> Option<&Arc<dyn Consumer>> {
        self.0[signal as usize].as_ref()
    }
}

/// A receiver that is ready to be served.
#[derive(Default)]
pub struct Receiver {
    /// Listeners of its own.
    pub listeners: Vec<Listener>,
    /// Routes on the API servers.
    pub mounts: Vec<Mount>,
    /// Work that fetches data by itself.
    pub workers: Vec<Arc<dyn Worker>>,
}

/// A part of a receiver that asks others for data instead of being asked.
pub trait Worker: Send + Sync {
    /// Begins to fetch. Called once, when the pipelines run.
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>>;

    /// Fetches nothing more; resolves when the pipelines have answered for what was fetched.
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}

/// A listener to bind.
pub struct Listener {
    /// What speaks there, for people: `OTLP gRPC`.
    pub what: &'static str,
    /// `host:port`, port 0 taking a free one, or the path of a unix socket.
    pub endpoint: String,
    /// How connections are treated.
    pub settings: ServeSettings,
    /// What answers.
    pub handler: Handler,
}

/// The API servers that receivers can put routes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiServer {
    /// `server.prometheus`.
    Prometheus,
    /// `server.loki`.
    Loki,
}

/// Routes on an API server.
pub struct Mount {
    /// Which server.
    pub server: ApiServer,
    /// The paths, to tell two receivers that want the same.
    pub paths: Vec<&'static str>,
    /// The routes.
    pub routes: Router,
}

/// A key of the collector's config that this version does not act on: any value but null is refused, since to accept
/// and ignore it would be worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotSupported;

impl<'de> Deserialize<'de> for NotSupported {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<de::IgnoredAny>::deserialize(deserializer)? {
            None => Ok(Self),
            Some(_) => Err(de::Error::custom("is not supported by this version")),
        }
    }
}

/// The tenant that a request names in `X-Scope-OrgID` (Loki, Mimir) or `THANOS-TENANT`; without either the default, which
/// Thanos has a name for (`DefaultTenant` in pkg/tenancy/tenancy.go). The error is a sentence for the sender.
pub fn tenant(headers: &http::HeaderMap) -> Result<TenantId, String> {
    let named = headers.get("x-scope-orgid");
    let by_thanos = headers.get("thanos-tenant").filter(|value| *value != "default-tenant");
    let Some(value) = named.or(by_thanos) else { return Ok(TenantId::default()) };
    let id = value.to_str().map_err(|_| "tenant id is not plain ASCII text".to_owned())?;
    TenantId::new(id).map_err(|error| error.to_string())
}

/// What is known about the sender of a request.
pub fn client(request: &http::request::Parts, include_metadata: bool) -> Arc<ClientMetadata> {
    use axum::extract::connect_info::ConnectInfo;
    let address = request
        .extensions
        .get::<ConnectInfo<std::net::SocketAddr>>()
        .map(|ConnectInfo(address)| address.ip().to_string());
    let metadata = if include_metadata {
        let text = |value: &http::HeaderValue| value.to_str().map(str::to_owned).ok();
        request
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?)))
            .collect()
    } else {
        Vec::new()
    };
    Arc::new(ClientMetadata { address, metadata })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn a_tenant_is_named_by_either_header_and_the_default_one_of_thanos_is_ours() {
        for (headers, want) in [
            (&[][..], model::TenantId::default().as_str()),
            (&[("x-scope-orgid", "a")], "a"),
            (&[("thanos-tenant", "b")], "b"),
            (&[("thanos-tenant", "default-tenant")], model::TenantId::default().as_str()),
            // Who stands in front and names a tenant is not overruled by what a client adds.
            (&[("thanos-tenant", "b"), ("x-scope-orgid", "a")], "a"),
            (&[("thanos-tenant", "default-tenant"), ("x-scope-orgid", "a")], "a"),
            (&[("x-scope-orgid", "default-tenant")], "default-tenant"),
        ] {
            let headers: HeaderMap = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(super::tenant(&headers).expect("a good name").as_str(), want, "{headers:?}");
        }
    }
}
