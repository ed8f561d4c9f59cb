//! Regular expressions that a template writes out: each is compiled at its first use and kept.

use std::sync::OnceLock;

use regex::Regex;

use super::node::{self, Node};
use crate::go_regex;

/// How many are kept: each may take MiB.
const KEPT_MAX: usize = 32;

/// The patterns of one template.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns(Vec<(String, OnceLock<Result<Regex, String>>)>);

/// Whether a function's first argument is a pattern.
pub(super) fn takes_pattern(function: &str) -> bool {
    matches!(function, "count" | "regexReplaceAll" | "regexReplaceAllLiteral")
}

impl Patterns {
    /// Those that nodes write out.
    pub(super) fn of(nodes: &[Node]) -> Self {
        let mut patterns = Vec::new();
        node::collect_patterns(nodes, &mut patterns);
        patterns.sort_unstable();
        patterns.dedup();
        patterns.truncate(KEPT_MAX);
        Self(patterns.into_iter().map(|pattern| (pattern, OnceLock::new())).collect())
    }

    /// Whether a pattern is compiled no more than once.
    pub(super) fn keeps(&self, pattern: &str) -> bool {
        self.0.iter().any(|(known, _)| known == pattern)
    }

    /// Calls `f` with the pattern, compiled.
    pub(super) fn with<T>(
        &self,
        pattern: &str,
        f: impl FnOnce(&Regex) -> Result<T, String>,
    ) -> Result<T, String> {
        match self.0.iter().find(|(known, _)| known == pattern) {
            Some((_, kept)) => f(kept.get_or_init(|| go_regex::compile(pattern)).as_ref()?),
            None => f(&go_regex::compile(pattern)?),
        }
    }
}
