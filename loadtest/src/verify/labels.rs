//! What a series or a line is called beside what was sent: everything sent is there unchanged, and nothing more than what
//! is known to be added on the way.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Labels by name: so few that looking through them all is quicker than a map.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels(Vec<(String, String)>);

impl Labels {
    /// The value of a label.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    #[cfg(test)]
    pub(super) fn insert(&mut self, name: &str, value: &str) {
        self.0.retain(|(other, _)| other != name);
        self.0.push((name.to_owned(), value.to_owned()));
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(labels: I) -> Self {
        Self(labels.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Labels;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a map of labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = Vec::new();
                while let Some(label) = map.next_entry()? {
                    labels.push(label);
                }
                Ok(Labels(labels))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// What is wrong with the labels in `found` beside those in `sent`; `may_be_added` says which others are in order.
pub(super) fn fault(
    found: &[&Labels],
    sent: &[(String, String)],
    may_be_added: impl Fn(&str, &str) -> bool,
) -> Option<String> {
    for (name, value) in sent {
        match found.iter().find_map(|labels| labels.get(name)) {
            Some(other) if other == value => {}
            Some(other) => return Some(format!("has {name}={other:?}, sent was {value:?}")),
            None => return Some(format!("has no {name}, sent was {value:?}")),
        }
    }
    let was_sent = |name: &str| sent.iter().any(|(other, _)| other == name);
    let mut more = found.iter().flat_map(|labels| labels.iter());
    let other = more.find(|(name, value)| !was_sent(name) && !may_be_added(name, value));
    other.map(|(name, value)| format!("has {name}={value:?}, which was not sent"))
}

#[cfg(test)]
mod tests;
