//! The stores that a querier asks: who they are, whether they live, and what they have.
//!
//! Every endpoint is asked for its `Info` every few seconds (pkg/query/endpointset.go). One that does not answer is left
//! out at once; a strict one stays in, with what it last said, or with everything if it never answered. A name
//! (`discovery`) stands for every store that it has, looked up from time to time; a look-up that fails changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use model::{Labels, Matcher, TimeRange};
use parking_lot::RwLock;
use runtime::{Clock, Tasks};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use crate::discovery::{Discovery, Name};
use crate::error::{ThanosError, ThanosResult};
use crate::grpc::Compression;
use crate::grpc::client::{ClientTls, GrpcClient};
use crate::proto::{InfoRequest, InfoResponse};

/// Time between two calls of `Info`, and how long one may take (`--endpoint.info-timeout`).
const INFO_INTERVAL: Duration = Duration::from_secs(5);
/// How long an endpoint that does not answer is still listed (`--store.unhealthy-timeout`).
const UNHEALTHY_MS: i64 = 5 * 60 * 1000;

/// Stands for what a name will have.
const ANY_ADDRESS: &str = "localhost:1";
/// Time between two look-ups of names (`--store.sd-dns-interval`).
const LOOK_UP_INTERVAL: Duration = Duration::from_secs(30);

/// How to reach a store.
#[derive(Clone, Debug, Default)]
pub struct EndpointSettings {
    /// `host:port`, or a name of stores as Thanos has them: `dns+name:port`, `dnssrv+name`, `dnssrvnoa+name`.
    pub address: String,
    /// Asked even when it does not answer, so that its absence shows.
    pub strict: bool,
    /// TLS; `None` is plain.
    pub tls: Option<ClientTls>,
    /// Of requests.
    pub compression: Compression,
}

impl EndpointSettings {
    /// Refuses an address that is neither one nor a name of stores, and a strict name: its addresses come and go.
    pub fn check_address(&self) -> ThanosResult<()> {
        match Name::parse(&self.address)? {
            Some(_) if self.strict => Err(ThanosError::invalid(format!(
                "{} is looked up, which is not permitted with strict; a strict store has a host:port of its own",
                self.address
            ))),
            _ => Ok(()),
        }
    }
}

/// A store that is asked.
pub(crate) struct Endpoint {
    pub(crate) address: String,
    /// As the settings have it.
    name: String,
    pub(crate) client: GrpcClient,
    strict: bool,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    seen: Option<Arc<Seen>>,
    /// When it last answered, and when it was last asked, ms.
    answered_ms: Option<i64>,
    asked_ms: Option<i64>,
    error: Option<String>,
}

/// What an endpoint said about itself.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) component: String,
    pub(crate) label_sets: Vec<Labels>,
    pub(crate) range: TimeRange,
    pub(crate) is_store: bool,
    pub(crate) supports_without: bool,
}

impl Seen {
    fn of(info: &InfoResponse) -> Self {
        let store = info.store.as_ref();
        Self {
            component: match info.component_type.as_str() {
                known @ ("sidecar" | "rule" | "store" | "receive" | "query" | "debug") => known.to_owned(),
                _ => "unknown-store-api".to_owned(),
            },
            label_sets: info.label_sets.iter().map(|set| set.to_labels()).collect(),
            range: store.map_or(TimeRange::ALL, |store| TimeRange::new(store.min_time, store.max_time)),
            is_store: store.is_some(),
            supports_without: store.is_some_and(|store| store.supports_without_replica_labels),
        }
    }

    /// A strict endpoint that never answered: it may have anything.
    fn everything() -> Self {
        Self {
            component: "store".to_owned(),
            label_sets: Vec::new(),
            range: TimeRange::ALL,
            is_store: true,
            supports_without: false,
        }
    }

    /// Whether it may have series that match in the range.
    pub(crate) fn may_have(&self, range: TimeRange, matchers: &[Matcher]) -> bool {
        self.is_store && self.range.overlaps(range) && labels_may_match(&self.label_sets, matchers)
    }
}

/// Whether one of the label sets contradicts no matcher. A label that a set lacks contradicts nothing; no set at all
/// may be anything.
fn labels_may_match(sets: &[Labels], matchers: &[Matcher]) -> bool {
    let fits = |set: &Labels| {
        matchers.iter().all(|matcher| set.get(matcher.name()).is_none_or(|value| matcher.matches(value)))
    };
    sets.is_empty() || sets.iter().any(fits)
}

