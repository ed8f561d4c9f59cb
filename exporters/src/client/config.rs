//! TLS and header keys of client configs (config/configtls, config/configopaque of the collector).

use std::collections::BTreeMap;
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue};
use model::ErrorKind;
use pipelines::{ConfigDuration, ConfigError, Opaque, PipelineError, PipelineResult};
use serde::Deserialize;
use serde_json::Value;

/// `tls` of a client.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TlsConfig {
    /// Whether the connection is plain when the endpoint has no scheme. Default false.
    pub(crate) insecure: bool,
    /// Whether the server's certificate is not checked. Default false.
    pub(crate) insecure_skip_verify: bool,
    /// File with the certificates of authorities to trust, PEM; default those of the system.
    ca_file: Option<String>,
    /// The same as text.
    ca_pem: Option<Opaque>,
    /// Whether the system's authorities are trusted besides those of `ca_file`. Default false.
    pub(crate) include_system_ca_certs_pool: bool,
    /// File with the client's certificate, PEM.
    cert_file: Option<String>,
    /// The same as text.
    cert_pem: Option<Opaque>,
    /// File with the client's key, PEM.
    key_file: Option<String>,
    /// The same as text.
    key_pem: Option<Opaque>,
    /// Name to check in the server's certificate instead of the endpoint's.
    pub(crate) server_name_override: String,
    /// Lowest version: `1.2` (default) or `1.3`.
    min_version: Option<Value>,
    /// Highest version: `1.3` (default) or `1.2`.
    max_version: Option<Value>,
    /// Cipher suites that TLS 1.2 may use, by their names in the standard. Default all.
    pub(crate) cipher_suites: Vec<String>,
    /// Groups for the key exchange: `X25519`, `P256`, `P384`, `X25519MLKEM768`. Default all.
    pub(crate) curve_preferences: Vec<String>,
    /// Longest time until a changed certificate or key is used for new connections. Default never.
    pub(crate) reload_interval: Option<ConfigDuration>,
    tpm: Option<Value>,
}

/// A version of TLS that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsVersion {
    V12,
    V13,
}

/// The version that a key asks for; `None` for one that there is not. YAML reads a bare `1.2` as a number.
fn version(asked: Option<&Value>) -> Option<Option<TlsVersion>> {
    let Some(asked) = asked else { return Some(None) };
    let text = asked.as_str().map_or_else(|| asked.to_string(), str::to_owned);
    match text.as_str() {
        "1.2" => Some(Some(TlsVersion::V12)),
        "1.3" => Some(Some(TlsVersion::V13)),
        _ => None,
    }
}

