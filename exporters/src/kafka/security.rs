//! How a Kafka client shows who it is, and to whom it speaks: SASL and TLS as settings of librdkafka.
//!
//! Keys: `auth` and `tls` of the collector's contrib repository (internal/kafka, config/configtls). TLS and the hashes of
//! SCRAM are OpenSSL's, which is compiled in: librdkafka knows no other library. Certificates in files are read by librdkafka when the client is made.

use pipelines::{ConfigError, Opaque};
use rdkafka::ClientConfig;
use serde::Deserialize;
use serde_json::Value;

use crate::client::{TlsConfig, TlsSource, unsupported};

/// `auth` of Kafka clients.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. Default none.
    sasl: Option<Sasl>,
    /// Name and password for PLAIN; the older way to write it. Default none.
    plain_text: Option<PlainText>,
    /// The older place of `tls`. Default none.
    tls: Option<Tls>,
    kerberos: Option<Value>,
}

/// `tls` of Kafka clients.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Tls(TlsConfig);

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sasl {
    /// Name. Required.
    username: String,
    /// Password. Required.
    password: Opaque,
    /// PLAIN (default), SCRAM-SHA-256 or SCRAM-SHA-512.
    mechanism: String,
    /// Read for compatibility, no effect: the client asks the broker.
    version: Value,
    aws_msk: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PlainText {
    username: String,
    password: Opaque,
}

impl Default for Sasl {
    fn default() -> Self {
        Self {
            username: String::new(),
            password: Opaque::default(),
            mechanism: "PLAIN".to_owned(),
            version: Value::Null,
            aws_msk: None,
        }
    }
}

/// Sets what `auth` and `tls` ask for. `tls` at the top goes before the one in `auth`.
pub(super) fn secure(client: &mut ClientConfig, auth: &Auth, tls: Option<&Tls>) -> Result<(), ConfigError> {
    unsupported(&[
        ("auth.kerberos", auth.kerberos.is_some()),
        ("auth.sasl.aws_msk", auth.sasl.as_ref().is_some_and(|sasl| sasl.aws_msk.is_some())),
    ])?;
    let (at, tls) = match (tls, &auth.tls) {
        (Some(tls), _) => ("", Some(tls)),
        (None, tls) => ("auth", tls.as_ref()),
    };
    let is_encrypted = match tls {
        Some(Tls(tls)) => encrypt(client, tls).map_err(|error| match at {
            "" => error,
            at => error.under(&[at]),
        })?,
        None => false,
    };
    let has_sasl = match (&auth.sasl, &auth.plain_text) {
        (Some(sasl), _) => sign_in(client, "auth.sasl", &sasl.username, &sasl.password, &sasl.mechanism)?,
        (None, Some(plain)) => sign_in(client, "auth.plain_text", &plain.username, &plain.password, "PLAIN")?,
        (None, None) => false,
    };
    client.set(
        "security.protocol",
        match (has_sasl, is_encrypted) {
            (false, false) => "plaintext",
            (false, true) => "ssl",
            (true, false) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        },
    );
    Ok(())
}

fn sign_in(
    client: &mut ClientConfig,
    section: &str,
    username: &str,
    password: &Opaque,
    mechanism: &str,
) -> Result<bool, ConfigError> {
    let at = |key: &str, message: String| Err(ConfigError::at(&format!("{section}.{key}"), message));
    if username.is_empty() {
        return at("username", "username is required".to_owned());
    }
    if password.reveal().is_empty() {
        return at("password", "password is required".to_owned());
    }
    match mechanism {
        "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => {}
        other => {
            let have = "PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512";
            return at("mechanism", format!("{other:?} is not supported, supported are {have}"));
        }
    }
    // Named, because librdkafka's default is GSSAPI.
    client
        .set("sasl.mechanisms", mechanism)
        .set("sasl.username", username)
        .set("sasl.password", password.reveal());
    Ok(true)
}

/// Whether the connection is encrypted after all: `insecure` without an authority to trust asks for a plain one.
fn encrypt(client: &mut ClientConfig, tls: &TlsConfig) -> Result<bool, ConfigError> {
    tls.validate()?;
    let authorities = tls.authorities();
    if tls.insecure && authorities.is_none() {
        return Ok(false);
    }
    unsupported(&[
        ("tls.server_name_override", !tls.server_name_override.is_empty()),
        ("tls.include_system_ca_certs_pool", tls.include_system_ca_certs_pool),
        ("tls.min_version", tls.versions()[0].is_some()),
        ("tls.max_version", tls.versions()[1].is_some()),
        ("tls.cipher_suites", !tls.cipher_suites.is_empty()),
        ("tls.curve_preferences", !tls.curve_preferences.is_empty()),
        ("tls.reload_interval", tls.reload_interval.is_some()),
    ])?;
    let mut set = |name: &str, source: Option<TlsSource<'_>>| match source {
        Some(TlsSource::File(path)) => drop(client.set(format!("ssl.{name}.location"), path)),
        Some(TlsSource::Text(pem)) => drop(client.set(format!("ssl.{name}.pem"), pem)),
        // Where the systems that there are keep them: an OpenSSL of our own does not know.
        None if name == "ca" => drop(client.set("ssl.ca.location", "probe")),
        None => {}
    };
    set("ca", authorities);
    let [certificate, key] = tls.identity();
    set("certificate", certificate);
    set("key", key);
    client.set("enable.ssl.certificate.verification", (!tls.insecure_skip_verify).to_string());
    Ok(true)
}

#[cfg(test)]
mod tests;
