//! Patterns such as `<ip> - <_> "<method>`: the `pattern` parser and the `|>` line filter (pkg/logql/log/pattern).

use memchr::memmem::Finder;

/// A piece of a pattern.
#[derive(Clone, Debug)]
enum Piece {
    /// `<name>`; `None` for `<_>`.
    Capture(Option<String>),
    Literal(Box<Finder<'static>>),
}

/// A pattern of literals and captures, never two captures in a row.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Vec<Piece>);

impl Pattern {
    /// A pattern for the parser: at least one named capture, each name once.
    pub(crate) fn for_parser(text: &str) -> Result<Self, String> {
        let pieces = split(text);
        let pattern = Self(pieces);
        if pattern.names().next().is_none() {
            return Err("at least one capture is required".to_owned());
        }
        refuse_consecutive(&pattern.0)?;
        let names: Vec<&str> = pattern.names().collect();
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                return Err(format!("duplicate capture name ({name}): invalid expression"));
            }
        }
        Ok(pattern)
    }

    /// A pattern for a line filter: `<_>` only.
    pub(crate) fn for_filter(text: &str) -> Result<Self, String> {
        let pieces = split(text);
        refuse_consecutive(&pieces)?;
        let pattern = Self(pieces);
        if let Some(name) = pattern.names().next() {
            return Err(format!("named captures are not allowed: found '<{name}>'"));
        }
        Ok(pattern)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Capture(name) => name.as_deref(),
            Piece::Literal(_) => None,
        })
    }

    /// The literals, each of which a matching line contains.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Literal(finder) => Some(finder.needle()),
            Piece::Capture(_) => None,
        })
    }

    /// Whether a line matches as a filter: captures take at least one character; a first literal may stand anywhere, a
    /// last one only at the end.
    pub(crate) fn is_match(&self, line: &str) -> bool {
        if line.is_empty() || self.0.is_empty() {
            return line.is_empty() && self.0.is_empty();
        }
        let mut offset = 0;
        for (index, piece) in self.0.iter().enumerate() {
            let Piece::Literal(finder) = piece else { continue };
            match finder.find(&line.as_bytes()[offset..]) {
                None => return false,
                Some(0) if index != 0 => return false,
                Some(at) => offset += at + finder.needle().len(),
            }
        }
        let ends_with_capture = matches!(self.0.last(), Some(Piece::Capture(_)));
        ends_with_capture == (offset != line.len())
    }

    /// Calls `found` with each named capture and its text. A first literal must start the line; a literal that is
    /// missing gives the rest of the line to the capture before it.
    pub(crate) fn captures<'a>(&self, line: &'a str, mut found: impl FnMut(&str, &'a str)) {
        if line.is_empty() {
            return;
        }
        let mut rest = line;
        let mut pieces = self.0.iter().peekable();
        if let Some(Piece::Literal(finder)) = self.0.first() {
            if !rest.as_bytes().starts_with(finder.needle()) {
                return;
            }
            rest = &rest[finder.needle().len()..];
            pieces.next();
        }
        while let Some(piece) = pieces.next() {
            let Piece::Capture(name) = piece else { continue };
            let mut take = |text: &'a str| {
                if let Some(name) = name {
                    found(name, text);
                }
            };
            let Some(Piece::Literal(finder)) = pieces.peek() else { return take(rest) };
            let Some(at) = finder.find(rest.as_bytes()) else { return take(rest) };
            take(&rest[..at]);
            rest = &rest[at + finder.needle().len()..];
        }
    }
}

fn refuse_consecutive(pieces: &[Piece]) -> Result<(), String> {
    let show = |name: &Option<String>| format!("<{}>", name.as_deref().unwrap_or("_"));
    for pair in pieces.windows(2) {
        if let [Piece::Capture(first), Piece::Capture(second)] = pair {
            return Err(format!(
                "found consecutive capture '{}{}': invalid expression",
                show(first),
                show(second)
            ));
        }
    }
    Ok(())
}

fn split(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    let flush = |literal: &mut String, pieces: &mut Vec<Piece>| {
        if !literal.is_empty() {
            pieces.push(Piece::Literal(Box::new(Finder::new(literal.as_bytes()).into_owned())));
            literal.clear();
        }
    };
    while let Some(c) = rest.chars().next() {
        if let Some(name) = capture_name(rest) {
            flush(&mut literal, &mut pieces);
            pieces.push(Piece::Capture((name != "_").then(|| name.to_owned())));
            rest = &rest[name.len() + 2..];
        } else {
            literal.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    flush(&mut literal, &mut pieces);
    pieces
}

/// The name in `<name>` at the start of `text`.
fn capture_name(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('<')?.split_once('>')?;
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    (starts && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')).then_some(name)
}
