//! YAML text to a tree of [`Node`]s.
//!
//! One document a source. Anchors, aliases and `<<` merge keys work; duplicate keys, other tags than the core ones and
//! unbounded growth through aliases are refused. Nesting is capped, so nothing behind this recurses deeply.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span};

use super::error::ConfigFault;
use super::node::{Entry, Node, NodeValue, Place, Scalar};

/// Cap on nested maps and lists.
const DEPTH_MAX: usize = 100;
/// Cap on nodes of one source after aliases are put in place; a large real config has a few thousand.
const NODES_MAX: usize = 1_000_000;

/// Reads one YAML document; no document at all is a null.
pub fn parse(source: &str, text: &str) -> Result<Node, ConfigFault> {
    let mut options = Options::default();
    options.block_nesting_limit = DEPTH_MAX;
    options.flow_nesting_limit = DEPTH_MAX;
    let mut builder = Builder {
        source: source.into(),
        stack: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        root: None,
        documents: 0,
    };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) =
            next.map_err(|error| ConfigFault::at(&builder.place_of(error.marker()), error.info()))?;
        builder.event(event, span)?;
    }
    let start = Place { source: builder.source, line: 1, column: 1 };
    Ok(builder.root.unwrap_or(Node::null(start)))
}

struct Builder {
    source: Arc<str>,
    stack: Vec<Open>,
    /// Each anchored node with its size in nodes and its depth in levels.
    anchors: HashMap<usize, (Node, usize, usize)>,
    /// Nodes so far, those copied by aliases included.
    nodes: usize,
    root: Option<Node>,
    documents: usize,
}

/// A collection that is not closed yet.
struct Open {
    place: Place,
    anchor: usize,
    /// Nodes in the source before it started, to know its size.
    nodes_before: usize,
    /// Levels of the deepest thing inside; aliases can nest deeper than the text does.
    depth_inside: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        key: Option<(String, Place)>,
        /// Values of `<<`, put in when the map closes because its own keys win.
        merges: Vec<Node>,
    },
}

impl Builder {
    fn place_of(&self, marker: &granit_parser::Marker) -> Place {
        Place { source: Arc::clone(&self.source), line: marker.line(), column: marker.col() + 1 }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), ConfigFault> {
        let place = self.place_of(&span.start);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(ConfigFault::at(
                        &place,
                        "a config source holds one YAML document, got another",
                    ));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_str = tag.as_ref().is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
                    return Err(ConfigFault::at(&place, format!("tag {tag} is not supported")));
                }
                let scalar = Scalar {
                    text: text.into_owned(),
                    is_text: is_str || style != ScalarStyle::Plain,
                    original: None,
                };
                self.nodes += 1;
                self.finish(Node { value: NodeValue::Scalar(scalar), place }, anchor, 1, 0)
            }
            Event::SequenceStart(_, anchor, _) => self.open(place, anchor, Items::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                self.open(place, anchor, Items::Map { entries: Vec::new(), key: None, merges: Vec::new() })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => {
                let Some((node, size, depth)) = self.anchors.get(&id).cloned() else {
                    return Err(ConfigFault::at(&place, "an alias inside its own anchor is not supported"));
                };
                self.nodes += size;
                if self.nodes > NODES_MAX {
                    return Err(ConfigFault::at(
                        &place,
                        format!("aliases make this document larger than {NODES_MAX} values"),
                    ));
                }
                self.finish(node, 0, size, depth)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, place: Place, anchor: usize, items: Items) -> Result<(), ConfigFault> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(ConfigFault::at(&place, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.nodes += 1;
        self.stack.push(Open { place, anchor, nodes_before: self.nodes - 1, depth_inside: 0, items });
        Ok(())
    }

    fn close(&mut self) -> Result<(), ConfigFault> {
        let open = self.stack.pop().expect("the parser ends only what it started");
        let size = self.nodes - open.nodes_before;
        let value = match open.items {
            Items::List(items) => NodeValue::List(items),
            Items::Map { mut entries, merges, .. } => {
                merge_into(&mut entries, merges)?;
                NodeValue::Map(entries)
            }
        };
        self.finish(Node { value, place: open.place }, open.anchor, size, open.depth_inside + 1)
    }

    /// Puts a finished node where it belongs.
    fn finish(&mut self, node: Node, anchor: usize, size: usize, depth: usize) -> Result<(), ConfigFault> {
        if depth > DEPTH_MAX {
            return Err(ConfigFault::at(&node.place, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size, depth));
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.depth_inside = open.depth_inside.max(depth);
        match &mut open.items {
            Items::List(items) => items.push(node),
            Items::Map { entries, key, merges } => match key.take() {
                None => {
                    let NodeValue::Scalar(scalar) = &node.value else {
                        return Err(ConfigFault::at(&node.place, "a map or list cannot be a key"));
                    };
                    *key = Some((scalar.text.clone(), node.place.clone()));
                }
                Some((key, _)) if key == "<<" => merges.push(node),
                Some((key, place)) => {
                    if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                        return Err(ConfigFault::at(
                            &place,
                            format!("mapping key {key:?} already defined at line {}", first.place.line),
                        ));
                    }
                    entries.push(Entry { key, place, node });
                }
            },
        }
        Ok(())
    }
}

/// Adds what `<<` names: a map, or a list of maps of which the first that has a key wins.
fn merge_into(entries: &mut Vec<Entry>, merges: Vec<Node>) -> Result<(), ConfigFault> {
    for merge in merges {
        let place = merge.place.clone();
        let maps = match merge.value {
            NodeValue::List(maps) => maps,
            value => vec![Node { value, place: place.clone() }],
        };
        for map in maps {
            let NodeValue::Map(more) = map.value else {
                return Err(ConfigFault::at(
                    &place,
                    "map merge requires map or sequence of maps as the value",
                ));
            };
            for entry in more {
                if entries.iter().all(|own| own.key != entry.key) {
                    entries.push(entry);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
