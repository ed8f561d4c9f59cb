//! What answers miss because it is damaged, in sentences for those who asked.

use std::collections::BTreeMap;
use std::path::Path;

use model::{TenantId, TimeRange, civil_date};

use super::QuarantinedUnit;

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
    let (from, until) = (utc(range.min), utc(range.max));
    format!("lines between {from} and {until} are missing: {what} {name} cannot be read")
}

/// The second of a time, as RFC 3339 writes it.
fn utc(at_ns: i64) -> String {
    let seconds = at_ns.div_euclid(1_000_000_000);
    let (year, month, day) = civil_date(seconds.div_euclid(86_400));
    let (hours, minutes) = (seconds.rem_euclid(86_400) / 3600, seconds.rem_euclid(3600) / 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{:02}Z", seconds.rem_euclid(60))
}

#[cfg(test)]
mod tests;
