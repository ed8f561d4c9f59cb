//! From matchers to the series of a block, as `PostingsForMatchers` in Prometheus' tsdb/querier.go: matchers that an
//! absent label fails give sets to intersect, the others sets to take away.

use model::{MatchOp, Matcher};
use storage_api::StorageResult;

use super::index::BlockIndex;
use crate::shortcut::{Shortcut, answer, intersect, shortcut, subtract};

/// Numbers of the series that all matchers match, ascending, which is label order.
pub(crate) fn select(index: &BlockIndex, matchers: &[Matcher]) -> StorageResult<Vec<u32>> {
    let mut prepared: Vec<(&Matcher, Shortcut, bool)> =
        matchers.iter().map(|matcher| (matcher, shortcut(matcher), matcher.matches_empty())).collect();
    // Look-ups narrow the set before values are walked, and what is taken away comes last.
    prepared.sort_by_key(|(_, shortcut, empty)| (*empty, !matches!(shortcut, Shortcut::Literals(_))));
    let mut selected: Option<Vec<u32>> = None;
    for (matcher, shortcut, matches_empty) in &prepared {
        // The values of an empty-matching matcher that it refuses name the series to take away.
        let set = series(index, matcher, shortcut, !matches_empty)?;
        selected = Some(match (selected, matches_empty) {
            (None, false) => set,
            (None, true) => subtract(index.all()?, &set),
            (Some(before), false) => intersect(before, &set),
            (Some(before), true) => subtract(before, &set),
        });
        if selected.as_ref().is_some_and(Vec::is_empty) {
            break;
        }
    }
    selected.map_or_else(|| index.all(), Ok)
}

/// Series that have a value for which the matcher says `wanted`.
fn series(
    index: &BlockIndex,
    matcher: &Matcher,
    shortcut: &Shortcut,
    wanted: bool,
) -> StorageResult<Vec<u32>> {
    let negated = matches!(matcher.op(), MatchOp::NotEqual | MatchOp::NotRegex);
    let mut places = Vec::new();
    match shortcut {
        // The pattern's own values are what is wanted, not their complement.
        Shortcut::Literals(literals) if wanted != negated => {
            for literal in literals {
                if matcher.matches(literal) == wanted {
                    places.extend(index.value(matcher.name(), literal)?);
                }
            }
            places.sort_unstable();
        }
        Shortcut::Any if wanted == negated => {}
        Shortcut::Any => index.values(matcher.name(), |_, at| places.push(at))?,
        _ => index.values(matcher.name(), |value, at| {
            if answer(matcher, shortcut, negated, value) == wanted {
                places.push(at);
            }
        })?,
    }
    let mut lists = index.lists(&places)?;
    if lists.len() <= 1 {
        return Ok(lists.pop().unwrap_or_default());
    }
    let mut all = lists.concat();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}
