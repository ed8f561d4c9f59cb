//! What all loads have in common, whatever their kind.

use super::{
    CONNECTIONS_DEFAULT, DataArgs, Load, LokiPushArgs, OtlpArgs, Pace, Proof, Rate, RemoteWriteArgs, Sending,
    Signal, Transport,
};

/// Items a second that data is sent with when nothing is said.
const DATA_RATE_DEFAULT: f64 = 10_000.0;
/// Queries a second when nothing is said.
const QUERY_RATE_DEFAULT: f64 = 10.0;

impl Load {
    /// Name of the subcommand.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Otlp(_) => "otlp",
            Self::RemoteWrite(_) => "remote-write",
            Self::LokiPush(_) => "loki-push",
            Self::Promql(_) => "promql",
            Self::Logql(_) => "logql",
        }
    }

    pub(crate) fn pace(&self) -> &Pace {
        match self {
            Self::Otlp(OtlpArgs { sending, .. })
            | Self::RemoteWrite(RemoteWriteArgs { sending, .. })
            | Self::LokiPush(LokiPushArgs { sending, .. }) => &sending.pace,
            Self::Promql(args) | Self::Logql(args) => &args.pace,
        }
    }

    pub(crate) fn pace_mut(&mut self) -> &mut Pace {
        match self {
            Self::Otlp(OtlpArgs { sending, .. })
            | Self::RemoteWrite(RemoteWriteArgs { sending, .. })
            | Self::LokiPush(LokiPushArgs { sending, .. }) => &mut sending.pace,
            Self::Promql(args) | Self::Logql(args) => &mut args.pace,
        }
    }

    /// What a load that sends data has; `None` for queries.
    fn sending(&self) -> Option<&Sending> {
        match self {
            Self::Otlp(OtlpArgs { sending, .. })
            | Self::RemoteWrite(RemoteWriteArgs { sending, .. })
            | Self::LokiPush(LokiPushArgs { sending, .. }) => Some(sending),
            Self::Promql(_) | Self::Logql(_) => None,
        }
    }

    /// How data is made; `None` for queries.
    pub(crate) fn data(&self) -> Option<&DataArgs> {
        self.sending().map(|sending| &sending.data)
    }

    pub(crate) fn proof(&self) -> Option<&Proof> {
        self.sending().map(|sending| &sending.proof)
    }

    /// What is sent.
    pub(crate) fn signal(&self) -> Signal {
        match self {
            Self::Otlp(args) => args.signal,
            Self::RemoteWrite(_) => Signal::Metrics,
            Self::LokiPush(_) => Signal::Logs,
            Self::Promql(_) | Self::Logql(_) => Signal::Queries,
        }
    }

    /// Connections that are asked for.
    pub(crate) fn connections(&self) -> u32 {
        self.pace().connections.unwrap_or(CONNECTIONS_DEFAULT)
    }

    /// The rate over all connections when nothing else is said.
    pub(crate) fn rate(&self) -> Rate {
        let pace = self.pace();
        match (pace.rate, pace.rate_per_connection) {
            (Some(rate), _) => rate,
            (None, Some(Rate::Items(each))) => Rate::Items(each * f64::from(self.connections())),
            (None, Some(Rate::Max)) => Rate::Max,
            (None, None) if pace.stages.is_some() => Rate::Items(0.0),
            (None, None) if self.data().is_some() => Rate::Items(DATA_RATE_DEFAULT),
            (None, None) => Rate::Items(QUERY_RATE_DEFAULT),
        }
    }

    /// Where requests go.
    pub(crate) fn endpoint(&self) -> &str {
        match self {
            Self::Otlp(args) => args.endpoint.as_deref().unwrap_or(match args.transport {
                Transport::Grpc => "http://localhost:4317",
                Transport::Http | Transport::HttpJson => "http://localhost:4318",
            }),
            Self::RemoteWrite(args) => &args.endpoint,
            Self::LokiPush(args) => &args.endpoint,
            Self::Promql(args) => args.endpoint.as_deref().unwrap_or("http://localhost:9090"),
            Self::Logql(args) => args.endpoint.as_deref().unwrap_or("http://localhost:3100"),
        }
    }
}
