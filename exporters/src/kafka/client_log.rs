//! What the log says of a Kafka client, the exporter's or the receiver's.
//!
//! librdkafka tells a broker that is away with each attempt to reach it, and each time as a line of its log, as an error,
//! and as the error that all brokers are down. Of each kind the first is told, then at most one a minute with how many
//! there were; the rest, and what comes once the client is to end, is left to the level `debug`.

use pipelines::{ComponentId, Throttle};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio_util::sync::CancellationToken;
use tracing::field::{DisplayValue, display};

/// The log of one client.
pub struct ClientLog {
    owner: Owner,
    told: Throttle<Kind>,
    end: CancellationToken,
}

/// Whose client it is.
enum Owner {
    Exporter(ComponentId),
    Receiver(ComponentId),
}

/// What is told by itself.
#[derive(PartialEq, Eq, Hash)]
enum Kind {
    /// A broker that is not reached.
    Connection,
    /// An error code of librdkafka.
    Code(i32),
    /// An error that has none.
    NoCode,
    /// Lines of librdkafka's log: its sources of them are few.
    Facility(String),
}

impl Kind {
    /// `None` for what others tell better.
    fn of(error: &KafkaError) -> Option<Self> {
        match error.rdkafka_error_code() {
            // Each broker was told by itself before.
            Some(RDKafkaErrorCode::AllBrokersDown) => None,
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve) => {
                Some(Self::Connection)
            }
            Some(code) => Some(Self::Code(code as i32)),
            None => Some(Self::NoCode),
        }
    }

    fn of_line(facility: &str) -> Self {
        match facility {
            "FAIL" => Self::Connection,
            other => Self::Facility(other.to_owned()),
        }
    }
}

impl ClientLog {
    /// For the client of an exporter, until `end` is set.
    pub(super) fn of_exporter(id: &ComponentId, end: CancellationToken) -> Self {
        Self { owner: Owner::Exporter(id.clone()), told: Throttle::default(), end }
    }

    /// For the client of a receiver, until `end` is set.
    pub fn of_receiver(id: &ComponentId, end: CancellationToken) -> Self {
        Self { owner: Owner::Receiver(id.clone()), told: Throttle::default(), end }
    }

    /// A line of the client's own log.
    pub fn line(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let (exporter, receiver) = self.owner();
        let is_quiet = matches!(level, RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug);
        let reports = if is_quiet { None } else { self.due(Some(Kind::of_line(facility))) };
        let is_mild = matches!(level, RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice);
        match reports {
            None => tracing::debug!(exporter, receiver, facility, message, "kafka client"),
            Some(reports) if is_mild => {
                tracing::warn!(exporter, receiver, facility, message, reports, "kafka client");
            }
            Some(reports) => tracing::error!(exporter, receiver, facility, message, reports, "kafka client"),
        }
    }

    /// An error of the client. It goes on by itself.
    pub fn error(&self, error: &KafkaError, reason: &str) {
        let (exporter, receiver) = self.owner();
        match self.due(Kind::of(error)) {
            Some(reports) => tracing::warn!(exporter, receiver, %error, reason, reports, "kafka client"),
            None => tracing::debug!(exporter, receiver, %error, reason, "kafka client"),
        }
    }

    /// How many of a kind are to be told now, if any.
    fn due(&self, kind: Option<Kind>) -> Option<u64> {
        let kind = kind.filter(|_| !self.end.is_cancelled())?;
        self.told.add(kind, 1)
    }

    /// The fields `exporter` and `receiver`.
    fn owner(&self) -> (Option<Shown<'_>>, Option<Shown<'_>>) {
        match &self.owner {
            Owner::Exporter(id) => (Some(display(id)), None),
            Owner::Receiver(id) => (None, Some(display(id))),
        }
    }
}

type Shown<'a> = DisplayValue<&'a ComponentId>;

#[cfg(test)]
mod tests;
