//! Functions of XML (func_*_xml.go of `pkg/ottl/ottlfuncs`).

use std::borrow::Cow;

use super::{Args, Function, Kind, Prepared, converter, may, need};
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::value::{Filling, Map, Value};
use crate::xml::{Document, Element, Found, Id, NodeKind, Path, ROOT, local, put_escaped, read};

pub(super) const TABLE: &[Function] = &[
    converter("ParseXML", &[need("target", Kind::Text)], |args, frame| {
        let text = args.text(0, frame)?;
        parse_xml(&text).map(Value::Map)
    }),
    converter("ParseSimplifiedXML", &[need("target", Kind::Text)], |args, frame| {
        let document = load(&args.text(0, frame)?)?;
        simplified(&document, ROOT, 1).map(Value::Map)
    }),
    converter("GetXML", &[need("target", Kind::Text), need("xpath", Kind::LiteralText)], get_xml)
        .prepared(|args| prepare(args, "")),
    converter("RemoveXML", &[need("target", Kind::Text), need("xpath", Kind::LiteralText)], remove_xml)
        .prepared(|args| prepare(args, "")),
    converter(
        "InsertXML",
        &[need("target", Kind::Text), need("xpath", Kind::LiteralText), need("sub_document", Kind::Text)],
        insert_xml,
    )
    .prepared(|args| prepare(args, "")),
    converter(
        "ConvertAttributesToElementsXML",
        &[need("target", Kind::Text), may("xpath", Kind::LiteralText)],
        attributes_to_elements,
    )
    .prepared(|args| prepare(args, "//@*")),
    converter(
        "ConvertTextToElementsXML",
        &[
            need("target", Kind::Text),
            may("xpath", Kind::LiteralText),
            may("element_name", Kind::LiteralText),
        ],
        text_to_elements,
    )
    .prepared(|args| prepare(args, "/")),
];

/// Reads the path; `otherwise` where none is given.
fn prepare(args: &Args, otherwise: &str) -> Result<Prepared, String> {
    let text = args.literal_text(1).filter(|text| !text.is_empty()).unwrap_or(otherwise);
    Path::parse(text).map(Prepared::Xpath)
}

fn select(document: &Document, args: &Args) -> Eval<Vec<Found>> {
    match &args.prepared {
        Prepared::Xpath(path) => document.select(path),
        _ => Err(RunError::new("invalid xpath")),
    }
}

/// A document with at least one element.
fn load(text: &str) -> Eval<Document> {
    let document = read(text).map_err(|error| RunError::new(format!("parse xml: {error}")))?;
    match document.node(ROOT).children.iter().any(|child| document.element(*child).is_some()) {
        true => Ok(document),
        false => Err(RunError::new("parse xml: xmlquery: invalid XML document")),
    }
}

/// The same of a text that may be empty.
fn load_or_empty(text: &str) -> Eval<Document> {
    if text.is_empty() { Ok(Document::empty()) } else { load(text) }
}

fn get_xml<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let text = args.text(0, frame)?;
    let document = load_or_empty(&text)?;
    let mut out = String::new();
    for found in select(&document, args)? {
        match (found, &document.node(found.id()).kind) {
            (Found::Attribute(id, index), NodeKind::Element(_)) => {
                let attributes = document.element(id).map_or(&[][..], |element| &element.attributes);
                put_escaped(attributes.get(index).map_or("", |(_, value)| value), &mut out);
            }
            (Found::Node(_), NodeKind::Cdata(text)) => put_escaped(text, &mut out),
            (Found::Node(id), NodeKind::Element(_) | NodeKind::Text(_)) => document.put(id, &mut out),
            _ => {}
        }
    }
    Ok(Value::text(out))
}

