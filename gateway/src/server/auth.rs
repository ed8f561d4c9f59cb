//! Authentication of requests: who may speak to a listener is decided by an extension that its config names.
//!
//! Invariant AUTH-1: a request is authenticated before a byte of its body is read or its path is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use futures_util::future::BoxFuture;
use http::{HeaderMap, request};
use pipelines::{ComponentId, ConfigError};
use serde::Deserialize;

use super::body;
use crate::receivers::NotSupported;

/// Decides by the headers of a request whether its sender is known.
pub trait ServerAuth: Send + Sync {
    /// Resolves with `Ok` when the request may go on.
    fn authenticate<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<(), AuthError>>;
}

/// Why a request may not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AuthError {
    /// For the sender; holds no secret.
    pub message: String,
    /// The scheme to answer in `WWW-Authenticate`.
    pub challenge: &'static str,
}

/// `auth` of a server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Id of the extension that authenticates requests.
    authenticator: String,
    request_params: NotSupported,
}

/// The extensions of a config that authenticate requests, by id.
#[derive(Clone, Default)]
pub struct ServerAuths(Arc<BTreeMap<ComponentId, Option<Arc<dyn ServerAuth>>>>);

impl ServerAuths {
    /// Every extension that runs, with what it offers.
    pub fn new(extensions: impl IntoIterator<Item = (ComponentId, Option<Arc<dyn ServerAuth>>)>) -> Self {
        Self(Arc::new(extensions.into_iter().collect()))
    }

    /// The authenticator that a config names, if it names one.
    pub fn resolve(&self, config: Option<&AuthConfig>) -> Result<Option<Arc<dyn ServerAuth>>, ConfigError> {
        let Some(AuthConfig { authenticator, .. }) = config else { return Ok(None) };
        let at = |message: String| ConfigError::at("auth.authenticator", message);
        let found = ComponentId::parse(authenticator).ok().and_then(|id| self.0.get(&id)).ok_or_else(|| {
            at(format!(
                "failed to resolve authenticator {authenticator:?}: authenticator not found in service::extensions"
            ))
        })?;
        match found {
            Some(auth) => Ok(Some(Arc::clone(auth))),
            None => Err(at(format!("{authenticator:?} is not a server authenticator"))),
        }
    }
}

/// How a refusal is answered.
pub type Refuse = fn(&request::Parts, &AuthError) -> Response;

/// What is read and thrown away of a refused request's body, bytes.
const DISCARD_BYTES_MAX: u64 = 1 << 20;

/// `routes` behind an authenticator.
pub fn protect(routes: Router, auth: Option<Arc<dyn ServerAuth>>, refuse: Refuse) -> Router {
    let Some(auth) = auth else { return routes };
    routes.layer(from_fn(move |request: Request, next: Next| {
        let auth = Arc::clone(&auth);
        async move {
            match auth.authenticate(request.headers()).await {
                Ok(()) => next.run(request).await,
                Err(error) => {
                    let (head, mut rest) = request.into_parts();
                    body::discard(&head, &mut rest, DISCARD_BYTES_MAX).await;
                    let mut answer = refuse(&head, &error);
                    let challenge = http::HeaderValue::from_static(error.challenge);
                    answer.headers_mut().insert(http::header::WWW_AUTHENTICATE, challenge);
                    answer
                }
            }
        }
    }))
}

/// A refusal as plain text.
pub fn refuse_in_text(_head: &request::Parts, error: &AuthError) -> Response {
    use axum::response::IntoResponse;
    (http::StatusCode::UNAUTHORIZED, format!("{error}\n")).into_response()
}
