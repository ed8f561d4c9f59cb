//! `tidegate components`: what a config may name, in the YAML form of the collector's command.

use std::fmt::Write;

use exporters::EXPORTERS;
use model::Signal;
use pipelines::{CONNECTORS, PROCESSORS, Stability};

use crate::extensions::EXTENSIONS;
use crate::receivers::RECEIVERS;

/// Prints the list.
pub fn run() -> anyhow::Result<()> {
    super::print(&list())
}

fn list() -> String {
    let mut text = format!(
        "buildinfo:\n    command: tidegate\n    description: OpenTelemetry-native gateway with its own stores\n    version: {}\n",
        env!("CARGO_PKG_VERSION")
    );
    let rows = RECEIVERS.iter().map(|row| (row.kind, row.signals, row.stability)).collect();
    section(&mut text, "receivers", rows);
    let rows = PROCESSORS.iter().map(|row| (row.kind, row.signals, row.stability)).collect();
    section(&mut text, "processors", rows);
    let rows = EXPORTERS.iter().map(|row| (row.kind, row.signals, row.stability)).collect();
    section(&mut text, "exporters", rows);
    text.push_str("connectors:\n");
    for row in CONNECTORS {
        writeln!(text, "    - name: {}\n      stability:", row.kind)
            .expect("a String takes all that is written");
        for (from, to) in row.pairs {
            writeln!(text, "        {from}-to-{to}: {}", row.stability)
                .expect("a String takes all that is written");
        }
    }
    text.push_str("extensions:\n");
    for row in EXTENSIONS {
        let level = row.stability;
        writeln!(text, "    - name: {}\n      stability:\n        extension: {level}", row.kind)
            .expect("a String takes all that is written");
    }
    text
}

fn section(text: &mut String, kind: &str, mut rows: Vec<(&str, &[Signal], Stability)>) {
    rows.sort_by_key(|(name, ..)| *name);
    writeln!(text, "{kind}:").expect("a String takes all that is written");
    for (name, signals, stability) in rows {
        writeln!(text, "    - name: {name}\n      stability:").expect("a String takes all that is written");
        for signal in Signal::ALL {
            let level =
                if signals.contains(&signal) { stability.to_string() } else { "Undefined".to_owned() };
            writeln!(text, "        {signal}: {level}").expect("a String takes all that is written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn the_list_is_yaml_and_names_every_row() {
        let listed: serde_json::Value = serde_saphyr::from_str(&list()).expect("the list is YAML");
        let names = |kind: &str| -> Vec<String> {
            let rows = listed[kind].as_array().expect("a list of components");
            rows.iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
        };
        assert_eq!(names("receivers"), ["kafka", "loki", "otlp", "prometheusremotewrite"]);
        assert!(names("processors").contains(&"memory_limiter".to_owned()));
        assert!(names("exporters").contains(&"metrics_store".to_owned()));
        let loki = &listed["receivers"][1];
        assert_eq!((&loki["name"], &loki["stability"]["traces"]), (&"loki".into(), &"Undefined".into()));
    }
}
