//! Times and Go's layouts by example ("2006-01-02T15:04:05Z07:00"). All times are shown in UTC, as on a Loki server.

use std::fmt;

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use model::civil_date;

const NS_PER_SECOND: i64 = 1_000_000_000;
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

/// A time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GoTime {
    /// Seconds since 1970; nanoseconds alone would not reach Go's zero time.
    seconds: i64,
    nanosecond: u32,
}

/// A time taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: i64,
    /// From 1.
    pub(super) month: u32,
    pub(super) day: u32,
    pub(super) hour: u32,
    pub(super) minute: u32,
    pub(super) second: u32,
    pub(super) nanosecond: u32,
    /// Sunday is 0.
    pub(super) weekday: u32,
    /// From 1.
    pub(super) year_day: u32,
}

impl GoTime {
    /// Nanoseconds since 1970.
    pub(super) fn utc(ns: i64) -> Self {
        let nanosecond = u32::try_from(ns.rem_euclid(NS_PER_SECOND)).expect("below a second");
        Self { seconds: ns.div_euclid(NS_PER_SECOND), nanosecond }
    }

    /// Go's zero time, the first of January of the year 1.
    pub(super) fn zero() -> Self {
        Self { seconds: days_from_civil(1, 1, 1) * 86_400, nanosecond: 0 }
    }

    /// Nanoseconds since 1970; out of reach becomes the nearest.
    pub(super) fn unix_ns(self) -> i64 {
        self.seconds.saturating_mul(NS_PER_SECOND).saturating_add(i64::from(self.nanosecond))
    }

    pub(super) fn civil(self) -> Civil {
        let days = self.seconds.div_euclid(86_400);
        let (year, month, day) = civil_from_days(days);
        let small = |number: i64| u32::try_from(number).expect("parts of a day and a week are small");
        let of_day = self.seconds.rem_euclid(86_400);
        Civil {
            year,
            month,
            day,
            hour: small(of_day / 3600),
            minute: small(of_day / 60 % 60),
            second: small(of_day % 60),
            nanosecond: self.nanosecond,
            weekday: small((days + 4).rem_euclid(7)),
            year_day: small(days - days_from_civil(year, 1, 1) + 1),
        }
    }

    /// The time in a layout.
    pub(super) fn format(self, layout: &str) -> String {
        let civil = self.civil();
        let mut out = String::with_capacity(layout.len() + 8);
        let mut rest = layout;
        while !rest.is_empty() {
            let Some((element, bytes)) = element_at(rest, &out) else {
                let c = rest.chars().next().expect("the rest is not empty");
                out.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            };
            write_element(element, &civil, &rest[..bytes], &mut out);
            rest = &rest[bytes..];
        }
        out
    }
}

impl fmt::Display for GoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

/// An element of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    LongYear,
    Year,
    LongMonth,
    Month,
    ZeroMonth,
    NumMonth,
    LongWeekday,
    Weekday,
    ZeroDay,
    UnderDay,
    NumDay,
    ZeroYearDay,
    Hour,
    ZeroHour12,
    NumHour12,
    ZeroMinute,
    NumMinute,
    ZeroSecond,
    NumSecond,
    UpperPm,
    LowerPm,
    ZoneName,
    /// `Z07:00` and `-07:00`, with or without the colon; the flag tells whether UTC is `Z`.
    Offset {
        zulu: bool,
    },
    /// `.000` or `,000`
    FractionZeros,
    /// `.999`
    FractionNines,
}

