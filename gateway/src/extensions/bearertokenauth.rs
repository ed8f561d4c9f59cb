//! `bearertokenauth`: a secret in a header, for servers and for requests to destinations (extension of the same name in
//! the collector's contrib repository).

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName};
use model::ErrorKind;
use pipelines::{
    ClientAuth, ComponentConfig, ConfigError, Offer, Opaque, PipelineError, PipelineResult, Stability,
};
use serde::Deserialize;

use super::secret_file::{SecretFile, same};
use super::{Extension, ExtensionContext, ExtensionFactory};
use crate::server::auth::{AuthError, ServerAuth};

pub(super) const FACTORY: ExtensionFactory =
    ExtensionFactory { kind: "bearertokenauth", stability: Stability::Beta, create };

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// The header that carries the token. Default `Authorization`.
    header: String,
    /// What stands before the token; empty means nothing. Default `Bearer`.
    scheme: String,
    /// The token.
    token: Option<Opaque>,
    /// Several tokens, each of which is taken; requests to destinations carry the first.
    tokens: Vec<Opaque>,
    /// File with the tokens, one a line; read again when it changes.
    filename: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            header: "Authorization".to_owned(),
            scheme: "Bearer".to_owned(),
            token: None,
            tokens: Vec::new(),
            filename: None,
        }
    }
}

fn create(config: &ComponentConfig<'_>, _context: &ExtensionContext) -> Result<Extension, ConfigError> {
    let Config { header, scheme, token, tokens, filename } = config.parse()?;
    let given = [token.is_some(), !tokens.is_empty(), filename.is_some()];
    match given.into_iter().filter(|given| *given).count() {
        0 => return Err(ConfigError::at("", "no bearer token provided")),
        1 => {}
        _ => return Err(ConfigError::at("", "either token, tokens or filename should be set, not several")),
    }
    let name = HeaderName::try_from(&header)
        .map_err(|_| ConfigError::at("header", format!("{header:?} is not a header name")))?;
    let source = match filename {
        Some(path) => Tokens::File(SecretFile::new(path, parse)),
        None => Tokens::Given(token.into_iter().chain(tokens).collect()),
    };
    let auth = Arc::new(Bearer { name, scheme, source });
    let start = Arc::clone(&auth);
    Ok(Extension {
        offer: Offer { client_auth: Some(auth.clone()), storage: None },
        server_auth: Some(auth),
        start: Some(Box::new(move || start.tokens().map(drop).map_err(anyhow::Error::msg))),
        ..Extension::default()
    })
}

fn parse(text: &str) -> Result<Arc<[Opaque]>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let tokens: Arc<[Opaque]> = lines.map(|line| Opaque::from(line.to_owned())).collect();
    if tokens.is_empty() { Err("holds no token".to_owned()) } else { Ok(tokens) }
}

enum Tokens {
    Given(Arc<[Opaque]>),
    File(SecretFile<Arc<[Opaque]>>),
}

struct Bearer {
    name: HeaderName,
    scheme: String,
    source: Tokens,
}

impl Bearer {
    fn tokens(&self) -> Result<Arc<[Opaque]>, String> {
        match &self.source {
            Tokens::Given(tokens) => Ok(Arc::clone(tokens)),
            Tokens::File(file) => file.get(),
        }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), String> {
        let value = headers.get(&self.name).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| format!("missing or empty authorization header: {}", self.name))?;
        let wrong = || "provided authorization does not match expected scheme or token".to_owned();
        let token = if self.scheme.is_empty() {
            value.as_bytes()
        } else {
            let (scheme, token) = value.as_bytes().split_at_checked(self.scheme.len()).ok_or_else(wrong)?;
            if !scheme.eq_ignore_ascii_case(self.scheme.as_bytes()) {
                return Err(wrong());
            }
            token.strip_prefix(b" ").ok_or_else(wrong)?
        };
        let tokens = self.tokens()?;
        // Every token is compared, so that the time does not tell which one was near.
        let known = tokens.iter().fold(false, |known, own| known | same(own.reveal().as_bytes(), token));
        if known { Ok(()) } else { Err(wrong()) }
    }
}

impl ServerAuth for Bearer {
    fn authenticate<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<(), AuthError>> {
        let checked = self.check(headers).map_err(|message| AuthError { message, challenge: "Bearer" });
        Box::pin(std::future::ready(checked))
    }
}

impl ClientAuth for Bearer {
    fn header(&self) -> PipelineResult<(String, Opaque)> {
        let unreadable = |message| PipelineError::new(ErrorKind::Unavailable, message);
        let tokens = self.tokens().map_err(unreadable)?;
        let token = tokens.first().map_or("", Opaque::reveal);
        let value =
            if self.scheme.is_empty() { token.to_owned() } else { format!("{} {token}", self.scheme) };
        Ok((self.name.as_str().to_owned(), value.into()))
    }
}