/// One store in a list for people.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreStatus {
    /// Its address.
    pub name: String,
    /// `sidecar`, `store`, …
    pub component: String,
    /// When it was last asked, ms since the Unix epoch.
    pub last_check_ms: Option<i64>,
    /// Why it is left out.
    pub last_error: Option<String>,
    /// Its external labels.
    pub label_sets: Vec<Labels>,
    /// What it has, ms.
    pub range: TimeRange,
}

/// All endpoints of a querier. Clones share them.
#[derive(Clone)]
pub struct EndpointSet {
    endpoints: Arc<RwLock<Vec<Arc<Endpoint>>>>,
    clock: Arc<dyn Clock>,
    /// Whether every endpoint was asked once.
    is_known: watch::Receiver<bool>,
    /// Names of which nobody knows yet what they stand for, and why.
    unresolved: Arc<RwLock<Vec<String>>>,
}

impl EndpointSet {
    /// Endpoints that are asked for their `Info` from now on, as a task.
    pub fn start(settings: &[EndpointSettings], clock: Arc<dyn Clock>, tasks: &Tasks) -> ThanosResult<Self> {
        Self::start_with(settings, Discovery::default(), clock, tasks)
    }

    /// As [`EndpointSet::start`], with another way to look names up.
    pub(crate) fn start_with(
        settings: &[EndpointSettings],
        discovery: Discovery,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
    ) -> ThanosResult<Self> {
        let (mut named, mut fixed) = (Vec::new(), Vec::new());
        for one in settings {
            match Name::parse(&one.address)? {
                // What is wrong with its TLS is told now and not at the first look-up.
                Some(name) => {
                    GrpcClient::new(ANY_ADDRESS, one.tls.as_ref(), one.compression)?;
                    named.push((name, one.clone()));
                }
                None => fixed.push(Endpoint::new(one, &one.address)?),
            }
        }
        let (known, is_known) = watch::channel(settings.is_empty());
        let endpoints = Arc::new(RwLock::new(fixed.clone()));
        let set = Self { endpoints, clock, is_known, unresolved: Arc::default() };
        if settings.is_empty() {
            return Ok(set);
        }
        let (asked, end) = (set.clone(), tasks.clone());
        tasks.spawn("store-api-endpoints", async move {
            let mut looked_up: Option<Instant> = None;
            loop {
                if !named.is_empty() && looked_up.is_none_or(|at| at.elapsed() >= LOOK_UP_INTERVAL) {
                    looked_up = Some(Instant::now());
                    asked.look_up(&discovery, &fixed, &named).await;
                }
                let endpoints = asked.endpoints.read().clone();
                let asking = join_all(endpoints.iter().map(|one| one.ask(asked.clock.as_ref())));
                tokio::select! {
                    () = end.cancelled() => return,
                    _ = asking => {}
                }
                // Nobody waits for it any more once it is true.
                let _ = known.send(true);
                tokio::select! {
                    () = end.cancelled() => return,
                    () = tokio::time::sleep(INFO_INTERVAL) => {}
                }
            }
        });
        Ok(set)
    }

