use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use serde_json::{Value, json};

use super::super::TlsConfig;
use super::client;

/// An authority, and pairs that it signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// Certificate and key for a host, PEM.
    fn pair(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// A server that wants certificates of the authority.
fn server(authority: &Authority) -> Arc<ServerConfig> {
    let (certificate, key) = authority.pair("example.test");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.0.pem().as_bytes()).expect("pem"))
        .expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.allow_unauthenticated().build().expect("a verifier"));
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("pem")];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("pem");
    Arc::new(builder.with_single_cert(chain, key).expect("a server"))
}

/// Shakes hands in memory: what the server knows of the connection, or why there is none.
fn shake(
    config: &rustls::ClientConfig,
    server: &Arc<ServerConfig>,
) -> Result<ServerConnection, rustls::Error> {
    let name = ServerName::try_from("example.test").expect("a name");
    let mut ours = ClientConnection::new(Arc::new(config.clone()), name)?;
    let mut theirs = ServerConnection::new(Arc::clone(server))?;
    while ours.is_handshaking() || theirs.is_handshaking() {
        let mut bytes = Vec::new();
        while ours.wants_write() {
            ours.write_tls(&mut bytes).expect("a vector takes everything");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            theirs.read_tls(&mut rest).expect("a slice gives everything");
            theirs.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while theirs.wants_write() {
            theirs.write_tls(&mut bytes).expect("a vector takes everything");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            ours.read_tls(&mut rest).expect("a slice gives everything");
            ours.process_new_packets()?;
        }
    }
    Ok(theirs)
}

fn config(value: Value) -> TlsConfig {
    let config: TlsConfig = serde_json::from_value(value).expect("a good section");
    config.validate().expect("a good section");
    config
}

#[test]
fn only_the_suites_and_groups_of_the_config_are_spoken() {
    let authority = Authority::new();
    let server = server(&authority);
    let suite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    let section = json!({"ca_pem": authority.0.pem(), "max_version": "1.2", "cipher_suites": [suite],
        "curve_preferences": ["P384"]});
    let connection = shake(&client(&config(section), &[]).expect("a client"), &server).expect("they agree");
    let spoken = connection.negotiated_cipher_suite().expect("a suite").suite();
    assert_eq!(format!("{spoken:?}"), suite);
    let group = connection.negotiated_key_exchange_group().expect("a group").name();
    assert_eq!(format!("{group:?}"), "secp384r1");
    assert_eq!(connection.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
}

#[test]
fn a_server_of_an_unknown_authority_is_refused_unless_the_config_says_otherwise() {
    let server = server(&Authority::new());
    let other = Authority::new().0.pem();
    assert!(shake(&client(&config(json!({"ca_pem": other})), &[]).expect("a client"), &server).is_err());
    let section = json!({"ca_pem": other, "insecure_skip_verify": true});
    assert!(shake(&client(&config(section), &[]).expect("a client"), &server).is_ok());
}

#[test]
fn a_changed_certificate_is_shown_after_the_interval_and_a_broken_one_is_not() {
    let authority = Authority::new();
    let server = server(&authority);
    let folder = tempfile::tempdir().expect("a folder");
    let [ca_file, cert_file, key_file] =
        ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.path().join(name));
    let write = |(certificate, key): &(String, String)| {
        std::fs::write(&cert_file, certificate).expect("written");
        std::fs::write(&key_file, key).expect("written");
        CertificateDer::from_pem_slice(certificate.as_bytes()).expect("pem")
    };
    let section = |interval: &str| {
        config(json!({"ca_file": ca_file, "cert_file": cert_file, "key_file": key_file,
            "reload_interval": interval}))
    };
    std::fs::write(&ca_file, authority.0.pem()).expect("written");
    let first = write(&authority.pair("one.test"));
    let [soon, never] = ["1ns", "0s"].map(|interval| client(&section(interval), &[]).expect("a client"));
    let shown = |config: &rustls::ClientConfig| {
        let connection = shake(config, &server).expect("they agree");
        connection.peer_certificates().expect("a certificate")[0].clone()
    };
    assert_eq!(shown(&soon), first);
    let second = write(&authority.pair("two.test"));
    // The authority was read at the start: that its file is gone keeps no pair out.
    std::fs::remove_file(&ca_file).expect("it is there");
    // A handshake does not wait for a slow disk: the one behind it has the new pair.
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while shown(&soon) == first && std::time::Instant::now() < deadline {}
    assert_eq!(shown(&soon), second);
    assert_eq!(shown(&never), first);
    std::fs::write(&cert_file, "nothing").expect("written");
    assert_eq!(shown(&soon), second);
    assert_eq!(section("10s").reload_interval.expect("given").0, Duration::from_secs(10));
}
