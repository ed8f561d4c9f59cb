//! The command line. A scenario's YAML has the same names: each of its loads is read as if it had been typed.

mod choices;
mod load;
mod outcome;
pub(crate) mod parse;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::choices::{
    Compression, Output, PushForm, Rate, Shape, Signal, Stages, Transport, WriteVersion,
};
pub(crate) use self::outcome::Outcome;
use self::parse::{parse_duration, parse_header, parse_length, parse_rate, parse_stages, parse_url};
use crate::threshold::Threshold;

/// Items in a request when nothing is said.
pub(crate) const BATCH_DEFAULT: u32 = 1000;

/// Connections when nothing is said.
pub(crate) const CONNECTIONS_DEFAULT: u32 = 4;
/// The most connections of a load.
pub(crate) const CONNECTIONS_MAX: u32 = 1024;

/// What a newcomer looks for.
const EXAMPLES: &str = "\
Examples:
  The highest rate that an endpoint takes:
    tidegate-loadtest find-max otlp --endpoint http://localhost:4317
    tidegate-loadtest find-max remote-write --endpoint http://localhost:9090/api/v1/write
    tidegate-loadtest find-max promql --endpoint http://localhost:9090 --query up
  A minute of logs at 5000 lines a second, then proof that every acknowledged line can be read:
    tidegate-loadtest loki-push --rate 5000 --duration 1m --verify
  A page with plots, and exit code 99 if it is too slow:
    tidegate-loadtest otlp --rate 50000 --html page.html --threshold 'p(99)<200ms'
";

/// Load tests for OTLP, Prometheus remote write, Loki, PromQL and LogQL endpoints, with proof that nothing acknowledged
/// was lost.
///
/// Exit codes: 0 passed; 1 data was lost, duplicated or wrong, or nothing was acknowledged; 2 the test could not run, or
/// what it sent could not be read back; 99 a threshold was missed, find-max found no rate, or compare found something
/// worse. The first that fits.
#[derive(Debug, Parser)]
#[command(name = "tidegate-loadtest", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Load(Box<Load>),
    /// Run several loads at once, described in a YAML file.
    Run(RunArgs),
    /// Find the highest rate that an endpoint takes: `find-max otlp --signal logs`.
    ///
    /// A closed loop finds what the endpoint takes at most, over more and more connections until more of them bring no
    /// more (or over `--connections`); then open-loop probes close in on the highest rate that it keeps up with inside
    /// the thresholds [default: p(99)<1s, errors<0.01 and rejected==0]. `--probe` and `--precision` come before the
    /// load: `find-max --probe 10s otlp`.
    FindMax(Box<FindMaxArgs>),
    /// Compare two results that `--json` wrote; exit code 99 if the second is worse by more than the noise.
    Compare(CompareArgs),
}

/// One load.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Load {
    /// Send OTLP metrics, logs or traces.
    Otlp(OtlpArgs),
    /// Send metrics by Prometheus remote write.
    RemoteWrite(RemoteWriteArgs),
    /// Push logs to a Loki push endpoint.
    LokiPush(LokiPushArgs),
    /// Ask a Prometheus API.
    Promql(QueryArgs),
    /// Ask a Loki API.
    Logql(QueryArgs),
}

