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

/// Where the level to add to an entry comes from: known from the names of its metadata, without their values.
#[derive(Clone, Debug)]
pub(super) enum LevelSource {
    /// It has one already, the field that says it is empty, or levels are not asked for.
    Nowhere,
    /// Always the same.
    Fixed(String),
    /// The own value at this position, a word.
    OwnWord(usize),
    /// The own value at this position, a severity number.
    OwnNumber(usize),
    /// The line.
    Line,
}

impl LevelSource {
    /// For entries with the `own` names, then the pairs that they `share`, whose names say `field` together.
    pub(super) fn new<'a>(
        label_level: Option<&str>,
        field: &LevelField,
        mut own: impl Iterator<Item = &'a str>,
        mut shared: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        if field.is_detected {
            return Self::Nowhere;
        }
        let fixed = |level: &str| match level {
            "" => Self::Nowhere,
            level => Self::Fixed(level.to_owned()),
        };
        let mut place = |wanted: &str| match own.position(|name| name == wanted) {
            Some(position) => Err(position),
            None => Ok(shared.find(|(name, _)| *name == wanted).map_or("", |(_, value)| value)),
        };
        match (label_level, field.rank) {
            (Some(level), _) => fixed(level),
            (None, Some(rank)) => match place(LEVEL_FIELDS[rank]) {
                Err(position) => Self::OwnWord(position),
                Ok(word) => fixed(in_lokis_words(word)),
            },
            (None, None) if field.has_severity_number => match place(SEVERITY_NUMBER) {
                Err(position) => Self::OwnNumber(position),
                Ok("") => Self::Line,
                Ok(number) => fixed(of_severity_number(number)),
            },
            (None, None) => Self::Line,
        }
    }

    /// The level of an entry with this line; `own` gives its own values.
    #[inline]
    pub(super) fn level<'a>(&'a self, own: impl Fn(usize) -> &'a str, line: &str) -> Option<&'a str> {
        let level = match self {
            Self::Nowhere => return None,
            Self::Fixed(level) => level,
            Self::OwnWord(position) => in_lokis_words(own(*position)),
            Self::OwnNumber(position) => match own(*position) {
                "" => line::level(line),
                number => of_severity_number(number),
            },
            Self::Line => line::level(line),
        };
        (!level.is_empty()).then_some(level)
    }
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

/// Levels that entries share: their position in here is the number of their shape.
const SHARED_LEVELS: [&str; 7] = ["info", "error", "warn", "debug", "trace", "fatal", UNKNOWN];

/// How many numbers [`shape_number`] gives.
pub(super) const SHAPE_NUMBERS: usize = SHARED_LEVELS.len() + 2;

/// A number for entries with the same level: 0 without one, the last for a level in the sender's own words.
#[inline]
pub(super) fn shape_number(level: Option<&str>) -> usize {
    let Some(level) = level else { return 0 };
    let position = SHARED_LEVELS.iter().position(|shared| *shared == level);
    position.map_or(SHAPE_NUMBERS - 1, |position| position + 1)
}

/// The level that all entries of the number share, if they do.
pub(super) fn shared_level(number: usize) -> Option<&'static str> {
    SHARED_LEVELS.get(number.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests;
