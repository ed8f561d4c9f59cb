//! One name, everywhere: a component's type in configs is its file, its registry row and its example's name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is one level up").to_owned()
}

/// Names of the files in `dir` with `ending` whose text contains `text`.
fn stems(dir: &str, ending: &str, text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(root().join(dir)).unwrap_or_else(|error| panic!("{dir}: {error}")) {
        let path = entry.expect("a folder of the repository is readable").path();
        if path.extension().is_some_and(|e| e == ending)
            && std::fs::read_to_string(&path).expect("a file of the repository is text").contains(text)
        {
            found.insert(path.file_stem().expect("a file has a name").to_string_lossy().into_owned());
        }
    }
    found
}

fn check(rows: &[&str], source: &str, examples: &str) {
    let in_order: BTreeSet<String> = rows.iter().map(|row| (*row).to_owned()).collect();
    assert_eq!(rows.len(), in_order.len(), "{source}: no type twice");
    assert_eq!(
        in_order,
        stems(source, "rs", "const FACTORY"),
        "{source}: each row is a file and each file a row"
    );
    assert_eq!(in_order, stems(examples, "yaml", "service:"), "{examples}: each component has an example");
    for row in rows {
        let text = std::fs::read_to_string(root().join(examples).join(format!("{row}.yaml")))
            .expect("checked above");
        assert!(text.contains(&format!("{row}:")), "{examples}/{row}.yaml configures {row}");
    }
}

#[test]
fn a_processor_is_one_file_one_row_and_one_example() {
    let rows: Vec<_> = pipelines::PROCESSORS.iter().map(|factory| factory.kind).collect();
    check(&rows, "pipelines/src/processors", "configs/processors");
}

#[test]
fn an_exporter_is_one_file_one_row_and_one_example() {
    let rows: Vec<_> = exporters::EXPORTERS.iter().map(|factory| factory.kind).collect();
    check(&rows, "exporters/src", "configs/exporters");
}

#[test]
fn an_extension_is_one_file_one_row_and_one_example() {
    let rows: Vec<_> = tidegate::extensions::EXTENSIONS.iter().map(|factory| factory.kind).collect();
    check(&rows, "gateway/src/extensions", "configs/extensions");
}

#[test]
fn a_receiver_is_one_file_one_row_and_one_example() {
    let rows: Vec<_> = tidegate::receivers::RECEIVERS.iter().map(|factory| factory.kind).collect();
    check(&rows, "gateway/src/receivers", "configs/receivers");
}

#[test]
fn a_connector_is_one_file_one_row_and_one_example() {
    let rows: Vec<_> = pipelines::CONNECTORS.iter().map(|factory| factory.kind).collect();
    check(&rows, "pipelines/src/connectors", "configs/connectors");
}
