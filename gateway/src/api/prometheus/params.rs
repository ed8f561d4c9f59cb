//! Parameters of the Prometheus API (web/api/v1/api.go: parseTime, parseDuration, parseLimitParam,
//! parseMatchersParam).

use std::time::Duration;

use chrono::DateTime;
use model::{Matcher, TimeRange};

use super::error::ApiError;
use crate::api::form::Form;

/// Points that a range query may have.
const POINTS_MAX: i64 = 11_000;

/// A point in time: seconds with decimals since the Unix epoch, or RFC 3339. In milliseconds.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        // i64 milliseconds reach 292 million years; anything past that is no time.
        let ms = (seconds.trunc() * 1000.0) + (seconds.fract() * 1000.0).round();
        return (ms.is_finite() && ms.abs() < 9e18).then_some(ms as i64);
    }
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}

/// A length of time: seconds with decimals, or Prometheus' notation. In milliseconds.
fn parse_duration(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = seconds * 1000.0;
        return (ms.is_finite() && ms.abs() < 9e15).then_some(ms.round() as i64);
    }
    promql::parse_duration(text).ok()
}

/// A time parameter that must be there.
pub(super) fn required_time(form: &Form, name: &str) -> Result<i64, ApiError> {
    let text = form.get(name).unwrap_or("");
    parse_time(text)
        .ok_or_else(|| ApiError::parameter(name, format_args!("cannot parse {text:?} to a valid timestamp")))
}

/// A time parameter, or `default` without it.
pub(super) fn time_or(form: &Form, name: &str, default: i64) -> Result<i64, ApiError> {
    if form.get(name).is_some() { required_time(form, name) } else { Ok(default) }
}

/// A duration parameter in milliseconds, if it is there.
pub(super) fn optional_duration(form: &Form, name: &str) -> Result<Option<i64>, ApiError> {
    let Some(text) = form.get(name) else { return Ok(None) };
    let refuse = || ApiError::parameter(name, format_args!("cannot parse {text:?} to a valid duration"));
    parse_duration(text).map(Some).ok_or_else(refuse)
}

/// `timeout`, at most the server's own.
pub(super) fn timeout(form: &Form, max: Duration) -> Result<Duration, ApiError> {
    let asked = optional_duration(form, "timeout")?;
    let asked = asked.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
    Ok(asked.map_or(max, |asked| asked.min(max)))
}

/// `limit`: how many results at most; absent or 0 is no limit.
pub(super) fn limit(form: &Form, name: &str) -> Result<usize, ApiError> {
    let Some(text) = form.get(name) else { return Ok(0) };
    match text.parse::<i64>() {
        Ok(limit) if limit < 0 => Err(ApiError::parameter(name, "limit must be non-negative")),
        Ok(limit) => Ok(usize::try_from(limit).unwrap_or(usize::MAX)),
        Err(_) => Err(ApiError::parameter(name, format_args!("cannot parse {text:?} to a number"))),
    }
}

/// `start`, `end` and `step` of a range query.
pub(super) struct Steps {
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) step_ms: i64,
}

/// Reads `start`, `end` and `step`.
pub(super) fn steps(form: &Form) -> Result<Steps, ApiError> {
    let start_ms = required_time(form, "start")?;
    let end_ms = required_time(form, "end")?;
    if end_ms < start_ms {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = optional_duration(form, "step")?
        .ok_or_else(|| ApiError::parameter("step", "cannot parse \"\" to a valid duration"))?;
    if step_ms <= 0 {
        return Err(ApiError::parameter(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    let points = end_ms.checked_sub(start_ms).map(|range| range / step_ms);
    if points.is_none_or(|points| points > POINTS_MAX) {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok(Steps { start_ms, end_ms, step_ms })
}

/// `start` and `end` of a metadata request; without them everything.
pub(super) fn time_range(form: &Form) -> Result<TimeRange, ApiError> {
    let min = time_or(form, "start", TimeRange::ALL.min)?;
    let max = time_or(form, "end", TimeRange::ALL.max)?;
    if max < min {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    Ok(TimeRange::new(min, max))
}

/// Every `match[]`, parsed; a selector must have a matcher that does not take an empty value.
pub(super) fn matchers(form: &Form) -> Result<Vec<Vec<Matcher>>, ApiError> {
    let mut sets = Vec::new();
    for selector in form.all("match[]") {
        let set = promql::parse_selector(selector).map_err(|error| ApiError::parameter("match[]", error))?;
        if set.iter().all(Matcher::matches_empty) {
            return Err(ApiError::parameter(
                "match[]",
                "match[] must contain at least one non-empty matcher",
            ));
        }
        sets.push(set);
    }
    Ok(sets)
}

/// Undoes the `U__` escaping of UTF-8 names in paths (model.UnescapeName, ValueEncodingEscaping): `__` is `_`, `_hex_`
/// a code point. Text that is not a valid escape is itself.
pub(super) fn unescape_name(name: &str) -> String {
    fn decode(escaped: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = escaped;
        while let Some(at) = rest.find('_') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('_') {
                out.push('_');
                rest = after;
                continue;
            }
            let end = rest.find('_')?;
            let digits = &rest[..end];
            if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            out.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
            rest = &rest[end + 1..];
        }
        out.push_str(rest);
        Some(out)
    }
    name.strip_prefix("U__").and_then(decode).unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{parse_duration, parse_time, unescape_name};

    #[test]
    fn times_are_seconds_or_rfc3339() {
        for (text, want) in [
            ("1", Some(1000)),
            ("1.5", Some(1500)),
            ("1435781451.781", Some(1_435_781_451_781)),
            ("-1", Some(-1000)),
            ("2015-07-01T20:10:51.781Z", Some(1_435_781_451_781)),
            ("2015-07-01T22:10:51+02:00", Some(1_435_781_451_000)),
            // Grafana sends milliseconds in the seconds' place when it looks for exemplars.
            ("1700000000000", Some(1_700_000_000_000_000)),
            ("", None),
            ("now", None),
            ("NaN", None),
            ("1e300", None),
        ] {
            assert_eq!(parse_time(text), want, "{text}");
        }
    }

    #[test]
    fn durations_are_seconds_or_prometheus_notation() {
        for (text, want) in [
            ("15", Some(15_000)),
            ("0.5", Some(500)),
            ("1m", Some(60_000)),
            ("1h30m", Some(5_400_000)),
            ("x", None),
        ] {
            assert_eq!(parse_duration(text), want, "{text}");
        }
    }

    #[test]
    fn escaped_names_come_back() {
        for (escaped, want) in [
            ("job", "job"),
            ("U__http_2e_method", "http.method"),
            ("U__a__b", "a_b"),
            ("U___1f600_", "\u{1f600}"),
            ("U__broken_2e", "U__broken_2e"),
            ("U__x_zz_", "U__x_zz_"),
        ] {
            assert_eq!(unescape_name(escaped), want);
        }
    }
}
