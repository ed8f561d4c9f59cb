//! The level of a log entry, as Loki's distributor detects it (pkg/distributor/field_detection.go): from a stream
//! label, from structured metadata, from OTLP's severity number, or from the line: a JSON or logfmt field, else the
//! first level word that stands alone.

use model::Labels;

mod line;

/// Name of the metadata that carries the level.
pub(super) const DETECTED_LEVEL: &str = "detected_level";

/// Name of the metadata that carries OTLP's severity number.
pub(super) const SEVERITY_NUMBER: &str = "severity_number";

const UNKNOWN: &str = "unknown";

/// Names of fields that carry a level, the better ones first (`DefaultAllowedLevelFields` in
/// pkg/validation/limits.go).
const LEVEL_FIELDS: [&str; 14] = [
    "level",
    "LEVEL",
    "Level",
    "log.level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
    "Severity_Text",
    "SEVERITY_TEXT",
];

/// Every spelling of a level and its canonical word.
const SPELLINGS: [(&str, &str); 14] = [
    ("info", "info"),
    ("error", "error"),
    ("warn", "warn"),
    ("debug", "debug"),
    ("trace", "trace"),
    ("fatal", "fatal"),
    ("warning", "warn"),
    ("err", "error"),
    ("critical", "critical"),
    ("information", "info"),
    ("inf", "info"),
    ("dbg", "debug"),
    ("trc", "trace"),
    ("wrn", "warn"),
];

/// The canonical word for a level in any spelling and case, if it is one.
fn known_level(text: &str) -> Option<&'static str> {
    SPELLINGS.iter().find(|(spelling, _)| spelling.eq_ignore_ascii_case(text)).map(|(_, level)| *level)
}

/// The canonical word for a level; other words stay as they are.
pub(super) fn in_lokis_words(text: &str) -> &str {
    known_level(text).unwrap_or(text)
}

/// The level that a stream's labels say.
pub(super) fn of_labels(labels: &Labels) -> Option<String> {
    LEVEL_FIELDS.iter().find_map(|field| labels.get(field)).map(|level| in_lokis_words(level).to_owned())
}

/// What a run of metadata says about the level: position in [`LEVEL_FIELDS`] of the best field in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LevelField {
    rank: Option<usize>,
    is_detected: bool,
    has_severity_number: bool,
}

impl LevelField {
    #[inline]
    pub(super) fn of<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut found = Self::default();
        for (name, _) in pairs {
            // Only names that start so need a second look.
            if !matches!(name.as_bytes().first(), Some(b'l' | b'L' | b's' | b'S' | b'd')) {
                continue;
            }
            found.is_detected |= name == DETECTED_LEVEL;
            found.has_severity_number |= name == SEVERITY_NUMBER;
            if let Some(rank) = LEVEL_FIELDS.iter().position(|field| *field == name) {
                found.rank = Some(found.rank.map_or(rank, |best| best.min(rank)));
            }
        }
        found
    }

    /// What two runs of metadata say together.
    #[inline]
    pub(super) fn or(&self, other: &Self) -> Self {
        Self {
            rank: match (self.rank, other.rank) {
                (Some(own), Some(others)) => Some(own.min(others)),
                (own, others) => own.or(others),
            },
            is_detected: self.is_detected || other.is_detected,
            has_severity_number: self.has_severity_number || other.has_severity_number,
        }
    }
}

/// The level to add to an entry; none if it has one already, or if the field that says it is empty.
#[inline]
pub(super) fn detect<'a>(
    label_level: Option<&'a str>,
    field: &LevelField,
    mut pairs: impl Iterator<Item = (&'a str, &'a str)>,
    line: &str,
) -> Option<&'a str> {
    if field.is_detected {
        return None;
    }
    let mut value = |wanted: &str| pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let level = match (label_level, field.rank) {
        (Some(level), _) => level,
        (None, Some(rank)) => in_lokis_words(value(LEVEL_FIELDS[rank]).unwrap_or_default()),
        (None, None) if field.has_severity_number => match value(SEVERITY_NUMBER) {
            None | Some("") => line::level(line),
            Some(number) => of_severity_number(number),
        },
        (None, None) => line::level(line),
    };
    (!level.is_empty()).then_some(level)
}

/// Four numbers to a level (OTLP log data model, "severity fields").
fn of_severity_number(number: &str) -> &'static str {
    match number.parse::<i64>() {
        Err(_) => "info",
        Ok(0) => UNKNOWN,
        Ok(..=4) => "trace",
        Ok(..=8) => "debug",
        Ok(..=12) => "info",
        Ok(..=16) => "warn",
        Ok(..=20) => "error",
        Ok(..=24) => "fatal",
        Ok(_) => UNKNOWN,
    }
}

#[cfg(test)]
mod tests;
