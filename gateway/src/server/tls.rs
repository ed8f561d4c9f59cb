//! `tls` of a server (config/configtls of the collector): certificate, client certificates, versions, and reloading.
//!
//! Files are looked at again when a connection comes, at most once in `reload_interval`; one that changed is read, and a
//! pair that does not fit together leaves the old one in use. Versions below 1.2 and suites that rustls does not have
//! are refused by name.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use parking_lot::Mutex;
use pipelines::{ConfigDuration, ConfigError, Opaque};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use serde::{Deserialize, Deserializer, de};
use tokio::time::Instant;

use crate::receivers::NotSupported;

/// `tls` of a server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsServerConfig {
    /// File with the certificate and those between it and an authority, PEM.
    cert_file: Option<PathBuf>,
    /// The same as text.
    cert_pem: Option<Opaque>,
    /// File with the key, PEM.
    key_file: Option<PathBuf>,
    /// The same as text.
    key_pem: Option<Opaque>,
    /// File with authorities. A client must show a certificate of one of them (mTLS). Default none: no client is asked.
    client_ca_file: Option<PathBuf>,
    /// Accepted for the collector's configs: `client_ca_file` is looked at again like the other files.
    client_ca_file_reload: bool,
    /// Accepted for the collector's configs: a server trusts nobody by it.
    ca_file: Option<PathBuf>,
    /// The same as text.
    ca_pem: Option<Opaque>,
    /// Accepted for the collector's configs: a server trusts nobody by it.
    include_system_ca_certs_pool: bool,
    /// Lowest version: `1.2` (default) or `1.3`.
    min_version: Option<Version>,
    /// Highest version: `1.2` or `1.3` (default).
    max_version: Option<Version>,
    /// Suites of TLS 1.2 by their IANA names. Default all that rustls has; those of 1.3 are always on, as in Go.
    cipher_suites: Vec<String>,
    /// Groups for the key exchange: X25519, P256, P384, X25519MLKEM768. Default all.
    curve_preferences: Vec<String>,
    /// Longest time until a changed file is noticed. Default 10s.
    reload_interval: Option<ConfigDuration>,
    tpm: NotSupported,
}

/// How often files are looked at unless the config says.
const RELOAD_INTERVAL_DEFAULT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    V12,
    V13,
}

impl<'de> Deserialize<'de> for Version {
    /// YAML reads a bare `1.2` as a number.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match text.as_str() {
            "1.2" => Ok(Self::V12),
            "1.3" => Ok(Self::V13),
            "1.0" | "1.1" => Err(de::Error::custom(format!("TLS {text} is not safe, have 1.2 and 1.3"))),
            _ => Err(de::Error::custom(format!("unsupported TLS version: {text:?}, have 1.2 and 1.3"))),
        }
    }
}

