//! XML documents as trees: read, looked at with paths, changed and written again.
//!
//! What is well-formed is what `encoding/xml` of Go takes in its strict mode; how a tree is written is how
//! github.com/antchfx/xmlquery writes it, because texts that statements leave in telemetry must be equal. A document may
//! have several roots. Nodes, depth and so memory are capped: a tree is some 100 bytes a node.

mod path;
mod read;
mod select;

pub(crate) use path::Path;
pub(crate) use read::read;

use crate::error::{Eval, RunError};

/// Most nodes and attributes of a document.
const NODES_MAX: usize = 1 << 18;
/// Deepest nesting of elements.
const DEPTH_MAX: usize = 256;

/// A place in the tree.
pub(crate) type Id = usize;

/// The document's own node.
pub(crate) const ROOT: Id = 0;

/// A document. Nodes are numbered in document order as they were read.
#[derive(Debug)]
pub(crate) struct Document {
    nodes: Vec<Node>,
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    pub(crate) parent: Option<Id>,
    pub(crate) children: Vec<Id>,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    Document,
    Element(Element),
    Text(String),
    Cdata(String),
    Comment(String),
    /// `<?target content?>`.
    Instruction(String, String),
    /// `<!content>`.
    Directive(String),
}

/// An element's names: with their prefixes, as they were written.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
}

/// A name without its prefix.
pub(crate) fn local(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, local)| local)
}

/// A name's prefix, "" without one.
pub(crate) fn prefix(name: &str) -> &str {
    name.split_once(':').map_or("", |(prefix, _)| prefix)
}

/// A node or attribute that a path found. The order is that of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Found {
    Node(Id),
    /// An element and the position of its attribute.
    Attribute(Id, usize),
}

impl Document {
    /// A document without content.
    pub(crate) fn empty() -> Self {
        Self { nodes: vec![Node { kind: NodeKind::Document, parent: None, children: Vec::new() }] }
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    pub(crate) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id]
    }

    pub(crate) fn element(&self, id: Id) -> Option<&Element> {
        match &self.nodes[id].kind {
            NodeKind::Element(element) => Some(element),
            _ => None,
        }
    }

    /// Adds a node behind the children of `parent`.
    pub(crate) fn push(&mut self, parent: Id, kind: NodeKind) -> Eval<Id> {
        let id = self.nodes.len();
        if id >= NODES_MAX {
            return Err(RunError::new(format!("the xml has more than {NODES_MAX} nodes")));
        }
        self.nodes.push(Node { kind, parent: Some(parent), children: Vec::new() });
        self.nodes[parent].children.push(id);
        Ok(id)
    }

    /// Adds a copy of everything below `from` of another document below `to`.
    pub(crate) fn graft(&mut self, to: Id, other: &Self, from: Id) -> Eval<()> {
        for child in &other.node(from).children {
            let id = self.push(to, other.node(*child).kind.clone())?;
            self.graft(id, other, *child)?;
        }
        Ok(())
    }

    /// Takes a node out of the tree.
    pub(crate) fn remove(&mut self, id: Id) {
        if let Some(parent) = self.nodes[id].parent.take() {
            self.nodes[parent].children.retain(|child| *child != id);
        }
    }

    /// The texts in and below a node, one after the other.
    pub(crate) fn inner_text(&self, id: Id) -> String {
        let mut out = String::new();
        self.put_inner_text(id, &mut out);
        out
    }

    fn put_inner_text(&self, id: Id, out: &mut String) {
        match &self.nodes[id].kind {
            NodeKind::Text(text) | NodeKind::Cdata(text) => out.push_str(text),
            NodeKind::Comment(_) => {}
            _ => self.nodes[id].children.iter().for_each(|child| self.put_inner_text(*child, out)),
        }
    }

    /// The document as text.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.nodes[ROOT].children.iter().for_each(|child| self.put(*child, &mut out));
        out
    }

    /// Appends a node as text.
    pub(crate) fn put(&self, id: Id, out: &mut String) {
        match &self.nodes[id].kind {
            NodeKind::Document => {}
            NodeKind::Text(text) => put_escaped(text, out),
            NodeKind::Cdata(text) => put_all(out, &["<![CDATA[", text, "]]>"]),
            NodeKind::Comment(text) => put_all(out, &["<!--", text, "-->"]),
            NodeKind::Instruction(target, content) if content.is_empty() => {
                put_all(out, &["<?", target, "?>"]);
            }
            NodeKind::Instruction(target, content) => put_all(out, &["<?", target, " ", content, "?>"]),
            NodeKind::Directive(content) => put_all(out, &["<!", content, ">"]),
            NodeKind::Element(element) => {
                put_all(out, &["<", &element.name]);
                for (name, value) in &element.attributes {
                    put_all(out, &[" ", name, "=\""]);
                    put_escaped(value, out);
                    out.push('"');
                }
                out.push('>');
                self.nodes[id].children.iter().for_each(|child| self.put(*child, out));
                put_all(out, &["</", &element.name, ">"]);
            }
        }
    }
}

fn put_all(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
}

/// Text as `html.EscapeString` of Go writes it.
pub(crate) fn put_escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests;