/// Elements by their text; longer ones first where one starts another.
const ELEMENTS: [(&str, Element); 33] = [
    ("January", Element::LongMonth),
    ("Jan", Element::Month),
    ("Monday", Element::LongWeekday),
    ("Mon", Element::Weekday),
    ("MST", Element::ZoneName),
    ("2006", Element::LongYear),
    ("002", Element::ZeroYearDay),
    ("01", Element::ZeroMonth),
    ("02", Element::ZeroDay),
    ("03", Element::ZeroHour12),
    ("04", Element::ZeroMinute),
    ("05", Element::ZeroSecond),
    ("06", Element::Year),
    ("15", Element::Hour),
    ("1", Element::NumMonth),
    ("_2006", Element::LongYear),
    ("_2", Element::UnderDay),
    ("2", Element::NumDay),
    ("3", Element::NumHour12),
    ("4", Element::NumMinute),
    ("5", Element::NumSecond),
    ("PM", Element::UpperPm),
    ("pm", Element::LowerPm),
    ("-07:00:00", Element::Offset { zulu: false }),
    ("-07:00", Element::Offset { zulu: false }),
    ("-070000", Element::Offset { zulu: false }),
    ("-0700", Element::Offset { zulu: false }),
    ("-07", Element::Offset { zulu: false }),
    ("Z07:00:00", Element::Offset { zulu: true }),
    ("Z07:00", Element::Offset { zulu: true }),
    ("Z070000", Element::Offset { zulu: true }),
    ("Z0700", Element::Offset { zulu: true }),
    ("Z07", Element::Offset { zulu: true }),
];

/// The element at the start of a layout and its length. A fraction counts only behind a second's digits.
fn element_at(layout: &str, before: &str) -> Option<(Element, usize)> {
    if layout.starts_with(['.', ',']) && before.ends_with(|c: char| c.is_ascii_digit()) {
        for (digit, element) in [(b'0', Element::FractionZeros), (b'9', Element::FractionNines)] {
            let digits = layout.as_bytes()[1..].iter().take_while(|byte| **byte == digit).count();
            let ends = !layout.as_bytes().get(digits + 1).is_some_and(u8::is_ascii_digit);
            if digits > 0 && ends {
                return Some((element, digits + 1));
            }
        }
    }
    ELEMENTS.iter().find(|(text, _)| layout.starts_with(text)).map(|(text, element)| (*element, text.len()))
}

fn write_element(element: Element, civil: &Civil, text: &str, out: &mut String) {
    let hour12 = if civil.hour.is_multiple_of(12) { 12 } else { civil.hour % 12 };
    let month = MONTHS[civil.month as usize - 1];
    let day = DAYS[civil.weekday as usize];
    let written = match element {
        Element::LongYear => format!("{:04}", civil.year),
        Element::Year => format!("{:02}", civil.year.rem_euclid(100)),
        Element::LongMonth => month.to_owned(),
        Element::Month => month[..3].to_owned(),
        Element::ZeroMonth => format!("{:02}", civil.month),
        Element::NumMonth => civil.month.to_string(),
        Element::LongWeekday => day.to_owned(),
        Element::Weekday => day[..3].to_owned(),
        Element::ZeroDay => format!("{:02}", civil.day),
        Element::UnderDay => format!("{:>2}", civil.day),
        Element::NumDay => civil.day.to_string(),
        Element::ZeroYearDay => format!("{:03}", civil.year_day),
        Element::Hour => format!("{:02}", civil.hour),
        Element::ZeroHour12 => format!("{hour12:02}"),
        Element::NumHour12 => hour12.to_string(),
        Element::ZeroMinute => format!("{:02}", civil.minute),
        Element::NumMinute => civil.minute.to_string(),
        Element::ZeroSecond => format!("{:02}", civil.second),
        Element::NumSecond => civil.second.to_string(),
        Element::UpperPm => if civil.hour < 12 { "AM" } else { "PM" }.to_owned(),
        Element::LowerPm => if civil.hour < 12 { "am" } else { "pm" }.to_owned(),
        Element::ZoneName => "UTC".to_owned(),
        Element::Offset { zulu: true } => "Z".to_owned(),
        Element::Offset { zulu: false } => text.replace('-', "+").replace("07", "00"),
        Element::FractionZeros => fraction(civil.nanosecond, text),
        Element::FractionNines => match fraction(civil.nanosecond, text).trim_end_matches('0') {
            "." | "," => String::new(),
            kept => kept.to_owned(),
        },
    };
    out.push_str(&written);
}