impl TlsServerConfig {
    /// Refuses what contradicts itself and what is not there. Reads no file.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let at = |key: &str, message: &str| Err(ConfigError::at(&format!("tls.{key}"), message));
        if self.cert_file.is_some() && self.cert_pem.is_some() {
            return at("cert_file", "provide either a certificate or the PEM-encoded string, but not both");
        }
        if self.key_file.is_some() && self.key_pem.is_some() {
            return at("key_file", "provide either a key or the PEM-encoded string, but not both");
        }
        if self.ca_file.is_some() && self.ca_pem.is_some() {
            return at("ca_file", "provide either a CA file or the PEM-encoded string, but not both");
        }
        let has_cert = self.cert_file.is_some() || self.cert_pem.is_some();
        let has_key = self.key_file.is_some() || self.key_pem.is_some();
        if !has_cert || !has_key {
            return at("cert_file", "a server must have both certificate and key");
        }
        if self.versions().is_empty() {
            return at("min_version", "must not be higher than max_version");
        }
        self.provider().map(drop)
    }

    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [(Version::V12, &rustls::version::TLS12), (Version::V13, &rustls::version::TLS13)];
        let (min, max) = (self.min_version.unwrap_or(Version::V12), self.max_version.unwrap_or(Version::V13));
        all.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, found)| found).collect()
    }

    /// The provider with the suites and groups that the config allows.
    fn provider(&self) -> Result<CryptoProvider, ConfigError> {
        exporters::tls_provider(&self.cipher_suites, &self.curve_preferences)
    }

    fn build(&self, http2_only: bool) -> anyhow::Result<ServerConfig> {
        let provider = Arc::new(self.provider()?);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&self.versions())?;
        let builder = match &self.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut authorities = RootCertStore::empty();
                for authority in certificates(&read(path)?, path)? {
                    authorities.add(authority).with_context(|| format!("{}", path.display()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
                builder.with_client_cert_verifier(verifier.build()?)
            }
        };
        let (cert, cert_name) = pem(self.cert_file.as_deref(), self.cert_pem.as_ref(), "cert_pem")?;
        let (key, key_name) = pem(self.key_file.as_deref(), self.key_pem.as_ref(), "key_pem")?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| anyhow!("no private key in {}: {error}", key_name.display()))?;
        let mut config = builder
            .with_single_cert(certificates(&cert, &cert_name)?, key)
            .with_context(|| format!("certificate {} and key {}", cert_name.display(), key_name.display()))?;
        config.alpn_protocols =
            if http2_only { vec![b"h2".to_vec()] } else { vec![b"h2".to_vec(), b"http/1.1".to_vec()] };
        Ok(config)
    }

    /// When each file was written and how long it is; a change of either is a change.
    fn stamp(&self) -> Stamp {
        let files = [&self.cert_file, &self.key_file, &self.client_ca_file];
        let stamp = |path: &PathBuf| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.modified().ok()?, found.len()))
        };
        files.into_iter().flatten().map(stamp).collect()
    }
}

type Stamp = Vec<Option<(SystemTime, u64)>>;

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("failed to load TLS config: reading {}", path.display()))
}

/// PEM text and what to call it.
fn pem(file: Option<&Path>, text: Option<&Opaque>, key: &str) -> anyhow::Result<(Vec<u8>, PathBuf)> {
    match (file, text) {
        (Some(path), _) => Ok((read(path)?, path.to_owned())),
        (None, Some(text)) => Ok((text.reveal().as_bytes().to_vec(), PathBuf::from(key))),
        (None, None) => Err(anyhow!("a server must have both certificate and key")),
    }
}

fn certificates(pem: &[u8], name: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| anyhow!("reading certificates in {}: {error}", name.display()))?;
    if found.is_empty() {
        return Err(anyhow!("no certificate in {}", name.display()));
    }
    Ok(found)
}

/// A TLS set-up that follows its files.
pub(super) struct ReloadingTls {
    config: TlsServerConfig,
    http2_only: bool,
    interval: Duration,
    current: Mutex<Loaded>,
}

struct Loaded {
    looked: Instant,
    stamp: Stamp,
    server: Arc<ServerConfig>,
}

impl ReloadingTls {
    /// Reads the files that the config names.
    pub(super) fn load(config: &TlsServerConfig, http2_only: bool) -> anyhow::Result<Self> {
        let stamp = config.stamp();
        let server = Arc::new(config.build(http2_only)?);
        let interval = config.reload_interval.map_or(RELOAD_INTERVAL_DEFAULT, |interval| interval.0);
        let current = Mutex::new(Loaded { looked: Instant::now(), stamp, server });
        Ok(Self { config: config.clone(), http2_only, interval, current })
    }

    /// What the next handshake uses. Looks at the files if it is time: three system calls, and now and then a read of
    /// some KiB.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock();
        if current.looked.elapsed() >= self.interval {
            current.looked = Instant::now();
            let stamp = self.config.stamp();
            if stamp != current.stamp {
                current.stamp = stamp;
                match self.config.build(self.http2_only) {
                    Ok(server) => {
                        current.server = Arc::new(server);
                        tracing::info!("the certificates changed on disk and are in use now");
                    }
                    Err(error) => {
                        tracing::warn!(
                            error = format!("{error:#}"),
                            "the certificates changed on disk and cannot be used; the old ones go on"
                        );
                    }
                }
            }
        }
        Arc::clone(&current.server)
    }
}
