//! Scenarios: several loads in one YAML file, run together.
//!
//! Each load's keys are the options of its subcommand, so that there is one list of names, defaults and mistakes: a load
//! is read as if it had been typed.

use std::path::Path;

use anyhow::{Context, bail};
use clap::{Arg, Command, CommandFactory, Parser};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::parse::parse_rate;
use crate::cli::{Load, LoadCli, Rate};

/// Options that say how fast a load is, as its weight does.
const RATES: [&str; 3] = ["rate", "rate-per-connection", "stages"];

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Options of every load that knows them and says nothing else about them itself.
    #[serde(default)]
    defaults: Map<String, Value>,
    /// Items a second over all loads with a `weight`, shared by their weights.
    #[serde(default)]
    rate: Option<Value>,
    /// By name.
    loads: Map<String, Value>,
}

/// Reads a scenario: names and loads.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<(String, Load)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text).with_context(|| format!("reading {}", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Vec<(String, Load)>> {
    // With its place, and without the text around it.
    let file: File =
        serde_saphyr::from_str(text).map_err(|error| anyhow::anyhow!("{}", error.without_snippet()))?;
    if file.loads.is_empty() {
        bail!("loads is empty; want at least one");
    }
    check_defaults(&file.defaults)?;
    let mut loads = Vec::new();
    let mut weights = Vec::new();
    for (name, options) in file.loads {
        let Value::Object(mut options) = options else { bail!("loads.{name} is not a map of options") };
        let weight = match options.remove("weight") {
            None => None,
            Some(weight) => match weight.as_f64() {
                Some(weight) if weight > 0.0 => Some(weight),
                _ => bail!("loads.{name}.weight is {weight}; want a number above 0"),
            },
        };
        let mut defaults = file.defaults.clone();
        if weight.is_some() {
            if let Some(other) = RATES.iter().find(|rate| options.contains_key(**rate)) {
                bail!("loads.{name} has a weight and {other}; want one of them");
            }
            defaults.retain(|name, _| !RATES.contains(&name.as_str()));
        }
        let load = load(&options, &defaults).with_context(|| format!("loads.{name}"))?;
        weights.push(weight);
        loads.push((name, load));
    }
    let sum: f64 = weights.iter().flatten().sum();
    let rate = file.rate.map(|rate| parse_rate(&plain(&rate)).map_err(anyhow::Error::msg)).transpose()?;
    match rate {
        Some(Rate::Items(rate)) if sum > 0.0 => {
            for ((_, load), weight) in loads.iter_mut().zip(weights) {
                if let Some(weight) = weight {
                    load.pace_mut().rate = Some(Rate::Items(rate * weight / sum));
                }
            }
        }
        Some(_) => bail!("rate is shared by weights; want a number and a weight for at least one load"),
        None if sum > 0.0 => bail!("weights share the rate of the scenario; set rate"),
        None => {}
    }
    Ok(loads)
}

fn load(options: &Map<String, Value>, defaults: &Map<String, Value>) -> anyhow::Result<Load> {
    let Some(kind) = options.get("kind").and_then(Value::as_str) else {
        bail!("kind is missing; want otlp, remote-write, loki-push, promql or logql");
    };
    let mut arguments = vec![kind.to_owned()];
    for (name, value) in options.iter().filter(|(name, _)| *name != "kind") {
        push(&mut arguments, name, value)?;
    }
    let command = LoadCli::command();
    // An unknown kind is told by the parser.
    let known = command.find_subcommand(kind);
    for (name, value) in defaults {
        if known.is_some_and(|known| takes(known, options, name)) {
            push(&mut arguments, name, value)?;
        }
    }
    LoadCli::try_parse_from(&arguments).map(|cli| cli.load).map_err(|error| {
        // The first line says what is wrong; the rest is about typing.
        let text = error.to_string();
        anyhow::anyhow!("{}", text.lines().next().unwrap_or("invalid").trim_start_matches("error: "))
    })
}

/// Whether a load takes a default: it knows the option, and its own options say nothing else about it.
fn takes(command: &Command, options: &Map<String, Value>, name: &str) -> bool {
    let Some(default) = option(command, name) else { return false };
    let own = options.keys().filter_map(|own| option(command, own));
    let conflict =
        |a: &Arg, b: &Arg| command.get_arg_conflicts_with(a).iter().any(|other| other.get_id() == b.get_id());
    own.into_iter()
        .all(|own| own.get_id() != default.get_id() && !conflict(own, default) && !conflict(default, own))
}

fn option<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|argument| argument.get_long() == Some(name))
}

/// A default that no load knows is a mistake.
fn check_defaults(defaults: &Map<String, Value>) -> anyhow::Result<()> {
    let command = LoadCli::command();
    let is_known = |name: &str| command.get_subcommands().any(|load| option(load, name).is_some());
    match defaults.keys().find(|name| !is_known(name)) {
        Some(name) => bail!("defaults.{name} is not an option of any load"),
        None => Ok(()),
    }
}

/// `name: value` as `--name=value`; a list is the option several times, true the bare option.
fn push(arguments: &mut Vec<String>, name: &str, value: &Value) -> anyhow::Result<()> {
    match value {
        Value::Bool(true) => arguments.push(format!("--{name}")),
        Value::Bool(false) | Value::Null => {}
        Value::Array(values) => values.iter().try_for_each(|value| push(arguments, name, value))?,
        Value::Object(_) => bail!("{name} is a map; want a value or a list"),
        value => arguments.push(format!("--{name}={}", plain(value))),
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
