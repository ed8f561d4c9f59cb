//! Addresses of stores behind one name, as Thanos writes them (pkg/discovery/dns/resolver.go):
//!
//! - `dns+name:port`, `dnsdualstack+name:port`: every address of the name,
//! - `dnssrv+name`: the targets of the name's SRV records with their ports, and every address of each,
//! - `dnssrvnoa+name`: the targets as they are, to be looked up when they are connected to.
//!
//! A port that is given counts in the place of that of a record. Names are looked up as the system does it; SRV records,
//! for which the system has no call, by the name servers that it is configured with.

mod dns;

use std::net::IpAddr;

use dns::NameServers;
pub use dns::read_name_server_answer;

use crate::error::{ThanosError, ThanosResult};

/// Prefixes of addresses that have to be looked up.
const KINDS: [(&str, Kind); 4] = [
    ("dns", Kind::Addresses),
    ("dnsdualstack", Kind::Addresses),
    ("dnssrv", Kind::Services),
    ("dnssrvnoa", Kind::Targets),
];

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Addresses,
    /// SRV records, and the addresses of their targets.
    Services,
    /// SRV records alone.
    Targets,
}

/// A name that stands for any number of stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    kind: Kind,
    host: String,
    port: Option<u16>,
}

impl Name {
    /// The name in an address such as `dns+host:port`; `None` for an address that is one already.
    pub(crate) fn parse(address: &str) -> ThanosResult<Option<Self>> {
        let wrong = |what: &str| Err(ThanosError::invalid(format!("{address:?} is no address: {what}")));
        let Some((prefix, rest)) = address.split_once('+') else { return Ok(None) };
        let Some((_, kind)) = KINDS.into_iter().find(|(known, _)| *known == prefix) else {
            let have: Vec<String> = KINDS.iter().map(|(known, _)| format!("{known}+")).collect();
            return wrong(&format!("{prefix}+ is none of {}", have.join(", ")));
        };
        let (host, port) = match rest.rsplit_once(':') {
            None => (rest, None),
            Some((host, port)) => match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => return wrong(&format!("{port:?} is no port")),
            },
        };
        if host.is_empty() {
            return wrong("it has no name");
        }
        if port.is_none() && kind == Kind::Addresses {
            return wrong("it has no port");
        }
        Ok(Some(Self { kind, host: host.to_owned(), port }))
    }
}

/// Looks names up.
#[derive(Default)]
pub(crate) struct Discovery {
    /// Who is asked for SRV records; `None` is whom the system asks.
    servers: Option<NameServers>,
}

impl Discovery {
    /// The addresses, `host:port`, that a name stands for now; the error is a text for people.
    pub(crate) async fn addresses(&self, name: &Name) -> Result<Vec<String>, String> {
        if name.kind == Kind::Addresses {
            // `Name::parse` refuses those without a port.
            return addresses(&name.host, name.port.unwrap_or_default()).await;
        }
        let mut found = Vec::new();
        let servers = match &self.servers {
            Some(servers) => servers.clone(),
            None => NameServers::of_system()?,
        };
        for (target, port) in servers.services(&name.host).await? {
            let port = name.port.unwrap_or(port);
            match name.kind {
                Kind::Targets => found.push(format!("{target}:{port}")),
                Kind::Addresses | Kind::Services => found.extend(addresses(&target, port).await?),
            }
        }
        Ok(found)
    }
}

/// Every address of a host.
async fn addresses(host: &str, port: u16) -> Result<Vec<String>, String> {
    // An IPv6 address may come in brackets.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![std::net::SocketAddr::new(address, port).to_string()]);
    }
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| error.to_string())?;
    Ok(found.map(|address| address.to_string()).collect())
}

#[cfg(test)]
mod tests;
