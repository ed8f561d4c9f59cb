//! `tidegate query`: asks a Prometheus API, this program's or any other one, and prints the answer for people or programs.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::ConfigArguments;
use super::client::{ClientArguments, Output};
use super::notes::Notes;

/// What to ask.
#[derive(Args, Clone, Debug)]
pub struct QueryArguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    ask: Ask,
}

#[derive(Clone, Debug, Subcommand)]
enum Ask {
    /// Evaluates a query at one time.
    Instant {
        /// The PromQL query.
        query: String,
        /// When: seconds since 1970 or RFC 3339. Default now.
        #[arg(long)]
        time: Option<String>,
    },
    /// Evaluates a query at every step of a range.
    Range {
        /// The PromQL query.
        query: String,
        /// The first step: seconds since 1970 or RFC 3339. Default an hour before the end.
        #[arg(long)]
        start: Option<String>,
        /// The last step. Default now.
        #[arg(long)]
        end: Option<String>,
        /// From one step to the next, e.g. 15s.
        #[arg(long, default_value = "15s")]
        step: String,
    },
    /// Lists the series that match at least one selector.
    Series {
        /// Selectors such as up{job="x"}.
        #[arg(required = true)]
        selectors: Vec<String>,
        #[command(flatten)]
        range: TimeRange,
    },
    /// Lists the names of labels, or the values of one.
    Labels {
        /// The label whose values are asked for.
        name: Option<String>,
        #[command(flatten)]
        range: TimeRange,
    },
    /// Lists what is known about metrics: type, unit and help.
    Metadata {
        /// One metric. Default all.
        metric: Option<String>,
    },
    /// Writes a query in the usual layout.
    Format {
        /// The PromQL query.
        query: String,
    },
}

#[derive(Args, Clone, Debug)]
struct TimeRange {
    /// From when: seconds since 1970 or RFC 3339. Default everything.
    #[arg(long)]
    start: Option<String>,
    /// Until when.
    #[arg(long)]
    end: Option<String>,
}

/// Longest wait for an answer; the server has its own limit, which ends queries before.
const TIMEOUT: Duration = Duration::from_secs(150);
/// What a range without a start reaches back, seconds.
const RANGE_DEFAULT_SECONDS: f64 = 3600.0;

/// Asks and prints.
pub fn run(config: &ConfigArguments, arguments: &QueryArguments) -> anyhow::Result<()> {
    let (path, form) = request(&arguments.ask)?;
    let client = &arguments.client;
    let body = client.get(config, &path, &form, TIMEOUT)?;
    let answer: Value = serde_json::from_str(&body).context("the answer is not JSON")?;
    if answer["status"] != "success" {
        bail!("{}: {}", text(&answer["errorType"]), text(&answer["error"]));
    }
    Notes::default().tell(&answer);
    super::print(&match client.output {
        Output::Json => serde_json::to_string_pretty(&answer["data"])? + "\n",
        Output::Text => render(&answer["data"]),
    })
}

