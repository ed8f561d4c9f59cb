//! The command line: one file a command.

pub mod blocks;
pub mod check;
pub mod client;
pub mod components;
pub mod doctor;
mod log_output;
pub mod logs;
pub mod migrate;
mod notes;
pub mod print_config;
pub mod query;
pub mod serve;
pub mod validate;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::expand::ProcessSurroundings;
use crate::config::load::{LoadedConfig, load};
use crate::config::{Config, DEFAULT_CONFIG};

/// An OpenTelemetry-native gateway with its own metrics and log stores.
#[derive(Clone, Debug, Parser)]
#[command(name = "tidegate", version, about, args_conflicts_with_subcommands = false)]
pub struct Arguments {
    /// Where the config comes from.
    #[command(flatten)]
    pub config: ConfigArguments,
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArguments,
}

/// Where the config comes from.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArguments {
    /// A config to read: a path, file:PATH, env:NAME or yaml:TEXT. Several are merged, later ones win.
    /// Without any, the built-in config runs: everything, bound to localhost, data in ./tidegate-data.
    #[arg(long, value_name = "SOURCE", global = true)]
    pub config: Vec<String>,
    /// Sets one value after all configs are merged, e.g. --set storage.directory=/var/lib/tidegate.
    #[arg(long, value_name = "KEY.KEY=VALUE", global = true)]
    pub set: Vec<String>,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Runs the gateway; the same as no command.
    Serve(ServeArguments),
    /// Checks the config and every component in it, without opening a port or a data file.
    Validate,
    /// Lists the components that a config may name, as YAML.
    Components,
    /// Prints the config as it is after merging and expanding.
    PrintConfig(PrintConfigArguments),
    /// Asks a Prometheus API: this program's or any other one.
    Query(query::QueryArguments),
    /// Asks a Loki, this program's or any other one: queries, tails, labels, series, imports.
    Logs(logs::LogsArguments),
    /// Looks into blocks of metrics on disk, this program's or a Prometheus'.
    Blocks(blocks::BlocksArguments),
    /// Takes over the data of another program that is stopped.
    Migrate(migrate::MigrateArguments),
    /// Looks at a config or a running server and says it by the exit code.
    Check(check::CheckArguments),
    /// Looks for what commonly keeps a gateway from starting or from working well.
    Doctor(doctor::DoctorArguments),
}

/// How to run.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArguments {
    /// Writes the addresses that are listened on to this file as JSON, once all are open. For port 0.
    #[arg(long, value_name = "PATH")]
    pub ports_file: Option<PathBuf>,
}

/// How to print.
#[derive(Args, Clone, Debug)]
pub struct PrintConfigArguments {
    /// Whether secrets are shown.
    #[arg(long, value_enum, default_value_t = PrintMode::Redacted)]
    pub mode: PrintMode,
    /// The notation.
    #[arg(long, value_enum, default_value_t = PrintFormat::Yaml)]
    pub format: PrintFormat,
}

/// Whether secrets are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrintMode {
    /// Secrets are replaced.
    Redacted,
    /// Everything is shown.
    Unredacted,
}

/// A notation of configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrintFormat {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

impl Arguments {
    /// The command; without one, to serve.
    pub fn command(&self) -> Command {
        self.command.clone().unwrap_or_else(|| Command::Serve(self.serve.clone()))
    }
}

impl ConfigArguments {
    /// Loads the config that the arguments name.
    pub fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::new(self.read()?)?)
    }

    /// Reads the config that the arguments name; not typed yet.
    fn read(&self) -> anyhow::Result<LoadedConfig> {
        let sources =
            if self.config.is_empty() { vec![format!("yaml:{DEFAULT_CONFIG}")] } else { self.config.clone() };
        Ok(load(&sources, &self.set, &ProcessSurroundings)?)
    }
}

/// Prints text to standard output. A reader that went away is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Tells the user something that is no output.
fn note(text: &str) {
    // Nothing can be done when even this fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints an error with its causes to standard error.
pub fn report(error: &anyhow::Error) {
    // Nothing can be done when even this fails.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}
