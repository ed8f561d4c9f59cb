//! House rules that a reader relies on, as tests: crates depend only along the arrows of docs/ARCHITECTURE.md, every
//! component is one file, one registry row and one example, and no file grows past what one can read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which crates a crate may depend on. A new arrow is a decision record in docs/decisions/.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("runtime", &["model"]),
    ("wire", &["model"]),
    ("storage-api", &["model"]),
    ("format", &["model"]),
    ("wal", &["model", "runtime"]),
    ("tsdb", &["model", "runtime", "storage-api", "format", "wal"]),
    ("bucket", &["model", "runtime", "format"]),
    ("compactor", &["model", "runtime", "storage-api", "format", "tsdb", "bucket"]),
    ("logstore", &["model", "runtime", "storage-api", "format", "wal"]),
    ("promql", &["model", "runtime", "storage-api"]),
    ("logql", &["model", "runtime", "storage-api"]),
    ("thanos", &["model", "runtime", "wire", "format", "storage-api", "tsdb", "bucket", "promql"]),
    ("ottl", &["model", "wire"]),
    ("pipelines", &["model", "ottl", "runtime", "wire", "wal"]),
    ("exporters", &["model", "runtime", "wire", "storage-api", "bucket", "pipelines"]),
    (
        "tidegate",
        &[
            "model",
            "runtime",
            "wire",
            "storage-api",
            "tsdb",
            "bucket",
            "compactor",
            "logstore",
            "promql",
            "logql",
            "thanos",
            "pipelines",
            "exporters",
        ],
    ),
    ("loadtest", &["wire"]),
];

/// Licences (SPDX identifiers) whose terms a binary under Apache-2.0 can meet.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "LLVM-exception",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Production files longer than this have taken in a second idea.
const FILE_LINES_MAX: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is one level up").to_owned()
}

/// All files below `dir` with one of the endings, hidden and build folders left out.
fn files(dir: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository is readable") {
            let path = entry.expect("a folder of the repository is readable").path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                let skip =
                    name.starts_with('.') || ["target", "node_modules", "tidegate-data"].contains(&&*name);
                if !skip {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches")
        || path.ends_with("tests.rs")
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .expect("cargo metadata reads the workspace");
    let arrows: BTreeMap<_, BTreeSet<_>> =
        ARROWS.iter().map(|(from, to)| (*from, to.iter().copied().collect())).collect();
    let ours: BTreeSet<_> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    assert_eq!(
        ours,
        arrows.keys().map(|name| (*name).to_owned()).collect(),
        "every crate has a row of arrows"
    );
    for package in &metadata.packages {
        let allowed = &arrows[package.name.as_str()];
        let normal = |d: &&cargo_metadata::Dependency| d.kind == cargo_metadata::DependencyKind::Normal;
        for dependency in package.dependencies.iter().filter(normal) {
            let inside = ours.contains(&dependency.name);
            assert!(
                !inside || allowed.contains(dependency.name.as_str()),
                "{} may not depend on {}",
                package.name,
                dependency.name
            );
        }
        let used: BTreeSet<_> =
            package.dependencies.iter().map(|dependency| dependency.name.as_str()).collect();
        let unused: Vec<_> = allowed.difference(&used).collect();
        assert!(unused.is_empty(), "{} does not depend on {unused:?}", package.name);
    }
}

#[test]
fn every_dependency_may_be_shipped_under_apache_2_0() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(rustc).arg("-vV").output().expect("rustc runs");
    let version = String::from_utf8(version.stdout).expect("text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    // Without the filter, crates of other platforms would have to be downloaded.
    let options = ["--offline", "--filter-platform", host].map(str::to_owned);
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(options)
        .exec()
        .expect("cargo metadata reads the workspace");
    assert!(metadata.packages.len() > 100, "the whole tree is looked at");
    for package in &metadata.packages {
        let licence = package.license.as_deref().unwrap_or("none");
        let words = licence.split([' ', '/', '(', ')']).filter(|word| !word.is_empty());
        let unknown: Vec<_> = words
            .filter(|word| !["AND", "OR", "WITH"].contains(word) && !PERMISSIVE.contains(word))
            .collect();
        assert!(unknown.is_empty(), "{} is under {licence}: {unknown:?} may not be allowed", package.name);
    }
}

#[test]
fn files_are_short_headed_and_named_for_what_they_hold() {
    const VAGUE: [&str; 6] = ["common", "utils", "util", "helpers", "misc", "manager"];
    let mut faults = Vec::new();
    for path in files(&root(), &[".rs"]) {
        let text = std::fs::read_to_string(&path).expect("a source file is readable");
        let shown = path.strip_prefix(root()).expect("below the root").display().to_string();
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        if VAGUE.contains(&stem) {
            faults.push(format!("{shown}: the name says nothing"));
        }
        if is_test(&path) {
            continue;
        }
        if !text.trim_start().starts_with("//!") && !text.starts_with("#![") {
            faults.push(format!("{shown}: no //! head"));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            faults.push(format!(
                "{shown}: {lines} lines, at most {FILE_LINES_MAX}; which second idea moved in?"
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_unfinished_or_unguarded_is_committed() {
    // Written so that this file does not hold the words itself.
    let banned = [
        (["to", "do!("].concat(), "finish it or refuse it with a clear error"),
        (["unimple", "mented!("].concat(), "finish it or refuse it with a clear error"),
        (["FIX", "ME"].concat(), "finish it"),
        (["TO", "DO"].concat(), "finish it"),
        (["#[ig", "nore"].concat(), "a test that does not run guards nothing"),
        (["thread::", "sleep"].concat(), "wait for a condition with a deadline"),
    ];
    let mut faults = Vec::new();
    for path in files(&root(), &[".rs", ".py", ".toml", ".yaml"]) {
        let text = std::fs::read_to_string(&path).expect("a source file is readable");
        for (word, instead) in &banned {
            if text.contains(word.as_str()) {
                faults.push(format!("{}: {word}: {instead}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
