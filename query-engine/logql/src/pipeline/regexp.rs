//! The `regexp` parser: named groups become labels. A line that does not match is kept as it is.

use regex::{CaptureLocations, Regex};

use super::entry_labels::{CLASH_SUFFIX, EntryLabels};
use super::names::push_sanitized;
use crate::go_regex;

/// A pattern and the labels of its groups.
#[derive(Clone, Debug)]
pub(crate) struct RegexpParser {
    regex: Regex,
    /// Group number and label.
    groups: Vec<(usize, String)>,
    locations: CaptureLocations,
}

impl RegexpParser {
    pub(crate) fn compile(pattern: &str) -> Result<Self, String> {
        let regex = go_regex::compile(pattern)?;
        let mut groups: Vec<(usize, String)> = Vec::new();
        for (number, name) in regex.capture_names().enumerate() {
            let Some(name) = name else { continue };
            let mut label = String::new();
            push_sanitized(name, &mut label);
            groups.push((number, label));
        }
        if groups.is_empty() {
            return Err("at least one named capture must be supplied".to_owned());
        }
        let locations = regex.capture_locations();
        Ok(Self { regex, groups, locations })
    }

    /// Adds the groups of the first match to `labels`.
    pub(crate) fn parse(&mut self, line: &str, labels: &mut EntryLabels) {
        if labels.needs_nothing() || self.regex.captures_read(&mut self.locations, line).is_none() {
            return;
        }
        for (number, label) in &self.groups {
            let text = self.locations.get(*number).map_or("", |(start, end)| &line[start..end]);
            set_unless_known(label, text, labels);
        }
    }
}

/// Sets a label unless a parser already has or nobody wants it; a clash takes the suffix.
pub(crate) fn set_unless_known(label: &str, text: &str, labels: &mut EntryLabels) {
    let suffixed;
    let name = if labels.clashes(label) {
        suffixed = format!("{label}{CLASH_SUFFIX}");
        suffixed.as_str()
    } else {
        label
    };
    if labels.wanted().should_extract(name) && !labels.is_extracted(name) {
        labels.set_parsed(name, text);
    }
}