    /// Puts the addresses that names have now in the place of those they had. Endpoints that stay keep what is known of
    /// them.
    async fn look_up(
        &self,
        discovery: &Discovery,
        fixed: &[Arc<Endpoint>],
        named: &[(Name, EndpointSettings)],
    ) {
        let before = self.endpoints.read().clone();
        let mut endpoints = fixed.to_vec();
        let mut unresolved = Vec::new();
        for (name, one) in named {
            let found = tokio::time::timeout(INFO_INTERVAL, discovery.addresses(name)).await;
            let found = match found.unwrap_or_else(|_| Err("it takes too long".to_owned())) {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(address = one.address, error, "a name of stores cannot be looked up");
                    let len = endpoints.len();
                    endpoints.extend(before.iter().filter(|known| known.name == one.address).cloned());
                    if endpoints.len() == len {
                        let address = &one.address;
                        unresolved.push(format!("the stores of {address} cannot be looked up: {error}"));
                    }
                    continue;
                }
            };
            for address in found {
                if endpoints.iter().any(|known| known.address == address) {
                    continue;
                }
                let known = before.iter().find(|known| known.address == address && known.name == one.address);
                match known.cloned().map_or_else(|| Endpoint::new(one, &address), Ok) {
                    Ok(endpoint) => endpoints.push(endpoint),
                    Err(error) => tracing::warn!(address, %error, "a store cannot be asked"),
                }
            }
        }
        *self.endpoints.write() = endpoints;
        *self.unresolved.write() = unresolved;
    }

    /// Why stores are left out that nobody knows: a text for each name that cannot be looked up.
    pub(crate) fn unresolved(&self) -> Vec<String> {
        self.unresolved.read().clone()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.endpoints.read().is_empty()
    }

    /// Waits until every endpoint was asked once.
    pub(crate) async fn known(&self) {
        let mut is_known = self.is_known.clone();
        // An error means that the task has ended: what is known is all there will be.
        let _ = is_known.wait_for(|known| *known).await;
    }

    /// Those that are asked, with what they said.
    pub(crate) fn living(&self) -> Vec<(Arc<Endpoint>, Arc<Seen>)> {
        let living = |endpoint: &Arc<Endpoint>| {
            let state = endpoint.state.read();
            let seen = match (&state.seen, endpoint.strict) {
                (Some(seen), _) if state.error.is_none() => Arc::clone(seen),
                (Some(seen), true) => Arc::clone(seen),
                (None, true) => Arc::new(Seen::everything()),
                (_, false) => return None,
            };
            Some((Arc::clone(endpoint), seen))
        };
        self.endpoints.read().iter().filter_map(living).collect()
    }

    /// Whether a store is left out now that may have what is asked for; `is_asked` says which addresses count.
    pub(crate) fn lacks(
        &self,
        range: TimeRange,
        matchers: &[Matcher],
        is_asked: impl Fn(&str) -> bool,
    ) -> bool {
        let is_lacking = |endpoint: &Arc<Endpoint>| {
            let state = endpoint.state.read();
            let is_silent = state.error.is_some() || state.seen.is_none();
            let may_have = state.seen.as_ref().is_none_or(|seen| seen.may_have(range, matchers));
            is_silent && may_have && is_asked(&endpoint.address)
        };
        !self.unresolved.read().is_empty() || self.endpoints.read().iter().any(is_lacking)
    }

    /// All by component, for people.
    pub fn status(&self) -> BTreeMap<String, Vec<StoreStatus>> {
        let now = self.clock.now_ms();
        let mut listed: BTreeMap<String, Vec<StoreStatus>> = BTreeMap::new();
        for endpoint in self.endpoints.read().iter() {
            let state = endpoint.state.read();
            let is_gone = state.answered_ms.is_none_or(|at| now - at > UNHEALTHY_MS);
            if is_gone && !endpoint.strict {
                continue;
            }
            let unknown = Arc::new(Seen::everything());
            let seen = state.seen.as_ref().unwrap_or(&unknown);
            listed.entry(seen.component.clone()).or_default().push(StoreStatus {
                name: endpoint.address.clone(),
                component: seen.component.clone(),
                last_check_ms: state.asked_ms,
                last_error: state.error.clone(),
                label_sets: seen.label_sets.clone(),
                range: seen.range,
            });
        }
        listed
    }
}

impl Endpoint {
    /// An endpoint of these settings at one address.
    fn new(settings: &EndpointSettings, address: &str) -> ThanosResult<Arc<Self>> {
        Ok(Arc::new(Self {
            address: address.to_owned(),
            name: settings.address.clone(),
            client: GrpcClient::new(address, settings.tls.as_ref(), settings.compression)?,
            strict: settings.strict,
            state: RwLock::default(),
        }))
    }

    async fn ask(&self, clock: &dyn Clock) {
        let call = self.client.call_unary::<InfoResponse>("/thanos.info.Info/Info", &InfoRequest {}, None);
        let answer = tokio::time::timeout(INFO_INTERVAL, call).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("context deadline exceeded")));
        let now = clock.now_ms();
        let mut state = self.state.write();
        state.asked_ms = Some(now);
        match answer {
            Ok(info) => {
                if state.error.take().is_some() || state.seen.is_none() {
                    tracing::info!(
                        address = self.address,
                        component = info.component_type,
                        "a store answers"
                    );
                }
                state.seen = Some(Arc::new(Seen::of(&info)));
                state.answered_ms = Some(now);
            }
            Err(status) => {
                if state.error.is_none() {
                    tracing::warn!(
                        address = self.address,
                        error = status.message(),
                        "a store does not answer"
                    );
                }
                state.error = Some(format!("{:?}: {}", status.code(), status.message()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
