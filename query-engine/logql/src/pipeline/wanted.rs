//! Which labels the parsers of a metric query need to make (pkg/logql/log/parser_hints.go).
//!
//! This is more than speed: a parser that is not needed does not run, and one that has found everything stops, so
//! that a damaged line is then no error. Loki's users rely on `sum(count_over_time({…} | json [5m]))` over mixed lines.

use super::entry_labels::{CLASH_SUFFIX, ERROR_LABEL};

/// What parsers should look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    nothing: bool,
    /// Empty: everything.
    names: Vec<String>,
    preserves_errors: bool,
}

impl Wanted {
    /// Everything: log queries, and metric queries that keep all labels.
    pub(crate) fn everything() -> Self {
        Self::default()
    }

    /// No label at all: the result has none and no stage reads one.
    pub(crate) fn nothing_at_all() -> Self {
        Self { nothing: true, ..Self::default() }
    }

    /// Just these. A name with the clash suffix is also looked for without it, because a parser meets it that way.
    pub(crate) fn only<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut wanted = Self::default();
        let mut add = |name: &str| {
            if !name.is_empty() && !wanted.names.iter().any(|known| known == name) {
                wanted.names.push(name.to_owned());
            }
        };
        for name in names {
            add(name);
            if let Some(stem) = name.strip_suffix(CLASH_SUFFIX) {
                add(stem);
            }
        }
        wanted.preserves_errors = wanted.names.iter().any(|name| name == ERROR_LABEL);
        wanted
    }

    pub(crate) fn nothing(&self) -> bool {
        self.nothing
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn preserves_errors(&self) -> bool {
        self.preserves_errors
    }

    pub(crate) fn is_required(&self, name: &str) -> bool {
        self.names.iter().any(|wanted| wanted == name)
    }

    /// Whether a parser should make label `name`.
    pub(crate) fn should_extract(&self, name: &str) -> bool {
        self.names.is_empty() || self.is_required(name)
    }

    /// Whether a parser should make label `name`, or with the clash suffix if it clashes.
    pub(crate) fn may_extract(&self, name: &str) -> bool {
        let is_wanted = |wanted: &String| wanted == name || wanted.strip_suffix(CLASH_SUFFIX) == Some(name);
        self.names.is_empty() || self.names.iter().any(is_wanted)
    }

    /// Whether a label below the nested key `prefix` may be wanted.
    pub(crate) fn should_extract_below(&self, prefix: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| name.starts_with(prefix))
    }
}
