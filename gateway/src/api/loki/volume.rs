//! `index/volume`, `index/volume_range`, `index/stats`, `index/shards`: bytes and entries from stream tables and
//! one-minute rollups, without reading a line.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Request, Response};
use logql::QueryStats;
use model::{Labels, MatchOp, Matcher, TenantId, TimeRange};
use storage_api::{LogSelect, StreamSummary};

use super::params::{LokiError, bounds, not_an_integer, step};
use super::query::{computed, in_slot, query_error};
use super::streams::by_query;
use super::{LokiApi, Shared, result, storage_error, tenant_and_form};
use crate::api::form::Form;
use crate::api::json::{self, Html};

const MINUTE_NS: i64 = 60_000_000_000;
const MS_NS: i64 = 1_000_000;
/// Series of an answer without `limit`.
const SERIES_DEFAULT: usize = 100;
/// Series that an answer may have (`volume_max_series`): the largest.
pub(super) const SERIES_MAX: usize = 1000;

/// `index/stats`.
pub(super) async fn stats(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        in_slot(&api, async { Ok((counts(&api, &tenant, &form).await? + "\n").into_bytes()) }).await
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// What the selected streams have. A stream here is one unit of storage, so `chunks` counts streams.
async fn counts(api: &LokiApi, tenant: &TenantId, form: &Form) -> Result<String, LokiError> {
    if form.get("query").is_none() {
        return Err(LokiError::bad_request("parse error : syntax error: unexpected $end"));
    }
    let streams = by_query(api, tenant, form).await?;
    let (mut bytes, mut entries) = (0, 0);
    for stream in &streams {
        bytes += stream.bytes;
        entries += stream.entries;
    }
    let count = streams.len();
    Ok(format!("{{\"streams\":{count},\"chunks\":{count},\"bytes\":{bytes},\"entries\":{entries}}}"))
}

/// Whether this is a size above 0 as `datasize.ByteSize` reads it: digits and a unit.
fn is_size(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = text[digits..].trim_start().to_ascii_uppercase();
    let units = ["", "B", "K", "KB", "M", "MB", "G", "GB", "T", "TB", "P", "PB", "E", "EB"];
    text[..digits].parse::<u64>().is_ok_and(|size| size > 0) && units.contains(&unit.as_str())
}

/// `index/shards`: how the streams would be cut into shards of about `targetBytesPerShard`. There are no fingerprints by
/// which readers could cut them here, so that there is one shard, which has them all.
pub(super) async fn shards(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        if !form.get("targetBytesPerShard").is_some_and(is_size) {
            return Err(LokiError::bad_request("targetBytesPerShard must be a positive value"));
        }
        let work = async {
            let counted = counts(&api, &tenant, &form).await?;
            let statistics = result::stats(&QueryStats::default(), std::time::Duration::ZERO);
            let last = u64::MAX;
            let body = format!(
                "{{\"shards\":[{{\"bounds\":{{\"min\":0,\"max\":{last}}},\"stats\":{counted}}}],\
                 \"statistics\":{statistics},\"chunkGroups\":null}}\n"
            );
            Ok(body.into_bytes())
        };
        in_slot(&api, work).await
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// What volume is asked for.
struct VolumeRequest {
    /// Those of the selector, and one for each name of `targetLabels` that it does not name: streams without that label
    /// are not counted (pkg/storage/stores/index/seriesvolume).
    matchers: Vec<Matcher>,
    /// Labels to group by; none stands for all.
    targets: Vec<String>,
    /// Sums by label name and not by label set.
    by_name: bool,
    limit: usize,
}

impl VolumeRequest {
    fn read(form: &Form) -> Result<Self, LokiError> {
        let selector = form.get("query").unwrap_or("");
        let mut matchers = if selector == "{}" {
            Vec::new()
        } else {
            logql::syntax::parse_selector(selector).map_err(|error| query_error(&error))?
        };
        let by_name = match form.get("aggregateBy") {
            None | Some("series") => false,
            Some("labels") => true,
            Some(_) => return Err(LokiError::bad_request("invalid aggregation option")),
        };
        let targets: Vec<String> = match form.get("targetLabels") {
            Some(names) => names.split(',').map(|name| name.trim().to_owned()).collect(),
            None if by_name => Vec::new(),
            None => matchers.iter().map(|matcher| matcher.name().to_owned()).collect(),
        };
        for target in &targets {
            if !matchers.iter().any(|matcher| matcher.name() == target) {
                matchers.push(present(target)?);
            }
        }
        let limit = match form.get("limit") {
            None => SERIES_DEFAULT,
            Some(text) => match text.parse::<i64>() {
                Ok(0) => SERIES_DEFAULT,
                Ok(limit) if limit > 0 => usize::try_from(limit).unwrap_or(usize::MAX),
                Ok(_) => return Err(LokiError::bad_request("limit must be a positive value")),
                Err(_) => return Err(LokiError::bad_request(not_an_integer("Atoi", text))),
            },
        };
        Ok(Self { matchers, targets, by_name, limit: limit.min(SERIES_MAX) })
    }

    /// Bytes for each group.
    fn sums(&self, streams: &[StreamSummary]) -> BTreeMap<Labels, u64> {
        let wanted = |name: &str| self.targets.is_empty() || self.targets.iter().any(|target| target == name);
        let mut sums: BTreeMap<Labels, u64> = BTreeMap::new();
        for stream in streams {
            if self.by_name {
                for (name, _) in stream.labels.iter().filter(|(name, _)| wanted(name)) {
                    // The name is what is counted; as a label set it needs a value, which is not shown.
                    *sums.entry(Labels::from_pairs([(name, "-")])).or_default() += stream.bytes;
                }
            } else {
                *sums.entry(stream.labels.without(|name| !wanted(name))).or_default() += stream.bytes;
            }
        }
        sums
    }

    /// The series that an answer over the time of `streams` has. Points are kept for them alone: there may be as many
    /// series as streams.
    fn largest_without_points(&self, streams: &[StreamSummary]) -> BTreeMap<Labels, Vec<(i64, u64)>> {
        let sums = self.sums(streams).into_iter().map(|(labels, bytes)| (labels, vec![(0, bytes)]));
        let largest = largest(sums.collect(), self.limit);
        largest.into_iter().map(|(labels, _)| (labels, Vec::new())).collect()
    }

    /// One more point for each series that `streams` are part of.
    fn add_points(
        &self,
        streams: &[StreamSummary],
        at_ns: i64,
        series: &mut BTreeMap<Labels, Vec<(i64, u64)>>,
    ) {
        for (labels, bytes) in self.sums(streams) {
            if let Some(points) = series.get_mut(&labels) {
                points.push((at_ns, bytes));
            }
        }
    }

    fn write_metric(&self, labels: &Labels, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"metric":"#);
        let shown = labels.iter().map(|(name, value)| (name, if self.by_name { "" } else { value }));
        json::pairs(out, shown, Html::Escaped);
    }
}

/// A matcher that a stream passes if it has the label.
fn present(label: &str) -> Result<Matcher, LokiError> {
    Matcher::new(label, MatchOp::NotEqual, "").map_err(|error| LokiError::bad_request(error.to_string()))
}

/// `index/volume`.
pub(super) async fn volume(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let asked = VolumeRequest::read(&form)?;
        let (start_ns, end_ns) = bounds(&form, api.clock.now_ns())?;
        let range = TimeRange::new(start_ns, end_ns);
        let work = async {
            let streams = select(&api, &tenant, &asked, range).await?;
            let missing = api.querier.missing(&tenant, range);
            computed(&api, move || {
                let sums =
                    asked.sums(&streams).into_iter().map(|(labels, sum)| (labels, vec![(end_ns, sum)]));
                body(&asked, largest(sums.collect(), asked.limit), end_ns, &missing)
            })
            .await
        };
        in_slot(&api, work).await
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// `index/volume_range`: at the end of each step. A step is a whole number of minutes at least, the grain of rollups.
pub(super) async fn volume_range(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let asked = Arc::new(VolumeRequest::read(&form)?);
        let (start_ns, end_ns) = bounds(&form, api.clock.now_ns())?;
        let step_ns = step(&form, start_ns, end_ns)?;
        let step_ns = (step_ns.saturating_add(MINUTE_NS - 1) / MINUTE_NS).max(1).saturating_mul(MINUTE_NS);
        let work = async {
            let whole = TimeRange::new(start_ns, end_ns);
            let streams = select(&api, &tenant, &asked, whole).await?;
            let of_answer = Arc::clone(&asked);
            let mut series = computed(&api, move || of_answer.largest_without_points(&streams)).await?;
            for (range, at_ns) in steps(start_ns, end_ns, step_ns) {
                let streams = select(&api, &tenant, &asked, range).await?;
                let of_step = Arc::clone(&asked);
                series = computed(&api, move || {
                    of_step.add_points(&streams, at_ns, &mut series);
                    series
                })
                .await?;
            }
            let missing = api.querier.missing(&tenant, whole);
            series.retain(|_, points| !points.is_empty());
            computed(&api, move || body(&asked, largest(series, asked.limit), end_ns, &missing)).await
        };
        in_slot(&api, work).await
    };
    answer.await.unwrap_or_else(LokiError::into_response)
}

/// Ranges that end at multiples of the step, the last at the end; each with the time of its sample, which is that of
/// its last millisecond (pkg/querier/queryrange/split_by_interval.go).
fn steps(start_ns: i64, end_ns: i64, step_ns: i64) -> impl Iterator<Item = (TimeRange, i64)> {
    let mut from = start_ns;
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let next = from.div_euclid(step_ns).saturating_add(1).saturating_mul(step_ns);
        if next >= end_ns {
            done = true;
            return Some((TimeRange::new(from, end_ns), end_ns));
        }
        let range = TimeRange::new(from, next - 1);
        from = next;
        Some((range, next - MS_NS))
    })
}

