//! `${…}` references in scalars, by the rules of the collector's confmap (resolver.go, expand.go).
//!
//! `${env:X}`, `${X}`, `${env:X:-default}`, `${file:path}`, `${yaml:text}`, nested; `$$` is a dollar; a bare `$X` is
//! text. A reference that is the whole scalar is read as YAML (its text is kept for text fields); one inside other
//! text is put in as text. An unset variable warns and is empty. Every growth is capped (CONF-2).

use super::error::ConfigFault;
use super::node::{Entry, Node, NodeValue, Place, Scalar};
use super::yaml;

/// Where the values of references come from. A test has its own.
pub trait Surroundings {
    /// The environment variable, if it is set.
    fn env(&self, name: &str) -> Option<String>;

    /// The text of a file.
    fn file(&self, path: &str) -> std::io::Result<String>;
}

/// The process' environment and file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessSurroundings;

/// Cap on a file's size, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

impl Surroundings for ProcessSurroundings {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn file(&self, path: &str) -> std::io::Result<String> {
        use std::io::{Error, Read};
        let mut text = String::new();
        std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        Ok(text)
    }
}

/// Cap on references in one config, those that expanded values bring along included.
const REFERENCES_MAX: usize = 1000;
/// Cap on references inside references.
const DEPTH_MAX: usize = 20;
/// Cap on the text that one scalar grows to, in bytes.
const SCALAR_BYTES_MAX: usize = 16 << 20;

/// Expands every scalar value of a tree (keys stay as they are).
pub struct Expander<'a> {
    surroundings: &'a dyn Surroundings,
    references: usize,
    /// One line for each variable that was not set.
    pub warnings: Vec<String>,
    /// The variables that were not set.
    unset: Vec<String>,
}

/// What a piece of text became.
enum Expanded {
    Text(String),
    /// The text was one reference and nothing else.
    Whole(Node),
}

impl<'a> Expander<'a> {
    /// An expander that has expanded nothing yet.
    pub fn new(surroundings: &'a dyn Surroundings) -> Self {
        Self { surroundings, references: 0, warnings: Vec::new(), unset: Vec::new() }
    }

    /// Expands a tree.
    pub fn expand(&mut self, node: Node) -> Result<Node, ConfigFault> {
        self.node(node, 0)
    }

    fn node(&mut self, node: Node, depth: usize) -> Result<Node, ConfigFault> {
        let Node { value, place } = node;
        let value = match value {
            NodeValue::List(items) => {
                let items: Result<_, _> = items.into_iter().map(|item| self.node(item, depth)).collect();
                NodeValue::List(items?)
            }
            NodeValue::Map(entries) => {
                let entries: Result<_, ConfigFault> = entries
                    .into_iter()
                    .map(|Entry { key, place, node }| {
                        let unset = self.unset.len();
                        let node = self.node(node, depth)?;
                        self.refuse_holes(&key, &node, &place, unset)?;
                        Ok(Entry { key, place, node })
                    })
                    .collect();
                NodeValue::Map(entries?)
            }
            NodeValue::Scalar(scalar) if !scalar.text.contains('$') => NodeValue::Scalar(scalar),
            NodeValue::Scalar(scalar) => match self.text(&scalar.text, &place, depth)? {
                Expanded::Whole(node) => return Ok(Node { place, ..node }),
                // Text put together from pieces stays text, as in the collector; a scalar that only had `$$` too.
                Expanded::Text(text) => NodeValue::Scalar(Scalar { text, is_text: true, original: None }),
            },
        };
        Ok(Node { value, place })
    }

    /// An address of which a variable that is not set took the host away would listen on every interface or send
    /// nowhere, so it is an error and not only a warning. `unset` is how many were not set before this value.
    fn refuse_holes(&self, key: &str, node: &Node, place: &Place, unset: usize) -> Result<(), ConfigFault> {
        let NodeValue::Scalar(scalar) = &node.value else { return Ok(()) };
        let Some(name) = self.unset.get(unset).filter(|_| key.ends_with("endpoint")) else { return Ok(()) };
        let address = scalar.text.rsplit_once("://").map_or(scalar.text.as_str(), |(_, address)| address);
        if !address.is_empty() && !address.starts_with([':', '/']) {
            return Ok(());
        }
        let message = format!(
            "{key} has no host, because the environment variable {name} is not set; set it, or give a default with ${{env:{name}:-…}}"
        );
        Err(ConfigFault::at(place, message))
    }

