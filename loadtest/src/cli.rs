//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Load tests for OTLP endpoints, with proof that nothing acknowledged was lost.
#[derive(Debug, Parser)]
#[command(name = "tidegate-loadtest", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send OTLP metrics, logs or traces.
    ///
    /// Exit codes: 0 passed, 1 data was lost, duplicated or wrong (or nothing was acknowledged), 2 the test could
    /// not run.
    Otlp(OtlpArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct OtlpArgs {
    /// What to send.
    #[arg(long, value_enum, default_value_t = Signal::Metrics)]
    pub(crate) signal: Signal,
    /// How to send it; http is protobuf over HTTP/1.1.
    #[arg(long, value_enum, default_value_t = Transport::Grpc)]
    pub(crate) transport: Transport,
    /// Where to send it [default: http://localhost:4317 for grpc, http://localhost:4318 for http].
    #[arg(long)]
    pub(crate) endpoint: Option<String>,
    /// Compression of requests.
    #[arg(long, value_enum, default_value_t = Compression::None)]
    pub(crate) compression: Compression,
    /// Items a second over all connections, or `max` for as fast as acknowledgements come back.
    #[arg(long, default_value = "max", value_parser = parse_rate)]
    pub(crate) rate: Rate,
    /// How long to send.
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub(crate) duration: Duration,
    /// Parallel connections; each has one request in flight.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) connections: u32,
    /// Items in a request.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) batch: u32,
    /// Distinct metric data streams (metrics) over all connections.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=50_000_000))]
    pub(crate) series: u32,
    /// One metric data stream in this many is a histogram; 0 sends counters and gauges only.
    #[arg(long, default_value_t = 0)]
    pub(crate) histogram_every: u32,
    /// Distinct log streams over all connections.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) streams: u32,
    /// Seed of all generated data: equal seeds send equal data but for times and the run id.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// A request without an answer after this long counts as unanswered.
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// Read everything back through the query APIs and count what is lost, duplicated or wrong.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Prometheus API that `--verify` asks for metrics.
    #[arg(long, default_value = "http://localhost:9090")]
    pub(crate) prometheus: String,
    /// Loki API that `--verify` asks for logs.
    #[arg(long, default_value = "http://localhost:3100")]
    pub(crate) loki: String,
    /// Tenant, sent as X-Scope-OrgID with data and queries.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Form of the result on standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

impl OtlpArgs {
    /// The endpoint, or the transport's default.
    pub(crate) fn endpoint(&self) -> &str {
        self.endpoint.as_deref().unwrap_or(match self.transport {
            Transport::Grpc => "http://localhost:4317",
            Transport::Http => "http://localhost:4318",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Signal {
    Metrics,
    Logs,
    Traces,
}

impl Signal {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Traces => "traces",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    Grpc,
    Http,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

/// How fast to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    /// Closed loop: the next request goes out when the last one is answered.
    Max,
    /// Open loop: this many items a second, whatever the answers do.
    Items(f64),
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(Rate::Items(rate)),
        _ => Err(format!("{text:?} is not a rate; want a number of items a second above 0, or max")),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is not a duration; want a number with ms, s, m or h, such as 10s");
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(refuse)?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| refuse())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(refuse()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Rate, parse_duration, parse_rate};

    #[test]
    fn rates_and_durations_read_as_people_write_them() {
        assert_eq!(parse_rate("max"), Ok(Rate::Max));
        assert_eq!(parse_rate("2.5e6"), Ok(Rate::Items(2_500_000.0)));
        assert!(parse_rate("0").is_err() && parse_rate("fast").is_err() && parse_rate("inf").is_err());
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(parse_duration("10").is_err() && parse_duration("-1s").is_err());
    }
}
