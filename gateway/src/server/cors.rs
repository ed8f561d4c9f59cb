//! `cors` of a server: which web pages may call it (config/confighttp; the answers are those of the Go library rs/cors,
//! which the collector uses).

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pipelines::ConfigError;
use serde::Deserialize;

/// `cors` of a server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorsConfig {
    /// Origins of pages that may call: whole origins, or with one `*` in the place of any text. Default none.
    allowed_origins: Vec<String>,
    /// Headers that they may send besides Accept, Content-Type and X-Requested-With; `*` is any. Default none.
    allowed_headers: Vec<String>,
    /// Headers of answers that they may read. Default none.
    exposed_headers: Vec<String>,
    /// Seconds for which a browser may keep the answer to a preflight; 0, the default, sends none.
    max_age: u32,
}

/// Methods that pages may use (rs/cors).
const METHODS: [Method; 3] = [Method::GET, Method::POST, Method::HEAD];
/// Headers that they may always send (rs/cors).
const HEADERS: [&str; 4] = ["accept", "content-type", "x-requested-with", "origin"];
const PREFLIGHT_VARY: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
const YES: HeaderValue = HeaderValue::from_static("true");

/// The config in the form that requests are checked against.
struct Rules {
    origins: Vec<(String, Option<String>)>,
    any_header: bool,
    headers: Vec<String>,
    exposed: Option<HeaderValue>,
    max_age: u32,
}

impl CorsConfig {
    /// `routes` with answers for browsers around them; preflights do not reach them.
    pub fn around(&self, routes: Router) -> Result<Router, ConfigError> {
        if self.allowed_origins.is_empty() {
            return Ok(routes);
        }
        let rules = Arc::new(self.rules()?);
        Ok(routes.layer(from_fn(move |request: Request, next: Next| {
            let rules = Arc::clone(&rules);
            async move { rules.apply(request, next).await }
        })))
    }

    fn rules(&self) -> Result<Rules, ConfigError> {
        let mut origins = Vec::new();
        for origin in &self.allowed_origins {
            let origin = origin.to_ascii_lowercase();
            origins.push(match origin.split_once('*') {
                Some((_, end)) if end.contains('*') => {
                    let message = format!("{origin:?} has more than one *");
                    return Err(ConfigError::at("cors.allowed_origins", message));
                }
                Some((start, end)) => (start.to_owned(), Some(end.to_owned())),
                None => (origin, None),
            });
        }
        let exposed = self.exposed_headers.join(", ");
        let exposed = HeaderValue::try_from(&exposed).map_err(|_| {
            ConfigError::at("cors.exposed_headers", format!("{exposed:?} are not names of headers"))
        })?;
        let lower = self.allowed_headers.iter().map(|name| name.to_ascii_lowercase());
        Ok(Rules {
            origins,
            any_header: self.allowed_headers.iter().any(|name| name == "*"),
            headers: HEADERS.into_iter().map(str::to_owned).chain(lower).collect(),
            exposed: (!exposed.is_empty()).then_some(exposed),
            max_age: self.max_age,
        })
    }
}

impl Rules {
    async fn apply(&self, request: Request, next: Next) -> Response {
        let asked = request.headers().get(ORIGIN).filter(|origin| self.allows_origin(origin)).cloned();
        let is_preflight = request.method() == Method::OPTIONS
            && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if is_preflight {
            let mut answer = StatusCode::NO_CONTENT.into_response();
            answer.headers_mut().insert(VARY, PREFLIGHT_VARY);
            if let Some(origin) = asked {
                self.preflight(origin, request.headers(), answer.headers_mut());
            }
            return answer;
        }
        let mut answer = next.run(request).await;
        let headers = answer.headers_mut();
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = asked {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, YES);
            if let Some(exposed) = &self.exposed {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
            }
        }
        answer
    }

    fn allows_origin(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let origin = origin.to_ascii_lowercase();
        self.origins.iter().any(|(start, end)| match end {
            None => origin == *start,
            Some(end) => {
                origin.len() >= start.len() + end.len()
                    && origin.starts_with(start.as_str())
                    && origin.ends_with(end.as_str())
            }
        })
    }

    fn preflight(&self, origin: HeaderValue, asked: &HeaderMap, answer: &mut HeaderMap) {
        let Some(method) = asked.get(ACCESS_CONTROL_REQUEST_METHOD) else { return };
        if !METHODS.iter().any(|allowed| allowed.as_str().as_bytes() == method.as_bytes()) {
            return;
        }
        let names = asked.get(ACCESS_CONTROL_REQUEST_HEADERS);
        let all_allowed = names.is_none_or(|names| {
            let names = names.to_str().unwrap_or("?");
            let allowed = |name: &str| self.headers.contains(&name.trim().to_ascii_lowercase());
            self.any_header || names.split(',').all(allowed)
        });
        if !all_allowed {
            return;
        }
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        if let Some(names) = names {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, YES);
        if self.max_age > 0 {
            answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age));
        }
    }
}
