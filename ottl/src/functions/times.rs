//! Times and durations.

use super::{Args, Function, Kind, Prepared, converter, may, need};
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::time::{Parts, Time, Zone, layout, parse_duration};
use crate::value::Value;

pub(super) const TABLE: &[Function] = &[
    converter("Now", &[], |_, frame| Ok(Value::Time(Time::utc(frame.now_ns)))),
    converter(
        "Time",
        &[
            need("time", Kind::Text),
            need("format", Kind::LiteralText),
            may("location", Kind::LiteralText),
            may("locale", Kind::LiteralText),
        ],
        |args, frame| {
            let text = args.text(0, frame)?;
            if text.is_empty() {
                return Err(RunError::new("time cannot be nil"));
            }
            match &args.prepared {
                Prepared::TimeOf(layout, zone) => {
                    layout.parse(&text, *zone, frame.now_ns).map(Value::Time).map_err(RunError::new)
                }
                _ => Err(RunError::new("format cannot be nil")),
            }
        },
    )
    .prepared(|args| {
        let format = args.literal_text(1).unwrap_or_default();
        let zone = match args.literal_text(2) {
            None | Some("") if format.ends_with('Z') => Zone::UTC,
            None | Some("") => Zone::Local,
            Some(location) => Zone::named(location)?,
        };
        if let Some(locale) = args.literal_text(3)
            && !locale.to_lowercase().starts_with("en")
        {
            return Err(format!("the locale {locale:?} is not supported yet; have en"));
        }
        layout(format).map(|layout| Prepared::TimeOf(layout, zone))
    }),
    converter("FormatTime", &[need("time", Kind::Time), need("format", Kind::LiteralText)], |args, frame| {
        let time = args.time(0, frame)?;
        match &args.prepared {
            Prepared::Layout(layout) => Ok(Value::text(layout.format(time))),
            _ => Err(RunError::new("format cannot be nil")),
        }
    })
    .prepared(|args| layout(args.literal_text(1).unwrap_or_default()).map(Prepared::Layout)),
    converter(
        "TruncateTime",
        &[need("time", Kind::Time), need("duration", Kind::Duration)],
        |args, frame| Ok(Value::Time(args.time(0, frame)?.truncate(args.duration(1, frame)?))),
    ),
    converter("Unix", &[need("seconds", Kind::Int), may("nanoseconds", Kind::Int)], |args, frame| {
        let seconds = args.int(0, frame)?;
        let nanoseconds = if args.is_given(1) { args.int(1, frame)? } else { 0 };
        Ok(Value::Time(Time::utc(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))))
    }),
    converter("UnixSeconds", &[need("time", Kind::Time)], |args, frame| unix(args, frame, 1_000_000_000)),
    converter("UnixMilli", &[need("time", Kind::Time)], |args, frame| unix(args, frame, 1_000_000)),
    converter("UnixMicro", &[need("time", Kind::Time)], |args, frame| unix(args, frame, 1_000)),
    converter("UnixNano", &[need("time", Kind::Time)], |args, frame| unix(args, frame, 1)),
    converter("Year", &[need("time", Kind::Time)], |args, frame| part(args, frame, |p| i64::from(p.year))),
    converter("Month", &[need("time", Kind::Time)], |args, frame| part(args, frame, |p| i64::from(p.month))),
    converter("Day", &[need("time", Kind::Time)], |args, frame| part(args, frame, |p| i64::from(p.day))),
    converter("Weekday", &[need("time", Kind::Time)], |args, frame| {
        part(args, frame, |p| i64::from(p.weekday))
    }),
    converter("Hour", &[need("time", Kind::Time)], |args, frame| part(args, frame, |p| i64::from(p.hour))),
    converter("Minute", &[need("time", Kind::Time)], |args, frame| {
        part(args, frame, |p| i64::from(p.minute))
    }),
    converter("Second", &[need("time", Kind::Time)], |args, frame| {
        part(args, frame, |p| i64::from(p.second))
    }),
    converter("Nanosecond", &[need("time", Kind::Time)], |args, frame| {
        part(args, frame, |p| i64::from(p.nanosecond))
    }),
    converter("Duration", &[need("duration", Kind::Text)], |args, frame| {
        let text = args.text(0, frame)?;
        match parse_duration(&text) {
            Some(ns) => Ok(Value::Duration(ns)),
            None => Err(RunError::new(format!("time: invalid duration {text:?}"))),
        }
    }),
    converter("Hours", &[need("duration", Kind::Duration)], |args, frame| {
        span(args, frame, 3_600_000_000_000)
    }),
    converter("Minutes", &[need("duration", Kind::Duration)], |args, frame| {
        span(args, frame, 60_000_000_000)
    }),
    converter("Seconds", &[need("duration", Kind::Duration)], |args, frame| span(args, frame, 1_000_000_000)),
    converter("Milliseconds", &[need("duration", Kind::Duration)], |args, frame| {
        Ok(Value::Int(args.duration(0, frame)? / 1_000_000))
    }),
    converter("Microseconds", &[need("duration", Kind::Duration)], |args, frame| {
        Ok(Value::Int(args.duration(0, frame)? / 1_000))
    }),
    converter("Nanoseconds", &[need("duration", Kind::Duration)], |args, frame| {
        Ok(Value::Int(args.duration(0, frame)?))
    }),
];

fn unix<'p>(args: &'p Args, frame: &Frame<'p>, unit_ns: i64) -> Eval<Value<'p>> {
    Ok(Value::Int(args.time(0, frame)?.unix_ns.div_euclid(unit_ns)))
}

fn part<'p>(args: &'p Args, frame: &Frame<'p>, part: impl FnOnce(Parts) -> i64) -> Eval<Value<'p>> {
    Ok(Value::Int(part(args.time(0, frame)?.parts())))
}

/// A duration in a unit, as Go computes it: whole units and the rest apart.
fn span<'p>(args: &'p Args, frame: &Frame<'p>, unit_ns: i64) -> Eval<Value<'p>> {
    let ns = args.duration(0, frame)?;
    Ok(Value::Double((ns / unit_ns) as f64 + (ns % unit_ns) as f64 / unit_ns as f64))
}
