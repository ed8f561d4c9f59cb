//! Runs PromQL test scripts: our own always, and those of Prometheus when `PROMQLTEST_DIR` names their folder
//! (`promql/promqltest/testdata` of the Go module `github.com/prometheus/prometheus`).

#![expect(unreachable_pub, reason = "the modules of a test program have no other user")]

#[path = "promqltest/memory_storage.rs"]
mod memory_storage;
#[path = "promqltest/nhcb.rs"]
mod nhcb;
#[path = "promqltest/runner.rs"]
mod runner;
#[path = "promqltest/script.rs"]
mod script;
#[path = "promqltest/series.rs"]
mod series;

use std::path::Path;

use runner::{Report, run_script, settings};

/// Evaluations of the upstream scripts that are not there yet: file, line, reason.
const ALLOWED_FAILURES: &[(&str, &[usize], &str)] = &[
    ("aggregators", &[481], "a string literal with a byte that is not UTF-8 is refused by the parser"),
    (
        "start_timestamps",
        &[
            8, 13, 18, 24, 42, 66, 74, 82, 144, 169, 189, 207, 210, 213, 217, 234, 240, 246, 259, 276, 284,
            289, 305, 310,
        ],
        "start timestamps are not kept by the storage seam",
    ),
];

async fn run_file(path: &Path, threads: usize) -> Report {
    let text = std::fs::read_to_string(path).expect("a readable script");
    run_script(&text, settings(threads)).await.unwrap_or_else(|error| Report {
        failures: vec![(0, format!("the script does not parse: {error}"))],
        ..Report::default()
    })
}

fn scripts(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a readable folder");
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "test")).collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn own_scripts_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let paths = scripts(&folder);
    assert!(!paths.is_empty(), "no scripts in {}", folder.display());
    for path in paths {
        let report = run_file(&path, 2).await;
        assert!(report.evals > 0, "{} has no evaluation", path.display());
        assert!(report.failures.is_empty(), "{}: {:#?}", path.display(), report.failures);
    }
}

#[tokio::test]
async fn upstream_scripts_pass() {
    let Ok(folder) = std::env::var("PROMQLTEST_DIR") else { return };
    let verbose = std::env::var("PROMQLTEST_VERBOSE").is_ok();
    let mut unexpected = Vec::new();
    let (mut evals, mut checks, mut failed) = (0, 0, 0);
    for path in scripts(Path::new(&folder)) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let report = run_file(&path, 1).await;
        let passed = report.evals - report.failures.len().min(report.evals);
        println!("{name}: {passed} of {} evaluations pass ({} checks)", report.evals, report.checks);
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
            let is_allowed =
                ALLOWED_FAILURES.iter().any(|(file, lines, _)| *file == name && lines.contains(line));
            if verbose {
                println!("    line {line}: {reason}");
            }
            if !is_allowed {
                unexpected.push(format!("{name}:{line}"));
            }
        }
    }
    println!("total: {} of {evals} evaluations pass ({checks} checks)", evals - failed);
    assert!(unexpected.is_empty(), "{} evaluations fail: {unexpected:?}", unexpected.len());
}

#[tokio::test]
async fn a_wrong_expectation_fails() {
    let script = |expected: &str| {
        format!(
            "load 1m\n  counter_total{{job=\"a\"}} 0+60x10\n\neval instant at 10m rate(counter_total[5m])\n  {expected}\n"
        )
    };
    let right = run_script(&script("{job=\"a\"} 1"), settings(1)).await.unwrap();
    assert!(right.failures.is_empty(), "{:?}", right.failures);
    for wrong in ["{job=\"a\"} 1.1", "{job=\"b\"} 1", "{} 1"] {
        let report = run_script(&script(wrong), settings(1)).await.unwrap();
        assert_eq!(report.failures.len(), 1, "{wrong} passes");
    }
}