/// The path and the parameters of a request.
fn request(ask: &Ask) -> anyhow::Result<(String, Vec<(&'static str, String)>)> {
    let ranged = |range: &TimeRange, form: &mut Vec<(&'static str, String)>| {
        form.extend(range.start.clone().map(|start| ("start", start)));
        form.extend(range.end.clone().map(|end| ("end", end)));
    };
    let mut form = Vec::new();
    let path = match ask {
        Ask::Instant { query, time } => {
            form.push(("query", query.clone()));
            form.extend(time.clone().map(|time| ("time", time)));
            "/api/v1/query".to_owned()
        }
        Ask::Range { query, start, end, step } => {
            let now = runtime::Clock::now_ms(&runtime::SystemClock) as f64 / 1000.0;
            let end = end.clone().unwrap_or_else(|| format!("{now:.3}"));
            let start = match start {
                Some(start) => start.clone(),
                None => {
                    let end: f64 = end.parse().context("--end is no number, so --start is needed as well")?;
                    format!("{:.3}", end - RANGE_DEFAULT_SECONDS)
                }
            };
            let step = step.clone();
            form.extend([("query", query.clone()), ("start", start), ("end", end), ("step", step)]);
            "/api/v1/query_range".to_owned()
        }
        Ask::Series { selectors, range } => {
            form.extend(selectors.iter().map(|selector| ("match[]", selector.clone())));
            ranged(range, &mut form);
            "/api/v1/series".to_owned()
        }
        Ask::Labels { name: None, range } => {
            ranged(range, &mut form);
            "/api/v1/labels".to_owned()
        }
        Ask::Labels { name: Some(name), range } => {
            ranged(range, &mut form);
            format!("/api/v1/label/{name}/values")
        }
        Ask::Metadata { metric } => {
            form.extend(metric.clone().map(|metric| ("metric", metric)));
            "/api/v1/metadata".to_owned()
        }
        Ask::Format { query } => {
            form.push(("query", query.clone()));
            "/api/v1/format_query".to_owned()
        }
    };
    Ok((path, form))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `name{a="b", c="d"}`, as promtool prints series.
fn series(labels: &Value) -> String {
    let Some(labels) = labels.as_object() else { return text(labels) };
    let name = labels.get("__name__").map(text).unwrap_or_default();
    let rest: Vec<String> = labels
        .iter()
        .filter(|(label, _)| *label != "__name__")
        .map(|(label, value)| format!("{label}={:?}", text(value)))
        .collect();
    if rest.is_empty() && !name.is_empty() { name } else { format!("{name}{{{}}}", rest.join(", ")) }
}

/// `value @[time]`.
fn sample(pair: &Value) -> String {
    format!("{} @[{}]", text(&pair[1]), pair[0])
}

/// `data` of an answer, a result a line.
fn render(data: &Value) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("a String takes all that is written");
    match (data["resultType"].as_str(), data) {
        (Some("scalar" | "string"), _) => line(sample(&data["result"])),
        (Some(_), _) => {
            for result in data["result"].as_array().into_iter().flatten() {
                let labels = series(&result["metric"]);
                if let Some(pair) = result.get("value").or_else(|| result.get("histogram")) {
                    line(format!("{labels} => {}", sample(pair)));
                    continue;
                }
                line(format!("{labels} =>"));
                for kind in ["values", "histograms"] {
                    for pair in result[kind].as_array().into_iter().flatten() {
                        line(sample(pair));
                    }
                }
            }
        }
        (None, Value::Array(items)) => items.iter().for_each(|item| line(series(item))),
        (None, Value::Object(metrics)) => {
            for (metric, known) in metrics {
                for entry in known.as_array().into_iter().flatten() {
                    line(format!("{metric} {} {}", text(&entry["type"]), text(&entry["help"])));
                }
            }
        }
        (None, other) => line(text(other)),
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::render;

    #[test]
    fn answers_are_lines_as_promtool_prints_them() {
        for (data, want) in [
            (
                json!({"resultType": "vector", "result": [
                    {"metric": {"__name__": "up", "job": "x"}, "value": [1.5, "1"]},
                    {"metric": {}, "value": [1.5, "2"]},
                ]}),
                "up{job=\"x\"} => 1 @[1.5]\n{} => 2 @[1.5]\n",
            ),
            (json!({"resultType": "scalar", "result": [1, "3"]}), "3 @[1]\n"),
            (
                json!({"resultType": "matrix", "result": [
                    {"metric": {"__name__": "up"}, "values": [[1, "1"], [2, "0"]]},
                ]}),
                "up =>\n1 @[1]\n0 @[2]\n",
            ),
            (json!(["a", "b"]), "a\nb\n"),
            (json!([{"__name__": "up", "job": "x"}]), "up{job=\"x\"}\n"),
            (json!("sum by (a) (b)"), "sum by (a) (b)\n"),
            (json!({"up": [{"type": "gauge", "help": "Whether.", "unit": ""}]}), "up gauge Whether.\n"),
        ] {
            assert_eq!(render(&data), want);
        }
    }
}
