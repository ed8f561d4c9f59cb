//! `tidegate print-config`: the config after merging and expanding, without secrets unless asked for.

use super::{ConfigArguments, PrintConfigArguments, PrintFormat, PrintMode};
use crate::config::Config;
use crate::config::redact::redact;

/// Prints the config.
pub fn run(arguments: &ConfigArguments, print: &PrintConfigArguments) -> anyhow::Result<()> {
    let config = arguments.load()?;
    super::print(&render(&config, print.mode, print.format)?)
}

/// The config as text.
pub fn render(config: &Config, mode: PrintMode, format: PrintFormat) -> anyhow::Result<String> {
    let mut value = config.value().clone();
    if mode == PrintMode::Redacted {
        redact(&mut value);
    }
    Ok(match format {
        PrintFormat::Yaml => serde_saphyr::to_string(&value)?,
        PrintFormat::Json => serde_json::to_string_pretty(&value)? + "\n",
    })
}

/// The config as YAML without secrets, as `status/config` shows it.
pub fn redacted_yaml(config: &Config) -> anyhow::Result<String> {
    render(config, PrintMode::Redacted, PrintFormat::Yaml)
}