fn remove_xml<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let mut document = load_or_empty(&args.text(0, frame)?)?;
    // The last one first, so that positions of attributes stay true.
    for found in select(&document, args)?.into_iter().rev() {
        match found {
            Found::Attribute(id, index) => {
                if let NodeKind::Element(element) = &mut document.node_mut(id).kind {
                    element.attributes.remove(index);
                }
            }
            Found::Node(id) => match &mut document.node_mut(id).kind {
                NodeKind::Text(text) => text.clear(),
                NodeKind::Element(_) | NodeKind::Comment(_) | NodeKind::Cdata(_) => document.remove(id),
                _ => {}
            },
        }
    }
    Ok(Value::text(document.text()))
}

fn insert_xml<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let mut document = load_or_empty(&args.text(0, frame)?)?;
    let inserted = load(&args.text(2, frame)?)?;
    for found in select(&document, args)? {
        let kind = &document.node(found.id()).kind;
        match (found, kind) {
            (Found::Node(id), NodeKind::Element(_) | NodeKind::Document) => {
                document.graft(id, &inserted, ROOT)?;
            }
            (Found::Attribute(id, index), _) => {
                let attributes = document.element(id).map_or(&[][..], |element| &element.attributes);
                let name = attributes.get(index).map_or("", |(name, _)| local(name));
                return Err(RunError::new(format!("InsertXML XPath selected non-element: {name:?}")));
            }
            (Found::Node(_), NodeKind::Text(text) | NodeKind::Cdata(text) | NodeKind::Comment(text)) => {
                return Err(RunError::new(format!("InsertXML XPath selected non-element: {text:?}")));
            }
            _ => return Err(RunError::new("InsertXML XPath selected non-element: \"\"")),
        }
    }
    Ok(Value::text(document.text()))
}

fn attributes_to_elements<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let mut document = load(&args.text(0, frame)?)?;
    let mut moved: Vec<(Id, String)> = Vec::new();
    for found in select(&document, args)? {
        let Found::Attribute(id, index) = found else { continue };
        let Some((name, value)) = document.element(id).and_then(|e| e.attributes.get(index)).cloned() else {
            continue;
        };
        let element = Element { name: local(&name).to_owned(), attributes: Vec::new() };
        let child = document.push(id, NodeKind::Element(element))?;
        document.push(child, NodeKind::Text(value))?;
        moved.push((id, name));
    }
    for (id, name) in moved {
        if let NodeKind::Element(element) = &mut document.node_mut(id).kind {
            // As upstream, an attribute with a prefix stays beside its element.
            let place =
                element.attributes.iter().position(|(known, _)| *known == name && !name.contains(':'));
            if let Some(place) = place {
                element.attributes.remove(place);
            }
        }
    }
    Ok(Value::text(document.text()))
}

fn text_to_elements<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let mut document = load(&args.text(0, frame)?)?;
    let name = args.literal_text(2).filter(|name| !name.is_empty()).unwrap_or("value");
    for found in select(&document, args)? {
        if let Found::Node(id) = found {
            wrap_texts(&mut document, id, name)?;
        }
    }
    Ok(Value::text(document.text()))
}

/// Puts texts that stand beside other texts or elements into elements of their own.
fn wrap_texts(document: &mut Document, id: Id, name: &str) -> Eval<()> {
    if !matches!(document.node(id).kind, NodeKind::Element(_) | NodeKind::Document) {
        return Ok(());
    }
    let children = document.node(id).children.clone();
    let (mut texts, mut elements) = (0, 0);
    for child in &children {
        match document.node(*child).kind {
            NodeKind::Element(_) => {
                elements += 1;
                wrap_texts(document, *child, name)?;
            }
            NodeKind::Text(_) => texts += 1,
            _ => {}
        }
    }
    if texts == 0 || texts + elements <= 1 {
        return Ok(());
    }
    for child in children {
        let NodeKind::Text(text) = &document.node(child).kind else { continue };
        let text = NodeKind::Text(text.clone());
        let element = Element { name: name.to_owned(), attributes: Vec::new() };
        document.node_mut(child).kind = NodeKind::Element(element);
        document.push(child, text)?;
    }
    Ok(())
}

/// Deepest nesting of elements that becomes a value: two levels each, and what travels nests 64 levels at most.
const VALUE_DEPTH_MAX: usize = 30;

