//! What selecting series has to do whether they are in a head or in a block: what a pattern can match at all, and
//! sorted lists of series numbers against each other.

use model::{MatchOp, Matcher};
use regex_syntax::hir::literal::{ExtractKind, Extractor};

/// What is known about the values that an operator's pattern matches (before a negation).
pub(crate) enum Shortcut {
    /// Every non-empty value.
    Any,
    /// At most these.
    Literals(Vec<String>),
    /// At most values that begin with one of these.
    Prefixes(Vec<String>),
    None,
}

/// Whether the matcher matches `value`, without the regular expression where a prefix decides.
pub(crate) fn answer(matcher: &Matcher, shortcut: &Shortcut, negated: bool, value: &str) -> bool {
    if let Shortcut::Prefixes(prefixes) = shortcut
        && !prefixes.iter().any(|prefix| value.starts_with(prefix))
    {
        return negated;
    }
    matcher.matches(value)
}

pub(crate) fn shortcut(matcher: &Matcher) -> Shortcut {
    match matcher.op() {
        MatchOp::Equal | MatchOp::NotEqual if matcher.value().is_empty() => Shortcut::None,
        MatchOp::Equal | MatchOp::NotEqual => Shortcut::Literals(vec![matcher.value().to_owned()]),
        MatchOp::Regex | MatchOp::NotRegex if matches!(matcher.value(), ".+" | ".*") => Shortcut::Any,
        MatchOp::Regex | MatchOp::NotRegex => regex_shortcut(matcher.value()),
    }
}

pub(crate) fn regex_shortcut(pattern: &str) -> Shortcut {
    let Ok(hir) = regex_syntax::parse(&format!("(?s:{pattern})")) else { return Shortcut::None };
    let literals = Extractor::new().kind(ExtractKind::Prefix).extract(&hir);
    let (exact, Some(literals)) = (literals.is_exact(), literals.literals()) else { return Shortcut::None };
    let texts: Option<Vec<String>> =
        literals.iter().map(|literal| String::from_utf8(literal.as_bytes().to_vec()).ok()).collect();
    match texts {
        Some(texts) if exact && texts.iter().all(|text| !text.is_empty()) => Shortcut::Literals(texts),
        // An empty prefix begins everything.
        Some(texts) if !exact && texts.iter().all(|text| !text.is_empty()) => Shortcut::Prefixes(texts),
        _ => Shortcut::None,
    }
}

/// Keeps what is in both ascending lists.
pub(crate) fn intersect(mut list: Vec<u32>, other: &[u32]) -> Vec<u32> {
    let mut rest = other;
    list.retain(|local| {
        rest = &rest[gallop(rest, *local)..];
        rest.first() == Some(local)
    });
    list
}

/// Takes the elements of an ascending list away.
pub(crate) fn subtract(mut list: Vec<u32>, other: &[u32]) -> Vec<u32> {
    let mut rest = other;
    list.retain(|local| {
        rest = &rest[gallop(rest, *local)..];
        rest.first() != Some(local)
    });
    list
}

/// Position of the first element that is not below `local`, found near the front first.
pub(crate) fn gallop(list: &[u32], local: u32) -> usize {
    let mut step = 1;
    while step < list.len() && list[step] < local {
        step *= 2;
    }
    let from = step / 2;
    let to = (step + 1).min(list.len());
    from + list[from..to].partition_point(|element| *element < local)
}
