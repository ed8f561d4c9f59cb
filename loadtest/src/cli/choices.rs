//! Values that options choose from.

use clap::ValueEnum;

use crate::schedule::Stage;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Signal {
    Metrics,
    Logs,
    Traces,
    /// What `promql` and `logql` send.
    #[value(skip)]
    Queries,
}

impl Signal {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Queries => "queries",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    Grpc,
    Http,
    HttpJson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Zlib,
    Snappy,
    Lz4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WriteVersion {
    #[value(name = "1")]
    V1,
    #[value(name = "2")]
    V2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PushForm {
    /// Protobuf with snappy, as Loki's clients push.
    Protobuf,
    Json,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    Access,
    Json,
    Logfmt,
    Trace,
}

impl Shape {
    pub(super) const ALL: [Self; 4] = [Self::Access, Self::Json, Self::Logfmt, Self::Trace];
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

/// Rates over time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stages(pub(crate) Vec<Stage>);
