use rdkafka::ClientConfig;
use serde_json::{Value, json};

use super::secure;

fn settings(auth: Value, tls: Value) -> Result<Vec<(String, String)>, String> {
    let auth = serde_json::from_value(auth).map_err(|error| error.to_string())?;
    let tls: Option<_> = serde_json::from_value(tls).map_err(|error| error.to_string())?;
    let mut client = ClientConfig::new();
    secure(&mut client, &auth, tls.as_ref()).map_err(|error| error.to_string())?;
    // The map hides passwords; single settings are as they are.
    let setting = |name: &&str| ((*name).to_owned(), client.get(name).expect("it is set").to_owned());
    let mut settings: Vec<_> = client.config_map().keys().map(setting).collect();
    settings.sort();
    Ok(settings)
}

fn check(auth: Value, tls: Value, want: &[(&str, &str)]) {
    let got = settings(auth.clone(), tls.clone());
    let want = want.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(got, Ok(want), "{auth} {tls}");
}

#[test]
fn names_and_passwords_go_to_brokers_as_the_config_says() {
    check(json!({}), Value::Null, &[("security.protocol", "plaintext")]);
    check(json!({}), json!({"insecure": true}), &[("security.protocol", "plaintext")]);
    let plain = [
        ("sasl.mechanisms", "PLAIN"),
        ("sasl.password", "p"),
        ("sasl.username", "u"),
        ("security.protocol", "sasl_plaintext"),
    ];
    check(json!({"sasl": {"username": "u", "password": "p"}}), Value::Null, &plain);
    check(json!({"plain_text": {"username": "u", "password": "p"}}), Value::Null, &plain);
}

#[test]
fn tls_and_scram_are_settings_of_the_client() {
    let scram = json!({"sasl": {"username": "u", "password": "p", "mechanism": "SCRAM-SHA-512"}});
    let files = json!({"ca_file": "/ca", "cert_file": "/c", "key_file": "/k"});
    check(
        scram,
        files,
        &[
            ("enable.ssl.certificate.verification", "true"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("sasl.password", "p"),
            ("sasl.username", "u"),
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", "/ca"),
            ("ssl.certificate.location", "/c"),
            ("ssl.key.location", "/k"),
        ],
    );
    check(
        json!({"tls": {"ca_pem": "CA", "insecure_skip_verify": true}}),
        Value::Null,
        &[
            ("enable.ssl.certificate.verification", "false"),
            ("security.protocol", "ssl"),
            ("ssl.ca.pem", "CA"),
        ],
    );
    check(
        json!({}),
        json!({}),
        &[
            ("enable.ssl.certificate.verification", "true"),
            ("security.protocol", "ssl"),
            ("ssl.ca.location", "probe"),
        ],
    );
}

#[test]
fn what_is_missing_or_unknown_is_refused_by_path() {
    let refused = |auth: Value, want: &str| {
        let error = settings(auth, Value::Null).expect_err("a fault");
        assert!(error.starts_with(want), "{error}");
    };
    refused(json!({"sasl": {"password": "p"}}), "auth::sasl::username: username is required");
    refused(json!({"plain_text": {"username": "u"}}), "auth::plain_text::password: password is required");
    refused(
        json!({"sasl": {"username": "a", "password": "b", "mechanism": "OAUTHBEARER"}}),
        "auth::sasl::mechanism: \"OAUTHBEARER\" is not supported, supported are PLAIN, SCRAM-SHA-256",
    );
    refused(json!({"kerberos": {}}), "auth::kerberos: is not supported yet");
    refused(json!({"tls": {"cert_file": "/c"}}), "auth::tls::cert_file: provide both certificate and key");
}
