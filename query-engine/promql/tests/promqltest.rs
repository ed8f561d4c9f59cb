//! Runs PromQL test scripts: our own always, and those of Prometheus when `PROMQLTEST_DIR` names their folder
//! (`promql/promqltest/testdata` of the Go module `github.com/prometheus/prometheus`).

#![expect(unreachable_pub, reason = "the modules of a test program have no other user")]

#[path = "promqltest/memory_storage.rs"]
mod memory_storage;
#[path = "promqltest/mutate.rs"]
mod mutate;
#[path = "promqltest/nhcb.rs"]
mod nhcb;
#[path = "promqltest/runner.rs"]
mod runner;
#[path = "promqltest/script.rs"]
mod script;
#[path = "promqltest/series.rs"]
mod series;
#[path = "promqltest/storage.rs"]
mod storage;

use std::path::{Path, PathBuf};

use mutate::Mutation;
use runner::{Report, run_mutated, run_script, settings};
use storage::Kind;

/// Every store with one thread and with more than the machine may have.
const FORMS: [(Kind, usize); 6] = [
    (Kind::Memory, 1),
    (Kind::Memory, 3),
    (Kind::Head, 1),
    (Kind::Head, 3),
    (Kind::Blocks, 1),
    (Kind::Blocks, 3),
];

/// Evaluations of the upstream scripts that are not there yet: file, line, reason.
const ALLOWED_FAILURES: &[(&str, &[usize], &str)] = &[(
    "start_timestamps",
    &[
        8, 13, 18, 24, 42, 66, 74, 82, 144, 169, 189, 207, 210, 213, 217, 234, 240, 246, 259, 276, 284, 289,
        305, 310,
    ],
    "start timestamps are not kept by the storage seam",
)];

async fn run_file(path: &Path, kind: Kind, threads: usize) -> Report {
    let text = std::fs::read_to_string(path).expect("a readable script");
    run_script(&text, kind, settings(threads)).await.unwrap_or_else(|error| Report {
        failures: vec![(0, format!("the script does not run: {error}"))],
        ..Report::default()
    })
}

fn scripts(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a readable folder");
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "test")).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", folder.display());
    paths
}

fn own_scripts() -> Vec<PathBuf> {
    scripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"))
}

fn upstream_scripts() -> Vec<PathBuf> {
    std::env::var("PROMQLTEST_DIR").map_or_else(|_| Vec::new(), |folder| scripts(Path::new(&folder)))
}

fn name_of(path: &Path) -> String {
    path.file_stem().expect("a file with an ending").to_string_lossy().into_owned()
}

fn may_fail(name: &str, line: usize) -> bool {
    ALLOWED_FAILURES.iter().any(|(file, lines, _)| *file == name && lines.contains(&line))
}

#[tokio::test]
async fn own_scripts_pass_over_every_store_with_any_number_of_threads() {
    for (kind, threads) in FORMS {
        for path in own_scripts() {
            let report = run_file(&path, kind, threads).await;
            assert!(report.evals > 0, "{} has no evaluation", path.display());
            assert!(report.failures.is_empty(), "{} over {kind:?}: {:#?}", path.display(), report.failures);
        }
    }
}

/// Runs the upstream scripts; what fails must be on the list, and what is on the list must fail.
#[expect(clippy::print_stdout, reason = "a test says how much it checked")]
async fn upstream_scripts_pass(kind: Kind, threads: usize) {
    let verbose = std::env::var("PROMQLTEST_VERBOSE").is_ok();
    let mut unexpected = Vec::new();
    let (mut evals, mut checks, mut failed) = (0, 0, 0);
    for path in upstream_scripts() {
        let name = name_of(&path);
        let report = run_file(&path, kind, threads).await;
        evals += report.evals;
        checks += report.checks;
        failed += report.failures.len();
        let allowed = ALLOWED_FAILURES.iter().filter(|(file, ..)| *file == name);
        for line in allowed.flat_map(|(_, lines, _)| *lines) {
            if report.failures.iter().all(|(failed, _)| failed != line) {
                unexpected.push(format!("{name}:{line} passes and is still on the list"));
            }
        }
        for (line, reason) in &report.failures {
            if verbose {
                println!("    {name} line {line}: {reason}");
            }
            if !may_fail(&name, *line) {
                unexpected.push(format!("{name}:{line}: {reason}"));
            }
        }
    }
    if evals > 0 {
        let passed = evals - failed;
        println!("{kind:?}, threads: {threads}: {passed} of {evals} evaluations pass ({checks} checks)");
    }
    assert!(unexpected.is_empty(), "{} evaluations fail: {unexpected:#?}", unexpected.len());
}

#[tokio::test]
async fn upstream_scripts_pass_over_memory() {
    upstream_scripts_pass(Kind::Memory, 1).await;
    upstream_scripts_pass(Kind::Memory, 3).await;
}

#[tokio::test]
async fn upstream_scripts_pass_over_the_head() {
    upstream_scripts_pass(Kind::Head, 1).await;
    upstream_scripts_pass(Kind::Head, 3).await;
}

#[tokio::test]
async fn upstream_scripts_pass_over_blocks() {
    upstream_scripts_pass(Kind::Blocks, 1).await;
    upstream_scripts_pass(Kind::Blocks, 3).await;
}

#[tokio::test]
async fn every_wrong_expectation_fails() {
    for mutation in Mutation::ALL {
        let mut mutated = 0;
        for path in own_scripts().into_iter().chain(upstream_scripts()) {
            let text = std::fs::read_to_string(&path).expect("a readable script");
            let (mut passed, count) = run_mutated(&text, mutation).await.expect("the script runs");
            let name = name_of(&path);
            passed.retain(|line| !may_fail(&name, *line));
            assert!(passed.is_empty(), "{}: wrong {mutation:?} passes in lines {passed:?}", path.display());
            mutated += count;
        }
        assert!(mutated > 0, "no script has a {mutation:?}");
        println!("{mutation:?}: {mutated} wrong expectations fail");
    }
}
