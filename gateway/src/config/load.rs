//! From `--config` and `--set` arguments to one expanded tree.
//!
//! Sources are merged in order: maps deeply, everything else replaced by the later source; `--set` comes last; then
//! references are expanded. `a::b: x` is short for nested maps, as in the collector.

use super::error::ConfigFault;
use super::expand::{Expander, Surroundings};
use super::node::{Entry, Node, NodeValue, Place, Scalar};
use super::yaml;

/// A config that is read, merged and expanded, not yet typed.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// The whole tree.
    pub root: Node,
    /// What to tell the user, e.g. variables that are not set.
    pub warnings: Vec<String>,
}

/// Reads `sources` (`file:path` or a bare path, `env:NAME`, `yaml:text`), merges them, applies `sets` (`a.b=value`)
/// and expands references.
pub fn load(
    sources: &[String],
    sets: &[String],
    surroundings: &dyn Surroundings,
) -> Result<LoadedConfig, ConfigFault> {
    let mut root: Option<Node> = None;
    for source in sources {
        let node = read_source(source, surroundings)?;
        if node.is_null() {
            continue;
        }
        if node.entries().is_none() {
            return Err(ConfigFault::at(&node.place, "a config must be a map at the top"));
        }
        root = Some(match root {
            None => node,
            Some(base) => merge(base, node),
        });
    }
    let empty = || Node {
        value: NodeValue::Map(Vec::new()),
        place: Place { source: sources.first().map_or("", String::as_str).into(), line: 1, column: 1 },
    };
    let mut root = root.unwrap_or_else(empty);
    for set in sets {
        root = merge(root, parse_set(set)?);
    }
    let mut expander = Expander::new(surroundings);
    let root = expander.expand(root)?;
    Ok(LoadedConfig { root, warnings: expander.warnings })
}

fn read_source(source: &str, surroundings: &dyn Surroundings) -> Result<Node, ConfigFault> {
    let (scheme, rest) = match source.split_once(':') {
        Some((scheme, rest)) if scheme.len() >= 2 && scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
            (scheme, rest)
        }
        _ => ("file", source),
    };
    let node = match scheme {
        "file" => {
            let text = surroundings.file(rest).map_err(|error| {
                ConfigFault::new(format!("unable to read the config file {rest:?}: {error}"))
            })?;
            yaml::parse(rest, &text)?
        }
        "env" => match surroundings.env(rest) {
            Some(text) => yaml::parse(source, &text)?,
            None => {
                return Err(ConfigFault::new(format!(
                    "config source {source:?}: the environment variable {rest} is not set"
                )));
            }
        },
        "yaml" => yaml::parse("yaml:", rest)?,
        scheme => {
            return Err(ConfigFault::new(format!(
                "config source {source:?}: scheme {scheme:?} is not supported; have file, env, yaml"
            )));
        }
    };
    unflatten(node)
}

/// `a.b.c=value` as nested maps; the value is YAML.
fn parse_set(set: &str) -> Result<Node, ConfigFault> {
    let Some((path, value)) = set.split_once('=') else {
        return Err(ConfigFault::new(format!("--set {set:?}: missing equal sign, want key.key=value")));
    };
    let keys: Vec<&str> = path.split('.').collect();
    if keys.iter().any(|key| key.is_empty()) {
        return Err(ConfigFault::new(format!("--set {set:?}: an empty key, want key.key=value")));
    }
    let mut node = yaml::parse(&format!("--set {path}"), value)?;
    if value.is_empty() {
        // As in the collector, nothing is an empty text and not null.
        node.value = NodeValue::Scalar(Scalar { text: String::new(), is_text: true, original: None });
    }
    Ok(nest(&keys, node))
}

fn nest(keys: &[&str], node: Node) -> Node {
    keys.iter().rev().fold(node, |node, key| {
        let place = node.place.clone();
        let entry = Entry { key: (*key).to_owned(), place: place.clone(), node };
        Node { value: NodeValue::Map(vec![entry]), place }
    })
}

/// Turns keys with `::` into nested maps.
fn unflatten(node: Node) -> Result<Node, ConfigFault> {
    let Node { value, place } = node;
    let value = match value {
        NodeValue::Map(entries) => {
            let mut out = Node { value: NodeValue::Map(Vec::new()), place: place.clone() };
            for Entry { key, place: key_place, node } in entries {
                let node = unflatten(node)?;
                let keys: Vec<&str> = key.split("::").collect();
                if keys.len() > 1 && keys.iter().any(|key| key.is_empty()) {
                    return Err(ConfigFault::at(&key_place, format!("key {key:?} has an empty part")));
                }
                if keys.len() == 1 {
                    let entry = Entry { key, place: key_place, node };
                    out = merge(out, Node { value: NodeValue::Map(vec![entry]), place: place.clone() });
                } else {
                    out = merge(out, nest(&keys, node));
                }
            }
            out.value
        }
        NodeValue::List(items) => {
            NodeValue::List(items.into_iter().map(unflatten).collect::<Result<_, ConfigFault>>()?)
        }
        scalar => scalar,
    };
    Ok(Node { value, place })
}

/// `over` on top of `base`: maps merge key by key, anything else replaces.
fn merge(base: Node, over: Node) -> Node {
    match (base.value, over.value) {
        (NodeValue::Map(mut entries), NodeValue::Map(more)) => {
            for entry in more {
                match entries.iter().position(|own| own.key == entry.key) {
                    None => entries.push(entry),
                    Some(index) => {
                        let own = &mut entries[index];
                        let node = std::mem::replace(&mut own.node, Node::null(over.place.clone()));
                        own.node = merge(node, entry.node);
                        own.place = entry.place;
                    }
                }
            }
            NodeValue::Map(entries).placed(base.place)
        }
        (_, value) => value.placed(over.place),
    }
}

impl NodeValue {
    fn placed(self, place: Place) -> Node {
        Node { value: self, place }
    }
}

#[cfg(test)]
mod tests;