/// As many digits of the nanosecond as the layout has.
fn fraction(nanosecond: u32, text: &str) -> String {
    let digits = format!("{nanosecond:09}");
    format!("{}{}", &text[..1], &digits[..(text.len() - 1).min(9)])
}

/// Reads a time in a layout; `None` if it does not fit.
pub(super) fn parse(layout: &str, value: &str, zone: Tz) -> Option<GoTime> {
    let mut reader = Reader { rest: value, ..Reader::default() };
    let mut layout = layout;
    let mut before = String::new();
    while !layout.is_empty() {
        let Some((element, bytes)) = element_at(layout, &before) else {
            let c = layout.chars().next()?;
            reader.rest = reader.rest.strip_prefix(c)?;
            before.push(c);
            layout = &layout[c.len_utf8()..];
            continue;
        };
        reader.read(element)?;
        before.push('0');
        layout = &layout[bytes..];
        // Go takes a fraction after the seconds even if the layout has none.
        let after_second = matches!(element, Element::ZeroSecond | Element::NumSecond);
        if after_second && element_at(layout, &before).is_none_or(|(next, _)| !is_fraction(next)) {
            reader.fraction();
        }
    }
    reader.rest.is_empty().then(|| reader.finish(zone))?
}

fn is_fraction(element: Element) -> bool {
    matches!(element, Element::FractionZeros | Element::FractionNines)
}

