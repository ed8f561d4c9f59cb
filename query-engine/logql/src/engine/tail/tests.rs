//! A followed log gives what the same query gives on stored entries.

use model::{Labels, LogEntries};

use crate::Engine;

fn entries() -> LogEntries {
    let mut entries = LogEntries::new();
    entries.push(1, "level=info n=1", [("trace_id", "a")]);
    entries.push(2, "level=warn n=2", []);
    entries.push(3, "level=warn n=3", [("trace_id", "b")]);
    entries
}

fn check(query: &str, want: &[(i64, &str, &str)]) {
    let mut tail = Engine::default().tail(query).expect("a log query");
    let mut found = Vec::new();
    tail.apply(&Labels::from_pairs([("app", "x")]), &entries(), &mut found);
    let got: Vec<(i64, &str, String)> = found
        .iter()
        .map(|entry| (entry.timestamp_ns, entry.line.as_str(), entry.all_labels().to_string()))
        .collect();
    let want: Vec<(i64, &str, String)> =
        want.iter().map(|(at, line, labels)| (*at, *line, (*labels).to_owned())).collect();
    assert_eq!(got, want, "{query}");
}

#[test]
fn filters_and_stages_run_on_entries_as_they_come() {
    check(
        r#"{app="x"}"#,
        &[
            (1, "level=info n=1", r#"{app="x", trace_id="a"}"#),
            (2, "level=warn n=2", r#"{app="x"}"#),
            (3, "level=warn n=3", r#"{app="x", trace_id="b"}"#),
        ],
    );
    check(
        r#"{app="x"} |= "warn" | logfmt | n>2 | line_format "n is {{.n}}""#,
        &[(3, "n is 3", r#"{app="x", level="warn", n="3", trace_id="b"}"#)],
    );
}

#[test]
fn only_log_queries_can_be_followed() {
    for (query, want) in [
        (r#"rate({app="x"}[1m])"#, "only log selector is supported"),
        ("{app=", "parse error at line 1, col 6: syntax error: unexpected $end, expecting STRING"),
    ] {
        let error = Engine::default().tail(query).map(|_| ()).expect_err("not a log query");
        assert_eq!(error.to_string(), want);
    }
}
