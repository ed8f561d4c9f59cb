//! `basicauth`: names and passwords (RFC 7617), for servers from an htpasswd list, for requests to destinations from
//! the config (extension of the same name in the collector's contrib repository; texts are its own).
//!
//! A bcrypt hash takes some 50 ms to check, so checks leave the async threads and what passed is remembered by a keyed
//! digest of name, password and hash: a request with the same credentials costs a microsecond then.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use pipelines::{ClientAuth, ComponentConfig, ConfigError, Offer, Opaque, PipelineResult, Stability};
use runtime::Tasks;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::secret_file::{SecretFile, same};
use super::{Extension, ExtensionContext, ExtensionFactory};
use crate::server::auth::{AuthError, ServerAuth};

pub(super) const FACTORY: ExtensionFactory =
    ExtensionFactory { kind: "basicauth", stability: Stability::Beta, create };

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Who may send requests here.
    htpasswd: Option<HtpasswdConfig>,
    /// As whom requests to destinations are sent.
    client_auth: Option<ClientConfig>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HtpasswdConfig {
    /// File with lines `name:hash`; read again when it changes.
    file: Option<PathBuf>,
    /// The same as text; of two lines for one name this one holds.
    inline: Option<Opaque>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ClientConfig {
    /// The name.
    username: Option<String>,
    /// File with the name.
    username_file: Option<PathBuf>,
    /// The password.
    password: Option<Opaque>,
    /// File with the password.
    password_file: Option<PathBuf>,
}

fn create(config: &ComponentConfig<'_>, _context: &ExtensionContext) -> Result<Extension, ConfigError> {
    let Config { htpasswd, client_auth } = config.parse()?;
    match (htpasswd, client_auth) {
        (Some(_), Some(_)) => {
            Err(ConfigError::at("", "only one of `htpasswd` or `client_auth` can be specified"))
        }
        (Some(htpasswd), None) => server(htpasswd),
        (None, Some(client)) => self::client(client),
        (None, None) => Err(ConfigError::at("", "no credential source provided")),
    }
}

fn server(config: HtpasswdConfig) -> Result<Extension, ConfigError> {
    if config.file.is_none() && config.inline.is_none() {
        return Err(ConfigError::at("htpasswd", "no credential source provided"));
    }
    let inline = match &config.inline {
        Some(text) => parse(text.reveal()).map_err(|error| ConfigError::at("htpasswd.inline", error))?,
        None => Arc::default(),
    };
    let server = Arc::new(Server {
        inline,
        file: config.file.map(|path| SecretFile::new(path, parse)),
        key: rand::random(),
        passed: Mutex::default(),
        tasks: Tasks::new(),
    });
    let start = Arc::clone(&server);
    let read = move || start.file.as_ref().map_or(Ok(()), |file| file.get().map(drop));
    Ok(Extension {
        server_auth: Some(server),
        start: Some(Box::new(move || read().map_err(anyhow::Error::msg))),
        ..Extension::default()
    })
}

fn client(config: ClientConfig) -> Result<Extension, ConfigError> {
    let one = |key: &str, text: bool, file: bool| match (text, file) {
        (true, true) => Err(ConfigError::at(&format!("client_auth.{key}"), "give it or its file, not both")),
        (false, false) => Err(ConfigError::at(&format!("client_auth.{key}"), "is missing")),
        _ => Ok(()),
    };
    one("username", config.username.is_some(), config.username_file.is_some())?;
    one("password", config.password.is_some(), config.password_file.is_some())?;
    let source = |text: Option<String>, file: Option<PathBuf>| match file {
        Some(path) => Source::File(SecretFile::new(path, |text| Ok(text.trim().to_owned().into()))),
        None => Source::Given(text.unwrap_or_default().into()),
    };
    let password = config.password.map(|password| password.reveal().to_owned());
    let client = Arc::new(Client {
        username: source(config.username, config.username_file),
        password: source(password, config.password_file),
    });
    let start = Arc::clone(&client);
    Ok(Extension {
        offer: Offer { client_auth: Some(client), storage: None },
        start: Some(Box::new(move || start.value().map(drop).map_err(anyhow::Error::msg))),
        ..Extension::default()
    })
}

enum Source {
    Given(Opaque),
    File(SecretFile<Opaque>),
}

struct Client {
    username: Source,
    password: Source,
}

impl Client {
    fn value(&self) -> Result<Opaque, String> {
        let text = |source: &Source| match source {
            Source::Given(text) => Ok(text.clone()),
            Source::File(file) => file.get(),
        };
        let pair = format!("{}:{}", text(&self.username)?.reveal(), text(&self.password)?.reveal());
        Ok(format!("Basic {}", STANDARD.encode(pair)).into())
    }
}

impl ClientAuth for Client {
    fn header(&self) -> PipelineResult<(String, Opaque)> {
        let value = self.value();
        let value =
            value.map_err(|error| pipelines::PipelineError::new(model::ErrorKind::Unavailable, error))?;
        Ok((AUTHORIZATION.as_str().to_owned(), value))
    }
}

/// Names with their hashes.
type Users = Arc<HashMap<String, Hash>>;

/// A password as an htpasswd file keeps it.
#[derive(Clone)]
enum Hash {
    Bcrypt(String),
    /// SHA-1 of password and salt; `{SHA}` has an empty salt.
    Sha1 {
        digest: [u8; 20],
        salt: Vec<u8>,
    },
    Plain(Opaque),
}

impl Hash {
    fn read(text: &str) -> Result<Self, String> {
        if text.starts_with("$2a$") || text.starts_with("$2b$") || text.starts_with("$2y$") {
            return Ok(Self::Bcrypt(text.to_owned()));
        }
        if let Some(encoded) = text.strip_prefix("{SHA}").or_else(|| text.strip_prefix("{SSHA}")) {
            let bytes = STANDARD.decode(encoded).map_err(|_| "the hash is not base64".to_owned())?;
            let (digest, salt) = bytes.split_first_chunk().ok_or("the hash is too short")?;
            return Ok(Self::Sha1 { digest: *digest, salt: salt.to_owned() });
        }
        if text.starts_with('$') {
            let kind = text.split('$').nth(1).unwrap_or_default();
            return Err(format!(
                "hashes of kind ${kind}$ are not supported, have bcrypt (htpasswd -B), {{SHA}}, {{SSHA}}"
            ));
        }
        Ok(Self::Plain(text.to_owned().into()))
    }

    /// May take some 50 ms.
    fn matches(&self, password: &str) -> bool {
        match self {
            // An error is a hash that is no bcrypt hash after all; nobody gets in by it.
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Sha1 { digest, salt } => {
                let mut sha = sha1::Sha1::new();
                sha.update(password.as_bytes());
                sha.update(salt);
                same(&sha.finalize(), digest)
            }
            Self::Plain(known) => same(known.reveal().as_bytes(), password.as_bytes()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bcrypt(hash) => hash.as_bytes(),
            Self::Sha1 { digest, .. } => digest,
            Self::Plain(known) => known.reveal().as_bytes(),
        }
    }
}

fn parse(text: &str) -> Result<Users, String> {
    let mut users = HashMap::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |what: &str| format!("line {}: {what}", index + 1);
        let (name, hash) = line.split_once(':').ok_or_else(|| at("want name:hash"))?;
        users.insert(name.to_owned(), Hash::read(hash).map_err(|error| at(&error))?);
    }
    Ok(Arc::new(users))
}

struct Server {
    inline: Users,
    file: Option<SecretFile<Users>>,
    key: [u8; 32],
    /// Digests of credentials that passed.
    passed: Mutex<Vec<[u8; 32]>>,
    /// Where checks run; they end by themselves.
    tasks: Tasks,
}

/// Credentials that are remembered; more are checked each time.
const PASSED_MAX: usize = 256;

impl Server {
    fn hash_of(&self, name: &str) -> Result<Option<Hash>, String> {
        if let Some(hash) = self.inline.get(name) {
            return Ok(Some(hash.clone()));
        }
        match &self.file {
            Some(file) => Ok(file.get()?.get(name).cloned()),
            None => Ok(None),
        }
    }

    /// Keyed, so that nobody can prepare two credentials with one digest; over the hash too, so that a changed password
    /// is a new entry.
    fn digest(&self, name: &str, password: &str, hash: &Hash) -> [u8; 32] {
        let mut sha = Sha256::new_with_prefix(self.key);
        for part in [name.as_bytes(), password.as_bytes(), hash.bytes()] {
            sha.update((part.len() as u64).to_le_bytes());
            sha.update(part);
        }
        sha.finalize().into()
    }

    async fn check(&self, headers: &HeaderMap) -> Result<(), String> {
        let (name, password) = credentials(headers)?;
        let invalid = || "invalid credentials".to_owned();
        let Some(hash) = self.hash_of(&name)? else { return Err(invalid()) };
        let digest = self.digest(&name, &password, &hash);
        if self.passed.lock().contains(&digest) {
            return Ok(());
        }
        let work = move || hash.matches(&password);
        let matches = self.tasks.spawn_blocking("check_password", work).await;
        if !matches.unwrap_or(false) {
            return Err(invalid());
        }
        let mut passed = self.passed.lock();
        if passed.len() >= PASSED_MAX {
            passed.remove(0);
        }
        passed.push(digest);
        Ok(())
    }
}

impl ServerAuth for Server {
    fn authenticate<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<(), AuthError>> {
        let refuse =
            |message| AuthError { message, challenge: "Basic realm=\"tidegate\", charset=\"UTF-8\"" };
        Box::pin(async move { self.check(headers).await.map_err(refuse) })
    }
}

fn credentials(headers: &HeaderMap) -> Result<(String, String), String> {
    let value = headers.get(AUTHORIZATION).ok_or("no basic auth provided")?;
    let value = value.to_str().map_err(|_| "invalid authorization format")?;
    let encoded = match value.split_at_checked("Basic ".len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("Basic ") => rest,
        _ => return Err("invalid authorization scheme prefix".to_owned()),
    };
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| "invalid authorization format")?;
    let text = String::from_utf8(decoded).map_err(|_| "invalid authorization format")?;
    let (name, password) = text.split_once(':').ok_or("invalid authorization format")?;
    Ok((name.to_owned(), password.to_owned()))
}
