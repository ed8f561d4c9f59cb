//! Routing of writes to the members of a ring, with replication (pkg/receive/handler.go).
//!
//! A request is taken apart by the bytes of its series, which travel on as they came: for each member and replica one
//! message. The answer is given when a quorum of each series' replicas has it, or none is left; what is still on its way
//! then goes on. A member that cannot be reached is left alone for a moment, which grows from try to try.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::ErrorKind;
use parking_lot::{Mutex, RwLock};
use runtime::{MemoryBudget, Reservation, Tasks};
use storage_api::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;
use wire::protobuf::{Fields, Value, put_bytes_field, put_varint_field};

use super::hashring::{Hashrings, series_hash};
use super::quorum::{Quorum, Verdict};
use super::{DEFAULT_TENANT, INLINE_BYTES_MAX, WriteTarget};
use crate::error::{ThanosError, ThanosResult};
use crate::grpc::Compression;
use crate::grpc::client::{ClientTls, GrpcClient};

/// The method of members.
const PATH: &str = "/thanos.WriteableStore/RemoteWrite";
/// Pauses after a member was not reached: the first and the longest (`--receive-forward-max-backoff`).
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Doublings after which a pause is not longer.
const BACKOFF_DOUBLINGS_MAX: u32 = 6;

/// How writes are routed.
#[derive(Clone, Debug)]
pub struct RouterSettings {
    /// Members that a series is sent to.
    pub replication_factor: usize,
    /// The address under which rings name this process; `None` for one that stores nothing.
    pub local_endpoint: Option<String>,
    /// How long a member may take.
    pub forward_timeout: Duration,
    /// Of requests to members.
    pub compression: Compression,
    /// TLS towards members.
    pub tls: Option<ClientTls>,
}

/// Routes writes to the members of a ring.
pub struct Router {
    settings: RouterSettings,
    /// Where what belongs to this process goes.
    local: Option<Arc<dyn WriteTarget>>,
    routes: RwLock<Arc<Routes>>,
    budget: Arc<MemoryBudget>,
    tasks: Tasks,
}

/// The rings with the ways to their members.
struct Routes {
    rings: Hashrings,
    /// By address.
    members: HashMap<String, Arc<Member>>,
}

enum Member {
    Local,
    Remote { client: GrpcClient, pause: Mutex<Pause> },
}

/// Since when a member is not asked.
#[derive(Default)]
struct Pause {
    failures: u32,
    until: Option<Instant>,
}

/// What one member gets.
struct Share {
    member: Arc<Member>,
    /// From 0.
    replica: usize,
    /// Field 1 of the message, once for each series.
    body: Vec<u8>,
    /// Numbers of the series in the request.
    series: Vec<u32>,
}

impl Router {
    /// A router for these rings; `local` takes what belongs to this process.
    pub fn new(
        settings: RouterSettings,
        rings: Hashrings,
        local: Option<Arc<dyn WriteTarget>>,
        tasks: Tasks,
    ) -> ThanosResult<Self> {
        let routes = Routes::new(&settings, rings, None)?;
        let budget = MemoryBudget::new(u64::MAX);
        Ok(Self { settings, local, routes: RwLock::new(Arc::new(routes)), budget, tasks })
    }

    /// The same; what is on its way to members is held within this budget.
    #[must_use]
    pub fn with_budget(self, budget: Arc<MemoryBudget>) -> Self {
        Self { budget, ..self }
    }

    /// Routes by other rings from now on. Members that stay keep their connections.
    pub fn set_rings(&self, rings: Hashrings) -> ThanosResult<()> {
        let before = Arc::clone(&self.routes.read());
        let routes = Routes::new(&self.settings, rings, Some(&before))?;
        *self.routes.write() = Arc::new(routes);
        Ok(())
    }

    /// Members that a series is sent to.
    pub fn replication_factor(&self) -> usize {
        self.settings.replication_factor
    }

