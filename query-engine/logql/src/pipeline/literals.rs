//! Texts that every match of a regular expression contains one of.
//!
//! Invariant LITERALS-1: if the pattern matches a line, the line contains at least one of the texts. Case-insensitive
//! parts give one text per spelling, as long as there are few; where the case of ASCII letters does not matter, they
//! nearly always have one spelling (`k` and `s` have two: the Kelvin sign and the long s match them too).

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::go_regex;

/// Most texts that are worth searching for at once: the vectorised search takes about this many.
const TEXTS_MAX: usize = 48;
/// Most texts of a run where case does not matter.
const FOLDED_TEXTS_MAX: usize = 8;
/// Most spellings of one character.
const SPELLINGS_MAX: usize = 4;

/// The most selective set of texts for a Go pattern; `None` when no text is certain.
pub(crate) fn required_literals(pattern: &str) -> Option<Vec<Vec<u8>>> {
    let hir =
        regex_syntax::ParserBuilder::new().octal(true).build().parse(&go_regex::translate(pattern)).ok()?;
    required(&hir)
}

fn required(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(vec![literal.0.to_vec()]),
        HirKind::Class(_) => spellings(hir),
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub),
        HirKind::Alternation(alternatives) => {
            let mut texts = Vec::new();
            for alternative in alternatives {
                texts.extend(required(alternative)?);
            }
            (texts.len() <= TEXTS_MAX).then_some(texts)
        }
        HirKind::Concat(parts) => required_in_sequence(parts),
        _ => None,
    }
}

/// Lists of texts in lower case: a line that the pattern matches contains one text of each list, whatever the case of
/// its ASCII letters.
pub(crate) fn folded_literals(pattern: &str) -> Vec<Vec<String>> {
    let hir = regex_syntax::ParserBuilder::new().octal(true).build().parse(&go_regex::translate(pattern));
    let Ok(hir) = hir else { return Vec::new() };
    let as_texts = |list: Vec<Vec<u8>>| list.into_iter().map(|text| String::from_utf8(text).ok()).collect();
    folded(&hir).into_iter().filter_map(as_texts).collect()
}

fn folded(hir: &Hir) -> Vec<Vec<Vec<u8>>> {
    let lists = match hir.kind() {
        HirKind::Literal(_) | HirKind::Class(_) => folded_spellings(hir).into_iter().collect(),
        HirKind::Capture(capture) => folded(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => folded(&repetition.sub),
        HirKind::Alternation(alternatives) => {
            let best = |hir: &Hir| folded(hir).into_iter().max_by_key(|texts| selectivity(texts));
            let texts: Option<Vec<Vec<Vec<u8>>>> = alternatives.iter().map(best).collect();
            texts.map(|texts| texts.concat()).into_iter().collect()
        }
        HirKind::Concat(parts) => folded_in_sequence(parts),
        _ => Vec::new(),
    };
    let is_useful = |texts: &Vec<Vec<u8>>| {
        !texts.is_empty() && texts.len() <= TEXTS_MAX && texts.iter().all(|text| !text.is_empty())
    };
    lists.into_iter().filter(is_useful).collect()
}

fn folded_in_sequence(parts: &[Hir]) -> Vec<Vec<Vec<u8>>> {
    let mut lists = Vec::new();
    let mut run: Vec<Vec<u8>> = Vec::new();
    for part in parts {
        let Some(next) = folded_spellings(part) else {
            lists.push(std::mem::take(&mut run));
            lists.extend(folded(part));
            continue;
        };
        if run.len().max(1) * next.len() > FOLDED_TEXTS_MAX {
            lists.push(std::mem::take(&mut run));
        }
        run = if run.is_empty() { next } else { joined(&run, &next) };
    }
    lists.push(run);
    lists
}

/// All texts in lower case that a literal or a small class stands for.
fn folded_spellings(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let mut texts = spellings(hir)?;
    texts.iter_mut().for_each(|text| text.make_ascii_lowercase());
    texts.sort_unstable();
    texts.dedup();
    Some(texts)
}

/// Each head with each tail.
fn joined(heads: &[Vec<u8>], tails: &[Vec<u8>]) -> Vec<Vec<u8>> {
    heads.iter().flat_map(|head| tails.iter().map(move |tail| [head.as_slice(), tail].concat())).collect()
}

/// The best of the texts that runs of adjacent parts spell and those of single parts.
fn required_in_sequence(parts: &[Hir]) -> Option<Vec<Vec<u8>>> {
    let mut candidates: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut run: Vec<Vec<u8>> = Vec::new();
    for part in parts {
        let Some(next) = spellings(part) else {
            candidates.extend(required(part));
            candidates.push(std::mem::take(&mut run));
            continue;
        };
        if run.len().max(1) * next.len() > TEXTS_MAX {
            candidates.push(std::mem::take(&mut run));
        }
        run = if run.is_empty() { next } else { joined(&run, &next) };
    }
    candidates.push(run);
    candidates.into_iter().filter(|texts| !texts.is_empty()).max_by_key(|texts| selectivity(texts))
}

/// All texts that a literal or a small class stands for.
fn spellings(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(vec![literal.0.to_vec()]),
        HirKind::Capture(capture) => spellings(&capture.sub),
        HirKind::Class(Class::Unicode(class)) => {
            let count: usize = class.iter().map(|range| range.len()).sum();
            if count == 0 || count > SPELLINGS_MAX {
                return None;
            }
            let chars = class.iter().flat_map(|range| range.start()..=range.end());
            Some(chars.map(|c| c.encode_utf8(&mut [0; 4]).as_bytes().to_vec()).collect())
        }
        _ => None,
    }
}

/// Long texts are rare; every doubling of their number costs about half a byte of that.
pub(crate) fn selectivity(texts: &[impl AsRef<[u8]>]) -> usize {
    let shortest = texts.iter().map(|text| text.as_ref().len()).min().unwrap_or(0);
    (2 * shortest).saturating_sub(texts.len().max(1).ilog2() as usize)
}
