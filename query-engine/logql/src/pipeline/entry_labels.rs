//! The labels of one entry while it passes through a pipeline: stream labels, structured metadata and parsed labels
//! apart, with Loki's rules for names that clash (pkg/logql/log/labels.go).
//!
//! Sketch: one per worker, reset per entry; all text that an entry adds lies in one buffer, so that the steady state
//! allocates nothing. Label sets have about ten labels: linear walks throughout.

use std::sync::Arc;

use hashbrown::HashMap;
use model::{Labels, MetadataPairs};
use xxhash_rust::xxh3::xxh3_64;

use super::names::NameFilter;
use super::wanted::Wanted;
use crate::template::Fields;

/// Appended to a name that a stream label or structured metadata already has.
pub(crate) const CLASH_SUFFIX: &str = "_extracted";
/// Label that carries the kind of error that a stage met.
pub(crate) const ERROR_LABEL: &str = "__error__";
/// Label that carries its text.
pub(crate) const ERROR_DETAILS_LABEL: &str = "__error_details__";
/// Label that lets an error pass through a metric query that asked for errors.
pub(crate) const PRESERVE_ERROR_LABEL: &str = "__preserve_error__";

/// Kinds of errors a stage can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StageError {
    Json,
    Logfmt,
    SampleExtraction,
    LabelFilter,
    TemplateFormat,
}

impl StageError {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Json => "JSONParserErr",
            Self::Logfmt => "LogfmtParserErr",
            Self::SampleExtraction => "SampleExtractionErr",
            Self::LabelFilter => "LabelFilterErr",
            Self::TemplateFormat => "TemplateFormatErr",
        }
    }
}

/// A piece of `text`.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    name: Piece,
    value: Piece,
}

/// From this many parsed labels on they are found by hash.
const INDEX_FROM: usize = 32;

/// Labels of one entry.
#[derive(Clone, Debug)]
pub(crate) struct EntryLabels {
    base: Labels,
    base_names: NameFilter,
    wanted: Arc<Wanted>,
    text: String,
    /// Names that metadata and parsed labels have or had.
    own_names: NameFilter,
    metadata: Vec<Pair>,
    parsed: Vec<Pair>,
    deleted: Vec<Piece>,
    /// Names that a parser once set and a later stage deleted: they count as extracted and are not parsed again.
    forgotten: Vec<Piece>,
    /// Positions in `parsed` by hash of the name, for lines with many members; valid while `indexed` equals its length.
    index: HashMap<u64, u32>,
    indexed: usize,
    required_found: usize,
    /// Empty when there is none; not always a [`StageError`], because metadata may be named `__error__`.
    error: String,
    error_details: String,
}

impl EntryLabels {
    pub(crate) fn new(wanted: Arc<Wanted>) -> Self {
        Self {
            base: Labels::empty(),
            base_names: NameFilter::default(),
            wanted,
            text: String::new(),
            own_names: NameFilter::default(),
            metadata: Vec::new(),
            parsed: Vec::new(),
            deleted: Vec::new(),
            forgotten: Vec::new(),
            index: HashMap::new(),
            indexed: 0,
            required_found: 0,
            error: String::new(),
            error_details: String::new(),
        }
    }

    /// Turns to another stream.
    pub(crate) fn set_stream(&mut self, base: &Labels) {
        self.base = base.clone();
        self.base_names = NameFilter::default();
        base.iter().for_each(|(name, _)| self.base_names.insert(name));
    }

    /// Turns to the next entry of the stream.
    pub(crate) fn reset(&mut self, metadata: MetadataPairs<'_>) {
        self.text.clear();
        self.own_names = NameFilter::default();
        self.metadata.clear();
        self.parsed.clear();
        self.deleted.clear();
        self.forgotten.clear();
        self.forget_index();
        self.required_found = 0;
        self.error.clear();
        self.error_details.clear();
        for (name, value) in metadata {
            self.add_metadata(name, value);
        }
    }

    fn add_metadata(&mut self, name: &str, value: &str) {
        let name = if self.base_has(name) {
            let start = self.text.len();
            self.text.push_str(name);
            self.text.push_str(CLASH_SUFFIX);
            self.piece_from(start)
        } else if name == ERROR_LABEL {
            self.error.push_str(value);
            return;
        } else if name == ERROR_DETAILS_LABEL {
            self.error_details.push_str(value);
            return;
        } else {
            self.store(name)
        };
        let value = self.store(value);
        let known = self.metadata.iter().position(|pair| self.str(pair.name) == self.str(name));
        match known {
            Some(index) => self.metadata[index].value = value,
            None => {
                let added = &self.text[name.start as usize..name.end as usize];
                self.own_names.insert(added);
                self.metadata.push(Pair { name, value });
            }
        }
    }