    fn text(&mut self, text: &str, place: &Place, depth: usize) -> Result<Expanded, ConfigFault> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            out.push_str(&rest[..dollar]);
            let after = &rest[dollar + 1..];
            if let Some(more) = after.strip_prefix('$') {
                out.push('$');
                rest = more;
                continue;
            }
            let Some(end) = after.starts_with('{').then(|| closing_brace(after)).flatten() else {
                out.push('$');
                rest = after;
                continue;
            };
            let node = self.reference(&after[1..end], place, depth)?;
            rest = &after[end + 1..];
            if out.is_empty() && rest.is_empty() && dollar == 0 && text.starts_with("${") {
                return Ok(Expanded::Whole(node));
            }
            let NodeValue::Scalar(scalar) = node.value else {
                return Err(ConfigFault::at(
                    place,
                    format!("expanding ${{{}}}: a map or list cannot stand inside text", &after[1..end]),
                ));
            };
            out.push_str(scalar.original.as_deref().unwrap_or(&scalar.text));
            if out.len() > SCALAR_BYTES_MAX {
                return Err(ConfigFault::at(
                    place,
                    format!("expanding makes a value larger than {SCALAR_BYTES_MAX} bytes"),
                ));
            }
        }
        out.push_str(rest);
        Ok(Expanded::Text(out))
    }

    /// The value of what stands between the braces.
    fn reference(&mut self, inner: &str, place: &Place, depth: usize) -> Result<Node, ConfigFault> {
        self.references += 1;
        if self.references > REFERENCES_MAX || depth >= DEPTH_MAX {
            return Err(ConfigFault::at(
                place,
                format!(
                    "expanding ${{{inner}}}: too many recursive expansions, at most {REFERENCES_MAX} in a config and {DEPTH_MAX} inside each other"
                ),
            ));
        }
        let uri = match self.text(inner, place, depth + 1)? {
            Expanded::Text(text) => text,
            Expanded::Whole(node) => match node.value {
                NodeValue::Scalar(scalar) => scalar.original.unwrap_or(scalar.text),
                _ => return Err(ConfigFault::at(place, "a map or list cannot name a reference")),
            },
        };
        let fault = |message: String| ConfigFault::at(place, format!("expanding ${{{uri}}}: {message}"));
        let raw = match split_scheme(&uri) {
            Some(("env", name)) => self.variable(name, place)?,
            Some(("file", path)) => self
                .surroundings
                .file(path)
                .map_err(|error| fault(format!("unable to read the file: {error}")))?,
            Some(("yaml", text)) => text.to_owned(),
            Some((scheme, _)) => {
                return Err(fault(format!("scheme {scheme:?} is not supported; have env, file, yaml")));
            }
            None => self.variable(&uri, place)?,
        };
        let source = format!("{}: {uri}", place.source);
        let parsed = match yaml::parse(&source, &raw) {
            Ok(node) => node,
            // A value that is no YAML is text, e.g. a password that starts with a bracket.
            Err(_) => Node {
                value: NodeValue::Scalar(Scalar { text: raw.clone(), is_text: true, original: None }),
                place: place.clone(),
            },
        };
        match self.node(parsed, depth + 1)? {
            Node { value: NodeValue::Scalar(mut scalar), place } => {
                // What came from a reference inside keeps its own text; `$$` in the raw text is undone by now.
                scalar.original = Some(match scalar.original.take() {
                    Some(original) => original,
                    None if raw.contains('$') => scalar.text.clone(),
                    None => raw,
                });
                Ok(Node { value: NodeValue::Scalar(scalar), place })
            }
            node => Ok(node),
        }
    }

    fn variable(&mut self, name: &str, place: &Place) -> Result<String, ConfigFault> {
        let (name, default) = match name.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (name, None),
        };
        let mut chars = name.chars();
        let first_ok = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !first_ok || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(ConfigFault::at(
                place,
                format!(
                    "environment variable {name:?} has invalid name: must match regex ^[a-zA-Z_][a-zA-Z0-9_]*$"
                ),
            ));
        }
        match self.surroundings.env(name) {
            Some(value) => Ok(value),
            None => Ok(default.map_or_else(
                || {
                    self.warnings
                        .push(format!("{place}: configuration references unset environment variable {name}"));
                    self.unset.push(name.to_owned());
                    String::new()
                },
                str::to_owned,
            )),
        }
    }
}

/// The position of the `}` that closes the `{` at the start of `text`, references inside counted.
fn closing_brace(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = 1_usize;
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'$' if bytes.get(at + 1) == Some(&b'{') => {
                open += 1;
                at += 1;
            }
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// `scheme:rest`, the scheme as confmap defines it: a letter, then letters, digits, `+`, `.` or `-`, two or more in
/// all. `X:-default` has no scheme.
fn split_scheme(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once(':')?;
    let mut chars = scheme.chars();
    let first_ok = chars.next().is_some_and(|c| c.is_ascii_alphabetic());
    let ok = first_ok
        && scheme.len() >= 2
        && !rest.starts_with('-')
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-'));
    ok.then_some((scheme, rest))
}

#[cfg(test)]
mod tests;
