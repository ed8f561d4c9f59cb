//! Takes secrets out of a config before it is shown.
//!
//! A value is hidden by the name of its key, whatever component it belongs to, so that a component cannot forget it:
//! rather one value too many is hidden. References to the environment are expanded before, so nothing else hides them.

use serde_json::Value;

/// What stands in the place of a secret (configopaque in the collector).
pub const REDACTED: &str = "[REDACTED]";

/// Parts of key names that mark a secret.
const SECRET_PARTS: [&str; 13] = [
    "password",
    "passwd",
    "secret",
    "token",
    "credential",
    "authorization",
    "api_key",
    "apikey",
    "access_key",
    "account_key",
    "connection_string",
    "encryption_key",
    "service_account",
];
/// Keys that are secrets as a whole; their `_file` forms are not.
const SECRET_KEYS: [&str; 3] = ["key_pem", "cert_pem", "ca_pem"];
/// Maps whose values are all secrets.
const SECRET_MAPS: [&str; 2] = ["headers", "response_headers"];

/// Replaces secret texts and numbers by [`REDACTED`].
pub fn redact(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(map) => {
            for (key, value) in map {
                let name = key.to_ascii_lowercase();
                if SECRET_MAPS.contains(&name.as_str()) || is_secret(&name) {
                    hide_leaves(value);
                } else {
                    redact(value);
                }
            }
        }
        Value::String(text) => hide_url_password(text),
        _ => {}
    }
}

fn is_secret(name: &str) -> bool {
    let file = name.ends_with("_file") || name.ends_with("_url");
    SECRET_KEYS.contains(&name) || (!file && SECRET_PARTS.iter().any(|part| name.contains(part)))
}

fn hide_leaves(value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Array(items) => items.iter_mut().for_each(hide_leaves),
        Value::Object(map) => map.values_mut().for_each(hide_leaves),
        Value::String(_) | Value::Number(_) => *value = Value::String(REDACTED.to_owned()),
    }
}

/// `scheme://user:password@host` without the password.
fn hide_url_password(text: &mut String) {
    let Some((scheme, rest)) = text.split_once("://") else { return };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let Some((user_info, _)) = authority.rsplit_once('@') else { return };
    let Some((user, _)) = user_info.split_once(':') else { return };
    *text = format!("{scheme}://{user}:{REDACTED}@{}", &rest[user_info.len() + 1..]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::redact;

    #[test]
    fn secrets_are_hidden_by_the_name_of_their_key() {
        let mut config = json!({
            "exporters": {"otlp": {
                "endpoint": "https://user:hunter2@example.test/x",
                "headers": {"X-Scope-OrgID": "a", "n": 1},
                "tls": {"key_file": "/k.pem", "key_pem": "-----"},
                "auth": {"Client_Secret": "s", "token_url": "https://t", "bearer_token_file": "/t"},
            }},
        });
        redact(&mut config);
        assert_eq!(
            config,
            json!({
                "exporters": {"otlp": {
                    "endpoint": "https://user:[REDACTED]@example.test/x",
                    "headers": {"X-Scope-OrgID": "[REDACTED]", "n": "[REDACTED]"},
                    "tls": {"key_file": "/k.pem", "key_pem": "[REDACTED]"},
                    "auth": {"Client_Secret": "[REDACTED]", "token_url": "https://t", "bearer_token_file": "/t"},
                }},
            })
        );
    }
}
