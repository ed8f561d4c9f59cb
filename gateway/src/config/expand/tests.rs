use serde_json::{Value, json};

use super::super::load::load;
use super::super::tests::Fixed;

const SURROUNDINGS: Fixed = Fixed {
    env: &[
        ("HOST", "example.test"),
        ("PORT", "4317"),
        ("EMPTY", ""),
        ("LIST", "[a, 1]"),
        ("OCTAL", "014"),
        ("NAME", "HOST"),
        ("INDIRECT", "${env:HOST}"),
        ("DOLLAR", "pa$$word"),
        ("SELF", "${SELF}"),
        ("BROKEN", "[unclosed"),
        ("HASH", "a #b"),
    ],
    files: &[("/v.yaml", "k: ${PORT}"), ("/n", "7\n")],
};

fn expand(text: &str) -> Result<Value, String> {
    let quoted = serde_json::to_string(text).expect("text is JSON");
    let loaded =
        load(&[format!("yaml:v: {quoted}")], &[], &SURROUNDINGS).map_err(|fault| fault.to_string())?;
    Ok(loaded.root.to_json()["v"].clone())
}

#[test]
fn references_expand_by_the_rules_of_confmap() {
    for (text, want) in [
        ("${env:HOST}", json!("example.test")),
        ("${HOST}:${PORT}", json!("example.test:4317")),
        ("${PORT}", json!(4317)),
        ("x${PORT}", json!("x4317")),
        ("${env:NOPE:-d}", json!("d")),
        ("${NOPE:-${HOST}}", json!("example.test")),
        ("${env:EMPTY:-d}", json!(null)),
        ("${NOPE}", json!(null)),
        ("a${NOPE}b", json!("ab")),
        ("${LIST}", json!(["a", 1])),
        ("n${OCTAL}", json!("n014")),
        ("${${NAME}}", json!("example.test")),
        ("${INDIRECT}", json!("example.test")),
        ("${file:/v.yaml}", json!({"k": 4317})),
        ("${yaml:[2, x]}", json!([2, "x"])),
        ("$$HOST", json!("$HOST")),
        ("$${HOST}", json!("${HOST}")),
        ("$HOST", json!("$HOST")),
        ("$1 and ${", json!("$1 and ${")),
        ("${DOLLAR}", json!("pa$word")),
        ("x${DOLLAR}", json!("xpa$word")),
        ("${BROKEN}", json!("[unclosed")),
        ("${HASH}", json!("a #b")),
    ] {
        assert_eq!(expand(text), Ok(want), "{text}");
    }
}

#[test]
fn references_that_cannot_be_followed_are_refused() {
    for (text, want) in [
        ("a${LIST}", "yaml::1:4: expanding ${LIST}: a map or list cannot stand inside text"),
        (
            "${9x}",
            "yaml::1:4: environment variable \"9x\" has invalid name: must match regex ^[a-zA-Z_][a-zA-Z0-9_]*$",
        ),
        (
            "${https://example.test}",
            "yaml::1:4: expanding ${https://example.test}: scheme \"https\" is not supported; have env, file, yaml",
        ),
        ("${file:/nope}", "yaml::1:4: expanding ${file:/nope}: unable to read the file: no such file"),
    ] {
        assert_eq!(expand(text), Err(want.to_owned()), "{text}");
    }
    let recursion = expand("${SELF}").expect_err("refers to itself");
    assert!(recursion.contains("too many recursive expansions"), "{recursion}");
}

#[test]
fn an_unset_variable_warns() {
    let loaded = load(&["yaml:a: ${NOPE}".to_owned()], &[], &SURROUNDINGS).expect("unset is empty");
    assert_eq!(loaded.warnings, ["yaml::1:4: configuration references unset environment variable NOPE"]);
}

#[test]
fn an_address_without_a_host_because_of_an_unset_variable_is_an_error() {
    let at = |endpoint: &str| {
        let yaml = format!("yaml:exporters: {{otlp: {{endpoint: '{endpoint}'}}}}");
        load(&[yaml], &[], &Fixed { env: &[("HOST", "a")], files: &[] })
            .map(|_| ())
            .map_err(|fault| fault.to_string())
    };
    for good in ["${env:HOST}:4317", "${env:NONE:-b}:4317", "a:${env:NONE}", "", ":4317"] {
        assert_eq!(at(good), Ok(()), "{good}");
    }
    for bad in ["${env:NONE}:4317", "${env:NONE}", "http://${env:NONE}", "https://${NONE}:4318/v1"] {
        let error = at(bad).expect_err(bad);
        assert!(
            error.contains("endpoint has no host, because the environment variable NONE is not set"),
            "{error}"
        );
    }
}