/// Entry of a scenario's load, read by the same parser.
#[derive(Debug, Parser)]
#[command(name = "load", no_binary_name = true, disable_help_flag = true)]
pub(crate) struct LoadCli {
    #[command(subcommand)]
    pub(crate) load: Load,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct OtlpArgs {
    /// What to send.
    #[arg(long, value_enum, default_value_t = Signal::Metrics)]
    pub(crate) signal: Signal,
    /// How to send it; http is protobuf over HTTP/1.1, http-json OTLP's JSON.
    #[arg(long, value_enum, default_value_t = Transport::Grpc)]
    pub(crate) transport: Transport,
    /// Where to send it [default: http://localhost:4317 for grpc, http://localhost:4318 for http]; `/v1/<signal>` is
    /// appended for http.
    #[arg(long, value_parser = parse_url)]
    pub(crate) endpoint: Option<String>,
    /// Compression of requests; gRPC has none, gzip and zstd.
    #[arg(long, value_enum, default_value_t = Compression::None)]
    pub(crate) compression: Compression,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) logs: LogsArgs,
    #[command(flatten)]
    pub(crate) sending: Sending,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RemoteWriteArgs {
    /// Version of the protocol.
    #[arg(long, value_enum, default_value_t = WriteVersion::V1)]
    pub(crate) protocol: WriteVersion,
    /// Where to send it, with its path.
    #[arg(long, default_value = "http://localhost:9090/api/v1/write", value_parser = parse_url)]
    pub(crate) endpoint: String,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) sending: Sending,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct LokiPushArgs {
    /// Form of the requests.
    #[arg(long, value_enum, default_value_t = PushForm::Protobuf)]
    pub(crate) form: PushForm,
    /// Where to send it, with its path.
    #[arg(long, default_value = "http://localhost:3100/loki/api/v1/push", value_parser = parse_url)]
    pub(crate) endpoint: String,
    #[command(flatten)]
    pub(crate) logs: LogsArgs,
    #[command(flatten)]
    pub(crate) sending: Sending,
}

/// What everything that sends data has.
#[derive(Clone, Debug, Args)]
pub(crate) struct Sending {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) pace: Pace,
    #[command(flatten)]
    pub(crate) proof: Proof,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct QueryArgs {
    /// Base address of the API [default: http://localhost:9090 for promql, http://localhost:3100 for logql].
    #[arg(long, value_parser = parse_url)]
    pub(crate) endpoint: Option<String>,
    /// A query; may be given several times [default: a mix over what the other loads send].
    #[arg(long)]
    pub(crate) query: Vec<String>,
    /// YAML list of queries: `{query: …, weight: 3, range: 1h, step: 15s}` each; a range of 0s makes it instant.
    #[arg(long)]
    pub(crate) queries: Option<PathBuf>,
    /// How far back queries look; 0s for instant queries.
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    pub(crate) range: Duration,
    /// Resolution of range queries.
    #[arg(long, default_value = "15s", value_parser = parse_duration)]
    pub(crate) step: Duration,
    /// Lines that a LogQL query returns at most.
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: u32,
    /// Seed of the order of queries.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) pace: Pace,
}

/// How metrics look.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Metrics")]
pub(crate) struct MetricsArgs {
    /// Distinct metric data streams over all connections.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=50_000_000))]
    pub(crate) series: u32,
    /// One metric data stream in this many is a histogram; 0 sends counters and gauges only.
    #[arg(long, default_value_t = 0)]
    pub(crate) histogram_every: u32,
    /// Counters and histograms begin again after this many samples; 0 never.
    #[arg(long, default_value_t = 0)]
    pub(crate) reset_every: u32,
    /// A data stream is replaced by a new one (another `pod`) after this many samples, not all at once; 0 never.
    #[arg(long, default_value_t = 0)]
    pub(crate) churn_every: u32,
}

/// How logs look.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogsArgs {
    /// Distinct log streams over all connections.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) streams: u32,
    /// Shapes of lines, evenly mixed.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Shape::ALL)]
    pub(crate) shapes: Vec<Shape>,
    /// A word to plant in one line of each `--needle-every`; `--verify` looks that a search finds exactly those.
    #[arg(long)]
    pub(crate) needle: Option<String>,
    /// How rare the needle is.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) needle_every: u32,
}

/// How data is made.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct DataArgs {
    /// Items in a request [default: 1000, or fewer so that there are ten requests a second].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) batch: Option<u32>,
    /// Seed of all generated data: equal seeds send equal data but for times and the run id.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Send requests that were made before the start, times included, again and again: the least work for this side.
    #[arg(long, conflicts_with_all = ["verify", "verify_sink"])]
    pub(crate) prebuilt: bool,
}

