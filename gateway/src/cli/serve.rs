//! `tidegate serve`: runs until Ctrl-C or SIGTERM, then drains.
//!
//! Whatever hangs, the process ends: a drain has `server.shutdown_timeout`, work that still blocks a thread then is left
//! behind, and a runtime that hangs as a whole is ended from a thread outside of it.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use model::Signal;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(runtime::give_back_if_asked)
        .thread_keep_alive(BLOCKING_THREAD_IDLE)
        .build()?;
    run_on(runtime, until_signal(config, arguments, serve))
}

/// Runs to the end and leaves behind what still blocks a thread then: if that did not end within its time, the error
/// names it.
fn run_on<T>(runtime: Runtime, work: impl Future<Output = T>) -> T {
    let ended = runtime.block_on(work);
    runtime.shutdown_timeout(BLOCKED_WORK_GRACE);
    ended
}

/// How long a thread for blocking work waits for more. It keeps what it has freed until it ends, which counts against the
/// memory limit; starting another one costs some ten microseconds.
const BLOCKING_THREAD_IDLE: Duration = Duration::from_secs(2);
/// How long work that blocks may go on when everything else has ended.
const BLOCKED_WORK_GRACE: Duration = Duration::from_millis(500);
/// How long a reload may go on after a signal to end: what it has begun is then in a state that a shutdown knows.
const INTERRUPTED_RELOAD_GRACE: Duration = Duration::from_secs(5);
/// By how much a shutdown may pass its time before the process ends without it: each of its parts has at least a second.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// Ends the process when a shutdown does not come to its end at all. It has a thread of its own, because work that
/// blocks every thread of the runtime holds up its clock as well.
fn end_without_fail(shutdown_timeout: Duration) {
    // Nobody sends: the process ends before, or the time is over.
    let (sender, never) = mpsc::sync_channel::<()>(1);
    let watch = move || {
        let _ = never.recv_timeout(shutdown_timeout + SHUTDOWN_GRACE);
        drop(sender);
        tracing::error!(
            "the shutdown did not come to its end within {shutdown_timeout:?}: ending without it"
        );
        super::report(&anyhow::anyhow!("shutdown was not complete: its deadline has passed"));
        std::process::exit(1);
    };
    if let Err(error) = std::thread::Builder::new().name("shutdown_deadline".to_owned()).spawn(watch) {
        tracing::warn!(%error, "nothing watches over the time of the shutdown");
    }
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
        let asked = tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => None,
            request = control.recv() => match request {
                Some(Control::Reload(done)) => Some(done),
                Some(Control::Quit) | None => break,
            },
        };
        let interrupted = CancellationToken::new();
        let (outcome, is_over) = {
            let mut reload = std::pin::pin!(reload(&mut gateway, arguments, serve, &interrupted));
            let signalled = async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            };
            tokio::select! {
                outcome = reload.as_mut() => (outcome, false),
                () = signalled => {
                    interrupted.cancel();
                    let ended = tokio::time::timeout(INTERRUPTED_RELOAD_GRACE, reload).await;
                    (ended.unwrap_or_else(|_| Err("the process is ending".to_owned())), true)
                }
            }
        };
        if let Some(done) = asked {
            // Nobody waits for the outcome if the client went away; the log has the reason as well.
            let _ = done.send(outcome);
        }
        if is_over {
            break;
        }
    }
    tracing::info!("shutting down: draining what was received");
    end_without_fail(gateway.shutdown_timeout());
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
    interrupted: &CancellationToken,
) -> Result<(), String> {
    tracing::info!("reloading the config");
    let reloaded = async {
        let config = arguments.load().inspect_err(|_| gateway.refuse_reload())?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        gateway.reload(config, interrupted).await?;
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
        let tls = if listener.is_encrypted { "  (TLS)" } else { "" };
        text.push_str(&format!("  {:<20}{}{tls}\n", listener.what, listener.address));
    }
    for signal in refused {
        text.push_str(&format!("  {signal}: not in any pipeline, refused\n"));
    }
    let first_line = listeners.iter().find(|listener| listener.what == "OTLP HTTP" && listener.is_tcp());
    if let Some(http) = first_line.filter(|_| !refused.contains(&Signal::Logs)) {
        text.push_str(&format!(
            "\nSend a first log line:\n  curl -H 'Content-Type: application/json' {}://{}/v1/logs -d '{}'\n",
            http.scheme(),
            http.address,
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}"#
        ));
    }
    let loki = listeners.iter().find(|listener| listener.what == "Loki API" && listener.is_tcp());
    if let (Some(loki), Some(_), Some(_)) = (loki, first_line, directory) {
        text.push_str(&format!(
            "and read it back:\n  curl -G {}://{}/loki/api/v1/query_range --data-urlencode 'query={{service_name=~\".+\"}}'\n",
            loki.scheme(),
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use super::{banner, run_on};
    use crate::server::listen::BoundAddress;
    use crate::wiring::Bound;

    #[test]
    fn the_banner_names_the_scheme_that_each_listener_speaks() {
        let bound = |what: &'static str, port: u16, is_encrypted: bool| Bound {
            what,
            address: BoundAddress::Tcp(([127, 0, 0, 1], port).into()),
            is_encrypted,
        };
        let listeners = [bound("OTLP HTTP", 4318, true), bound("Loki API", 3100, false)];
        let text = banner(Some(&"data".to_owned()), &listeners, &[]);
        assert!(text.contains("127.0.0.1:4318  (TLS)\n"), "{text}");
        assert!(text.contains(" https://127.0.0.1:4318/v1/logs "), "{text}");
        assert!(text.contains(" http://127.0.0.1:3100/loki/api/v1/query_range "), "{text}");
    }

    #[test]
    fn work_that_never_ends_does_not_keep_the_process() {
        let (_never, waits) = sync_channel::<()>(1);
        let (ended, seen) = sync_channel(1);
        let process = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
            let runtime = runtime.expect("starts");
            let tasks = runtime::Tasks::new();
            let work = async {
                tasks.spawn_blocking("stuck", move || waits.recv());
                tasks.shutdown(Duration::ZERO).await.expect_err("it is stuck").to_string()
            };
            ended.send(run_on(runtime, work)).expect("the test waits");
        });
        let error = seen.recv_timeout(Duration::from_secs(20)).expect("ends although work is stuck");
        assert_eq!(error, "tasks still running at the shutdown deadline: stuck");
        process.join().expect("it does not panic");
    }
}
