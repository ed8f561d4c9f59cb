//! Which members of a ring of receivers take a series (pkg/receive/hashring.go, pkg/receive/config.go).
//!
//! Hashes, order and replicas are exactly Thanos', so that routers of both kinds can stand before the same receivers. The
//! hash of a series is xxhash64 over the tenant and the labels as they came, each text followed by 0xff.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use xxhash_rust::xxh64::{Xxh64, xxh64};

use crate::error::{ThanosError, ThanosResult};

/// Points of one member on a ketama ring (`SectionsPerNode`).
const SECTIONS: usize = 1000;
/// Most members of all rings together: the table of a ring has a thousand entries for each.
const MEMBERS_MAX: usize = 10_000;

/// The rings of a file, in its order.
#[derive(Clone, Debug)]
pub struct Hashrings(Vec<Hashring>);

#[derive(Clone, Debug)]
struct Hashring {
    /// Empty takes every tenant.
    tenants: Vec<String>,
    matching: TenantMatching,
    members: Vec<Member>,
    kind: Kind,
}

/// A receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `host:port` of its gRPC server.
    pub address: String,
    /// Where it stands.
    pub zone: String,
}

#[derive(Clone, Debug)]
enum Kind {
    Hashmod,
    /// Sorted by hash, with the members of each section: as many as there are replicas.
    Ketama(Vec<(u64, Vec<u32>)>),
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum TenantMatching {
    #[default]
    #[serde(alias = "")]
    Exact,
    Glob,
}

/// An entry of `hashrings.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RingConfig {
    #[serde(default)]
    hashring: String,
    #[serde(default)]
    tenants: Vec<String>,
    #[serde(default)]
    tenant_matcher_type: TenantMatching,
    endpoints: Vec<EndpointConfig>,
    #[serde(default)]
    algorithm: String,
    #[serde(default)]
    external_labels: BTreeMap<String, String>,
    #[serde(default)]
    shuffle_sharding_config: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum EndpointConfig {
    Address(String),
    Whole {
        address: String,
        #[serde(default)]
        az: String,
        #[serde(default, rename = "capnproto_address")]
        _capnproto_address: String,
    },
}

impl From<EndpointConfig> for Member {
    fn from(config: EndpointConfig) -> Self {
        match config {
            EndpointConfig::Address(address) => Self { address, zone: String::new() },
            EndpointConfig::Whole { address, az, .. } => Self { address, zone: az },
        }
    }
}

impl Hashrings {
    /// Reads `hashrings.json`; every series goes to `replicas` members.
    pub fn parse(json: &str, replicas: usize) -> ThanosResult<Self> {
        let configs: Vec<RingConfig> = serde_json::from_str(json)
            .map_err(|error| ThanosError::invalid(format!("hashrings cannot be read: {error}")))?;
        if configs.is_empty() {
            return Err(ThanosError::invalid("hashrings: there is none"));
        }
        if configs.iter().map(|ring| ring.endpoints.len()).sum::<usize>() > MEMBERS_MAX {
            return Err(ThanosError::invalid(format!("hashrings have more than {MEMBERS_MAX} endpoints")));
        }
        let rings: ThanosResult<Vec<Hashring>> =
            configs.into_iter().map(|config| Hashring::new(config, replicas)).collect();
        Ok(Self(rings?))
    }

    /// The members that take a series, the first replica first.
    pub fn members(&self, tenant: &str, series_hash: u64, replicas: usize) -> ThanosResult<Vec<&Member>> {
        let ring = self.0.iter().find(|ring| ring.takes(tenant)).ok_or_else(|| {
            ThanosError::invalid(format!("no matching hashring to handle tenant {tenant:?}"))
        })?;
        if replicas > ring.members.len() {
            return Err(ThanosError::new(
                model::ErrorKind::Unavailable,
                format!("insufficient nodes; have {}, want {replicas}", ring.members.len()),
            ));
        }
        Ok(match &ring.kind {
            Kind::Hashmod => {
                let count = ring.members.len() as u64;
                let nth = |replica: usize| (series_hash.wrapping_add(replica as u64) % count) as usize;
                (0..replicas).map(|replica| &ring.members[nth(replica)]).collect()
            }
            Kind::Ketama(sections) => {
                let at = sections.partition_point(|(hash, _)| *hash < series_hash) % sections.len();
                sections[at].1.iter().take(replicas).map(|member| &ring.members[*member as usize]).collect()
            }
        })
    }

