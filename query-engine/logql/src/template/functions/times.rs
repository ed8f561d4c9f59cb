//! Functions on times.

use chrono_tz::Tz;

use super::{Arguments, Outcome, one, text, three, two};
use crate::template::Value;
use crate::template::go_time::{GoTime, parse};

/// Calls a function on times; `None` when there is none of this name.
pub(super) fn call<'a>(name: &str, arguments: Arguments<'_, 'a>) -> Option<Outcome<'a>> {
    Some(match name {
        "date" => two(arguments).and_then(|(layout, value)| {
            let time = match value {
                Value::Time(time) => *time,
                Value::Int(seconds) => GoTime::utc(seconds.saturating_mul(1_000_000_000)),
                // sprig takes the present for what is no time; a query must not depend on when it runs.
                other => {
                    return Err(format!(
                        "wrong type for value; expected time.Time; got {}",
                        other.type_name()
                    ));
                }
            };
            Ok(Value::text(time.format(text(layout)?)))
        }),
        "toDate" => two(arguments).and_then(|(layout, value)| {
            Ok(Value::Time(parse(text(layout)?, text(value)?, Tz::UTC).unwrap_or_else(GoTime::zero)))
        }),
        "toDateInZone" => three(arguments).and_then(|[layout, zone, value]| {
            // A zone that nobody knows is UTC (`toDateInZone` in pkg/logql/log/fmt.go).
            let zone = text(zone)?.parse().unwrap_or(Tz::UTC);
            Ok(Value::Time(parse(text(layout)?, text(value)?, zone).unwrap_or_else(GoTime::zero)))
        }),
        "unixToTime" => one(arguments).and_then(|value| unix_to_time(text(value)?)).map(Value::Time),
        "unixEpoch" => {
            time(arguments).map(|time| Value::text(time.unix_ns().div_euclid(1_000_000_000).to_string()))
        }
        "unixEpochMillis" => {
            time(arguments).map(|time| Value::text(time.unix_ns().div_euclid(1_000_000).to_string()))
        }
        "unixEpochNanos" => time(arguments).map(|time| Value::text(time.unix_ns().to_string())),
        _ => return None,
    })
}

fn time(arguments: Arguments<'_, '_>) -> Result<GoTime, String> {
    match one(arguments)? {
        Value::Time(time) => Ok(*time),
        other => Err(format!("wrong type for value; expected time.Time; got {}", other.type_name())),
    }
}

/// The unit follows from the number of digits: days, seconds, milli-, micro- or nanoseconds.
fn unix_to_time(epoch: &str) -> Result<GoTime, String> {
    let invalid = || format!("unable to parse time '{epoch}'");
    let number: i64 = epoch.parse().map_err(|_| invalid())?;
    let scale = match epoch.len() {
        5 => 86_400_000_000_000,
        10 => 1_000_000_000,
        13 => 1_000_000,
        16 => 1_000,
        19 => 1,
        _ => return Err(invalid()),
    };
    number.checked_mul(scale).map(GoTime::utc).ok_or_else(invalid)
}

/// A method of a time.
pub(in crate::template) fn method<'a>(time: GoTime, name: &str, arguments: Arguments<'_, 'a>) -> Outcome<'a> {
    let ns = time.unix_ns();
    let civil = time.civil();
    Ok(match (name, arguments) {
        ("Format", [layout]) => Value::text(time.format(text(layout)?)),
        ("Unix", []) => Value::Int(ns.div_euclid(1_000_000_000)),
        ("UnixMilli", []) => Value::Int(ns.div_euclid(1_000_000)),
        ("UnixMicro", []) => Value::Int(ns.div_euclid(1_000)),
        ("UnixNano", []) => Value::Int(ns),
        ("Year", []) => Value::Int(civil.year),
        ("Day", []) => Value::Int(i64::from(civil.day)),
        ("Hour", []) => Value::Int(i64::from(civil.hour)),
        ("Minute", []) => Value::Int(i64::from(civil.minute)),
        ("Second", []) => Value::Int(i64::from(civil.second)),
        ("Nanosecond", []) => Value::Int(i64::from(civil.nanosecond)),
        ("YearDay", []) => Value::Int(i64::from(civil.year_day)),
        ("Month", []) => Value::text(time.format("January")),
        ("Weekday", []) => Value::text(time.format("Monday")),
        ("UTC" | "Local", []) => Value::Time(time),
        ("String", []) => Value::text(time.to_string()),
        _ => return Err(format!("can't evaluate field {name} in type time.Time")),
    })
}