/// Parts of a time read so far; Go's year defaults to 0.
#[derive(Default)]
struct Reader<'a> {
    rest: &'a str,
    year: i64,
    month: Option<u32>,
    day: Option<u32>,
    year_day: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    nanosecond: u32,
    pm: Option<bool>,
    /// East of UTC, if the text says so.
    offset_seconds: Option<i64>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, element: Element) -> Option<()> {
        match element {
            Element::LongYear => self.year = i64::from(self.digits(4, 4)?),
            Element::Year => {
                let year = i64::from(self.digits(2, 2)?);
                self.year = if year >= 69 { 1900 + year } else { 2000 + year };
            }
            Element::LongMonth => self.month = Some(self.name(&MONTHS, usize::MAX)? + 1),
            Element::Month => self.month = Some(self.name(&MONTHS, 3)? + 1),
            Element::ZeroMonth => self.month = Some(self.digits(2, 2)?),
            Element::NumMonth => self.month = Some(self.digits(1, 2)?),
            Element::LongWeekday => drop(self.name(&DAYS, usize::MAX)?),
            Element::Weekday => drop(self.name(&DAYS, 3)?),
            Element::ZeroDay => self.day = Some(self.digits(2, 2)?),
            Element::UnderDay | Element::NumDay => {
                self.rest = self.rest.trim_start_matches(' ');
                self.day = Some(self.digits(1, 2)?);
            }
            Element::ZeroYearDay => self.year_day = Some(self.digits(3, 3)?),
            Element::Hour | Element::ZeroHour12 => self.hour = self.digits(2, 2)?,
            Element::NumHour12 => self.hour = self.digits(1, 2)?,
            Element::ZeroMinute => self.minute = self.digits(2, 2)?,
            Element::NumMinute => self.minute = self.digits(1, 2)?,
            Element::ZeroSecond => self.second = self.digits(2, 2)?,
            Element::NumSecond => self.second = self.digits(1, 2)?,
            Element::UpperPm | Element::LowerPm => {
                let half = self.rest.get(..2)?;
                self.pm = Some(match half {
                    "PM" | "pm" => true,
                    "AM" | "am" => false,
                    _ => return None,
                });
                self.rest = &self.rest[2..];
            }
            Element::ZoneName => {
                let bytes = self.rest.find(|c: char| !c.is_ascii_uppercase()).unwrap_or(self.rest.len());
                if bytes < 3 {
                    return None;
                }
                if &self.rest[..bytes] == "UTC" {
                    self.offset_seconds = Some(0);
                }
                self.rest = &self.rest[bytes..];
            }
            Element::Offset { zulu } => self.offset(zulu)?,
            Element::FractionZeros | Element::FractionNines => self.fraction(),
        }
        Some(())
    }

    fn digits(&mut self, min: usize, max: usize) -> Option<u32> {
        let count = self.rest.bytes().take(max).take_while(u8::is_ascii_digit).count();
        if count < min {
            return None;
        }
        let number = self.rest[..count].parse().ok()?;
        self.rest = &self.rest[count..];
        Some(number)
    }

    fn name(&mut self, names: &[&str], bytes: usize) -> Option<u32> {
        for (position, name) in (0..).zip(names) {
            let name = &name[..name.len().min(bytes)];
            if self.rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
                self.rest = &self.rest[name.len()..];
                return Some(position);
            }
        }
        None
    }

    fn fraction(&mut self) {
        let Some(after) = self.rest.strip_prefix(['.', ',']) else { return };
        let count = after.bytes().take_while(u8::is_ascii_digit).count();
        if count > 0 {
            let digits = &after[..count.min(9)];
            let number: u32 = digits.parse().expect("at most nine digits");
            self.nanosecond = number * 10u32.pow(9 - u32::try_from(digits.len()).expect("at most nine"));
            self.rest = &after[count..];
        }
    }

    fn offset(&mut self, zulu: bool) -> Option<()> {
        if zulu && let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            self.offset_seconds = Some(0);
            return Some(());
        }
        let sign = match self.rest.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.rest = &self.rest[1..];
        let hours = self.digits(2, 2)?;
        self.rest = self.rest.strip_prefix(':').unwrap_or(self.rest);
        let minutes = self.digits(2, 2).unwrap_or(0);
        self.offset_seconds = Some(sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60));
        Some(())
    }

    fn finish(self, zone: Tz) -> Option<GoTime> {
        let hour = match self.pm {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        let in_range = hour < 24 && self.minute < 60 && self.second < 60;
        if !in_range || !(1..=12).contains(&month) || day == 0 || day > days_in_month(self.year, month) {
            return None;
        }
        let days = match self.year_day {
            Some(year_day) => days_from_civil(self.year, 1, 1) + i64::from(year_day) - 1,
            None => days_from_civil(self.year, month, day),
        };
        let of_day = i64::from(hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        let shown = days * 86_400 + of_day;
        let offset = self.offset_seconds.unwrap_or_else(|| offset_of(zone, shown));
        Some(GoTime { seconds: shown - offset, nanosecond: self.nanosecond })
    }
}

/// Seconds east of UTC in a zone whose clocks show so many seconds since 1970: of two such moments the first one's; for
/// one that never was, that of the time before.
fn offset_of(zone: Tz, shown_seconds: i64) -> i64 {
    let offset_at = |seconds: i64| {
        let local = DateTime::from_timestamp(seconds, 0)?.naive_utc();
        zone.offset_from_local_datetime(&local).earliest().map(|offset| offset.fix().local_minus_utc())
    };
    let offset = offset_at(shown_seconds).or_else(|| offset_at(shown_seconds - 3 * 3600));
    offset.map_or(0, i64::from)
}

fn days_in_month(year: i64, month: u32) -> u32 {
    let next =
        if month == 12 { days_from_civil(year + 1, 1, 1) } else { days_from_civil(year, month + 1, 1) };
    u32::try_from(next - days_from_civil(year, month, 1)).expect("a month has at most 31 days")
}

/// Days since 1970 of a date in the Gregorian calendar (Howard Hinnant, "chrono-compatible date algorithms").
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let (year, month, day) = civil_date(days);
    let small = |number: i64| u32::try_from(number).expect("days and months are small");
    (year, small(month), small(day))
}
