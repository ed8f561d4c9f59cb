//! Where results go: options of every subcommand.

use std::path::PathBuf;

use clap::Args;

use super::Output;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Result")]
pub(crate) struct Outcome {
    /// Form of the result on standard output.
    #[arg(long, value_enum, default_value_t = Output::Text, global = true)]
    pub(crate) output: Output,
    /// Also write the result as JSON to this file.
    #[arg(long, global = true)]
    pub(crate) json: Option<PathBuf>,
    /// Also write the verdicts as JUnit XML to this file.
    #[arg(long, global = true)]
    pub(crate) junit: Option<PathBuf>,
    /// Also write a page with plots to this file; it needs no other file.
    #[arg(long, global = true)]
    pub(crate) html: Option<PathBuf>,
    /// Process id of the target on this machine: its CPU time and memory are in the result.
    #[arg(long, global = true)]
    pub(crate) pid: Option<u32>,
    /// Say nothing while running.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

impl Outcome {
    /// Whether the result goes to standard output as text and nowhere else.
    pub(crate) fn is_plain(&self) -> bool {
        let is_elsewhere = self.json.is_some() || self.junit.is_some() || self.html.is_some();
        self.output == Output::Text && !is_elsewhere && self.pid.is_none()
    }
}
