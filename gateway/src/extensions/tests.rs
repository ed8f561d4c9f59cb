use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use pipelines::Opaque;
use serde_json::{Value, json};

use super::{ExtensionContext, Made, make};
use crate::api::process::{Described, ProcessInfo};
use crate::server::auth::{AuthConfig, ServerAuth};

fn made(id: &str, section: Value) -> Result<Made, String> {
    let (process, _requests) = ProcessInfo::new(0, None, Described::default());
    let root = json!({"extensions": {id: section}, "service": {"extensions": [id]}});
    make(&root, &ExtensionContext { process }).map_err(|error| error.to_string())
}

fn server(id: &str, section: Value) -> Arc<dyn ServerAuth> {
    let made = made(id, section).expect("a good config");
    for (_, start) in &made.starts {
        start().expect("starts");
    }
    let config: AuthConfig = serde_json::from_value(json!({"authenticator": id})).expect("an id");
    made.auths.resolve(Some(&config)).expect("is a server authenticator").expect("is asked for")
}

async fn check(auth: &dyn ServerAuth, header: Option<&str>) -> Result<(), String> {
    let mut headers = HeaderMap::new();
    if let Some(value) = header {
        headers.insert(AUTHORIZATION, value.parse().expect("a header value"));
    }
    auth.authenticate(&headers).await.map_err(|error| error.message)
}

/// `name:password` as curl sends it.
fn basic(pair: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

#[tokio::test]
async fn basicauth_knows_the_hashes_that_htpasswd_writes() {
    // Hashes of the password `pw`: bcrypt, SHA-1 (base64 of its digest), and none.
    let bcrypt = bcrypt::hash("pw", 4).expect("a hash");
    let users = format!("# staff\nbo:{bcrypt}\nsha:{{SHA}}GpHWL3ymc5liWkNopqtdSjuqYHM=\n\nplain:pw\n");
    let auth = server("basicauth/server", json!({"htpasswd": {"inline": users}}));
    for (header, want) in [
        (Some(basic("bo:pw")), Ok(())),
        (Some(basic("bo:pw")), Ok(())),
        (Some(basic("bo:pW")), Err("invalid credentials")),
        (Some(basic("plain:pw")), Ok(())),
        (Some(basic("plain:")), Err("invalid credentials")),
        (Some(basic("nobody:pw")), Err("invalid credentials")),
        (Some(basic("nocolon")), Err("invalid authorization format")),
        (Some("Basic %%%".to_owned()), Err("invalid authorization format")),
        (Some("Bearer x".to_owned()), Err("invalid authorization scheme prefix")),
        (None, Err("no basic auth provided")),
    ] {
        let got = check(auth.as_ref(), header.as_deref()).await;
        assert_eq!(got, want.map_err(str::to_owned), "{header:?}");
    }
}

#[tokio::test]
async fn a_sha_hash_is_the_one_of_rfc_3174() {
    // SHA-1("abc") of RFC 3174, base64.
    let auth = server("basicauth", json!({"htpasswd": {"inline": "a:{SHA}qZk+NkcGgWq6PiVxeFDCbJzQ2J0="}}));
    assert_eq!(check(auth.as_ref(), Some(&basic("a:abc"))).await, Ok(()));
    assert!(check(auth.as_ref(), Some(&basic("a:abd"))).await.is_err());
}

#[tokio::test]
async fn bearertokenauth_takes_each_of_its_tokens_and_nothing_else() {
    let auth = server("bearertokenauth", json!({"tokens": ["one", "two"]}));
    let wrong = "provided authorization does not match expected scheme or token";
    for (header, want) in [
        (Some("Bearer one"), Ok(())),
        (Some("bearer two"), Ok(())),
        (Some("Bearer on"), Err(wrong)),
        (Some("Bearer one "), Err(wrong)),
        (Some("Bearerone"), Err(wrong)),
        (Some("Basic one"), Err(wrong)),
        (Some("B"), Err(wrong)),
        (None, Err("missing or empty authorization header: authorization")),
    ] {
        assert_eq!(check(auth.as_ref(), header).await, want.map_err(str::to_owned), "{header:?}");
    }
}

#[tokio::test]
async fn a_token_file_is_read_and_a_missing_one_stops_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tokens");
    std::fs::write(&path, "first\nsecond\n").expect("writable");
    let auth = server("bearertokenauth", json!({"filename": path}));
    assert_eq!(check(auth.as_ref(), Some("Bearer second")).await, Ok(()));
    let made =
        made("bearertokenauth", json!({"filename": folder.path().join("none")})).expect("is checked later");
    assert!(made.starts[0].1().is_err());
}

#[test]
fn clients_get_the_header_to_send() {
    let basic_client = json!({"client_auth": {"username": "Aladdin", "password": "open sesame"}});
    // The pair of RFC 7617.
    for (id, section, want) in [
        ("basicauth", basic_client, ("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
        ("bearertokenauth", json!({"token": "t"}), ("authorization", "Bearer t")),
        ("bearertokenauth", json!({"token": "t", "scheme": "", "header": "X-Key"}), ("x-key", "t")),
    ] {
        let made = made(id, section).expect("a good config");
        let client = made.offers.client_auth(id).expect("is a client authenticator");
        let (name, value) = client.header().expect("nothing to read");
        assert_eq!((name.as_str(), Opaque::reveal(&value)), want);
    }
}

#[test]
fn configs_are_checked_with_their_path() {
    for (id, section, want) in [
        ("basicauth", json!({}), "extensions::basicauth: no credential source provided"),
        (
            "basicauth",
            json!({"htpasswd": {"inline": "a:b"}, "client_auth": {"username": "a"}}),
            "extensions::basicauth: only one of `htpasswd` or `client_auth` can be specified",
        ),
        (
            "basicauth",
            json!({"htpasswd": {"inline": "a:$apr1$x$y"}}),
            "extensions::basicauth::htpasswd::inline: line 1: hashes of kind $apr1$ are not supported, have bcrypt (htpasswd -B), {SHA}, {SSHA}",
        ),
        ("bearertokenauth", json!({}), "extensions::bearertokenauth: no bearer token provided"),
        (
            "file_storage",
            json!({"directory": "/nowhere/at/all"}),
            "extensions::file_storage::directory: directory must exist: /nowhere/at/all is not there; create_directory: true makes it when it is missing",
        ),
        (
            "health_check",
            json!({"path": "health"}),
            "extensions::health_check::path: bad config: path must start with /",
        ),
        (
            "pprof",
            json!({}),
            "extensions::pprof: pprof serves profiles of Go's runtime, which this program does not have; leave it out",
        ),
        (
            "oidc",
            json!({}),
            "extensions::oidc: unknown type: \"oidc\" for id: \"oidc\" (valid values: [basicauth bearertokenauth file_storage health_check zpages])",
        ),
    ] {
        assert_eq!(made(id, section).err().as_deref(), Some(want));
    }
    let (process, _requests) = ProcessInfo::new(0, None, Described::default());
    let root = json!({"service": {"extensions": ["zpages"]}});
    let error = make(&root, &ExtensionContext { process }).err().expect("is not configured").to_string();
    assert_eq!(error, "service::extensions::0: references extension \"zpages\" which is not configured");
}