    /// Every member of every ring.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.0.iter().flat_map(|ring| &ring.members)
    }
}

impl Hashring {
    fn new(config: RingConfig, replicas: usize) -> ThanosResult<Self> {
        let RingConfig { hashring: name, tenants, tenant_matcher_type: matching, algorithm, .. } = config;
        let wrong = |what: &str| ThanosError::invalid(format!("hashring {name:?}: {what}"));
        if config.shuffle_sharding_config.is_some() {
            return Err(wrong("shuffle_sharding_config is not supported by this version"));
        }
        if !config.external_labels.is_empty() {
            return Err(wrong("external_labels are not supported by this version"));
        }
        let mut members: Vec<Member> = config.endpoints.into_iter().map(Member::from).collect();
        if members.is_empty() || members.iter().any(|member| member.address.is_empty()) {
            return Err(wrong("endpoint address must be set"));
        }
        let kind = match algorithm.as_str() {
            "" | "hashmod" => {
                if members.iter().any(|member| !member.zone.is_empty()) {
                    return Err(wrong("hashmod knows no az, take ketama or remove it"));
                }
                members.sort_by(|a, b| a.address.cmp(&b.address));
                Kind::Hashmod
            }
            "ketama" if members.len() < replicas => {
                return Err(wrong(&format!("{} endpoints for {replicas} replicas", members.len())));
            }
            "ketama" => {
                let sections = sections(&members, replicas);
                if sections.iter().any(|(_, chosen)| chosen.len() < replicas) {
                    return Err(wrong(&format!("its zones have no place for {replicas} replicas")));
                }
                Kind::Ketama(sections)
            }
            other => return Err(wrong(&format!("algorithm {other:?} is none of hashmod, ketama"))),
        };
        Ok(Self { tenants, matching, members, kind })
    }

    fn takes(&self, tenant: &str) -> bool {
        let is_match = |pattern: &String| match self.matching {
            TenantMatching::Exact => pattern == tenant,
            TenantMatching::Glob => pattern == tenant || glob(pattern.as_bytes(), tenant.as_bytes()),
        };
        self.tenants.is_empty() || self.tenants.iter().any(is_match)
    }
}

/// The sections of a ketama ring: from each on clockwise, members that are not there yet and whose zone is not ahead of
/// the one with the fewest.
fn sections(members: &[Member], replicas: usize) -> Vec<(u64, Vec<u32>)> {
    let mut points: Vec<(u64, u32)> = Vec::with_capacity(members.len() * SECTIONS);
    for (index, member) in (0..).zip(members) {
        for section in 1..=SECTIONS {
            points.push((xxh64(format!("{}:{section}", member.address).as_bytes(), 0), index));
        }
    }
    points.sort_unstable();
    let zones: HashSet<&str> = members.iter().map(|member| member.zone.as_str()).collect();
    let of_section = |start: usize| {
        let mut chosen: Vec<u32> = Vec::with_capacity(replicas);
        let mut spread: BTreeMap<&str, u32> = zones.iter().map(|zone| (*zone, 0)).collect();
        // Twice around is enough: after one round each zone has what it can have.
        for (_, member) in points.iter().cycle().skip(start).take(points.len() * replicas.max(1)) {
            if chosen.len() == replicas {
                break;
            }
            let zone = members[*member as usize].zone.as_str();
            let least = spread.values().copied().min().unwrap_or(0);
            let own = spread[zone];
            if chosen.contains(member) || (spread.len() > 1 && own > 0 && own > least) {
                continue;
            }
            chosen.push(*member);
            spread.entry(zone).and_modify(|count| *count += 1);
        }
        chosen
    };
    points.iter().enumerate().map(|(start, (hash, _))| (*hash, of_section(start))).collect()
}

/// The hash of a series: labels as they came, not sorted.
pub fn series_hash<'a>(tenant: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    let mut hash = Xxh64::new(0);
    let mut put = |text: &str| {
        hash.update(text.as_bytes());
        hash.update(&[0xff]);
    };
    put(tenant);
    for (name, value) in labels {
        put(name);
        put(value);
    }
    hash.digest()
}

/// `filepath.Match` without classes and escapes, which ids of tenants have no use for: `*` is any text, `?` one character.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|at| glob(rest, &text[at..])),
        Some((b'?', rest)) => text.split_first().is_some_and(|(_, text)| glob(rest, text)),
        Some((first, rest)) => text.split_first().is_some_and(|(own, text)| own == first && glob(rest, text)),
    }
}

#[cfg(test)]
mod tests;
