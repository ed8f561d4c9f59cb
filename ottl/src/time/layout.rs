//! Time formats in the directives of strptime, as the collector reads them
//! (internal/coreinternal/timeutils/internal/ctimefmt): `%Y-%m-%dT%H:%M:%S.%L%z`.
//!
//! Reading is as lenient as there: one digit where two are written, spaces before numbers, a fraction of a second that the
//! format does not name. Locales other than English are refused.

use chrono::NaiveDate;

use super::{Time, Zone};

/// A checked format.
#[derive(Debug)]
pub(crate) struct Layout(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    /// Text that stands for itself.
    Literal(String),
    /// The letter of a directive.
    Directive(char),
    /// A separator and a fraction of a second of so many digits.
    Fraction(char, usize),
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Checks a format.
pub(crate) fn layout(format: &str) -> Result<Layout, String> {
    if format.is_empty() {
        return Err("format cannot be nil".to_owned());
    }
    if format.chars().any(|c| c.is_ascii_digit()) {
        return Err("format string should not contain decimals".to_owned());
    }
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            literal.push(c);
            continue;
        }
        let Some(letter) = chars.next() else {
            literal.push('%');
            break;
        };
        let expanded = match letter {
            'D' | 'x' => "%m/%d/%Y",
            'F' => "%Y-%m-%d",
            'T' | 'X' => "%H:%M:%S",
            'r' => "%I:%M:%S %P",
            'R' => "%H:%M",
            'c' => "%a %b %d %H:%M:%S %Y",
            _ => "",
        };
        match letter {
            '%' => literal.push('%'),
            'n' => literal.push('\n'),
            't' => literal.push('\t'),
            'L' | 'f' | 's' => {
                let Some(separator @ ('.' | ',')) = literal.pop() else {
                    return Err(format!(
                        "invalid fractional seconds directive: '%{letter}'. must be preceded with '.' or ','"
                    ));
                };
                flush(&mut literal, &mut pieces);
                let digits = match letter {
                    'L' => 3,
                    'f' => 6,
                    _ => 9,
                };
                pieces.push(Piece::Fraction(separator, digits));
            }
            _ if !expanded.is_empty() => {
                flush(&mut literal, &mut pieces);
                pieces.extend(layout_pieces(expanded));
            }
            'Y' | 'y' | 'm' | 'o' | 'q' | 'b' | 'h' | 'B' | 'd' | 'e' | 'g' | 'a' | 'A' | 'H' | 'l' | 'I'
            | 'p' | 'P' | 'M' | 'S' | 'Z' | 'z' | 'w' | 'i' | 'j' | 'k' => {
                flush(&mut literal, &mut pieces);
                pieces.push(Piece::Directive(letter));
            }
            other => {
                return Err(format!(
                    "invalid strptime format: [unsupported ctimefmt.toNative() directive: %{other}]"
                ));
            }
        }
    }
    flush(&mut literal, &mut pieces);
    Ok(Layout(pieces))
}

fn flush(literal: &mut String, pieces: &mut Vec<Piece>) {
    if !literal.is_empty() {
        pieces.push(Piece::Literal(std::mem::take(literal)));
    }
}

/// The pieces of a short form, which holds plain directives only.
fn layout_pieces(expanded: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut chars = expanded.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => pieces.extend(chars.next().map(Piece::Directive)),
            other => pieces.push(Piece::Literal(other.to_string())),
        }
    }
    pieces
}

/// `.123`, without trailing zeros, or nothing.
pub(super) fn fraction(nanosecond: u32, digits: usize, separator: char) -> String {
    let all = format!("{nanosecond:09}");
    let kept = all[..digits].trim_end_matches('0');
    if kept.is_empty() { String::new() } else { format!("{separator}{kept}") }
}

/// `+02:00` and its like.
pub(super) fn offset_text(offset: i32, has_colon: bool, has_seconds: bool) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let secs = offset.unsigned_abs();
    let colon = if has_colon { ":" } else { "" };
    let mut text = format!("{sign}{:02}{colon}{:02}", secs / 3600, secs / 60 % 60);
    if has_seconds {
        text.push_str(&format!("{colon}{:02}", secs % 60));
    }
    text
}