/// How fast, how long, over what.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Pace and connections")]
pub(crate) struct Pace {
    /// Items (queries) a second over all connections, whatever the answers do, or `max` for a closed loop: as fast as
    /// answers come back [default: 10000 items or 10 queries a second].
    #[arg(long, value_parser = parse_rate)]
    pub(crate) rate: Option<Rate>,
    /// Items (queries) a second on each connection.
    #[arg(long, conflicts_with = "rate", value_parser = parse_rate)]
    pub(crate) rate_per_connection: Option<Rate>,
    /// Stages instead of a duration, `10s:5000,1m:20000,10s:0`: each moves in a straight line from the rate before it
    /// (at first `--rate`, or 0) to its own; 0s jumps.
    #[arg(long, value_parser = parse_stages, conflicts_with = "duration")]
    pub(crate) stages: Option<Stages>,
    /// How long to send.
    #[arg(long, default_value = "10s", value_parser = parse_length)]
    pub(crate) duration: Duration,
    /// Parallel connections; each has one request in flight [default: 4; find-max looks for as many as it takes].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    pub(crate) connections: Option<u32>,
    /// A request without an answer after this long counts as unanswered.
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// Tenant, sent as X-Scope-OrgID with data and queries.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// A further header of requests, `name: value`.
    #[arg(long = "header", value_parser = parse_header)]
    pub(crate) headers: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// What must hold in the end, else the exit code is 99; may be given several times: `p(99)<200ms`, `rate>5000`,
    /// `errors<0.01`, `lost==0`. Names: p(N), min, mean, max, rate, errors, rejected, refused, unanswered, unsent,
    /// lost, duplicated, wrong, late.
    #[arg(long = "threshold")]
    pub(crate) thresholds: Vec<Threshold>,
}

/// Whom to believe behind an https address: of the endpoint and of the APIs that `--verify` asks.
#[derive(Clone, Debug, Args)]
pub(crate) struct Trust {
    /// PEM file with the authorities to trust instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Believe every certificate.
    #[arg(long, conflicts_with = "ca")]
    pub(crate) insecure_skip_verify: bool,
}

/// Reading back.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Proof")]
pub(crate) struct Proof {
    /// Read metrics or logs back through the query APIs and count what is lost, duplicated, wrong or late.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Prometheus API that `--verify` asks for metrics.
    #[arg(long, default_value = "http://localhost:9090", value_parser = parse_url)]
    pub(crate) prometheus: String,
    /// Loki API that `--verify` asks for logs.
    #[arg(long, default_value = "http://localhost:3100", value_parser = parse_url)]
    pub(crate) loki: String,
    /// Wait so long before reading back, for a store that shows what it took a while later.
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub(crate) settle: Duration,
    /// What is not readable at once but within this time is late, not lost.
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub(crate) grace: Duration,
    /// A label that the target adds to everything, such as an external label of Prometheus' or Thanos'; may be given
    /// several times. Other labels than those that were sent are wrong.
    #[arg(long = "extra-label", value_name = "NAME")]
    pub(crate) extra_labels: Vec<String>,
    /// Receive what a pipeline without a query API forwards, on this address as OTLP/HTTP with protobuf, and verify that
    /// instead: each item once, and within `--late-after`. All of `--grace` is waited for, as doubles may come late.
    #[arg(long, conflicts_with = "verify")]
    pub(crate) verify_sink: Option<std::net::SocketAddr>,
    /// With `--verify-sink`: what arrives this long after it was sent is late.
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    pub(crate) late_after: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The scenario.
    pub(crate) scenario: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct FindMaxArgs {
    /// How long each probe sends.
    #[arg(long, default_value = "5s", value_parser = parse_length)]
    pub(crate) probe: Duration,
    /// The search ends when the bounds are this close, percent.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) precision: f64,
    #[command(subcommand)]
    pub(crate) load: Load,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The result before.
    pub(crate) before: PathBuf,
    /// The result after.
    pub(crate) after: PathBuf,
    /// Differences up to this many percent are noise.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) noise: f64,
}