    fn store(&mut self, text: &str) -> Piece {
        let start = self.text.len();
        self.text.push_str(text);
        self.piece_from(start)
    }

    fn piece_from(&self, start: usize) -> Piece {
        let offset = |at: usize| u32::try_from(at).expect("a line and its labels stay far below 4 GiB");
        Piece { start: offset(start), end: offset(self.text.len()) }
    }

    fn str(&self, piece: Piece) -> &str {
        &self.text[piece.start as usize..piece.end as usize]
    }

    /// Which labels parsers should look for.
    pub(crate) fn wanted(&self) -> &Arc<Wanted> {
        &self.wanted
    }

    /// Bytes of text that the entry has added so far.
    pub(crate) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Whether no parser needs to run any more.
    pub(crate) fn needs_nothing(&self) -> bool {
        self.wanted.nothing() || self.found_all_required()
    }

    /// Whether the query names its labels and all have been found.
    pub(crate) fn found_all_required(&self) -> bool {
        let required = self.wanted.names().len();
        required > 0 && self.required_found >= required
    }

    /// Whether the stream has label `name`.
    pub(crate) fn base_has(&self, name: &str) -> bool {
        self.base_names.may_have(name) && self.base.get(name).is_some()
    }

    /// Whether a parsed label of this name must take the suffix.
    pub(crate) fn clashes(&self, name: &str) -> bool {
        self.base_has(name) || self.find_metadata(name).is_some()
    }

    /// Whether an earlier parser, or an earlier pair of the same line, already gave `name`.
    pub(crate) fn is_extracted(&self, name: &str) -> bool {
        self.own_names.may_have(name)
            && (self.find_parsed(name).is_some()
                || self.forgotten.iter().any(|piece| self.str(*piece) == name))
    }

    /// Position of structured metadata.
    fn find_metadata(&self, name: &str) -> Option<usize> {
        if self.own_names.may_have(name) { self.find(&self.metadata, name) } else { None }
    }

    /// Position of a parsed label.
    fn find_parsed(&self, name: &str) -> Option<usize> {
        if !self.own_names.may_have(name) {
            return None;
        }
        if self.indexed == 0 || self.indexed != self.parsed.len() {
            return self.find(&self.parsed, name);
        }
        let position = *self.index.get(&xxh3_64(name.as_bytes()))? as usize;
        // Names whose hashes collide share a place in the index: look at all of them then.
        if self.str(self.parsed[position].name) == name {
            Some(position)
        } else {
            self.find(&self.parsed, name)
        }
    }

    /// Keeps the index up with one more parsed label.
    fn index_last(&mut self) {
        let length = self.parsed.len();
        if length < INDEX_FROM {
            return;
        }
        if self.indexed + 1 != length {
            self.index.clear();
            self.indexed = 0;
        }
        for position in self.indexed..length {
            let hash = xxh3_64(self.str(self.parsed[position].name).as_bytes());
            self.index.insert(hash, u32::try_from(position).expect("a line has fewer members than bytes"));
        }
        self.indexed = length;
    }

    fn forget_index(&mut self) {
        if self.indexed > 0 {
            self.index.clear();
            self.indexed = 0;
        }
    }

    fn find(&self, pairs: &[Pair], name: &str) -> Option<usize> {
        pairs.iter().position(|pair| self.str(pair.name) == name)
    }

