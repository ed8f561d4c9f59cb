//! Texts to trees, by the rules of `encoding/xml` of Go in its strict mode.

use super::{DEPTH_MAX, Document, Element, Id, NodeKind, ROOT, prefix};
use crate::error::{Eval, RunError};

/// Reads a document.
pub(crate) fn read(text: &str) -> Eval<Document> {
    Reader { text, at: 0, document: Document::empty(), open: vec![ROOT], prefixes: vec!["xml"] }.document()
}

/// A tag with its attributes.
struct Tag<'a> {
    name: &'a str,
    attributes: Vec<(String, String)>,
    is_closed: bool,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    document: Document,
    /// The elements around the place, the document first.
    open: Vec<Id>,
    /// Prefixes of namespaces that some element so far declares.
    prefixes: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    fn error(&self, reason: impl std::fmt::Display) -> RunError {
        let line = self.text[..self.at.min(self.text.len())].matches('\n').count() + 1;
        RunError::new(format!("XML syntax error on line {line}: {reason}"))
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// What stands before `end`, which is passed.
    fn until(&mut self, end: &str) -> Eval<&'a str> {
        match self.rest().find(end) {
            Some(len) => {
                let found = &self.rest()[..len];
                self.at += len + end.len();
                Ok(found)
            }
            None => Err(self.error("unexpected EOF")),
        }
    }

    fn parent(&self) -> Id {
        self.open.last().copied().unwrap_or(ROOT)
    }

    fn push(&mut self, kind: NodeKind) -> Eval<Id> {
        let parent = self.parent();
        self.document.push(parent, kind)
    }

    fn document(mut self) -> Eval<Document> {
        while !self.rest().is_empty() {
            let rest = self.rest();
            if let Some(content) = rest.strip_prefix("<![CDATA[") {
                self.at = self.text.len() - content.len();
                let content = self.until("]]>")?;
                let content = self.plain(content, false)?;
                self.push(NodeKind::Cdata(content))?;
            } else if rest.starts_with("<!--") {
                self.at += 4;
                let content = self.until("--")?;
                if !self.rest().starts_with('>') {
                    return Err(self.error("invalid sequence \"--\" not allowed in comments"));
                }
                self.at += 1;
                self.push(NodeKind::Comment(content.to_owned()))?;
            } else if rest.starts_with("<?") {
                self.instruction()?;
            } else if rest.starts_with("<!") {
                self.directive()?;
            } else if rest.starts_with("</") {
                self.end()?;
            } else if rest.starts_with('<') {
                self.start()?;
            } else {
                let len = rest.find('<').unwrap_or(rest.len());
                let text = self.plain(&rest[..len], true)?;
                if rest[..len].contains("]]>") {
                    return Err(self.error("unescaped ]]> not in CDATA section"));
                }
                self.at += len;
                self.push(NodeKind::Text(text))?;
            }
        }
        if self.open.len() > 1 {
            return Err(self.error("unexpected EOF"));
        }
        Ok(self.document)
    }

    fn instruction(&mut self) -> Eval<()> {
        self.at += 2;
        let content = self.until("?>")?;
        let len = name_len(content);
        if len == 0 {
            return Err(self.error("expected target name after <?"));
        }
        let (target, content) = (&content[..len], content[len..].trim());
        if target != "xml" {
            self.push(NodeKind::Instruction(target.to_owned(), content.to_owned()))?;
            return Ok(());
        }
        let mut attributes = Vec::new();
        for pair in content.split(' ') {
            let Some((name, value)) = pair.trim().split_once('=') else { continue };
            let value = value.trim_matches(['"', '\'']);
            match name {
                "version" if value != "1.0" => {
                    return Err(RunError::new(format!(
                        "xml: unsupported version {value:?}; only version 1.0 is supported"
                    )));
                }
                "encoding" if !["utf-8", "utf8", "us-ascii"].contains(&&*value.to_lowercase()) => {
                    return Err(RunError::new(format!(
                        "xml: the encoding {value:?} is not supported; have utf-8"
                    )));
                }
                _ => attributes.push(format!("{name}=\"{value}\"")),
            }
        }
        self.push(NodeKind::Instruction(target.to_owned(), attributes.join(" ")))?;
        Ok(())
    }

    /// `<!DOCTYPE …>`: brackets and quotes in it nest.
    fn directive(&mut self) -> Eval<()> {
        let start = self.at + 2;
        let (mut depth, mut quote) = (0, None);
        for (offset, c) in self.text[start..].char_indices() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '<') => depth += 1,
                (None, '>') if depth == 0 => {
                    let content = self.text[start..start + offset].to_owned();
                    self.at = start + offset + 1;
                    self.push(NodeKind::Directive(content))?;
                    return Ok(());
                }
                (None, '>') => depth -= 1,
                (None, _) => {}
            }
        }
        Err(self.error("unexpected EOF"))
    }

    fn end(&mut self) -> Eval<()> {
        self.at += 2;
        let name = self.name("expected element name after </")?;
        self.skip_space();
        if !self.rest().starts_with('>') {
            return Err(self.error(format!("invalid characters between </{name} and >")));
        }
        self.at += 1;
        let open = self.open.pop().filter(|id| *id != ROOT);
        match open.and_then(|id| self.document.element(id)) {
            None => Err(self.error(format!("unexpected end element </{name}>"))),
            Some(element) if element.name != name => {
                let message = format!("element <{}> closed by </{name}>", element.name);
                Err(self.error(message))
            }
            Some(_) => Ok(()),
        }
    }

    fn start(&mut self) -> Eval<()> {
        let tag = self.tag()?;
        if !tag_prefix_is_known(tag.name, &self.prefixes) {
            return Err(RunError::new(format!(
                "xmlquery: invalid XML document, namespace {} is missing",
                prefix(tag.name)
            )));
        }
        let element = Element { name: tag.name.to_owned(), attributes: tag.attributes };
        let id = self.push(NodeKind::Element(element))?;
        if !tag.is_closed {
            if self.open.len() > DEPTH_MAX {
                return Err(RunError::new(format!("exceeded maximum XML nesting depth of {DEPTH_MAX}")));
            }
            self.open.push(id);
        }
        Ok(())
    }

    fn tag(&mut self) -> Eval<Tag<'a>> {
        self.at += 1;
        let name = self.name("expected element name after <")?;
        let mut attributes = Vec::new();
        loop {
            self.skip_space();
            if self.rest().starts_with("/>") {
                self.at += 2;
                return Ok(Tag { name, attributes, is_closed: true });
            }
            if self.rest().starts_with('>') {
                self.at += 1;
                return Ok(Tag { name, attributes, is_closed: false });
            }
            if self.rest().is_empty() {
                return Err(self.error("unexpected EOF"));
            }
            let attribute = self.name("expected attribute name in element")?;
            self.skip_space();
            if !self.rest().starts_with('=') {
                return Err(self.error("attribute name without = in element"));
            }
            self.at += 1;
            self.skip_space();
            let Some(quote @ ('"' | '\'')) = self.rest().chars().next() else {
                return Err(self.error("unquoted or missing attribute value in element"));
            };
            self.at += 1;
            let raw = self.until(if quote == '"' { "\"" } else { "'" })?;
            if raw.contains('<') {
                return Err(self.error("unescaped < inside quoted string"));
            }
            let value = self.plain(raw, true)?;
            if let Some(declared) = attribute.strip_prefix("xmlns:")
                && !self.prefixes.contains(&declared)
            {
                self.prefixes.push(declared);
            }
            attributes.push((attribute.to_owned(), value));
        }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn name(&mut self, otherwise: &str) -> Eval<&'a str> {
        let rest = self.rest();
        let len = name_len(rest);
        if len == 0 {
            return Err(self.error(otherwise));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    /// Text with its line ends made plain and, outside of CDATA, its entities replaced.
    fn plain(&self, raw: &str, has_entities: bool) -> Eval<String> {
        let mut out = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\r' => {
                    rest = rest.strip_prefix('\n').unwrap_or(rest);
                    out.push('\n');
                }
                '&' if has_entities => {
                    let Some((entity, after)) = rest.split_once(';').filter(|(entity, _)| entity.len() < 16)
                    else {
                        let word: String =
                            rest.chars().take_while(|c| c.is_alphanumeric()).take(16).collect();
                        return Err(self.error(format!("invalid character entity &{word} (no semicolon)")));
                    };
                    match entity_char(entity) {
                        Some(c) => out.push(c),
                        None => return Err(self.error(format!("invalid character entity &{entity};"))),
                    }
                    rest = after;
                }
                c if is_char(c) => out.push(c),
                c => return Err(self.error(format!("illegal character code U+{:04X}", u32::from(c)))),
            }
        }
        Ok(out)
    }
}

fn tag_prefix_is_known(name: &str, prefixes: &[&str]) -> bool {
    let prefix = prefix(name);
    prefix.is_empty() || prefixes.contains(&prefix)
}

fn entity_char(entity: &str) -> Option<char> {
    match entity {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|c| is_char(*c))
        }
    }
}

/// Whether a character may stand in a document (XML 1.0, section 2.2).
fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Bytes of the name at the start of a text, its prefix included.
pub(super) fn name_len(text: &str) -> usize {
    let is_first = |c: char| c.is_alphabetic() || c == '_' || c == ':';
    let is_next = |c: char| is_first(c) || c.is_numeric() || c == '-' || c == '.';
    match text.chars().next() {
        Some(c) if is_first(c) => text.find(|c| !is_next(c)).unwrap_or(text.len()),
        _ => 0,
    }
}
