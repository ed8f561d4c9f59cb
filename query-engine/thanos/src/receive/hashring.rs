//! Which members of a ring take a series (pkg/receive/{config,hashring}.go of Thanos): the same file, the same hashes, the
//! same members.

use std::collections::BTreeSet;

use serde::Deserialize;
use wire::protobuf::{Fields, Value};
use xxhash_rust::xxh64::xxh64;

use crate::error::{ThanosError, ThanosResult};

/// Sections that a member has on a ketama ring (`SectionsPerNode`).
const SECTIONS_PER_MEMBER: usize = 1000;
/// Members of all rings; each costs a thousand sections.
const MEMBERS_MAX: usize = 4096;

/// A member of a ring.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) address: String,
    az: String,
}

/// The rings of a file, in their order.
#[derive(Clone, Debug)]
pub struct Hashrings {
    rings: Vec<Ring>,
}

#[derive(Clone, Debug)]
struct Ring {
    /// `None` takes every tenant.
    tenants: Option<Vec<TenantPattern>>,
    members: Vec<Member>,
    /// Empty for the algorithm hashmod.
    sections: Vec<Section>,
}

#[derive(Clone, Debug)]
struct TenantPattern {
    text: String,
    is_glob: bool,
}

/// A part of a ketama ring: up to its hash it belongs to these members, the first replica's first.
#[derive(Clone, Debug)]
struct Section {
    hash: u64,
    member: u32,
    replicas: Box<[u32]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RingConfig {
    #[serde(default, rename = "hashring")]
    _name: String,
    #[serde(default)]
    tenants: Vec<String>,
    #[serde(default)]
    tenant_matcher_type: String,
    endpoints: Vec<EndpointConfig>,
    #[serde(default)]
    algorithm: String,
    #[serde(default)]
    external_labels: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    shuffle_sharding_config: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "want an address, or a map with address, az, capnproto_address")]
enum EndpointConfig {
    Address(String),
    Map {
        address: String,
        #[serde(default)]
        az: String,
        /// Cap'n Proto is not spoken here: members are reached by gRPC.
        #[serde(default, rename = "capnproto_address")]
        _capnproto_address: String,
    },
}

impl Hashrings {
    /// Reads Thanos' hashrings.json, for so many replicas.
    pub fn parse(text: &[u8], replication_factor: usize) -> ThanosResult<Self> {
        let invalid = |error: String| ThanosError::invalid(format!("the hashrings file: {error}"));
        let configs: Vec<RingConfig> =
            serde_json::from_slice(text).map_err(|error| invalid(error.to_string()))?;
        if configs.is_empty() {
            return Err(invalid("it has no ring".to_owned()));
        }
        let count: usize = configs.iter().map(|config| config.endpoints.len()).sum();
        if count > MEMBERS_MAX {
            return Err(invalid(format!("{count} endpoints, at most {MEMBERS_MAX} are allowed")));
        }
        let rings = configs.into_iter().map(|config| Ring::new(config, replication_factor));
        Ok(Self { rings: rings.collect::<Result<_, _>>().map_err(invalid)? })
    }

    /// Addresses of all members, each once.
    pub(crate) fn addresses(&self) -> BTreeSet<&str> {
        self.rings.iter().flat_map(|ring| ring.members.iter().map(|member| member.address.as_str())).collect()
    }

    /// The ring of a tenant. That there is none is no fault of the sender, who would not come again: rings change (status
    /// 500 in pkg/receive/handler.go).
    pub(crate) fn ring_of(&self, tenant: &str) -> ThanosResult<TenantRing<'_>> {
        let found = self.rings.iter().find(|ring| ring.takes(tenant));
        let found = found.ok_or_else(|| {
            ThanosError::new(model::ErrorKind::Internal, "no matching hashring to handle tenant")
        })?;
        Ok(TenantRing(found))
    }
}

/// The ring that takes a tenant's series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TenantRing<'a>(&'a Ring);

