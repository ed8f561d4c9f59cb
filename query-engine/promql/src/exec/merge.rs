//! Series that end up with the same labels: they become one series, or an error where both have a sample.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use model::{Labels, METRIC_NAME};

use super::column::{Key, SeriesColumn};
use crate::error::{PromqlError, PromqlResult};

/// What to do with equal label sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duplicates {
    /// They are an error even if their samples never meet.
    Refuse,
    /// They become one series; samples at the same step are an error.
    Merge,
}

/// The labels without name, type and unit.
pub(crate) fn without_metadata(labels: &Labels) -> Labels {
    labels.without(|name| matches!(name, METRIC_NAME | "__type__" | "__unit__"))
}

/// Whether two keys have equal labels.
pub(crate) fn has_duplicates(keys: &[Key]) -> bool {
    let mut seen = hashbrown::HashSet::with_capacity(keys.len());
    keys.iter().any(|key| !seen.insert(&key.labels))
}

pub(crate) fn same_labelset() -> PromqlError {
    PromqlError::execution("vector cannot contain metrics with the same labelset")
}

/// Merges series of equal labels; the first one's place and flags stay.
pub(crate) fn merge(series: Vec<SeriesColumn>, duplicates: Duplicates) -> PromqlResult<Vec<SeriesColumn>> {
    if series.len() <= 1 {
        return Ok(series);
    }
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(series.len());
    let mut merged: Vec<SeriesColumn> = Vec::with_capacity(series.len());
    for series in series {
        match places.entry(series.key.labels.clone()) {
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(series);
            }
            Entry::Occupied(_) if duplicates == Duplicates::Refuse => return Err(same_labelset()),
            Entry::Occupied(place) => {
                let target = &mut merged[*place.get()].column;
                for step in 0..series.column.values.len() {
                    let Some(cell) = series.column.get(step) else { continue };
                    if target.is_present(step) {
                        return Err(same_labelset());
                    }
                    target.set(step, cell);
                }
            }
        }
    }
    Ok(merged)
}
