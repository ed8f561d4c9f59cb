//! `tidegate serve`: runs until Ctrl-C or SIGTERM, then drains.

use std::path::Path;

use anyhow::Context;
use model::Signal;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::log_output::LogOutputs;
use super::{ConfigArguments, ServeArguments};
use crate::api::process::Control;
use crate::config::Config;
use crate::config::types::{LogEncoding, LogLevel};
use crate::wiring::{Bound, Gateway};

/// Runs the gateway.
pub fn run(arguments: &ConfigArguments, serve: &ServeArguments) -> anyhow::Result<()> {
    let config = arguments.load()?;
    start_logging(&config)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(until_signal(config, arguments, serve))
}

async fn until_signal(
    config: Config,
    arguments: &ConfigArguments,
    serve: &ServeArguments,
) -> anyhow::Result<()> {
    // Taken before anything starts, so that a signal during the start is not lost.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let directory = config.storage.directory.display().to_string();
    let mut hangup = signal(SignalKind::hangup())?;
    let mut gateway = Gateway::start(config).await?;
    let mut control = gateway.take_control().expect("nobody took it before");
    if let Some(path) = &serve.ports_file {
        write_ports(path, gateway.listeners())?;
    }
    super::print(&banner(
        gateway.has_stores().then_some(&directory),
        gateway.listeners(),
        &gateway.refused(),
    ))?;
    tracing::info!("Everything is ready. Begin running and processing data.");
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => {
                // The reason is in the log, and the old config goes on.
                let _ = reload(&mut gateway, arguments, serve).await;
            }
            request = control.recv() => match request {
                Some(Control::Reload(done)) => {
                    // Nobody waits for the outcome if the client went away.
                    let _ = done.send(reload(&mut gateway, arguments, serve).await);
                }
                Some(Control::Quit) | None => break,
            },
        }
    }
    tracing::info!("shutting down: draining what was received");
    let end = tokio::select! {
        end = gateway.shutdown() => end,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted again while draining")),
    };
    end.inspect(|()| tracing::info!("shutdown complete"))
}

/// Loads the config again and runs it; an error is logged and returned, and the old config goes on.
async fn reload(
    gateway: &mut Gateway,
    arguments: &ConfigArguments,
    serve: &ServeArguments,
) -> Result<(), String> {
    tracing::info!("reloading the config");
    let reloaded = async {
        let config = arguments.load()?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        gateway.reload(config).await?;
        if let Some(path) = &serve.ports_file {
            write_ports(path, gateway.listeners())?;
        }
        anyhow::Ok(())
    };
    let reloaded = reloaded.await.map_err(|error| format!("{error:#}"));
    match &reloaded {
        Ok(()) => tracing::info!("the new config runs"),
        Err(error) => tracing::error!(%error, "the new config cannot be used; the old one goes on"),
    }
    reloaded
}

/// What listens where, and something to try.
fn banner(directory: Option<&String>, listeners: &[Bound], refused: &[Signal]) -> String {
    let keeps =
        directory.map_or_else(|| "keeps no data".to_owned(), |directory| format!("data in {directory}"));
    let mut text = format!("Tidegate {}, {keeps}\n\n", env!("CARGO_PKG_VERSION"));
    for listener in listeners {
        text.push_str(&format!("  {:<16}{}\n", listener.what, listener.address));
    }
    for signal in refused {
        text.push_str(&format!("  {signal}: not in any pipeline, refused\n"));
    }
    let first_line = listeners.iter().find(|listener| listener.what == "OTLP HTTP" && listener.is_tcp());
    if let Some(http) = first_line.filter(|_| !refused.contains(&Signal::Logs)) {
        text.push_str(&format!(
            "\nSend a first log line:\n  curl -H 'Content-Type: application/json' http://{}/v1/logs -d '{}'\n",
            http.address,
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}"#
        ));
    }
    let loki = listeners.iter().find(|listener| listener.what == "Loki API" && listener.is_tcp());
    if let (Some(loki), Some(_), Some(_)) = (loki, first_line, directory) {
        text.push_str(&format!(
            "and read it back:\n  curl -G http://{}/loki/api/v1/query_range --data-urlencode 'query={{service_name=~\".+\"}}'\n",
            loki.address
        ));
    }
    text.push('\n');
    text
}

/// Writes the addresses so that a reader sees all or nothing.
fn write_ports(path: &Path, listeners: &[Bound]) -> anyhow::Result<()> {
    let list: Vec<_> = listeners
        .iter()
        .map(|listener| json!({"name": listener.what, "address": listener.address.to_string()}))
        .collect();
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, json!({"listeners": list}).to_string())
        .and_then(|()| std::fs::rename(&temporary, path))
        .with_context(|| format!("writing the ports file {}", path.display()))
}

fn start_logging(config: &Config) -> anyhow::Result<()> {
    let logs = &config.service.telemetry.logs;
    let level = match logs.level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let outputs = LogOutputs::open(&logs.output_paths)?;
    let is_terminal = outputs.is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(outputs);
    let subscriber = subscriber.with_target(false).with_ansi(is_terminal);
    // A second start in one process (a test) keeps the first's.
    let _ = match logs.encoding {
        LogEncoding::Console => subscriber.try_init(),
        LogEncoding::Json => subscriber.json().try_init(),
    };
    Ok(())
}