impl<'a> TenantRing<'a> {
    /// The member with replica `replica`, from 0, of a series of this hash.
    pub(crate) fn member(self, hash: u64, replica: usize) -> ThanosResult<&'a Member> {
        let Ring { members, sections, .. } = self.0;
        let few = || {
            let text = format!("insufficient nodes; have {}, want {}", members.len(), replica + 1);
            ThanosError::new(model::ErrorKind::Unavailable, text)
        };
        if sections.is_empty() {
            if replica >= members.len() {
                return Err(few());
            }
            // Both wrap around: the sum as in Go, the remainder below a small number.
            let at = hash.wrapping_add(replica as u64) % members.len() as u64;
            return Ok(&members[usize::try_from(at).expect("it is below a length")]);
        }
        let at = sections.partition_point(|section| section.hash < hash);
        let section = sections.get(at).unwrap_or(&sections[0]);
        section.replicas.get(replica).map(|member| &members[*member as usize]).ok_or_else(few)
    }
}

impl Ring {
    fn new(config: RingConfig, replication_factor: usize) -> Result<Self, String> {
        if !config.external_labels.is_empty() {
            return Err("external_labels of a ring are not supported by this version".to_owned());
        }
        let sharding = config.shuffle_sharding_config.unwrap_or_default();
        if sharding.get("shard_size").is_some_and(|size| size.as_i64() != Some(0)) {
            return Err("shuffle_sharding_config is not supported by this version".to_owned());
        }
        let is_glob = match config.tenant_matcher_type.as_str() {
            "" | "exact" => false,
            "glob" => true,
            other => return Err(format!("tenant_matcher_type {other:?}, have exact, glob")),
        };
        let member = |endpoint| match endpoint {
            EndpointConfig::Address(address) => Member { address, az: String::new() },
            EndpointConfig::Map { address, az, .. } => Member { address, az },
        };
        let mut members: Vec<Member> = config.endpoints.into_iter().map(member).collect();
        if members.iter().any(|member| member.address.is_empty()) {
            return Err("endpoint address must be set".to_owned());
        }
        if members.is_empty() {
            return Err("a ring has no endpoints".to_owned());
        }
        let sections = match config.algorithm.as_str() {
            "" | "hashmod" => {
                if members.iter().any(|member| !member.az.is_empty()) {
                    return Err("the algorithm hashmod knows no az; use ketama".to_owned());
                }
                members.sort();
                Vec::new()
            }
            "ketama" => sections(&members, replication_factor)?,
            other => return Err(format!("algorithm {other:?}, have hashmod, ketama")),
        };
        let tenants = config.tenants.into_iter().map(|text| TenantPattern { text, is_glob });
        let tenants: Vec<TenantPattern> = tenants.collect();
        Ok(Self { tenants: Some(tenants).filter(|tenants| !tenants.is_empty()), members, sections })
    }

    fn takes(&self, tenant: &str) -> bool {
        let Some(tenants) = &self.tenants else { return true };
        tenants.iter().any(|pattern| match pattern.is_glob {
            true => glob(pattern.text.as_bytes(), tenant.as_bytes()),
            false => pattern.text == tenant,
        })
    }
}

