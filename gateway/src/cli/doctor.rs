//! `tidegate doctor`: looks for what commonly keeps a gateway from starting or from working well, one line each, with
//! what to do. It changes nothing but a small file that it writes into the data folder and removes again.

mod buckets;
mod files;
mod log_files;

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use chrono::Utc;
use clap::Args;
use serde_json::json;

use super::ConfigArguments;
use super::client::Output;
use crate::config::Config;
use crate::wiring;

/// How to tell.
#[derive(Args, Clone, Debug)]
pub struct DoctorArguments {
    /// The form of the output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Good,
    Warning,
    Failure,
}

impl Grade {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warning => "warn",
            Self::Failure => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    what: String,
    grade: Grade,
    text: String,
}

impl Finding {
    fn new(what: impl Into<String>, grade: Grade, text: impl Into<String>) -> Self {
        Self { what: what.into(), grade, text: text.into() }
    }
}

/// Open files below which a busy gateway runs out: 10,000 connections a listener and the stores' files.
const OPEN_FILES_MIN: u64 = 16_384;
/// Free space above `storage.free_bytes_min` below which a data folder is about to refuse writes, bytes.
const FREE_BYTES_SPARE: u64 = 1 << 30;
/// An fsync that takes longer makes every acknowledgement slow.
const FSYNC_TIME_MAX: Duration = Duration::from_millis(50);

/// Looks and tells; an error when something fails.
pub fn run(arguments: &ConfigArguments, doctor: &DoctorArguments) -> anyhow::Result<()> {
    let mut findings = vec![open_files()];
    match arguments.load() {
        Err(error) => findings.push(Finding::new("config", Grade::Failure, format!("{error:#}"))),
        Ok(config) => {
            findings.push(components(&config));
            findings.extend(
                config.warnings.iter().map(|warning| Finding::new("config", Grade::Warning, warning)),
            );
            findings.extend(ports(&config));
            findings.extend(data_folder(&config.storage.directory, config.storage.free_bytes_min));
            if config.has_exporter(&["metrics_store", "log_store"]) {
                findings.extend(log_files::look(&config.storage));
            }
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            findings.extend(files::look(config.value(), &provider, Utc::now()));
            findings.extend(buckets::look(config.value(), buckets::PATIENCE));
        }
    }
    super::print(&match doctor.output {
        Output::Text => findings
            .iter()
            .map(|finding| format!("{:<5}{}: {}\n", finding.grade.name(), finding.what, finding.text))
            .collect(),
        Output::Json => {
            let list: Vec<_> = findings
                .iter()
                .map(|f| json!({"check": f.what, "result": f.grade.name(), "text": f.text}))
                .collect();
            serde_json::to_string_pretty(&list)? + "\n"
        }
    })?;
    let failed = findings.iter().filter(|finding| finding.grade == Grade::Failure).count();
    if failed > 0 {
        bail!("{failed} of {} checks failed", findings.len());
    }
    Ok(())
}

fn components(config: &Config) -> Finding {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Finding::new("runtime", Grade::Failure, error.to_string()),
    };
    match runtime.block_on(async { wiring::check(config) }) {
        Ok(()) => Finding::new("config", Grade::Good, "every component can be made"),
        Err(error) => Finding::new("config", Grade::Failure, error.to_string()),
    }
}

fn open_files() -> Finding {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft =
        line.and_then(|line| line.split_whitespace().next()).and_then(|limit| limit.parse::<u64>().ok());
    match soft {
        Some(limit) if limit < OPEN_FILES_MIN => Finding::new(
            "open files",
            Grade::Warning,
            format!(
                "the limit is {limit}; raise it to {OPEN_FILES_MIN} or more (LimitNOFILE= of systemd, ulimit -n)"
            ),
        ),
        Some(limit) => Finding::new("open files", Grade::Good, format!("the limit is {limit}")),
        None => Finding::new("open files", Grade::Good, "no limit is known"),
    }
}

/// Whether the TCP endpoints that a process with this config opens can be listened on.
fn ports(config: &Config) -> Vec<Finding> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    // A config that cannot run was told of before.
    let endpoints = runtime.block_on(async { wiring::endpoints(config) }).unwrap_or_default();
    let look = |(what, endpoint): (&str, String)| {
        let (host, port) = endpoint.rsplit_once(':')?;
        let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
        let host = if host.is_empty() { "::" } else { host.trim_matches(['[', ']']) };
        Some(match TcpListener::bind((host, port)) {
            Ok(_) => Finding::new(what, Grade::Good, format!("{endpoint} is free")),
            Err(error) => {
                let text = format!("{endpoint}: {error}; if a gateway runs already, this is it");
                Finding::new(what, Grade::Warning, text)
            }
        })
    };
    endpoints.into_iter().filter_map(look).collect()
}

/// Whether the data folder can be written, how fast a write is on disk, and how much room there is.
fn data_folder(folder: &Path, free_bytes_min: u64) -> Vec<Finding> {
    let shown = folder.display();
    // The folder is made at the first start; until then its parent tells.
    let existing = folder.ancestors().find(|path| path.is_dir() && !path.as_os_str().is_empty());
    let existing = existing.unwrap_or(Path::new("."));
    let probe = existing.join(format!(".tidegate-doctor-{}", std::process::id()));
    let begun = Instant::now();
    let written = File::create(&probe).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    let took = begun.elapsed();
    // It may not have been made.
    let _ = std::fs::remove_file(&probe);
    let write = match written {
        Err(error) => {
            let text = format!("{shown} cannot be written: {error}; set storage.directory or its owner");
            Finding::new("data folder", Grade::Failure, text)
        }
        Ok(()) if took > FSYNC_TIME_MAX => Finding::new(
            "data folder",
            Grade::Warning,
            format!(
                "{shown}: an fsync took {took:.0?}, and every acknowledgement waits for one; use a faster disk"
            ),
        ),
        Ok(()) => Finding::new("data folder", Grade::Good, format!("{shown}: an fsync took {took:.1?}")),
    };
    let space = rustix::fs::statvfs(existing).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    let space = match space {
        Err(error) => Finding::new("free space", Grade::Warning, format!("{shown}: {error}")),
        Ok(free) => {
            let (grade, meaning) = match free.checked_sub(free_bytes_min) {
                None => (Grade::Failure, "every write is refused"),
                Some(spare) if spare < FREE_BYTES_SPARE => (Grade::Warning, "writes will soon be refused"),
                Some(_) => (Grade::Good, "writes are taken"),
            };
            let (free, least) = (free >> 20, free_bytes_min >> 20);
            let text =
                format!("{shown}: {free} MiB are left, storage.free_bytes_min is {least} MiB: {meaning}");
            Finding::new("free space", grade, text)
        }
    };
    vec![write, space]
}

#[cfg(test)]
mod tests;
