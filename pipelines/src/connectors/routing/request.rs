//! Conditions on the request that telemetry came in: `request["name"] == "value"`, or with `!=` (connector/routingconnector
//! request.go of the collector's contrib repository).

use crate::ClientMetadata;

/// A comparison of a metadata value with a text. Without such metadata neither comparison holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestCondition {
    /// In lower case, as names of metadata are.
    name: String,
    value: String,
    is_equal: bool,
}

impl RequestCondition {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let comparators = text.matches("==").count() + text.matches("!=").count();
        let split = text.split_once("==").map(|sides| (sides, true));
        let split = split.or_else(|| text.split_once("!=").map(|sides| (sides, false)));
        let Some(((field, value), is_equal)) = split else {
            return Err("condition does not contain a valid comparator".to_owned());
        };
        if comparators > 1 {
            return Err("condition contains multiple comparators".to_owned());
        }
        let name = field.trim().strip_prefix("request[\"").and_then(|rest| rest.strip_suffix("\"]"));
        let value = value.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match (name, value) {
            (Some(name), Some(value)) => {
                Ok(Self { name: name.to_lowercase(), value: value.to_owned(), is_equal })
            }
            (None, _) => {
                Err("condition must have format 'request[\"<name>\"] <comparator> <value>'".to_owned())
            }
            (_, None) => {
                Err("condition must have format 'request[\"<name>\"] <comparator> \"<value>\"'".to_owned())
            }
        }
    }

    /// Whether it holds for one of the values of that name.
    pub(super) fn matches(&self, client: &ClientMetadata) -> bool {
        let mut values = client.metadata.iter().filter(|(name, _)| *name == self.name);
        values.any(|(_, value)| (*value == self.value) == self.is_equal)
    }
}
