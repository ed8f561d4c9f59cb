//! `tidegate logs`: asks a Loki, ours or another, over HTTP, in the manner of logcli.

mod client;
mod import;
mod output;
mod tail;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use crate::duration;
use client::{LokiClient, now_ns};
use output::Printer;

/// Entries that are asked for at a time.
const BATCH_DEFAULT: usize = 1000;

/// What `logs` is told.
#[derive(Args, Clone, Debug)]
pub struct LogsArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// How entries are printed.
    #[arg(long, short, value_enum, default_value_t = OutputFormat::Default, global = true)]
    output: OutputFormat,
    #[command(subcommand)]
    command: LogsCommand,
}

/// Whom to ask.
#[derive(Args, Clone, Debug)]
struct ServerArguments {
    /// The server.
    #[arg(long, env = "LOKI_ADDR", default_value = "http://localhost:3100", global = true)]
    addr: String,
    /// The tenant.
    #[arg(long, env = "LOKI_ORG_ID", global = true)]
    org_id: Option<String>,
    /// User of HTTP basic authentication.
    #[arg(long, env = "LOKI_USERNAME", global = true)]
    username: Option<String>,
    /// Password of HTTP basic authentication.
    #[arg(long, env = "LOKI_PASSWORD", hide_env_values = true, global = true)]
    password: Option<String>,
    /// Token of bearer authentication.
    #[arg(long, env = "LOKI_BEARER_TOKEN", hide_env_values = true, global = true)]
    bearer_token: Option<String>,
}

/// Forms of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// Time, labels, line.
    Default,
    /// The line alone.
    Raw,
    /// A JSON object for each entry.
    #[value(alias = "jsonl")]
    Json,
}

/// The range of time to look at.
#[derive(Args, Clone, Debug)]
struct RangeArguments {
    /// Look back this long.
    #[arg(long, default_value = "1h")]
    since: String,
    /// From this time on, RFC 3339; included.
    #[arg(long)]
    from: Option<String>,
    /// Up to this time, RFC 3339; excluded.
    #[arg(long)]
    to: Option<String>,
}

#[derive(Clone, Debug, Subcommand)]
enum LogsCommand {
    /// Runs a log query and prints its lines, or a metric query and prints its series as JSON.
    Query {
        /// LogQL.
        query: String,
        #[command(flatten)]
        range: RangeArguments,
        /// Most lines; 0 for all.
        #[arg(long, default_value_t = 30)]
        limit: usize,
        /// Lines that are asked for at a time.
        #[arg(long, default_value_t = BATCH_DEFAULT)]
        batch: usize,
        /// Oldest first.
        #[arg(long)]
        forward: bool,
        /// Distance of the points of a metric query, e.g. 1m.
        #[arg(long)]
        step: Option<String>,
        /// Asks for one point in time, the end of the range.
        #[arg(long)]
        instant: bool,
    },
    /// Prints lines as they come.
    Tail {
        /// LogQL, a log query.
        query: String,
        /// Lines from before to begin with.
        #[arg(long, default_value_t = 30)]
        limit: usize,
        /// How far to look back for those.
        #[arg(long, default_value = "1h")]
        since: String,
        /// Seconds that a line waits for others that come late, at most 5.
        #[arg(long, default_value_t = 0)]
        delay_for: u8,
    },
    /// Lists label names, or the values of one label.
    Labels {
        /// The label.
        name: Option<String>,
        #[command(flatten)]
        range: RangeArguments,
    },
    /// Lists the streams that a selector finds.
    Series {
        /// E.g. `{app="shop"}`.
        selector: String,
        #[command(flatten)]
        range: RangeArguments,
    },
    /// Counts the streams, entries and bytes that a selector finds.
    Stats {
        /// E.g. `{app="shop"}`.
        selector: String,
        #[command(flatten)]
        range: RangeArguments,
    },
    /// Pushes lines of a file: plain text, or what `--output json` printed.
    Import {
        /// The file; - is standard input.
        file: PathBuf,
        /// A label of the stream, NAME=VALUE; several are possible.
        #[arg(long, value_name = "NAME=VALUE")]
        label: Vec<String>,
        /// What the file holds.
        #[arg(long, value_enum, default_value_t = import::FileFormat::Plain)]
        format: import::FileFormat,
    },
}

/// Start and end, nanoseconds.
fn bounds(range: &RangeArguments) -> anyhow::Result<(i64, i64)> {
    let time = |text: &str| -> anyhow::Result<i64> {
        let time = chrono::DateTime::parse_from_rfc3339(text);
        let time = time.with_context(|| format!("{text:?} is not a time such as 2026-01-31T08:00:00Z"))?;
        time.timestamp_nanos_opt().with_context(|| format!("{text:?} is outside the years 1678 to 2262"))
    };
    let end = range.to.as_deref().map_or_else(|| Ok(now_ns()), time)?;
    let start = match &range.from {
        Some(text) => time(text)?,
        None => end.saturating_sub(since_ns(&range.since)?),
    };
    Ok((start, end))
}