/// Where a certificate or key is.
pub(crate) enum TlsSource<'a> {
    /// In the file of this path, PEM.
    File(&'a str),
    /// Here, PEM.
    Text(&'a str),
}

/// Certificates and keys, read.
#[derive(Default)]
pub(crate) struct TlsMaterial {
    /// Authorities to trust, PEM.
    pub(crate) ca_pem: Option<Vec<u8>>,
    /// Certificate and key of the client, PEM.
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Refuses keys that the collector has and this program lacks, if they are set.
pub(crate) fn unsupported(keys: &[(&str, bool)]) -> Result<(), ConfigError> {
    match keys.iter().find(|(_, is_set)| *is_set) {
        Some((key, _)) => Err(ConfigError::at(key, "is not supported yet, leave the key out")),
        None => Ok(()),
    }
}

impl TlsConfig {
    /// Refuses what contradicts itself and what is not there.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let at = |key: &str, message: &str| Err(ConfigError::at(&format!("tls.{key}"), message));
        if self.ca_file.is_some() && self.ca_pem.is_some() {
            return at("ca_file", "provide either a CA file or the PEM-encoded string, but not both");
        }
        if self.cert_file.is_some() && self.cert_pem.is_some() {
            return at("cert_file", "provide either a certificate or the PEM-encoded string, but not both");
        }
        if self.key_file.is_some() && self.key_pem.is_some() {
            return at("key_file", "provide either a key or the PEM-encoded string, but not both");
        }
        let has_cert = self.cert_file.is_some() || self.cert_pem.is_some();
        if has_cert != (self.key_file.is_some() || self.key_pem.is_some()) {
            return at("cert_file", "provide both certificate and key, or neither");
        }
        let (min, max) = (version(self.min_version.as_ref()), version(self.max_version.as_ref()));
        let (Some(min), Some(max)) = (min, max) else {
            let key = if min.is_none() { "min_version" } else { "max_version" };
            return at(key, "unsupported TLS version, have 1.2 and 1.3");
        };
        if min.is_some_and(|min| max.is_some_and(|max| min > max)) {
            return at("min_version", "must not be higher than max_version");
        }
        super::tls::provider(&self.cipher_suites, &self.curve_preferences)?;
        unsupported(&[("tls.tpm", self.tpm.is_some())])
    }

    /// Lowest and highest version, if the config says.
    pub(crate) fn versions(&self) -> [Option<TlsVersion>; 2] {
        [&self.min_version, &self.max_version].map(|asked| version(asked.as_ref()).flatten())
    }

    /// Where the certificates of authorities to trust are, unless they are the system's.
    pub(crate) fn authorities(&self) -> Option<TlsSource<'_>> {
        source(self.ca_file.as_deref(), self.ca_pem.as_ref())
    }

    /// Where the client's certificate and its key are, if it has any.
    pub(crate) fn identity(&self) -> [Option<TlsSource<'_>>; 2] {
        [
            source(self.cert_file.as_deref(), self.cert_pem.as_ref()),
            source(self.key_file.as_deref(), self.key_pem.as_ref()),
        ]
    }

    /// Reads the files that the config names.
    pub(crate) fn load(&self) -> PipelineResult<TlsMaterial> {
        let ca_pem = pem(self.ca_file.as_deref(), self.ca_pem.as_ref())?;
        Ok(TlsMaterial { ca_pem, identity: self.load_identity()? })
    }

    /// The client's certificate and key, PEM.
    pub(crate) fn load_identity(&self) -> PipelineResult<Option<(Vec<u8>, Vec<u8>)>> {
        let cert = pem(self.cert_file.as_deref(), self.cert_pem.as_ref())?;
        let key = pem(self.key_file.as_deref(), self.key_pem.as_ref())?;
        Ok(cert.zip(key))
    }
}

fn source<'a>(file: Option<&'a str>, text: Option<&'a Opaque>) -> Option<TlsSource<'a>> {
    file.map(TlsSource::File).or_else(|| text.map(|text| TlsSource::Text(text.reveal())))
}

fn pem(file: Option<&str>, text: Option<&Opaque>) -> PipelineResult<Option<Vec<u8>>> {
    match (file, text) {
        (Some(path), _) => std::fs::read(Path::new(path)).map(Some).map_err(|error| {
            PipelineError::new(ErrorKind::Invalid, format!("cannot read the tls file {path}: {error}"))
        }),
        (None, Some(text)) => Ok(Some(text.reveal().as_bytes().to_vec())),
        (None, None) => Ok(None),
    }
}

/// `headers` of a client: names and values that every request carries.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Headers(BTreeMap<String, Opaque>);

impl Headers {
    /// The headers as HTTP takes them; values are marked as not to be shown.
    pub(crate) fn to_map(&self) -> Result<HeaderMap, ConfigError> {
        let mut map = HeaderMap::new();
        for (name, value) in &self.0 {
            let at = |message: &str| ConfigError::at("headers", format!("{name:?}: {message}"));
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| at("is not a header name"))?;
            let mut value =
                HeaderValue::from_str(value.reveal()).map_err(|_| at("the value has forbidden bytes"))?;
            value.set_sensitive(true);
            map.insert(name, value);
        }
        Ok(map)
    }
}