/// The sections of a ketama ring: each has as many different members as there are replicas, found by walking on, where a
/// zone gets no second one before all have a first.
fn sections(members: &[Member], replication_factor: usize) -> Result<Vec<Section>, String> {
    if members.len() < replication_factor {
        let count = members.len();
        return Err(format!("a ketama ring of {count} endpoints, at least {replication_factor} are needed"));
    }
    let mut sections = Vec::with_capacity(members.len() * SECTIONS_PER_MEMBER);
    for (index, member) in (0_u32..).zip(members) {
        for number in 1..=SECTIONS_PER_MEMBER {
            let hash = xxh64(format!("{}:{number}", member.address).as_bytes(), 0);
            sections.push(Section { hash, member: index, replicas: Box::default() });
        }
    }
    sections.sort_by_key(|section| section.hash);
    let owners: Vec<u32> = sections.iter().map(|section| section.member).collect();
    let zones: BTreeSet<&str> = members.iter().map(|member| member.az.as_str()).collect();
    let zones: Vec<&str> = zones.into_iter().collect();
    let zone_of = |member: u32| zones.binary_search(&members[member as usize].az.as_str()).unwrap_or(0);
    let mut taken = vec![0_usize; zones.len()];
    for (index, section) in sections.iter_mut().enumerate() {
        taken.fill(0);
        let mut replicas: Vec<u32> = Vec::with_capacity(replication_factor);
        let mut at = index;
        while replicas.len() < replication_factor {
            let member = owners[at % owners.len()];
            at += 1;
            let zone = zone_of(member);
            let least = taken.iter().min().copied().unwrap_or_default();
            let is_ahead = zones.len() > 1 && taken[zone] > least;
            // A zone may have no member left that is not taken: then every zone's turn comes again after one walk.
            let is_stuck = at > index + 2 * owners.len();
            if !replicas.contains(&member) && (!is_ahead || is_stuck) {
                taken[zone] += 1;
                replicas.push(member);
            }
        }
        section.replicas = replicas.into();
    }
    Ok(sections)
}

/// Whether a pattern of Go's `filepath.Match` is all of `text`; one that is broken matches nothing.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return text.is_empty() };
    match first {
        b'*' => (0..=text.len()).any(|at| !text[..at].contains(&b'/') && glob(rest, &text[at..])),
        b'?' => text.split_first().is_some_and(|(one, text)| *one != b'/' && glob(rest, text)),
        b'[' => match (class(rest), text.split_first()) {
            (Some((has, rest)), Some((one, text))) => has(*one) && glob(rest, text),
            _ => false,
        },
        b'\\' => match (rest.split_first(), text.split_first()) {
            (Some((want, rest)), Some((one, text))) => want == one && glob(rest, text),
            _ => false,
        },
        want => text.split_first().is_some_and(|(one, text)| want == one && glob(rest, text)),
    }
}

/// A class of characters behind its `[`, and what follows its `]`.
fn class(pattern: &[u8]) -> Option<(impl Fn(u8) -> bool + '_, &[u8])> {
    let (is_negated, pattern) = pattern.strip_prefix(b"^").map_or((false, pattern), |rest| (true, rest));
    let end = pattern.iter().skip(1).position(|one| *one == b']')? + 1;
    let (inside, rest) = (&pattern[..end], &pattern[end + 1..]);
    let has = move |one: u8| {
        let mut ranges = inside;
        while let Some((low, after)) = ranges.split_first() {
            let (high, after) = match after {
                [b'-', high, after @ ..] => (high, after),
                _ => (low, after),
            };
            if (*low..=*high).contains(&one) {
                return !is_negated;
            }
            ranges = after;
        }
        is_negated
    };
    Some((has, rest))
}

/// The hash of a series for a tenant: over its labels as they came (`labelpb.HashWithPrefix`). `series` is a
/// `TimeSeries`, `scratch` is used again.
pub(crate) fn series_hash(
    tenant: &str,
    series: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<u64, wire::DecodeError> {
    scratch.clear();
    scratch.extend_from_slice(tenant.as_bytes());
    scratch.push(0xff);
    let mut fields = Fields::new(series);
    while let Some(field) = fields.next_field()? {
        let (1, Value::Bytes(label)) = (field.number, field.value) else { continue };
        let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
        let mut parts = Fields::new(label);
        while let Some(part) = parts.next_field()? {
            match part.number {
                1 => name = part.bytes()?,
                2 => value = part.bytes()?,
                _ => {}
            }
        }
        for text in [name, value] {
            scratch.extend_from_slice(text);
            scratch.push(0xff);
        }
    }
    Ok(xxh64(scratch, 0))
}

#[cfg(test)]
mod tests;
