//! From matchers to the series of a shard.
//!
//! Matchers that an absent label fails are turned into sets of series that are intersected; the others into sets of
//! series that are taken away (as PostingsForMatchers in Prometheus' tsdb/querier.go). A regular expression that can
//! only match a few literals is looked up, one with literal prefixes is asked only about values that begin with one,
//! and no value is matched twice in a query, whatever the number of shards.

use hashbrown::HashMap;
use model::{MatchOp, Matcher};
use rapidhash::fast::RandomState;

use super::postings::{Postings, Values};
use super::symbols::{Interner, Symbol};
use crate::shortcut::{Shortcut, answer, intersect, shortcut, subtract};

/// Matchers of one query, prepared for all shards.
pub(crate) struct Selection {
    matchers: Vec<Prepared>,
}

struct Prepared {
    matcher: Matcher,
    /// Whether the series without the label match.
    matches_empty: bool,
    shortcut: Shortcut,
    /// Answers for values that were asked about.
    known: HashMap<Symbol, bool, RandomState>,
}

impl Selection {
    pub(crate) fn new(matchers: &[Matcher]) -> Self {
        let prepare = |matcher: &Matcher| Prepared {
            matches_empty: matcher.matches_empty(),
            shortcut: shortcut(matcher),
            matcher: matcher.clone(),
            known: HashMap::default(),
        };
        let mut matchers: Vec<_> = matchers.iter().map(prepare).collect();
        // Look-ups narrow the set before values are walked, and what is taken away comes last.
        matchers.sort_by_key(|prepared| {
            (prepared.matches_empty, !matches!(prepared.shortcut, Shortcut::Literals(_)))
        });
        Self { matchers }
    }

    /// Numbers of the matching series of a shard that has `series` of them, ascending.
    pub(crate) fn select(&mut self, postings: &Postings, series: usize, texts: &Interner) -> Vec<u32> {
        let mut selected: Option<Vec<u32>> = None;
        for prepared in &mut self.matchers {
            // The values of an empty-matching matcher that it refuses name the series to take away.
            let wanted = !prepared.matches_empty;
            let values = texts.find(prepared.matcher.name()).and_then(|name| postings.values(name));
            let set = values.map_or(Vec::new(), |values| prepared.series(values, wanted, series, texts));
            selected = Some(match (selected, wanted) {
                (None, true) => set,
                (None, false) => {
                    subtract((0..u32::try_from(series).expect("numbers have 32 bits")).collect(), &set)
                }
                (Some(before), true) => intersect(before, &set),
                (Some(before), false) => subtract(before, &set),
            });
            if selected.as_ref().is_some_and(Vec::is_empty) {
                break;
            }
        }
        selected.unwrap_or_else(|| (0..u32::try_from(series).expect("numbers have 32 bits")).collect())
    }
}

impl Prepared {
    /// Series that have a value for which the matcher says `wanted`.
    fn series(&mut self, values: &Values, wanted: bool, series: usize, texts: &Interner) -> Vec<u32> {
        let negated = matches!(self.matcher.op(), MatchOp::NotEqual | MatchOp::NotRegex);
        let mut union = Union::default();
        match &self.shortcut {
            // The pattern's own values are what is wanted, not their complement.
            Shortcut::Literals(literals) if wanted != negated => {
                for literal in literals {
                    if self.matcher.matches(literal) == wanted
                        && let Some(list) = texts.find(literal).and_then(|value| values.get(value))
                    {
                        union.add(list);
                    }
                }
            }
            Shortcut::Any if wanted != negated => values.iter().for_each(|(_, list)| union.add(list)),
            Shortcut::Any => {}
            _ => {
                for (value, list) in values.iter() {
                    let matcher = &self.matcher;
                    let shortcut = &self.shortcut;
                    let ask = || answer(matcher, shortcut, negated, texts.text(value));
                    if *self.known.entry(value).or_insert_with(ask) == wanted {
                        union.add(list);
                    }
                }
            }
        }
        union.finish(series)
    }
}

/// The union of lists of one label name, which share no series.
#[derive(Default)]
struct Union<'a> {
    lists: Vec<&'a [u32]>,
    total: usize,
}

impl<'a> Union<'a> {
    fn add(&mut self, list: &'a [u32]) {
        self.lists.push(list);
        self.total += list.len();
    }

    fn finish(self, series: usize) -> Vec<u32> {
        match self.lists.as_slice() {
            [] => Vec::new(),
            [list] => list.to_vec(),
            // A few series are sorted; many are marked in a bit set and read off in order.
            lists if self.total < series / 64 => {
                let mut all = lists.concat();
                all.sort_unstable();
                all
            }
            lists => {
                let mut words = vec![0u64; series.div_ceil(64)];
                for &local in lists.iter().copied().flatten() {
                    words[local as usize / 64] |= 1 << (local % 64);
                }
                let mut all = Vec::with_capacity(self.total);
                for (index, mut word) in (0u32..).zip(words) {
                    while word != 0 {
                        all.push(index * 64 + word.trailing_zeros());
                        word &= word - 1;
                    }
                }
                all
            }
        }
    }
}

#[cfg(test)]
mod tests;
