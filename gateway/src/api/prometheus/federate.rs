//! `/federate`: the newest sample of every series that matches, as text (web/federate.go).
//!
//! Native histograms have no text form and are left out, as Prometheus does for scrapers that take text only.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Request, Response, StatusCode};
use model::{Labels, METRIC_NAME, SampleColumns, TimeRange, is_stale_nan};
use storage_api::{MetricsSelect, Series};

use super::slot::{Refusal, Slot};
use super::{Shared, tenant_and_form};
use crate::api::{json, whole};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// The newest sample of a series.
struct Newest {
    labels: Labels,
    timestamp_ms: i64,
    value: f64,
}

/// `GET /federate`. It has one of the slots for queries and the time of one, and is made away from the async threads.
pub(super) async fn federate(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let bad_request = |text: String| (StatusCode::BAD_REQUEST, text);
        let (tenant, form) =
            tenant_and_form(request).await.map_err(|error| bad_request(error.message().to_owned()))?;
        let now_ms = api.clock.now_ms();
        let lookback_ms = i64::try_from(api.query.lookback_delta.as_millis()).unwrap_or(i64::MAX);
        let range = TimeRange::new(now_ms.saturating_sub(lookback_ms), now_ms);
        let slot = Slot::take(&api).await?;
        let mut found = Vec::new();
        for selector in form.all("match[]") {
            let matchers =
                promql::parse_selector(selector).map_err(|error| bad_request(error.to_string()))?;
            let select = MetricsSelect { tenant: tenant.clone(), range, matchers };
            let series = slot.within(api.querier.select(&select)).await?;
            found.extend(series.map_err(|error| internal(&error))?);
        }
        let make = move || newest(found, range, &slot).map(|newest| text(&newest));
        let made = api.tasks.spawn_blocking("federate", make).await.map_err(|error| internal(&error))?;
        Ok(whole(StatusCode::OK, TEXT, made?))
    };
    let refuse = |(status, text): Refusal| (status, text + "\n").into_response();
    answer.await.unwrap_or_else(refuse)
}

fn internal(error: &dyn std::fmt::Display) -> Refusal {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// The newest samples, by name and labels.
fn newest(found: Vec<Series>, range: TimeRange, slot: &Slot) -> Result<Vec<Newest>, Refusal> {
    let mut newest: Vec<Newest> = Vec::new();
    let mut columns = SampleColumns::default();
    for series in found {
        slot.check()?;
        columns.clear();
        series.chunks.decode(range, &mut columns).map_err(|error| internal(&error))?;
        let Some(last) = columns.len().checked_sub(1) else { continue };
        let is_histogram = columns.histograms.last().is_some_and(|(index, _)| *index == last);
        if !is_histogram && !is_stale_nan(columns.values[last]) {
            let (timestamp_ms, value) = (columns.timestamps_ms[last], columns.values[last]);
            newest.push(Newest { labels: series.labels, timestamp_ms, value });
        }
    }
    newest.sort_by(|a, b| name(&a.labels).cmp(name(&b.labels)).then_with(|| a.labels.cmp(&b.labels)));
    newest.dedup_by(|a, b| a.labels == b.labels);
    Ok(newest)
}

fn name(labels: &Labels) -> &str {
    labels.get(METRIC_NAME).unwrap_or("")
}

fn text(newest: &[Newest]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut family = None;
    for Newest { labels, timestamp_ms, value } in newest {
        let metric = name(labels);
        // A series without a name has no place in the format.
        if metric.is_empty() {
            continue;
        }
        if family != Some(metric) {
            out.extend_from_slice(b"# TYPE ");
            identifier(&mut out, metric, true);
            out.extend_from_slice(b" untyped\n");
            family = Some(metric);
        }
        identifier(&mut out, metric, true);
        out.push(b'{');
        let mut is_first = true;
        for (label, text) in labels.iter().filter(|(label, _)| *label != METRIC_NAME) {
            if !is_first {
                out.push(b',');
            }
            is_first = false;
            identifier(&mut out, label, false);
            out.extend_from_slice(b"=\"");
            escaped(&mut out, text);
            out.push(b'"');
        }
        // Prometheus adds an empty instance where a series has none, so that the scraper does not put its own.
        if labels.get("instance").is_none() {
            out.extend_from_slice(if is_first { b"instance=\"\"" } else { b",instance=\"\"" });
        }
        out.extend_from_slice(b"} ");
        float(&mut out, *value);
        out.push(b' ');
        json::integer(&mut out, *timestamp_ms);
        out.push(b'\n');
    }
    out
}

/// A name with `_` in the place of what the text format does not allow.
fn identifier(out: &mut Vec<u8>, name: &str, is_metric: bool) {
    for (index, c) in name.chars().enumerate() {
        let ok = c.is_ascii_alphabetic() || c == '_' || (c == ':' && is_metric);
        let ok = ok || (index > 0 && c.is_ascii_digit());
        out.push(if ok { c as u8 } else { b'_' });
    }
}

fn escaped(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(byte),
        }
    }
}

/// `strconv.FormatFloat(value, 'g', -1, 64)`: `e` notation below 1e-4 and from 1e6 on.
fn float(out: &mut Vec<u8>, value: f64) {
    let text = format!("{value:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return json::plain_float(out, value) };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (-4..6).contains(&exponent) {
        return json::plain_float(out, value);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    out.extend_from_slice(format!("{mantissa}e{sign}{:02}", exponent.abs()).as_bytes());
}

#[cfg(test)]
mod tests {
    use model::Labels;

    use super::{Newest, float, text};

    /// Expected texts are what Go's strconv prints for format 'g' and the shortest precision.
    #[test]
    fn floats_are_written_as_go_writes_them() {
        for (value, want) in [
            (0.0, "0"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (123_456.0, "123456"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (123_456_789_012_345_678.0, "1.2345678901234568e+17"),
            (123_456_789.5, "1.234567895e+08"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (1e21, "1e+21"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            let mut out = Vec::new();
            float(&mut out, value);
            assert_eq!(String::from_utf8(out).expect("ASCII"), want);
        }
    }

    #[test]
    fn series_are_grouped_by_name_with_an_instance() {
        let newest = |pairs: &[(&str, &str)], value: f64| Newest {
            labels: Labels::from_pairs(pairs.iter().copied()),
            timestamp_ms: 5,
            value,
        };
        let series = [
            newest(&[("__name__", "up"), ("instance", "a:1"), ("job", "x\"y\\")], 1.0),
            newest(&[("__name__", "up"), ("job", "z")], 0.0),
            newest(&[("__name__", "web.count")], 2.0),
        ];
        assert_eq!(
            String::from_utf8(text(&series)).expect("text"),
            "# TYPE up untyped\nup{instance=\"a:1\",job=\"x\\\"y\\\\\"} 1 5\nup{job=\"z\",instance=\"\"} 0 5\n\
             # TYPE web_count untyped\nweb_count{instance=\"\"} 2 5\n"
        );
    }
}