    /// The label's value. Metadata and parsed labels hide stream labels.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        if let Some(index) = self.find_metadata(name) {
            return Some(self.str(self.metadata[index].value));
        }
        if let Some(index) = self.find_parsed(name) {
            return Some(self.str(self.parsed[index].value));
        }
        if self.is_deleted(name) {
            return None;
        }
        self.base.get(name)
    }

    fn is_deleted(&self, name: &str) -> bool {
        self.deleted.iter().any(|piece| self.str(*piece) == name)
    }

    /// Sets a parsed label; it replaces structured metadata of the same name.
    pub(crate) fn set_parsed(&mut self, name: &str, value: &str) {
        if let Some(index) = self.find_metadata(name) {
            self.metadata.remove(index);
        }
        let value = self.store(value);
        if let Some(index) = self.find_parsed(name) {
            self.parsed[index].value = value;
            return;
        }
        let newly = !self.is_extracted(name);
        self.own_names.insert(name);
        let piece = self.store(name);
        self.parsed.push(Pair { name: piece, value });
        self.index_last();
        if newly && self.wanted.is_required(name) {
            self.required_found += 1;
        }
    }

    /// Removes a label of whatever kind.
    pub(crate) fn delete(&mut self, name: &str) {
        if let Some(index) = self.find_metadata(name) {
            self.metadata.remove(index);
        }
        if let Some(index) = self.find_parsed(name) {
            let pair = self.parsed.remove(index);
            self.forgotten.push(pair.name);
            self.forget_index();
        }
        let piece = self.store(name);
        self.deleted.push(piece);
    }

    /// Removes all labels but those that `kept` holds for.
    pub(crate) fn retain(&mut self, kept: impl Fn(&str, &str) -> bool) {
        let gone_from_base: Vec<String> = self
            .stream_labels()
            .filter(|(name, value)| !kept(name, value))
            .map(|(name, _)| name.to_owned())
            .collect();
        let text = std::mem::take(&mut self.text);
        let str = |piece: Piece| &text[piece.start as usize..piece.end as usize];
        let keeps = |pair: &Pair| kept(str(pair.name), str(pair.value));
        // A removed label hides a stream label of the same name too.
        let removed = self.metadata.iter().chain(&self.parsed).filter(|pair| !keeps(pair));
        self.deleted.extend(removed.map(|pair| pair.name).filter(|name| self.base.get(str(*name)).is_some()));
        self.forgotten.extend(self.parsed.iter().filter(|pair| !keeps(pair)).map(|pair| pair.name));
        self.metadata.retain(keeps);
        self.parsed.retain(keeps);
        self.text = text;
        self.forget_index();
        for name in gone_from_base {
            let piece = self.store(&name);
            self.deleted.push(piece);
        }
    }

    /// The kind of error, or "".
    pub(crate) fn error(&self) -> &str {
        &self.error
    }

    /// The error's text, or "".
    pub(crate) fn error_details(&self) -> &str {
        &self.error_details
    }

    /// Whether a stage met an error.
    pub(crate) fn has_error(&self) -> bool {
        !self.error.is_empty()
    }

    /// Records that a stage met an error.
    pub(crate) fn set_error(&mut self, error: StageError, details: &str) {
        self.error.clear();
        self.error.push_str(error.as_str());
        self.error_details.clear();
        self.error_details.push_str(details);
    }

    /// Records an error of a parser; a metric query that asks for errors keeps the sample. Without details those of an
    /// earlier error stay, as in Loki.
    pub(crate) fn set_parser_error(&mut self, error: StageError, details: &str) {
        self.error.clear();
        self.error.push_str(error.as_str());
        if !details.is_empty() {
            self.error_details.clear();
            self.error_details.push_str(details);
        }
        if self.wanted.preserves_errors() {
            self.set_parsed(PRESERVE_ERROR_LABEL, "true");
        }
    }

    /// Forgets the error's kind.
    pub(crate) fn clear_error(&mut self) {
        self.error.clear();
    }

    /// Forgets the error's text.
    pub(crate) fn clear_error_details(&mut self) {
        self.error_details.clear();
    }

    /// Whether the entry's labels are just its stream's.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.metadata.is_empty() && self.parsed.is_empty() && self.deleted.is_empty() && self.error.is_empty()
    }

    /// The stream's labels, whatever the pipeline did.
    pub(crate) fn base(&self) -> &Labels {
        &self.base
    }

    /// Stream labels that are left.
    pub(crate) fn stream_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.base.iter().filter(|(name, _)| {
            !self.is_deleted(name) && self.find_metadata(name).is_none() && self.find_parsed(name).is_none()
        })
    }

    /// Structured metadata that is left.
    pub(crate) fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata.iter().map(|pair| (self.str(pair.name), self.str(pair.value)))
    }

    /// Parsed labels, and the error as labels.
    pub(crate) fn parsed(&self) -> impl Iterator<Item = (&str, &str)> {
        let errors = [(ERROR_LABEL, self.error.as_str()), (ERROR_DETAILS_LABEL, self.error_details.as_str())];
        self.parsed
            .iter()
            .map(|pair| (self.str(pair.name), self.str(pair.value)))
            .chain(errors.into_iter().filter(|(_, value)| !value.is_empty()))
    }

    /// All labels, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.stream_labels().chain(self.metadata()).chain(self.parsed())
    }

    /// All labels as a set.
    pub(crate) fn to_labels(&self) -> Labels {
        if self.is_unchanged() && self.error_details.is_empty() {
            return self.base.clone();
        }
        Labels::from_pairs(self.all())
    }
}

impl Fields for EntryLabels {
    fn get(&self, name: &str) -> Option<&str> {
        match name {
            ERROR_LABEL => Some(&self.error),
            ERROR_DETAILS_LABEL => Some(&self.error_details),
            name => self.get(name),
        }
    }

    fn sorted(&self) -> Vec<(&str, &str)> {
        let mut pairs: Vec<(&str, &str)> = self.all().collect();
        pairs.sort_unstable();
        pairs
    }
}