async fn select(
    api: &LokiApi,
    tenant: &TenantId,
    asked: &VolumeRequest,
    range: TimeRange,
) -> Result<Vec<StreamSummary>, LokiError> {
    let matchers = asked.matchers.clone();
    let select = LogSelect { tenant: tenant.clone(), range, matchers, line_contains: Vec::new() };
    api.querier.streams(&select).await.map_err(|error| storage_error(&error))
}

type Volumes = Vec<(Labels, Vec<(i64, u64)>)>;

/// Those with the most bytes, the largest first.
fn largest(series: BTreeMap<Labels, Vec<(i64, u64)>>, limit: usize) -> Volumes {
    let mut series: Volumes = series.into_iter().collect();
    let total = |points: &[(i64, u64)]| points.iter().map(|(_, bytes)| bytes).sum::<u64>();
    series.sort_by(|(labels, points), (other_labels, other)| {
        total(other).cmp(&total(points)).then_with(|| labels.cmp(other_labels))
    });
    series.truncate(limit);
    series
}

/// A vector, or a matrix as soon as one series has two samples, as Loki chooses between the two. `warnings` tell what
/// the sums miss.
fn body(asked: &VolumeRequest, series: Volumes, end_ns: i64, warnings: &[String]) -> Vec<u8> {
    let is_matrix = series.iter().any(|(_, points)| points.len() > 1);
    let mut body = br#"{"status":"success","#.to_vec();
    if !warnings.is_empty() {
        body.extend_from_slice(br#""warnings":"#);
        json::strings(&mut body, warnings.iter().map(String::as_str), Html::Escaped);
        body.push(b',');
    }
    body.extend_from_slice(br#""data":{"resultType":""#);
    body.extend_from_slice(if is_matrix { b"matrix" } else { b"vector" });
    body.extend_from_slice(br#"","result":["#);
    for (index, (labels, points)) in series.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        asked.write_metric(labels, &mut body);
        if is_matrix {
            body.extend_from_slice(br#","values":["#);
            for (index, point) in points.iter().enumerate() {
                if index > 0 {
                    body.push(b',');
                }
                write_point(&mut body, *point);
            }
            body.extend_from_slice(b"]}");
        } else {
            body.extend_from_slice(br#","value":"#);
            write_point(&mut body, points.first().copied().unwrap_or((end_ns, 0)));
            body.push(b'}');
        }
    }
    body.extend_from_slice(br#"],"stats":"#);
    let stats = QueryStats { entries_returned: series.len() as u64, ..QueryStats::default() };
    body.extend_from_slice(result::stats(&stats, std::time::Duration::ZERO).to_string().as_bytes());
    body.extend_from_slice(b"}}\n");
    body
}

/// Loki rounds the end up to whole milliseconds.
fn write_point(out: &mut Vec<u8>, (at_ns, bytes): (i64, u64)) {
    out.push(b'[');
    json::short_timestamp(out, at_ns.saturating_add(MS_NS - 1).div_euclid(MS_NS));
    out.extend_from_slice(b",\"");
    json::integer(out, bytes);
    out.extend_from_slice(b"\"]");
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;

    use super::{MINUTE_NS, VolumeRequest, body, is_size, steps};
    use crate::api::form::Form;

    #[test]
    fn sizes_of_shards_are_whole_numbers_above_0_with_a_unit_or_none() {
        for (text, want) in [
            ("1", true),
            ("600MB", true),
            ("2 gb", true),
            ("0", false),
            ("0KB", false),
            ("1.5MB", false),
            ("MB", false),
            ("5 apples", false),
            ("", false),
        ] {
            assert_eq!(is_size(text), want, "{text:?}");
        }
    }

    #[tokio::test]
    async fn streams_without_a_target_label_are_not_counted_unless_the_selector_names_it() {
        for (query, want) in [
            ("query=%7Ba=%22b%22%7D&targetLabels=a,c", r#"a="b" c!="""#),
            ("query=%7Ba=%22b%22,c!=%22d%22%7D&targetLabels=c", r#"a="b" c!="d""#),
            ("query=%7Ba=%22b%22%7D&targetLabels=c,%20c&aggregateBy=labels", r#"a="b" c!="""#),
            ("query=%7B%7D&targetLabels=c", r#"c!="""#),
            ("query=%7Ba=%22b%22%7D", r#"a="b""#),
            ("query=%7Ba=%22b%22%7D&aggregateBy=labels", r#"a="b""#),
        ] {
            let request =
                Request::builder().uri(format!("/?{query}")).body(Body::empty()).expect("a request");
            let form = Form::read(request).await.expect("a good form");
            let asked = VolumeRequest::read(&form).expect("a good request");
            let got: Vec<String> = asked.matchers.iter().map(ToString::to_string).collect();
            assert_eq!(got.join(" "), want, "{query}");
        }
    }

    #[test]
    fn what_sums_miss_is_told_in_warnings() {
        let asked = VolumeRequest { matchers: Vec::new(), targets: Vec::new(), by_name: false, limit: 1 };
        for (warnings, start) in [
            (&[][..], r#"{"status":"success","data":{"resultType":"vector","result":[],"#),
            (
                &["a file is damaged".to_owned()],
                r#"{"status":"success","warnings":["a file is damaged"],"data":{"resultType":"vector","result":[],"#,
            ),
        ] {
            let text = String::from_utf8(body(&asked, Vec::new(), 0, warnings)).expect("JSON is UTF-8");
            assert!(text.starts_with(start), "{text}");
        }
    }

    #[test]
    fn steps_end_at_their_multiples_and_the_last_at_the_end() {
        let got: Vec<(i64, i64, i64)> =
            steps(30, 2 * MINUTE_NS + 5, MINUTE_NS).map(|(range, at)| (range.min, range.max, at)).collect();
        assert_eq!(
            got,
            [
                (30, MINUTE_NS - 1, MINUTE_NS - 1_000_000),
                (MINUTE_NS, 2 * MINUTE_NS - 1, 2 * MINUTE_NS - 1_000_000),
                (2 * MINUTE_NS, 2 * MINUTE_NS + 5, 2 * MINUTE_NS + 5),
            ]
        );
        assert_eq!(steps(7, 7, MINUTE_NS).count(), 1);
    }
}
