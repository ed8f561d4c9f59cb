//! Finds the patterns of lines: lines that differ only in some words become one pattern with `<_>` in their place.
//!
//! In the manner of Drain: a line is cut into words and separators, words with digits count as variable at once, and
//! a line joins the most alike group of its length and first word. Each group keeps one template, which only ever
//! becomes more general, so every line of a group is its pattern with some text in place of each `<_>` (PATTERN-1). As a
//! `|>` filter a pattern finds them too, unless a variable text has what follows it in the pattern. Sketch: most lines
//! have the exact words of one seen before, and cost a walk and a hash look-up.

mod words;

use hashbrown::HashMap;
use words::{Word, cut};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Groups of one miner; lines that would need more are counted nowhere.
const GROUPS_MAX: usize = 500;
/// Exact forms that are remembered, so that memory stays bounded on lines that are never alike.
const FORMS_MAX: usize = 20_000;
/// Groups that a line is compared with.
const COMPARED_MAX: usize = 64;
/// Share of equal words that makes a line one of a group.
const ALIKE_MIN: f64 = 0.5;

/// What stands for a variable word.
pub(crate) const VARIABLE: &str = "<_>";

/// Groups lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct PatternMiner {
    groups: Vec<Group>,
    /// Groups by number of words and first word.
    by_shape: HashMap<(usize, u64), Vec<usize>>,
    /// Groups by the words of a line.
    by_form: HashMap<u64, usize>,
    scratch: Vec<Word>,
}

#[derive(Clone, Debug)]
struct Group {
    /// Words and separators; a variable word is `None`.
    template: Vec<Piece>,
    /// Lines by step.
    counts: HashMap<i64, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Separator(Box<str>),
    Fixed(Box<str>),
    Variable,
}

/// A pattern with its lines by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MinedPattern {
    pub(crate) pattern: String,
    /// Start of a step and number of lines, ascending.
    pub(crate) counts: Vec<(i64, u64)>,
}

impl PatternMiner {
    /// Counts `count` lines like `line` at a step.
    pub(crate) fn add(&mut self, line: &str, step: i64, count: u64) {
        let mut cut_up = std::mem::take(&mut self.scratch);
        cut(line, &mut cut_up);
        if let Some(group) = self.group_of(line, &cut_up) {
            *self.groups[group].counts.entry(step).or_default() += count;
        }
        self.scratch = cut_up;
    }

    fn group_of(&mut self, line: &str, words: &[Word]) -> Option<usize> {
        let form = form_of(line, words);
        if let Some(&group) = self.by_form.get(&form) {
            return Some(group);
        }
        let template: Vec<Piece> = words.iter().map(|word| Piece::of(word, line)).collect();
        let group = self.place(template)?;
        if self.by_form.len() < FORMS_MAX {
            self.by_form.insert(form, group);
        }
        Some(group)
    }

    /// The group that a template belongs to, made more general by it, or a new one.
    fn place(&mut self, template: Vec<Piece>) -> Option<usize> {
        let shape = shape_of(&template);
        let alike = self.by_shape.get(&shape).and_then(|groups| {
            let compared = groups.iter().take(COMPARED_MAX);
            let rated = compared.filter_map(|&group| {
                likeness(&self.groups[group].template, &template).map(|likeness| (likeness, group))
            });
            rated
                .filter(|(likeness, _)| *likeness >= ALIKE_MIN)
                .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
        });
        if let Some((_, group)) = alike {
            for (known, new) in self.groups[group].template.iter_mut().zip(template) {
                if *known != new {
                    *known = Piece::Variable;
                }
            }
            return Some(group);
        }
        if self.groups.len() >= GROUPS_MAX {
            return None;
        }
        self.groups.push(Group { template, counts: HashMap::new() });
        self.by_shape.entry(shape).or_default().push(self.groups.len() - 1);
        Some(self.groups.len() - 1)
    }

    /// Takes over what another miner found.
    pub(crate) fn merge(&mut self, other: Self) {
        for group in other.groups {
            let Some(place) = self.place(group.template) else { continue };
            for (step, count) in group.counts {
                *self.groups[place].counts.entry(step).or_default() += count;
            }
        }
    }

    /// The patterns, those with the most lines first.
    pub(crate) fn finish(self) -> Vec<MinedPattern> {
        let mut by_pattern: HashMap<String, HashMap<i64, u64>> = HashMap::new();
        for group in self.groups {
            let counts = by_pattern.entry(text_of(&group.template)).or_default();
            for (step, count) in group.counts {
                *counts.entry(step).or_default() += count;
            }
        }
        let mined = |(pattern, counts): (String, HashMap<i64, u64>)| {
            let mut counts: Vec<(i64, u64)> = counts.into_iter().collect();
            counts.sort_unstable();
            MinedPattern { pattern, counts }
        };
        let mut patterns: Vec<MinedPattern> = by_pattern.into_iter().map(mined).collect();
        patterns.sort_by_cached_key(|mined| {
            let lines: u64 = mined.counts.iter().map(|(_, count)| count).sum();
            (std::cmp::Reverse(lines), mined.pattern.clone())
        });
        patterns
    }
}

impl Piece {
    fn of(word: &Word, line: &str) -> Self {
        let text = &line[word.range.clone()];
        match (word.is_separator, word.is_variable) {
            (true, _) => Self::Separator(text.into()),
            (false, true) => Self::Variable,
            (false, false) => Self::Fixed(text.into()),
        }
    }
}

/// A hash of what is fixed in a line, and where the variable words are.
fn form_of(line: &str, words: &[Word]) -> u64 {
    let mut hash = Xxh3::new();
    for word in words {
        if word.is_variable {
            hash.update(&[0]);
        } else {
            hash.update(line[word.range.clone()].as_bytes());
            hash.update(&[1]);
        }
    }
    hash.digest()
}

/// Number of pieces and a hash of the first, if it is fixed.
fn shape_of(template: &[Piece]) -> (usize, u64) {
    let first = template.iter().find(|piece| !matches!(piece, Piece::Separator(_)));
    let hash = match first {
        Some(Piece::Fixed(text)) if !text.starts_with('"') => xxh3_64(text.as_bytes()),
        _ => 0,
    };
    (template.len(), hash)
}

/// Share of equal words of two templates; `None` when their separators differ, because those never become variable.
fn likeness(known: &[Piece], new: &[Piece]) -> Option<f64> {
    let (mut equal, mut words) = (0usize, 0usize);
    for (known, new) in known.iter().zip(new) {
        match (known, new) {
            (Piece::Separator(a), Piece::Separator(b)) if a == b => {}
            (Piece::Separator(_), _) | (_, Piece::Separator(_)) => return None,
            (known, new) => {
                words += 1;
                equal += usize::from(known == new);
            }
        }
    }
    Some(if words == 0 { 1.0 } else { equal as f64 / words as f64 })
}

/// The pattern's text. Variable words that nothing stands between are one, because a filter takes no two in a row.
fn text_of(template: &[Piece]) -> String {
    let mut text = String::new();
    for piece in template {
        match piece {
            Piece::Separator(part) | Piece::Fixed(part) => text.push_str(part),
            Piece::Variable if text.ends_with(VARIABLE) => {}
            Piece::Variable => text.push_str(VARIABLE),
        }
    }
    text
}

#[cfg(test)]
mod tests;
