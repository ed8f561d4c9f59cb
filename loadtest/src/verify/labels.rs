//! What a series or a line is called beside what was sent: everything sent is there unchanged, and nothing more than what
//! is known to be added on the way.

use std::collections::HashMap;

/// Labels by name.
pub(super) type Labels = HashMap<String, String>;

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
