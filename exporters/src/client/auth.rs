//! `auth` of a client: the extension that puts credentials on its requests (config/configauth of the collector).

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use model::ErrorKind;
use pipelines::{ClientAuth, ConfigError, Extensions, PipelineError, PipelineResult};
use serde::Deserialize;

/// `auth` of a client.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthConfig {
    /// Id of the extension.
    authenticator: String,
}

/// The extension that a config names, if it names one.
#[derive(Clone, Default)]
pub(crate) struct Credentials(Option<Arc<dyn ClientAuth>>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Credentials([REDACTED])" } else { "Credentials(none)" })
    }
}

impl Credentials {
    /// Looks the extension up.
    pub(crate) fn resolve(config: Option<&AuthConfig>, extensions: &Extensions) -> Result<Self, ConfigError> {
        let auth = config.map(|config| extensions.client_auth(&config.authenticator)).transpose()?;
        Ok(Self(auth))
    }

    /// Puts the credentials of this moment on a request.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) -> PipelineResult<()> {
        let Some(auth) = &self.0 else { return Ok(()) };
        let (name, value) = auth.header()?;
        let pair = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value.reveal()).ok());
        let invalid = || PipelineError::new(ErrorKind::Unavailable, "the credentials are no valid header");
        let (name, mut value) = pair.ok_or_else(invalid)?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderMap;
    use pipelines::{ClientAuth, ComponentId, Extensions, Offer, Opaque, PipelineResult};

    use super::{AuthConfig, Credentials};

    struct Token;

    impl ClientAuth for Token {
        fn header(&self) -> PipelineResult<(String, Opaque)> {
            Ok(("authorization".to_owned(), "Bearer t".to_owned().into()))
        }
    }

    #[test]
    fn requests_carry_what_the_named_extension_says() {
        let id = ComponentId::parse("bearertokenauth").expect("an id");
        let offer = Offer { client_auth: Some(Arc::new(Token)), storage: None };
        let extensions = Extensions::new([(id, offer)]);
        let config = |id: &str| AuthConfig { authenticator: id.to_owned() };
        let credentials =
            Credentials::resolve(Some(&config("bearertokenauth")), &extensions).expect("is there");
        let mut headers = HeaderMap::new();
        credentials.add_to(&mut headers).expect("a good header");
        assert_eq!(headers["authorization"], "Bearer t");
        assert!(!format!("{credentials:?} {headers:?}").contains("Bearer"), "secrets are not shown");
        assert!(Credentials::resolve(Some(&config("other")), &extensions).is_err());
        let mut none = HeaderMap::new();
        Credentials::resolve(None, &extensions).expect("none").add_to(&mut none).expect("none");
        assert!(none.is_empty());
    }
}
