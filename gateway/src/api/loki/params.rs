//! Parameters of the Loki API (pkg/loghttp/{params,query,labels,series}.go).

use axum::body::Body;
use axum::response::IntoResponse;
use chrono::DateTime;
use http::{Response, StatusCode};
use model::{Direction, TimeRange, cut_message};

use crate::api::form::Form;
use crate::duration;

/// Entries of a log query without `limit`.
const LIMIT_DEFAULT: u32 = 100;
/// Points of a metric range query.
const POINTS_MAX: i64 = 11_000;
/// Time before `end` at which a request without `start` begins.
const SINCE_DEFAULT_NS: i64 = 3_600_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// Why a request was not answered: a status and a text, which is the whole body (pkg/util/server/error.go).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LokiError {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl LokiError {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }
}

impl IntoResponse for LokiError {
    fn into_response(self) -> Response<Body> {
        // No browser may take what a text quotes from a request for a page.
        let headers = [("x-content-type-options", "nosniff")];
        (self.status, headers, cut_message(self.message) + "\n").into_response()
    }
}

/// A point in time in nanoseconds: seconds with decimals if there is a dot, whole seconds up to ten characters,
/// nanoseconds above, or RFC 3339.
fn parse_time(text: &str) -> Option<i64> {
    if text.contains('.')
        && let Ok(seconds) = text.parse::<f64>()
    {
        let nanos = (seconds.fract() * 1000.0).round() * 1e6;
        let total = seconds.trunc() * 1e9 + nanos;
        return (total.is_finite() && total.abs() < 9.2e18)
            .then(|| (seconds.trunc() as i64).saturating_mul(SECOND_NS).saturating_add(nanos as i64));
    }
    match text.parse::<i64>() {
        Ok(seconds) if text.len() <= 10 => seconds.checked_mul(SECOND_NS),
        Ok(nanos) => Some(nanos),
        Err(_) => DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt(),
    }
}

/// A time parameter, or `default` without it.
pub(super) fn time_or(form: &Form, name: &str, default: i64) -> Result<i64, LokiError> {
    let Some(text) = form.get(name) else { return Ok(default) };
    parse_time(text).ok_or_else(|| LokiError::bad_request(not_an_integer("ParseInt", text)))
}

/// What Go's `strconv` says of a text that is no whole number, or too large a one.
pub(super) fn not_an_integer(function: &str, text: &str) -> String {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let reason = if is_number { "value out of range" } else { "invalid syntax" };
    format!("strconv.{function}: parsing {}: {reason}", logql::syntax::quoted(text))
}

/// `start` and `end`, which may be left out, and `since`.
pub(super) fn bounds(form: &Form, now_ns: i64) -> Result<(i64, i64), LokiError> {
    let since_ns = match form.get("since") {
        None => SINCE_DEFAULT_NS,
        Some(text) => {
            duration::parse_prometheus_ms(text).and_then(|ms| ms.checked_mul(1_000_000)).ok_or_else(|| {
                LokiError::bad_request(format!(
                    "could not parse 'since' parameter: not a valid duration string: {text:?}"
                ))
            })?
        }
    };
    let bound = |name: &str, default: i64| {
        time_or(form, name, default).map_err(|LokiError { status, message }| LokiError {
            status,
            message: format!("could not parse '{name}' parameter: {message}"),
        })
    };
    let end = bound("end", now_ns)?;
    let start = bound("start", end.min(now_ns).saturating_sub(since_ns))?;
    if end < start {
        return Err(LokiError::bad_request("end timestamp must not be before or equal to start time"));
    }
    Ok((start, end))
}

/// The range of a request about streams; both ends belong to it.
pub(super) fn range(form: &Form, now_ns: i64) -> Result<TimeRange, LokiError> {
    bounds(form, now_ns).map(|(start, end)| TimeRange::new(start, end))
}

/// `limit` of a query; the engine knows how large it may be.
pub(super) fn limit(form: &Form) -> Result<u32, LokiError> {
    positive(form, "limit", LIMIT_DEFAULT)
}

/// A whole number above 0, or `default` without it.
pub(super) fn positive(form: &Form, name: &str, default: u32) -> Result<u32, LokiError> {
    let Some(text) = form.get(name) else { return Ok(default) };
    match text.parse::<i64>() {
        Ok(value) if value > 0 => Ok(u32::try_from(value).unwrap_or(u32::MAX)),
        Ok(_) => Err(LokiError::bad_request(format!("{name} must be a positive value"))),
        Err(_) => Err(LokiError::bad_request(not_an_integer("Atoi", text))),
    }
}

/// `direction`.
pub(super) fn direction(form: &Form) -> Result<Direction, LokiError> {
    match form.get("direction") {
        None => Ok(Direction::Backward),
        Some(text) if text.eq_ignore_ascii_case("backward") => Ok(Direction::Backward),
        Some(text) if text.eq_ignore_ascii_case("forward") => Ok(Direction::Forward),
        Some(text) => Err(LokiError::bad_request(format!("invalid direction '{text}'"))),
    }
}

