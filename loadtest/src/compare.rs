//! Two results side by side, with a band of noise.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cli::CompareArgs;

/// Figures that are compared: pointer, name, and whether more is better.
const FIGURES: [(&str, &str, bool); 10] = [
    ("/acked_per_second", "acked/s", true),
    ("/errors", "errors", false),
    ("/latency_ms/p50", "p50 ms", false),
    ("/latency_ms/p90", "p90 ms", false),
    ("/latency_ms/p99", "p99 ms", false),
    ("/latency_ms/p999", "p99.9 ms", false),
    ("/latency_ms/max", "max ms", false),
    ("/target/cpu_seconds", "target CPU-s", false),
    ("/target/rss_peak_mib", "target MiB", false),
    ("/search/found_per_second", "maximum/s", true),
];
/// Counts that have no noise: any more is worse.
const FAULTS: [&str; 5] =
    ["/verify/lost", "/verify/duplicated", "/verify/wrong", "/unsent", "/failed_connections"];

/// What was found.
pub(crate) struct Comparison {
    pub(crate) text: String,
    pub(crate) is_worse: bool,
}

/// Reads both files and compares load by load.
pub(crate) fn compare(args: &CompareArgs) -> anyhow::Result<Comparison> {
    let (before, after) = (loads(&args.before)?, loads(&args.after)?);
    let mut comparison = Comparison { text: String::new(), is_worse: false };
    for (name, old) in &before {
        let Some((_, new)) = after.iter().find(|(other, _)| other == name) else {
            bail!("{} has no load {name:?}", args.after.display());
        };
        comparison.load(name, old, new, args.noise);
    }
    let verdict = if comparison.is_worse { "worse" } else { "not worse" };
    comparison.text.push_str(&format!("\nverdict: {verdict}, with {} % as noise", args.noise));
    Ok(comparison)
}

impl Comparison {
    fn load(&mut self, name: &str, old: &Value, new: &Value, noise: f64) {
        self.text.push_str(&format!("{name:<14} {:>14} {:>14} {:>9}\n", "before", "after", "change"));
        for key in ["kind", "signal", "batch", "connections", "wanted_per_second"] {
            if old.get(key) != new.get(key) {
                let shown = |value: &Value| value.get(key).map_or("-".to_owned(), Value::to_string);
                self.text.push_str(&format!("  other {key}: {} and {}\n", shown(old), shown(new)));
            }
        }
        for (pointer, label, more_is_better) in FIGURES {
            let number = |value: &Value| value.pointer(pointer).and_then(Value::as_f64);
            match (number(old), number(new)) {
                (Some(old), Some(new)) => self.figure(label, old, new, more_is_better, noise),
                (Some(old), None) => self.gone(label, &format!("{old:.3}")),
                (None, _) => {}
            }
        }
        for pointer in FAULTS {
            let number = |value: &Value| value.pointer(pointer).and_then(Value::as_u64);
            let label = pointer.trim_start_matches("/verify").trim_start_matches('/');
            let (old, new) = match (number(old), number(new)) {
                // What was proven before is not any more.
                (Some(old), None) => {
                    self.gone(label, &old.to_string());
                    continue;
                }
                (old, new) => (old.unwrap_or(0), new.unwrap_or(0)),
            };
            if old != new {
                self.is_worse |= new > old;
                let word = if new > old { "worse" } else { "better" };
                self.text.push_str(&format!("  {label:<12} {old:>14} {new:>14}           {word}\n"));
            }
        }
    }

    fn figure(&mut self, label: &str, old: f64, new: f64, more_is_better: bool, noise: f64) {
        let change = change_percent(old, new);
        let is_worse = if more_is_better { change < -noise } else { change > noise };
        let is_better = if more_is_better { change > noise } else { change < -noise };
        self.is_worse |= is_worse;
        let word = if is_worse {
            "worse"
        } else if is_better {
            "better"
        } else {
            ""
        };
        self.text.push_str(&format!("  {label:<12} {old:>14.3} {new:>14.3} {change:>+8.1}% {word}\n"));
    }

    /// A figure that only the result before has.
    fn gone(&mut self, label: &str, old: &str) {
        self.is_worse = true;
        self.text.push_str(&format!("  {label:<12} {old:>14} {:>14}           worse\n", "missing"));
    }
}

/// From nothing to something is more than any noise.
fn change_percent(old: f64, new: f64) -> f64 {
    if old == new {
        0.0
    } else if old == 0.0 {
        f64::INFINITY.copysign(new)
    } else {
        (new - old) / old * 100.0
    }
}

/// The loads of a result by name; a search's figures go with its load.
fn loads(path: &Path) -> anyhow::Result<Vec<(String, Value)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let result: Value = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    let mut loads = match result.get("loads").and_then(Value::as_array) {
        Some(loads) => loads.clone(),
        None => vec![result.clone()],
    };
    if let (Some(search), [load]) = (result.get("search"), loads.as_mut_slice()) {
        load["search"] = search.clone();
    }
    let named = loads.into_iter().map(|load| {
        let name = load.get("name").and_then(Value::as_str).map(str::to_owned);
        let name = name.with_context(|| format!("{} is not a result of this program", path.display()))?;
        Ok((name, load))
    });
    named.collect()
}
