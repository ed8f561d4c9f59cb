//! `query.store_apis`: the stores of others that queries are answered from.

use std::time::Duration;

use pipelines::ConfigError;
use serde::{Deserialize, Deserializer};
use thanos::{ClientTls, Compression, DedupFunction, EndpointSettings};

use crate::duration;

/// `query.store_apis`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreApisConfig {
    /// The stores: sidecars, receivers, store gateways, rulers, queriers of Thanos, or other Tidegates. Default none:
    /// queries are answered from this process' own store, without external labels.
    pub endpoints: Vec<EndpointConfig>,
    /// Labels that tell replicas apart. Default none.
    pub replica_labels: Vec<String>,
    /// How replicas become one: `penalty` (default), for those that were scraped twice; `chain`, for those that were
    /// written twice; `union`, for those that were pushed twice and may each have gaps and stale markers of their own.
    pub deduplication: Deduplication,
    /// Whether a store that fails is a warning instead of an error, unless a request says. Default true.
    pub partial_response: bool,
    /// How long a store may be silent before it counts as failed. Default 0s: as long as the query may take.
    #[serde(deserialize_with = "duration::deserialize")]
    pub response_timeout: Duration,
}

impl Default for StoreApisConfig {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            replica_labels: Vec::new(),
            deduplication: Deduplication::default(),
            partial_response: true,
            response_timeout: Duration::ZERO,
        }
    }
}

/// How replicas become one.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Deduplication {
    /// One replica is followed, another fills its gaps.
    #[default]
    Penalty,
    /// All samples of all replicas, of two of one time the first one's.
    Chain,
    /// All samples of all replicas, of two of one time the one that says more.
    Union,
}

impl From<Deduplication> for DedupFunction {
    fn from(config: Deduplication) -> Self {
        match config {
            Deduplication::Penalty => Self::Penalty,
            Deduplication::Chain => Self::Chain,
            Deduplication::Union => Self::Union,
        }
    }
}

/// A store: `host:port`, or a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointConfig {
    /// `host:port`, or as in Thanos `dns+name:port` for every address that the name has, `dnssrv+name` for those of the
    /// targets of its SRV records with their ports, `dnssrvnoa+name` for the targets by name.
    pub address: String,
    /// Whether it is asked even when it does not answer, so that its absence shows.
    pub strict: bool,
    /// Of requests: `none` (default), `gzip`, `zstd`, `snappy`.
    pub compression: String,
    /// TLS; default none.
    pub tls: Option<EndpointTls>,
}

/// TLS towards a store.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointTls {
    /// File of authorities to trust, PEM. Default the system's.
    pub ca_file: String,
    /// File of the certificate to show, PEM. Default none.
    pub cert_file: String,
    /// File of its key, PEM.
    pub key_file: String,
    /// Name to expect in the store's certificate. Default the host.
    pub server_name_override: String,
}

impl<'de> Deserialize<'de> for EndpointConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Map {
            address: String,
            #[serde(default)]
            strict: bool,
            #[serde(default)]
            compression: String,
            #[serde(default)]
            tls: Option<EndpointTls>,
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "want host:port, or a map with address, strict, compression, tls")]
        enum Either {
            Address(String),
            Map(Map),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Address(address) => Self { address, ..Self::default() },
            Either::Map(Map { address, strict, compression, tls }) => {
                Self { address, strict, compression, tls }
            }
        })
    }
}

impl EndpointConfig {
    /// What the client is made with; reads the files of TLS.
    pub fn settings(&self) -> Result<EndpointSettings, ConfigError> {
        let compression = Compression::from_name(&self.compression).ok_or_else(|| {
            let text = format!("{:?} is none of none, gzip, zstd, snappy", self.compression);
            ConfigError::at("compression", text)
        })?;
        let tls = self.tls.as_ref().map(EndpointTls::load).transpose()?;
        let settings =
            EndpointSettings { address: self.address.clone(), strict: self.strict, tls, compression };
        settings.check_address().map_err(|error| ConfigError::at("address", error.to_string()))?;
        Ok(settings)
    }
}

impl EndpointTls {
    /// Reads the files.
    pub(super) fn load(&self) -> Result<ClientTls, ConfigError> {
        let read = |key: &str, path: &str| {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| {
                ConfigError::at(key, format!("cannot read {path:?}: {error}")).under(&["tls"])
            })
        };
        let identity = match (self.cert_file.as_str(), self.key_file.as_str()) {
            ("", "") => None,
            (certificate, key) => Some((read("cert_file", certificate)?, read("key_file", key)?)),
        };
        Ok(ClientTls {
            ca_pem: (!self.ca_file.is_empty()).then(|| read("ca_file", &self.ca_file)).transpose()?,
            identity,
            server_name: Some(self.server_name_override.clone()).filter(|name| !name.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::StoreApisConfig;

    #[test]
    fn an_endpoint_is_an_address_or_a_map() {
        let config = json!({"endpoints": ["a:1", {"address": "b:2", "strict": true, "compression": "snappy"}, "dnssrv+_grpc._tcp.c"]});
        let config: StoreApisConfig = serde_json::from_value(config).expect("valid");
        let settings: Vec<_> =
            config.endpoints.iter().map(|endpoint| endpoint.settings().expect("valid")).collect();
        assert_eq!((settings[0].address.as_str(), settings[0].strict), ("a:1", false));
        assert_eq!((settings[1].address.as_str(), settings[1].strict), ("b:2", true));
        assert!(config.partial_response);
    }

    #[test]
    fn endpoints_that_cannot_be_asked_are_refused() {
        for bad in [json!({"address": "a:1", "group": true}), json!({"strict": true}), json!(5)] {
            let config = serde_json::from_value::<StoreApisConfig>(json!({"endpoints": [bad]}));
            let error = config.expect_err("refused").to_string();
            assert!(error.contains("want host:port, or a map"), "{error}");
        }
        for (endpoint, want) in [
            (json!({"address": "a:1", "compression": "lz4"}), "none of none, gzip, zstd, snappy"),
            (json!("srv+_grpc._tcp.thanos"), "srv+ is none of dns+, dnsdualstack+, dnssrv+, dnssrvnoa+"),
            (json!({"address": "a:1", "tls": {"ca_file": "/nothing/here"}}), "cannot read"),
            (json!({"address": "dns+a:1", "strict": true}), "not permitted with strict"),
        ] {
            let config: StoreApisConfig =
                serde_json::from_value(json!({"endpoints": [endpoint]})).expect("the shape is right");
            let error = config.endpoints[0].settings().expect_err("refused").to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