/// `step` of a range query in nanoseconds; by default a 250th of the range, at least a second.
pub(super) fn step(form: &Form, start_ns: i64, end_ns: i64) -> Result<i64, LokiError> {
    let range_ns = end_ns.saturating_sub(start_ns);
    let step_ns = match form.get("step") {
        None => (range_ns / SECOND_NS / 250).max(1) * SECOND_NS,
        Some(text) => parse_step(text)
            .ok_or_else(|| LokiError::bad_request(format!("cannot parse {text:?} to a valid duration")))?,
    };
    if step_ns <= 0 {
        return Err(LokiError::bad_request(
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if range_ns / step_ns > POINTS_MAX {
        return Err(LokiError::bad_request(
            "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter",
        ));
    }
    Ok(step_ns)
}

/// `interval` in nanoseconds; 0 without it.
pub(super) fn interval(form: &Form) -> Result<i64, LokiError> {
    let Some(text) = form.get("interval") else { return Ok(0) };
    match parse_step(text) {
        Some(interval_ns) if interval_ns >= 0 => Ok(interval_ns),
        Some(_) => Err(LokiError::bad_request("interval must be >= 0")),
        None => Err(LokiError::bad_request(format!("cannot parse {text:?} to a valid duration"))),
    }
}

/// Seconds with decimals, or Prometheus' notation. In nanoseconds.
fn parse_step(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let nanos = seconds * 1e9;
        return (nanos.is_finite() && nanos.abs() < 9.2e18).then_some(nanos as i64);
    }
    duration::parse_prometheus_ms(text)?.checked_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;

    use super::{bounds, interval, limit, parse_time, step};
    use crate::api::form::Form;

    async fn form(query: &str) -> Form {
        let request =
            Request::builder().uri(format!("/?{query}")).body(Body::empty()).expect("a valid request");
        Form::read(request).await.expect("a good form")
    }

    #[test]
    fn times_are_told_apart_by_their_length() {
        for (text, want) in [
            ("1", Some(1_000_000_000)),
            ("4000000000", Some(4_000_000_000_000_000_000)),
            ("1700000000000000000", Some(1_700_000_000_000_000_000)),
            ("17000000000", Some(17_000_000_000)),
            ("1.5", Some(1_500_000_000)),
            ("1.0006", Some(1_001_000_000)),
            ("1970-01-01T00:00:01.000000002Z", Some(1_000_000_002)),
            ("soon", None),
            ("9999999999", None),
            ("1e400.", None),
        ] {
            assert_eq!(parse_time(text), want, "{text}");
        }
    }

    #[tokio::test]
    async fn bounds_have_the_documented_defaults() {
        const NOW: i64 = 10_000_000_000_000;
        const HOUR: i64 = 3_600_000_000_000;
        for (query, want) in [
            ("", Ok((NOW - HOUR, NOW))),
            ("since=1m", Ok((NOW - 60_000_000_000, NOW))),
            ("start=7", Ok((7_000_000_000, NOW))),
            ("end=5", Ok((5_000_000_000 - HOUR, 5_000_000_000))),
            // An end in the future does not move the start.
            ("end=20000", Ok((NOW - HOUR, 20_000_000_000_000))),
            ("start=5&end=5", Ok((5_000_000_000, 5_000_000_000))),
            ("start=6&end=5", Err("end timestamp must not be before or equal to start time")),
            (
                "start=x",
                Err("could not parse 'start' parameter: strconv.ParseInt: parsing \"x\": invalid syntax"),
            ),
            (
                "end=99999999999999999999",
                Err(
                    "could not parse 'end' parameter: strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
                ),
            ),
            ("since=x", Err("could not parse 'since' parameter: not a valid duration string: \"x\"")),
        ] {
            let got = bounds(&form(query).await, NOW).map_err(|error| error.message);
            assert_eq!(got, want.map_err(str::to_owned), "{query}");
        }
    }

    #[tokio::test]
    async fn limits_are_whole_numbers_above_zero() {
        for (query, want) in [
            ("", Ok(100)),
            ("limit=7", Ok(7)),
            ("limit=0", Err("limit must be a positive value")),
            ("limit=x", Err("strconv.Atoi: parsing \"x\": invalid syntax")),
            ("limit=1e3", Err("strconv.Atoi: parsing \"1e3\": invalid syntax")),
        ] {
            let got = limit(&form(query).await).map_err(|error| error.message);
            assert_eq!(got, want.map_err(str::to_owned), "{query}");
        }
    }

    #[tokio::test]
    async fn steps_have_the_documented_default_and_limit() {
        const SECOND: i64 = 1_000_000_000;
        for (query, seconds, want) in [
            ("", 3600, Ok(14 * SECOND)),
            ("", 10, Ok(SECOND)),
            ("step=15000ms", 3600, Ok(15 * SECOND)),
            ("step=0.5", 10, Ok(SECOND / 2)),
            (
                "step=0",
                10,
                Err("zero or negative query resolution step widths are not accepted. Try a positive integer"),
            ),
            (
                "step=1",
                12_000,
                Err(
                    "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter",
                ),
            ),
            ("step=x", 10, Err("cannot parse \"x\" to a valid duration")),
        ] {
            let got = step(&form(query).await, 0, seconds * SECOND).map_err(|error| error.message);
            assert_eq!(got, want.map_err(str::to_owned), "{query}");
        }
        assert_eq!(interval(&form("interval=2s").await), Ok(2 * SECOND));
    }
}
