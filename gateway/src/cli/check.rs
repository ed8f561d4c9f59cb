//! `tidegate check`: looks at a config or a running server and says it by the exit code, for scripts and probes.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::ConfigArguments;
use super::client::ClientArguments;

/// What to look at.
#[derive(Args, Clone, Debug)]
pub struct CheckArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// The config, as `validate` does.
    Config,
    /// Whether a server runs.
    Healthy(ClientArguments),
    /// Whether a server takes requests.
    Ready(ClientArguments),
}

/// Longest wait for a server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Looks; an error is a no.
pub fn run(config: &ConfigArguments, arguments: &CheckArguments) -> anyhow::Result<()> {
    match &arguments.what {
        What::Config => {
            super::validate::run(config)?;
            super::print("the config is valid\n")
        }
        What::Healthy(client) => probe(config, client, "/-/healthy"),
        What::Ready(client) => probe(config, client, "/-/ready"),
    }
}

fn probe(config: &ConfigArguments, client: &ClientArguments, path: &str) -> anyhow::Result<()> {
    super::print(&client.get(config, path, &[], TIMEOUT)?)
}
