//! `storage.external_labels`: what tells this process' data from that of others.

use std::collections::BTreeMap;

use model::Labels;
use serde::{Deserialize, Deserializer, de};

/// Reads labels: names that Prometheus takes, values of text. A label with an empty value is none.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
    let pairs = BTreeMap::<String, String>::deserialize(deserializer)?;
    for name in pairs.keys() {
        let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
        let is_name = name.starts_with(is_start) && name.chars().all(|c| is_start(c) || c.is_ascii_digit());
        if !is_name || name == model::METRIC_NAME {
            return Err(de::Error::custom(format!(
                "{name:?} is not a valid name of an external label, want letters, digits and _"
            )));
        }
    }
    Ok(Labels::from_pairs(&pairs))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::deserialize;

    #[test]
    fn external_labels_have_names_that_prometheus_takes() {
        let read = |value| deserialize(value).map(|labels| labels.to_string());
        assert_eq!(read(json!({"b": "2", "a": "1", "c": ""})).expect("valid"), r#"{a="1", b="2"}"#);
        for bad in [json!({"a-b": "1"}), json!({"": "1"}), json!({"1a": "1"}), json!({"__name__": "x"})] {
            let error = read(bad).expect_err("not a name").to_string();
            assert!(error.contains("is not a valid name of an external label"), "{error}");
        }
    }
}