    /// Routes the series of a `prometheus.WriteRequest`; an empty tenant is Thanos' default one. `replica` is the
    /// request's number of its replica from 1, 0 for one that was not replicated yet. Resolves when a quorum of the
    /// members has them.
    pub async fn route(&self, tenant: &str, replica: u64, request: Bytes) -> ThanosResult<()> {
        let tenant = if tenant.is_empty() { DEFAULT_TENANT } else { tenant };
        let replicas = self.replicas(replica)?;
        let routes = Arc::clone(&self.routes.read());
        // Every replica's share is a copy, which is there until its member answered.
        let bytes = (request.len() as u64).saturating_mul(replicas.len() as u64);
        let room = self.budget.try_reserve(bytes).ok_or_else(|| {
            ThanosError::new(ErrorKind::Unavailable, "data refused due to high memory usage")
        })?;
        let (shares, series) = if request.len() <= INLINE_BYTES_MAX {
            routes.shares(tenant, &replicas, &request)?
        } else {
            let (name, replicas) = (tenant.to_owned(), replicas.clone());
            let work = move || routes.shares(&name, &replicas, &request);
            let done = self.tasks.spawn_blocking("receive-route", work).await;
            done.map_err(|error| ThanosError::new(ErrorKind::Internal, error.to_string()))??
        };
        if shares.is_empty() {
            return Ok(());
        }
        self.send(tenant, shares, Quorum::new(series, replicas.len()), room).await
    }

    /// The replicas that a request stands for. Who only routes takes every request for a new one.
    fn replicas(&self, replica: u64) -> ThanosResult<Vec<usize>> {
        let count = self.settings.replication_factor;
        match usize::try_from(replica).unwrap_or(usize::MAX) {
            _ if self.local.is_none() => Ok((0..count).collect()),
            0 => Ok((0..count).collect()),
            replica if replica <= count => Ok(vec![replica - 1]),
            replica => {
                let text = format!("request has replica {replica}, replicated is to {count}");
                Err(ThanosError::invalid(text))
            }
        }
    }

    /// Sends all shares at once and waits for what decides. `room` is given back when the last of them is done.
    async fn send(
        &self,
        tenant: &str,
        shares: Vec<Share>,
        mut quorum: Quorum,
        room: Reservation,
    ) -> ThanosResult<()> {
        let room = Arc::new(room);
        // Each share answers once: nobody ever waits for room.
        let (answers, mut answered) = mpsc::channel(shares.len());
        for share in shares {
            let Share { member, replica, mut body, series } = share;
            put_bytes_field(&mut body, 2, tenant.as_bytes());
            put_varint_field(&mut body, 3, replica as u64 + 1);
            let (answers, local, timeout) =
                (answers.clone(), self.local.clone(), self.settings.forward_timeout);
            let room = Arc::clone(&room);
            self.tasks.spawn("receive-forward", async move {
                let write = member.write(local, body);
                let answer = tokio::time::timeout(timeout, write).await.unwrap_or_else(|_| {
                    Err(ThanosError::new(ErrorKind::Timeout, format!("a member did not answer in {timeout:?}")))
                });
                metrics::counter!("thanos_receive_forward_requests_total", "result" => if answer.is_ok() { "success" } else { "error" })
                    .increment(1);
                // Nobody listens any more once it is decided.
                let _ = answers.send((series, answer)).await;
                drop(room);
            });
        }
        drop(answers);
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        while !quorum.is_decided() {
            let Some((series, answer)) = answered.recv().await else { break };
            quorum.add(&series, answer.as_ref().map(drop).map_err(ThanosError::kind));
            if let Err(error) = answer {
                *reasons.entry(error.to_string()).or_default() += 1;
            }
        }
        let Err(verdict) = quorum.verdict() else { return Ok(()) };
        let kind = match verdict {
            Verdict::Conflict => ErrorKind::Conflict,
            Verdict::Unavailable => ErrorKind::Unavailable,
        };
        let reasons: Vec<String> = reasons.into_keys().collect();
        Err(ThanosError::new(kind, format!("not written to a quorum of members: {}", reasons.join("; "))))
    }
}

impl Routes {
    fn new(settings: &RouterSettings, rings: Hashrings, before: Option<&Self>) -> ThanosResult<Self> {
        let mut members = HashMap::new();
        for address in rings.addresses() {
            let known = before.and_then(|before| before.members.get(address));
            let member = match known {
                Some(member) => Arc::clone(member),
                None if settings.local_endpoint.as_deref() == Some(address) => Arc::new(Member::Local),
                None => Arc::new(Member::Remote {
                    client: GrpcClient::new(address, settings.tls.as_ref(), settings.compression)?,
                    pause: Mutex::default(),
                }),
            };
            members.insert(address.to_owned(), member);
        }
        Ok(Self { rings, members })
    }