impl Layout {
    /// Writes a time.
    pub(crate) fn format(&self, time: Time) -> String {
        let parts = time.parts();
        let mut out = String::new();
        for piece in &self.0 {
            let directive = match piece {
                Piece::Literal(text) => {
                    out.push_str(text);
                    continue;
                }
                Piece::Fraction(separator, digits) => {
                    out.push_str(&fraction(parts.nanosecond, *digits, *separator));
                    continue;
                }
                Piece::Directive(directive) => directive,
            };
            let hour_of_12 = (parts.hour + 11) % 12 + 1;
            let month = MONTHS[parts.month as usize - 1];
            let day = DAYS[parts.weekday as usize];
            out.push_str(&match directive {
                'Y' => format!("{:04}", parts.year),
                'y' => format!("{:02}", parts.year.rem_euclid(100)),
                'm' => format!("{:02}", parts.month),
                'o' => format!("_{}", parts.month),
                'q' => parts.month.to_string(),
                'b' | 'h' => month[..3].to_owned(),
                'B' => month.to_owned(),
                'd' => format!("{:02}", parts.day),
                'e' => format!("{:2}", parts.day),
                'g' => parts.day.to_string(),
                'a' => day[..3].to_owned(),
                'A' => day.to_owned(),
                'H' => format!("{:02}", parts.hour),
                'l' => hour_of_12.to_string(),
                'I' => format!("{hour_of_12:02}"),
                'p' => if parts.hour < 12 { "AM" } else { "PM" }.to_owned(),
                'P' => if parts.hour < 12 { "am" } else { "pm" }.to_owned(),
                'M' => format!("{:02}", parts.minute),
                'S' => format!("{:02}", parts.second),
                'Z' | 'z' if time.offset == 0 => if *directive == 'Z' { "UTC" } else { "Z" }.to_owned(),
                'w' => offset_text(time.offset, false, true),
                'i' => offset_text(time.offset, false, false)[..3].to_owned(),
                'j' => offset_text(time.offset, true, false),
                'k' => offset_text(time.offset, true, true),
                _ => offset_text(time.offset, false, false),
            });
        }
        out
    }

    /// Reads a time; without an offset in it, it is that of `zone`, and without a year the one that is nearest to `now_ns`.
    pub(crate) fn parse(&self, text: &str, zone: Zone, now_ns: i64) -> Result<Time, String> {
        let cannot = || format!("parsing time {text:?}: cannot parse it as the format says");
        let mut found = Found::default();
        let mut rest = text;
        for (index, piece) in self.0.iter().enumerate() {
            rest = match piece {
                Piece::Literal(literal) => skip_literal(literal, rest).ok_or_else(cannot)?,
                Piece::Fraction(..) => found.fraction(rest),
                Piece::Directive(directive) => {
                    let rest = found.directive(*directive, rest).ok_or_else(cannot)?;
                    let is_fraction_next = matches!(self.0.get(index + 1), Some(Piece::Fraction(..)));
                    if *directive == 'S' && !is_fraction_next { found.fraction(rest) } else { rest }
                }
            };
        }
        if !rest.is_empty() {
            return Err(format!("parsing time {text:?}: extra text: {rest:?}"));
        }
        let zone = match found.abbreviation {
            Some(name) if found.offset.is_none() => {
                let year = found.year.unwrap_or_else(|| Time::utc(now_ns).parts().year);
                zone.of_abbreviation(name, year)?
            }
            _ => zone,
        };
        found.time(zone, now_ns).ok_or_else(|| format!("parsing time {text:?}: out of range"))
    }
}

/// Literal text; a run of spaces in it stands for any number of spaces.
fn skip_literal<'a>(literal: &str, rest: &'a str) -> Option<&'a str> {
    let (mut literal, mut rest) = (literal, rest);
    while let Some(c) = literal.chars().next() {
        if c == ' ' {
            if !rest.is_empty() && !rest.starts_with(' ') {
                return None;
            }
            literal = literal.trim_start_matches(' ');
            rest = rest.trim_start_matches(' ');
            continue;
        }
        rest = rest.strip_prefix(c)?;
        literal = &literal[c.len_utf8()..];
    }
    Some(rest)
}

/// The parts of a time that is being read.
#[derive(Default)]
struct Found<'t> {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    nanosecond: u32,
    is_afternoon: Option<bool>,
    offset: Option<i32>,
    /// The name of a zone.
    abbreviation: Option<&'t str>,
}

/// A number of `min` to `max` digits.
fn digits(rest: &str, min: usize, max: usize) -> Option<(u32, &str)> {
    let rest = rest.trim_start_matches(' ');
    let len = rest.bytes().take(max).take_while(u8::is_ascii_digit).count();
    if len < min {
        return None;
    }
    Some((rest[..len].parse().ok()?, &rest[len..]))
}

fn name<'a>(rest: &'a str, names: &[&str], len: Option<usize>) -> Option<(u32, &'a str)> {
    names.iter().enumerate().find_map(|(index, name)| {
        let name = len.map_or(*name, |len| &name[..len]);
        let start = rest.get(..name.len())?;
        start.eq_ignore_ascii_case(name).then(|| (index as u32, &rest[name.len()..]))
    })
}

