//! Places whose clocks times without an offset are told by: the machine's, UTC, or one of the IANA database, which is
//! compiled in.

use chrono::{Local, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::{OffsetName, Tz};

/// A place's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    /// That of the machine.
    Local,
    Named(Tz),
}

impl Zone {
    pub(crate) const UTC: Self = Self::Named(Tz::UTC);

    /// The zone of a name, as `time.LoadLocation` of Go reads it. The error is a reason.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        match name {
            "" | "UTC" => Ok(Self::UTC),
            "Local" => Ok(Self::Local),
            name => {
                let zone = name.parse().map(Self::Named);
                zone.map_err(|_| format!("failed to load location {name}: unknown time zone {name}"))
            }
        }
    }

    /// Seconds east of UTC when the clock shows `local`.
    pub(super) fn offset(self, local: NaiveDateTime) -> i32 {
        match self {
            Self::Local => offset_of(&Local, local),
            Self::Named(zone) => offset_of(&zone, local),
        }
    }

    /// The zone that an abbreviation in a time means: this one where it is among its own, otherwise the one that the
    /// database has under that name.
    pub(super) fn of_abbreviation(self, name: &str, year: i32) -> Result<Self, String> {
        if name == "UTC" {
            return Ok(Self::UTC);
        }
        match self {
            Self::Named(zone) if is_own(zone, name, year) => Ok(self),
            _ => Self::named(name),
        }
    }
}

/// As `time.Date` of Go finds it: the offset at the moment that the offset of a first guess leads to.
fn offset_of<Z: TimeZone>(zone: &Z, local: NaiveDateTime) -> i32 {
    let at = |utc: &NaiveDateTime| zone.offset_from_utc_datetime(utc).fix().local_minus_utc();
    let guess = TimeDelta::seconds(at(&local).into());
    local.checked_sub_signed(guess).map_or(0, |utc| at(&utc))
}

/// Whether clocks of the zone go by that name at some time of a year.
fn is_own(zone: Tz, name: &str, year: i32) -> bool {
    (1..=12).any(|month| {
        let moment = zone.with_ymd_and_hms(year, month, 1, 12, 0, 0).earliest();
        moment.is_some_and(|moment| moment.offset().abbreviation() == Some(name))
    })
}
