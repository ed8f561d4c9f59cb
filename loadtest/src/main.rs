//! `tidegate-loadtest`: sends realistic, seeded telemetry or queries to an endpoint, measures how they are taken, and with
//! `--verify` proves through the query APIs that exactly what was acknowledged can be read back.
//!
//! It is a black-box client: it knows protocols, never Tidegate's insides, and drives any endpoint that speaks them.

mod cli;
mod clock;
mod compare;
mod figures;
mod find_max;
mod ledger;
mod live;
mod payload;
mod process;
mod queries;
mod report;
mod run;
mod scenario;
mod schedule;
mod sink;
mod threshold;
mod transport;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, Load, Outcome};
use live::Live;
use report::{Ending, Results};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code when `--verify` found lost, duplicated or wrong data, or nothing was acknowledged.
const EXIT_VERDICT: u8 = 1;
/// Exit code when the test could not be run at all, or what it sent could not be read back.
const EXIT_FAILED: u8 = 2;
/// Exit code when a threshold was missed or something got worse, as k6's.
const EXIT_THRESHOLD: u8 = 99;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli).await {
        Ok(code) => code,
        Err(error) => {
            report::print_error(&error);
            ExitCode::from(EXIT_FAILED)
        }
    }
}

async fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    let outcome = cli.outcome;
    let mut live = Live::new(outcome.quiet);
    match cli.command {
        Command::Load(load) => several(vec![(load.kind().to_owned(), *load)], &outcome, &mut live).await,
        Command::Run(args) => several(scenario::read(&args.scenario)?, &outcome, &mut live).await,
        Command::FindMax(args) => {
            let results = find_max::find(&args, &mut live, outcome.pid).await?;
            results.write(&outcome)?;
            Ok(exit_code(&results))
        }
        Command::Compare(args) => {
            anyhow::ensure!(
                outcome.is_plain(),
                "compare prints a table and nothing else; leave out --output json, --json, --junit, --html and --pid"
            );
            let comparison = compare::compare(&args)?;
            // A closed pipe is the reader's choice.
            let _closed = writeln!(std::io::stdout(), "{}", comparison.text);
            Ok(if comparison.is_worse { ExitCode::from(EXIT_THRESHOLD) } else { ExitCode::SUCCESS })
        }
    }
}

async fn several(loads: Vec<(String, Load)>, outcome: &Outcome, live: &mut Live) -> anyhow::Result<ExitCode> {
    let run_id = clock::new_run_id();
    let mut prepared = Vec::new();
    for (number, (name, load)) in loads.iter().enumerate() {
        // Loads of one run share no series and no stream.
        let run_id = if loads.len() == 1 { run_id.clone() } else { format!("{run_id}-{number}") };
        prepared.push(run::prepare(name, load, &run_id).await?);
    }
    let results = Results { loads: run::run(prepared, live, outcome.pid).await?, search: None };
    results.write(outcome)?;
    Ok(exit_code(&results))
}

/// Lost data says more than a threshold that was missed.
fn exit_code(results: &Results) -> ExitCode {
    match results.ending() {
        Ending::Unsound => ExitCode::from(EXIT_VERDICT),
        Ending::Incomplete => ExitCode::from(EXIT_FAILED),
        Ending::Missed => ExitCode::from(EXIT_THRESHOLD),
        Ending::Passed => ExitCode::SUCCESS,
    }
}
