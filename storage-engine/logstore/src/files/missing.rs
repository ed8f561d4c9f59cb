//! What answers miss because it is damaged, in sentences for those who asked.

use std::collections::BTreeMap;
use std::path::Path;

use model::{TenantId, TimeRange};

use super::QuarantinedUnit;
use crate::utc::shown_utc;

/// Files that are named one by one; the others are counted.
const NAMED_MAX: usize = 10;

/// What of one file is missing.
struct Lost {
    /// `None` for the whole file.
    pages: Option<usize>,
    range: TimeRange,
}

/// A sentence for each file of which something of the tenant with entries in `range` is missing.
pub(crate) fn sentences(units: &[QuarantinedUnit], tenant: &TenantId, range: TimeRange) -> Vec<String> {
    let mut files: BTreeMap<&Path, Lost> = BTreeMap::new();
    for unit in units.iter().filter(|unit| unit.tenant == *tenant && unit.range.overlaps(range)) {
        let lost = files.entry(&unit.path).or_insert(Lost { pages: Some(0), range: unit.range });
        lost.pages = lost.pages.filter(|_| unit.page.is_some()).map(|pages| pages + 1);
    }
    let mut sentences: Vec<String> =
        files.iter().take(NAMED_MAX).map(|(path, lost)| sentence(path, lost)).collect();
    if files.len() > NAMED_MAX {
        sentences.push(format!("{} more log data files are damaged, too", files.len() - NAMED_MAX));
    }
    sentences
}

fn sentence(path: &Path, Lost { pages, range }: &Lost) -> String {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("?");
    let what = match pages {
        None => "the log data file".to_owned(),
        Some(1) => "a page of the log data file".to_owned(),
        Some(pages) => format!("{pages} pages of the log data file"),
    };
    let (from, until) = (shown_utc(range.min), shown_utc(range.max));
    format!("lines between {from} and {until} are missing: {what} {name} cannot be read")
}

#[cfg(test)]
mod tests;