fn since_ns(text: &str) -> anyhow::Result<i64> {
    let ms = duration::parse_prometheus_ms(text);
    let ns = ms.and_then(|ms| ms.checked_mul(1_000_000));
    ns.with_context(|| format!("{text:?} is not a duration such as 90m or 2d"))
}

/// Runs the command.
pub fn run(arguments: &LogsArguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run_async(arguments))
}

async fn run_async(arguments: &LogsArguments) -> anyhow::Result<()> {
    let client = LokiClient::new(&arguments.server)?;
    let mut printer = Printer::new(arguments.output);
    match &arguments.command {
        LogsCommand::Query { query, range, limit, batch, forward, step, instant } => {
            let (start, end) = bounds(range)?;
            let mut parameters = vec![("query", query.clone())];
            if *instant {
                parameters.push(("time", end.to_string()));
                let data = client.get("query", &parameters).await?;
                return output::print_json(&data["data"]["result"]);
            }
            parameters.push(("direction", if *forward { "forward" } else { "backward" }.to_owned()));
            parameters.extend(step.iter().map(|step| ("step", step.clone())));
            let paging = Paging { start, end, limit: *limit, batch: (*batch).max(1), forward: *forward };
            query_pages(&client, &parameters, paging, &mut printer).await
        }
        LogsCommand::Tail { query, limit, since, delay_for } => {
            let start = now_ns().saturating_sub(since_ns(since)?);
            let parameters = [
                ("query", query.clone()),
                ("limit", limit.to_string()),
                ("start", start.to_string()),
                ("delay_for", delay_for.to_string()),
            ];
            tail::run(&client, &parameters, &mut printer).await
        }
        LogsCommand::Labels { name, range } => {
            let path =
                name.as_ref().map_or_else(|| "labels".to_owned(), |name| format!("label/{name}/values"));
            let data = client.get(&path, &times(range)?).await?;
            let lines = data["data"].as_array().into_iter().flatten().filter_map(Value::as_str);
            output::print_lines(lines)
        }
        LogsCommand::Series { selector, range } => {
            let mut parameters = times(range)?;
            parameters.push(("match[]", selector.clone()));
            let data = client.get("series", &parameters).await?;
            let found = data["data"].as_array().into_iter().flatten();
            let found: Vec<String> = found.map(output::labels_text).collect();
            output::print_lines(found.iter().map(String::as_str))
        }
        LogsCommand::Stats { selector, range } => {
            let mut parameters = times(range)?;
            parameters.push(("query", selector.clone()));
            output::print_json(&client.get("index/stats", &parameters).await?)
        }
        LogsCommand::Import { file, label, format } => {
            let mut imported = import::Imported::default();
            let ended = import::run(&client, file, label, *format, &mut imported).await;
            // What ended it early does not hide what was stored before.
            let told = imported.tell();
            ended.and(told)
        }
    }
}

fn times(range: &RangeArguments) -> anyhow::Result<Vec<(&'static str, String)>> {
    let (start, end) = bounds(range)?;
    Ok(vec![("start", start.to_string()), ("end", end.to_string())])
}

struct Paging {
    start: i64,
    end: i64,
    /// 0 for all.
    limit: usize,
    batch: usize,
    forward: bool,
}

/// Asks page after page: the next begins at the last time of the one before, whose entries of that time are left out.
async fn query_pages(
    client: &LokiClient,
    parameters: &[(&'static str, String)],
    mut paging: Paging,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let mut left = if paging.limit == 0 { usize::MAX } else { paging.limit };
    let mut edge: Vec<output::Entry> = Vec::new();
    while left > 0 {
        let asked = paging.batch.min(left.saturating_add(edge.len()));
        let mut page = parameters.to_vec();
        page.push(("start", paging.start.to_string()));
        page.push(("end", paging.end.to_string()));
        page.push(("limit", asked.to_string()));
        let answer = client.get("query_range", &page).await?;
        let data = &answer["data"];
        if data["resultType"] != "streams" {
            return output::print_json(&data["result"]);
        }
        let mut entries = output::entries(&data["result"])?;
        let found = entries.len();
        entries.sort_by_key(|entry| if paging.forward { entry.timestamp_ns } else { -entry.timestamp_ns });
        let last = entries.last().map(|entry| entry.timestamp_ns);
        let at_edge = entries.iter().filter(|entry| Some(entry.timestamp_ns) == last).cloned().collect();
        entries.retain(|entry| !edge.contains(entry));
        if entries.is_empty() && found == asked {
            bail!("more than {asked} entries have the same time: ask with a larger --batch");
        }
        entries.truncate(left);
        left -= entries.len();
        printer.print(&entries)?;
        let Some(last) = last.filter(|_| found == asked) else { return Ok(()) };
        edge = at_edge;
        // The end is excluded, the start is not: both pages hold the entries of the last time.
        if paging.forward { paging.start = last } else { paging.end = last.saturating_add(1) }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
