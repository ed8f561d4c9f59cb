//! `tidegate-loadtest`: sends realistic, seeded telemetry to an OTLP endpoint, measures how it is taken, and with
//! `--verify` proves through the query APIs that exactly what was acknowledged can be read back.
//!
//! It is a black-box client: it knows protocols, never Tidegate's insides, and drives any OTLP endpoint.

mod cli;
mod clock;
mod ledger;
mod payload;
mod report;
mod run;
mod transport;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code when `--verify` found lost, duplicated or wrong data, or nothing was acknowledged.
const EXIT_VERDICT: u8 = 1;
/// Exit code when the test could not be run at all.
const EXIT_FAILED: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Otlp(args) = Cli::parse().command;
    let output = args.output;
    match run::otlp(args).await {
        Ok(report) => {
            report.print(output);
            if report.passed() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) }
        }
        Err(error) => {
            report::print_error(&error);
            ExitCode::from(EXIT_FAILED)
        }
    }
}
