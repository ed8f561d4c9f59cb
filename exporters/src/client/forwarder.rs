//! An exporter that sends to somebody else: a queue with retries in front of single attempts, and the keys that every
//! such exporter has.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use model::AppendReport;
use pipelines::{
    Batch, ComponentId, ConfigDuration, ConfigError, Consumer, Exporter, ExporterContext, PipelineResult,
    QueueConfig, RetryConfig, Sending, SendingSettings,
};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

/// The keys of exporterhelper, which stand beside an exporter's own in its section.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SendingConfig {
    /// Longest attempt; 0 = no limit. The default differs by exporter.
    timeout: Option<ConfigDuration>,
    /// The queue.
    sending_queue: QueueConfig,
    /// Retries.
    retry_on_failure: RetryConfig,
}

impl SendingConfig {
    /// The keys of this struct.
    pub(crate) const KEYS: &[&str] = &["timeout", "sending_queue", "retry_on_failure"];

    /// The settings of the sending part, checked.
    pub(crate) fn settings(self, timeout_default: ConfigDuration) -> Result<SendingSettings, ConfigError> {
        self.sending_queue.validate()?;
        self.retry_on_failure.validate()?;
        Ok(SendingSettings {
            queue: self.sending_queue,
            retry: self.retry_on_failure,
            timeout: self.timeout.unwrap_or(timeout_default).0,
        })
    }
}

/// Single attempts to deliver a batch: `consume` is one.
pub(crate) trait Attempts: Consumer {
    /// Makes a client. Called once, before the first attempt.
    fn connect(&self) -> PipelineResult<()>;

    /// Ends the client. Called after the last attempt.
    fn disconnect(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Attempts behind a queue.
pub(crate) struct Forwarder<A> {
    sending: Sending,
    attempts: Arc<A>,
}

impl<A: Attempts + 'static> Forwarder<A> {
    /// Puts a queue in front of `attempts`. `give_up` is set when retries are to end.
    pub(crate) fn create(
        id: &ComponentId,
        settings: SendingSettings,
        attempts: A,
        give_up: CancellationToken,
        context: &ExporterContext,
    ) -> Result<Arc<dyn Exporter>, ConfigError> {
        let attempts = Arc::new(attempts);
        let destination = Arc::clone(&attempts) as Arc<dyn Consumer>;
        let sending = Sending::new(id, settings, destination, give_up, context)?;
        Ok(Arc::new(Self { sending, attempts }))
    }
}

impl<A: Attempts> Consumer for Forwarder<A> {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        self.sending.consume(batch)
    }
}

impl<A: Attempts> Exporter for Forwarder<A> {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(async move {
            self.attempts.connect()?;
            self.sending.start().await
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(async move {
            self.sending.shutdown().await;
            self.attempts.disconnect().await
        })
    }
}