fn too_deep() -> RunError {
    RunError::new(format!("exceeded maximum XML nesting depth of {VALUE_DEPTH_MAX}"))
}

/// The first element as a map of its tag, text, attributes and children.
fn parse_xml(text: &str) -> Eval<Map<'static>> {
    let failed = |error: RunError| RunError::new(format!("unmarshal xml: {error}"));
    let document = read(text).map_err(failed)?;
    let children = &document.node(ROOT).children;
    let place = children.iter().position(|child| document.element(*child).is_some());
    let Some(place) = place else { return Err(RunError::new("unmarshal xml: EOF")) };
    if place + 1 < children.len() {
        return Err(RunError::new("trailing bytes after parsing xml"));
    }
    element_map(&document, children[place], 1)
}

fn element_map(document: &Document, id: Id, depth: usize) -> Eval<Map<'static>> {
    if depth > VALUE_DEPTH_MAX {
        return Err(too_deep());
    }
    let mut map = Map::default();
    let Some(element) = document.element(id) else { return Ok(map) };
    map.put("tag".into(), Value::text(local(&element.name)));
    let (mut content, mut children) = (String::new(), Vec::new());
    for child in &document.node(id).children {
        match &document.node(*child).kind {
            NodeKind::Text(text) | NodeKind::Cdata(text) => content.push_str(text.trim()),
            NodeKind::Element(_) => children.push(Value::Map(element_map(document, *child, depth + 1)?)),
            _ => {}
        }
    }
    if !content.is_empty() {
        map.put("content".into(), Value::text(content));
    }
    if !element.attributes.is_empty() {
        let mut attributes = Filling::default();
        for (name, value) in &element.attributes {
            attributes.put(Cow::Owned(local(name).to_owned()), Value::text(value.clone()));
        }
        map.put("attributes".into(), Value::Map(attributes.finish()));
    }
    if !children.is_empty() {
        map.put("children".into(), Value::List(children));
    }
    Ok(map)
}

/// The elements below a node as a map without attributes; equal names become a list.
fn simplified(document: &Document, id: Id, depth: usize) -> Eval<Map<'static>> {
    if depth > VALUE_DEPTH_MAX {
        return Err(too_deep());
    }
    let name = |id: Id| document.element(id).map(|element| local(&element.name));
    let children = &document.node(id).children;
    let mut counts = std::collections::HashMap::<&str, usize>::new();
    children.iter().filter_map(|child| name(*child)).for_each(|name| *counts.entry(name).or_default() += 1);
    let mut map = Filling::default();
    let mut lists = std::collections::HashMap::<&str, Vec<Value<'static>>>::new();
    for child in children {
        let Some(name) = name(*child) else { continue };
        if document.node(*child).children.is_empty() {
            continue;
        }
        let is_repeated = counts[name] > 1;
        if is_repeated && !lists.contains_key(name) {
            lists.insert(name, Vec::new());
            map.put(Cow::Owned(name.to_owned()), Value::Nil);
        }
        let value = match leaf(document, *child) {
            Some(text) => Value::text(text),
            None => match simplified(document, *child, depth + 1)? {
                inner if inner.0.is_empty() => continue,
                inner => Value::Map(inner),
            },
        };
        match lists.get_mut(name) {
            Some(list) => list.push(value),
            None => map.put(Cow::Owned(name.to_owned()), value),
        }
    }
    for (name, list) in lists {
        map.put(Cow::Owned(name.to_owned()), Value::List(list));
    }
    Ok(map.finish())
}

/// The first text of an element without elements, if it is not empty.
fn leaf(document: &Document, id: Id) -> Option<String> {
    let children = &document.node(id).children;
    if children.iter().any(|child| document.element(*child).is_some()) {
        return None;
    }
    let text = children.iter().find_map(|child| match &document.node(*child).kind {
        NodeKind::Text(text) | NodeKind::Cdata(text) => Some(text.clone()),
        _ => None,
    });
    text.filter(|text| !text.is_empty())
}
