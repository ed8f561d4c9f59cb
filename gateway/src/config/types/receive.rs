//! `receive`: Thanos' receive, which routes writes to the members of a hash ring and replicates them.

use std::path::PathBuf;
use std::time::Duration;

use pipelines::ConfigError;
use serde::Deserialize;
use thanos::{ClientTls, Compression, Hashrings, RouterSettings};

use super::server::check_api_endpoint;
use super::store_apis::EndpointTls;
use crate::duration;
use crate::server::auth::AuthConfig;
use crate::server::tls::TlsServerConfig;

/// More replicas than this are no replication.
const REPLICAS_MAX: usize = 64;

/// `receive`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReceiveConfig {
    /// `host:port` where `/api/v1/receive` takes remote write 1.0 and 2.0, e.g. Thanos' `0.0.0.0:19291`. Default none: nothing
    /// is routed.
    pub endpoint: String,
    /// TLS. Default none.
    pub tls: Option<TlsServerConfig>,
    /// Who may write. Default everybody.
    pub auth: Option<AuthConfig>,
    /// Thanos' hashrings.json. It is read again when it changes.
    pub hashrings_file: PathBuf,
    /// The address under which the rings name this process, which is where its StoreAPI is reached: what belongs to it
    /// goes into its metrics store. Default none: everything is sent on.
    pub local_endpoint: Option<String>,
    /// Members that each series is sent to. Default 1.
    pub replication_factor: usize,
    /// How long a member may take. Default 5s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub forward_timeout: Duration,
    /// Of requests to members: `snappy` (default), `gzip`, `zstd`, `none`.
    pub compression: String,
    /// TLS towards members. Default none.
    pub client_tls: Option<EndpointTls>,
}

impl Default for ReceiveConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            tls: None,
            auth: None,
            hashrings_file: PathBuf::new(),
            local_endpoint: None,
            replication_factor: 1,
            forward_timeout: Duration::from_secs(5),
            compression: "snappy".to_owned(),
            client_tls: None,
        }
    }
}

impl ReceiveConfig {
    /// Whether anything is routed.
    pub fn is_enabled(&self) -> bool {
        !self.endpoint.is_empty()
    }

    /// Refuses what cannot work; `has_metrics` is whether this process has a metrics store.
    pub fn validate(&self, has_metrics: bool) -> Result<(), ConfigError> {
        if !self.is_enabled() {
            return Ok(());
        }
        let refused = |key: &str, text: String| Err(ConfigError::at(key, text).under(&["receive"]));
        check_api_endpoint(&self.endpoint).map_err(|error| error.under(&["receive"]))?;
        if self.hashrings_file.as_os_str().is_empty() {
            return refused("hashrings_file", "it is missing".to_owned());
        }
        if !(1..=REPLICAS_MAX).contains(&self.replication_factor) {
            let text = format!("{}, allowed are 1 to {REPLICAS_MAX}", self.replication_factor);
            return refused("replication_factor", text);
        }
        if self.local_endpoint.is_some() && !has_metrics {
            return refused(
                "local_endpoint",
                "no pipeline leads to a metrics_store that would take it".to_owned(),
            );
        }
        if self.forward_timeout.is_zero() {
            return refused("forward_timeout", "0s, it has to be longer".to_owned());
        }
        if let Some(tls) = &self.tls {
            tls.validate().map_err(|error| error.under(&["receive"]))?;
        }
        self.compression().map(drop)
    }

    fn compression(&self) -> Result<Compression, ConfigError> {
        Compression::from_name(&self.compression).ok_or_else(|| {
            let text = format!("{:?} is none of none, gzip, zstd, snappy", self.compression);
            ConfigError::at("compression", text).under(&["receive"])
        })
    }

    /// What the router is made with; reads the files of TLS.
    pub fn settings(&self) -> Result<RouterSettings, ConfigError> {
        let tls: Result<Option<ClientTls>, ConfigError> =
            self.client_tls.as_ref().map(EndpointTls::load).transpose();
        Ok(RouterSettings {
            replication_factor: self.replication_factor,
            local_endpoint: self.local_endpoint.clone(),
            forward_timeout: self.forward_timeout,
            compression: self.compression()?,
            tls: tls.map_err(|error| error.under(&["receive", "client_tls"]))?,
        })
    }

    /// The rings as the file has them now, with its text.
    pub fn read_rings(&self) -> Result<(Vec<u8>, Hashrings), ConfigError> {
        let at = |text: String| ConfigError::at("receive::hashrings_file", text);
        let path = self.hashrings_file.display();
        let text = std::fs::read(&self.hashrings_file)
            .map_err(|error| at(format!("cannot read {path}: {error}")))?;
        let rings = Hashrings::parse(&text, self.replication_factor);
        rings.map(|rings| (text, rings)).map_err(|error| at(format!("{path}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::ReceiveConfig;

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        let refused = |value: Value, has_metrics| {
            let config: ReceiveConfig = serde_json::from_value(value).expect("the shape is right");
            config.validate(has_metrics).map_or_else(|error| error.path.join("::"), |()| String::new())
        };
        let file = "rings.json";
        assert_eq!(refused(json!({}), false), "");
        assert_eq!(refused(json!({"endpoint": "a:1"}), true), "receive::hashrings_file");
        let local = json!({"endpoint": "a:1", "hashrings_file": file, "local_endpoint": "a:2"});
        assert_eq!(refused(local.clone(), false), "receive::local_endpoint");
        assert_eq!(refused(local, true), "");
        let factor = json!({"endpoint": "a:1", "hashrings_file": file, "replication_factor": 0});
        assert_eq!(refused(factor, true), "receive::replication_factor");
        let compression = json!({"endpoint": "a:1", "hashrings_file": file, "compression": "lz4"});
        assert_eq!(refused(compression, true), "receive::compression");
    }

    #[test]
    fn rings_that_cannot_be_read_name_their_file() {
        let config = ReceiveConfig { hashrings_file: "/nothing/here".into(), ..ReceiveConfig::default() };
        let error = config.read_rings().expect_err("there is none").to_string();
        assert!(error.contains("cannot read /nothing/here"), "{error}");
    }
}