impl<'t> Found<'t> {
    fn directive(&mut self, directive: char, rest: &'t str) -> Option<&'t str> {
        let (number, rest) = match directive {
            'Y' => digits(rest, 4, 4)?,
            'y' => digits(rest, 2, 2)?,
            'b' | 'h' => name(rest, &MONTHS, Some(3))?,
            'B' => name(rest, &MONTHS, None)?,
            'a' => name(rest, &DAYS, Some(3))?,
            'A' => name(rest, &DAYS, None)?,
            'p' => name(rest, &["AM", "PM"], None).filter(|_| rest.starts_with(['A', 'P']))?,
            'P' => name(rest, &["am", "pm"], None).filter(|_| rest.starts_with(['a', 'p']))?,
            'Z' => return self.abbreviation(rest),
            'z' | 'w' | 'i' | 'j' | 'k' => return self.offset(rest),
            _ => digits(rest, 1, 2)?,
        };
        match directive {
            'Y' => self.year = Some(number as i32),
            // As in Go: 69 is 1969, 68 is 2068.
            'y' => self.year = Some(number as i32 + if number >= 69 { 1900 } else { 2000 }),
            'b' | 'h' | 'B' => self.month = Some(number + 1),
            'm' | 'o' | 'q' => self.month = Some(number),
            'd' | 'e' | 'g' => self.day = Some(number),
            'H' => self.hour = number,
            'I' | 'l' if number <= 12 => self.hour = number,
            'M' => self.minute = number,
            'S' => self.second = number,
            'p' | 'P' => self.is_afternoon = Some(number == 1),
            'a' | 'A' => {}
            _ => return None,
        }
        Some(rest)
    }

    /// A fraction of a second, if one is there.
    fn fraction(&mut self, rest: &'t str) -> &'t str {
        let Some(part) = rest.strip_prefix(['.', ',']) else { return rest };
        let len = part.bytes().take_while(u8::is_ascii_digit).count();
        if len == 0 {
            return rest;
        }
        let nine: String = part[..len].chars().chain("000000000".chars()).take(9).collect();
        self.nanosecond = nine.parse().unwrap_or(0);
        &part[len..]
    }

    /// A zone's name.
    fn abbreviation(&mut self, rest: &'t str) -> Option<&'t str> {
        let len = rest.bytes().take_while(u8::is_ascii_uppercase).count();
        if !(3..=5).contains(&len) {
            return None;
        }
        self.abbreviation = Some(&rest[..len]);
        Some(&rest[len..])
    }

    /// `Z`, `+0200`, `+02:00`, `+02`, with seconds too.
    fn offset(&mut self, rest: &'t str) -> Option<&'t str> {
        let rest = rest.trim_start_matches(' ');
        if let Some(rest) = rest.strip_prefix('Z') {
            self.offset = Some(0);
            return Some(rest);
        }
        let sign = match rest.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (hours, mut rest) = digits(&rest[1..], 2, 2)?;
        let mut parts = [0_u32; 2];
        for part in &mut parts {
            let after = rest.strip_prefix(':').unwrap_or(rest);
            let Some((number, after)) = digits(after, 2, 2) else { break };
            *part = number;
            rest = after;
        }
        if hours > 24 || parts.iter().any(|part| *part >= 60) {
            return None;
        }
        self.offset = Some(sign * (hours * 3600 + parts[0] * 60 + parts[1]) as i32);
        Some(rest)
    }

    fn time(&self, zone: Zone, now_ns: i64) -> Option<Time> {
        let hour = match (self.is_afternoon, self.hour) {
            (Some(true), hour @ 0..=11) => hour + 12,
            (Some(false), 12) => 0,
            (_, hour) => hour,
        };
        if self.second > 59 {
            return None;
        }
        let in_year = |year: i32| {
            let day = NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?;
            let local = day.and_hms_nano_opt(hour, self.minute, self.second, self.nanosecond)?;
            let offset = self.offset.unwrap_or_else(|| zone.offset(local));
            let unix_ns = local.and_utc().timestamp_nanos_opt()?;
            Some(Time { unix_ns: unix_ns.checked_sub(i64::from(offset) * 1_000_000_000)?, offset })
        };
        if let Some(year) = self.year.filter(|year| *year > 0) {
            return in_year(year);
        }
        // What would be more than a week ahead is of last year.
        const WEEK_NS: i64 = 7 * 86_400 * 1_000_000_000;
        let this_year = Time::utc(now_ns).parts().year;
        match in_year(this_year) {
            Some(time) if time.unix_ns <= now_ns.saturating_add(WEEK_NS) => Some(time),
            _ => in_year(this_year - 1),
        }
    }
}
