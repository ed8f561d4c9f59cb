use pipelines::{ComponentConfig, ComponentId, PAGE_SERVER_KEYS};
use serde_json::{Value, json};

use super::HttpSection;

fn split(section: &Value) -> Result<(HttpSection, Value), String> {
    let id = ComponentId::parse("zpages").expect("an id");
    HttpSection::split(&ComponentConfig { id: &id, value: section }).map_err(|error| error.to_string())
}

#[test]
fn every_key_of_a_listener_is_known_and_others_are_left_for_the_page() {
    let (section, rest) = split(&json!({"endpoint": "localhost:1", "path": "/x"})).expect("good");
    assert_eq!((section.endpoint.as_deref(), rest), (Some("localhost:1"), json!({"path": "/x"})));
    for key in PAGE_SERVER_KEYS {
        let wrong = split(&json!({*key: {"no": {"such": "thing"}}}));
        // That a key is none would be said with those that there are.
        let is_known = |error: &String| error.starts_with(key) && !error.contains("unknown field `endpoint");
        assert!(wrong.as_ref().is_err_and(is_known) || wrong.is_ok(), "{key}");
        let empty = split(&json!({*key: null}));
        let is_taken = empty.as_ref().map_or_else(is_known, |(_, rest)| *rest == json!({}));
        assert!(is_taken, "{key}");
    }
}

#[test]
fn faults_are_told_by_path() {
    for (section, want) in [
        (json!({"tls": {"cert_file": "/c"}}), "tls"),
        (json!({"cors": {"allowed_origins": ["a*b*"]}}), "cors::allowed_origins"),
        (json!({"response_headers": {"a b": "c"}}), "response_headers: header \"a b\" is not valid"),
        (json!({"middlewares": [1]}), "middlewares: is not supported"),
        (json!({"auth": {"who": 1}}), "auth"),
    ] {
        let error = split(&section).expect_err("a fault");
        assert!(error.starts_with(want), "{error}");
    }
}