    /// What each member gets of a request, and how many series that has.
    fn shares(&self, tenant: &str, replicas: &[usize], request: &[u8]) -> ThanosResult<(Vec<Share>, usize)> {
        let damaged = |error: wire::DecodeError| {
            ThanosError::invalid(format!("the write request cannot be read: {error}"))
        };
        let ring = self.rings.ring_of(tenant)?;
        let mut places: HashMap<(&str, usize), usize> = HashMap::new();
        let mut shares: Vec<Share> = Vec::new();
        let mut scratch = Vec::new();
        let mut count = 0;
        let mut fields = Fields::new(request);
        while let Some(field) = fields.next_field().map_err(damaged)? {
            let (1, Value::Bytes(series)) = (field.number, field.value) else { continue };
            let hash = series_hash(tenant, series, &mut scratch).map_err(damaged)?;
            for replica in replicas {
                let address = ring.member(hash, *replica)?.address.as_str();
                let place = *places.entry((address, *replica)).or_insert_with(|| {
                    let member = Arc::clone(&self.members[address]);
                    shares.push(Share { member, replica: *replica, body: Vec::new(), series: Vec::new() });
                    shares.len() - 1
                });
                put_bytes_field(&mut shares[place].body, 1, series);
                shares[place].series.push(count);
            }
            count += 1;
        }
        Ok((shares, count as usize))
    }
}

impl Member {
    async fn write(&self, local: Option<Arc<dyn WriteTarget>>, message: Vec<u8>) -> ThanosResult<()> {
        let (client, pause) = match self {
            Self::Remote { client, pause } => (client, pause),
            Self::Local => {
                let none = || ThanosError::new(ErrorKind::Unavailable, "this process stores nothing");
                return local.ok_or_else(none)?.remote_write(message.into()).await;
            }
        };
        if pause.lock().until.is_some_and(|until| Instant::now() < until) {
            return Err(ThanosError::new(
                ErrorKind::Unavailable,
                "a member is left alone after it was not reached",
            ));
        }
        let answer = async {
            let mut messages = client.call_raw(PATH, &message, None).await?;
            while messages.next().await?.is_some() {}
            Ok(())
        };
        let answer = answer.await.map_err(|status: tonic::Status| ThanosError::from_status(&status));
        let mut pause = pause.lock();
        match &answer {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                let doubled = BACKOFF_MIN * 2_u32.pow(pause.failures.min(BACKOFF_DOUBLINGS_MAX));
                pause.failures += 1;
                pause.until = Some(Instant::now() + doubled.min(BACKOFF_MAX));
            }
            _ => *pause = Pause::default(),
        }
        answer
    }
}

/// Requests of other routers: those that were replicated already belong here.
impl WriteTarget for Router {
    fn remote_write(&self, message: Bytes) -> BoxFuture<'_, ThanosResult<()>> {
        Box::pin(async move {
            let request = Forwarded::read(&message)?;
            if let (Some(local), true) = (&self.local, request.replica > 0) {
                if usize::try_from(request.replica)
                    .is_ok_and(|replica| replica > self.settings.replication_factor)
                {
                    self.replicas(request.replica)?;
                }
                return local.remote_write(message).await;
            }
            if request.has_own {
                self.route(&request.tenant, request.replica, message.clone()).await?;
            }
            for (tenant, part) in request.nested {
                self.route(&tenant, request.replica, part).await?;
            }
            Ok(())
        })
    }
}

/// What a `thanos.WriteRequest` carries.
struct Forwarded {
    tenant: String,
    replica: u64,
    /// Whether it has series in field 1.
    has_own: bool,
    /// Those of field 4, by tenant.
    nested: Vec<(String, Bytes)>,
}

impl Forwarded {
    fn read(message: &Bytes) -> ThanosResult<Self> {
        let damaged = |error: wire::DecodeError| super::damaged(error);
        let mut read = Self { tenant: String::new(), replica: 0, has_own: false, nested: Vec::new() };
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next_field().map_err(damaged)? {
            match (field.number, field.value) {
                (1, Value::Bytes(_)) => read.has_own = true,
                (2, Value::Bytes(_)) => read.tenant = field.str().map_err(damaged)?.to_owned(),
                (3, Value::Varint(replica)) => read.replica = replica,
                (4, Value::Bytes(part)) => {
                    let mut tenant = String::new();
                    let mut inside = Fields::new(part);
                    while let Some(field) = inside.next_field().map_err(damaged)? {
                        if field.number == 2 {
                            tenant = field.str().map_err(damaged)?.to_owned();
                        }
                    }
                    read.nested.push((tenant, message.slice_ref(part)));
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
