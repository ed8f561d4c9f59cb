//! `tidegate validate`: makes every component and the graph, and starts nothing.

use super::ConfigArguments;
use crate::config::Config;
use crate::config::error::ConfigFault;
use crate::wiring;

/// Checks the config; says nothing when it is good, as the collector.
pub fn run(arguments: &ConfigArguments) -> anyhow::Result<()> {
    let (config, faults) = Config::with_faults(arguments.read()?);
    for warning in &config.warnings {
        super::note(&format!("warning: {warning}"));
    }
    // Components spawn nothing before their start, but some ask for the runtime that they are made in.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let components = runtime.block_on(async { wiring::check(&config) });
    match ConfigFault::all(faults.into_iter().chain(components.err())) {
        None => Ok(()),
        Some(fault) => Err(fault.into()),
    }
}
