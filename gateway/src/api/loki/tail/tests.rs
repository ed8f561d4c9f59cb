//! What a reader of a tail is sent, and when.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use axum::extract::ws::Message;
use futures_util::FutureExt;
use logql::{Engine, ResultEntry};
use model::{Labels, LogEntries, TenantId};
use runtime::Tasks;
use storage_api::{Followed, StreamEntries};

use super::{FRAME_ENTRIES_MAX, Outgoing, RunningTails, TAILS_MAX, apply, apply_all, identity};

fn followed(lines: &[(i64, &str)]) -> Followed {
    let mut entries = LogEntries::new();
    lines.iter().for_each(|(at, line)| entries.push(*at, line, []));
    let labels = Labels::from_pairs([("app", "x")]);
    Followed { streams: vec![StreamEntries { labels, entries }], dropped: Vec::new() }
}

fn outgoing(delay: Duration) -> Outgoing {
    Outgoing { delay, known: HashSet::new(), waiting: VecDeque::new(), waiting_bytes: 0, dropped: Vec::new() }
}

fn take(out: &mut Outgoing, followed: Followed) {
    let mut query = Engine::default().tail(r#"{app="x"}"#).expect("a good query");
    let found = apply_all(&mut query, &followed.streams);
    out.take(found, followed.dropped);
}

fn text(message: Option<Message>) -> Option<String> {
    message.map(|message| match message {
        Message::Text(text) => text.as_str().to_owned(),
        other => panic!("a frame of text, not {other:?}"),
    })
}

fn entry(timestamp_ns: i64, line: &str) -> ResultEntry {
    ResultEntry {
        timestamp_ns,
        line: line.to_owned(),
        stream: Labels::from_pairs([("app", "x")]),
        structured_metadata: Vec::new(),
        parsed: Vec::new(),
    }
}

#[tokio::test]
async fn lines_come_in_order_and_those_of_the_look_back_once() {
    let mut out = outgoing(Duration::ZERO);
    out.known.insert(identity(&entry(1, "seen")));
    take(&mut out, followed(&[(3, "c"), (1, "seen"), (2, "b")]));
    assert_eq!(
        text(out.next_frame(false)).as_deref(),
        Some(r#"{"streams":[{"stream":{"app":"x"},"values":[["2","b"],["3","c"]]}]}"#)
    );
    assert!(out.next_frame(false).is_none());
    assert!(out.due().is_none());
}

#[tokio::test]
async fn delayed_lines_wait_for_those_that_come_late() {
    let mut out = outgoing(Duration::from_secs(1000));
    take(&mut out, followed(&[(5, "first")]));
    take(&mut out, followed(&[(4, "late"), (6, "last")]));
    assert!(out.next_frame(false).is_none(), "nothing is due yet");
    assert!(out.due().is_some());
    out.delay = Duration::ZERO;
    assert_eq!(
        text(out.next_frame(false)).as_deref(),
        Some(r#"{"streams":[{"stream":{"app":"x"},"values":[["4","late"],["5","first"],["6","last"]]}]}"#)
    );
}

#[tokio::test]
async fn frames_are_bounded_and_tell_what_was_left_out() {
    let mut out = outgoing(Duration::ZERO);
    let lines: Vec<(i64, &str)> = (0..150).map(|at| (at, "line")).collect();
    take(&mut out, followed(&lines));
    out.dropped.push((Labels::from_pairs([("app", "y")]), 7));
    let first = text(out.next_frame(true)).expect("a frame");
    assert_eq!(first.matches("\"line\"").count(), FRAME_ENTRIES_MAX);
    let end = r#","dropped_entries":[{"timestamp":"7","labels":{"app":"y"}}],"encodingFlags":["categorize-labels"]}"#;
    assert!(first.ends_with(end), "{first}");
    let second = text(out.next_frame(false)).expect("a frame");
    assert_eq!(second.matches("\"line\"").count(), 50);
    assert!(!second.contains("dropped_entries"));
}

#[tokio::test]
async fn long_lines_do_not_wait_beyond_the_bytes_kept_for_them() {
    let mut out = outgoing(Duration::from_secs(3600));
    let line = "x".repeat(1 << 20);
    let lines: Vec<(i64, &str)> = (0..20).map(|at| (at, &*line)).collect();
    take(&mut out, followed(&lines));
    // The oldest go at once, until 16 MiB wait.
    let mut sent = Vec::new();
    while let Some(frame) = text(out.next_frame(false)) {
        sent.push(frame);
    }
    assert_eq!((sent.len(), out.waiting.len()), (4, 16));
    assert!(sent[0].contains(r#"[["0","x"#), "{}", &sent[0][..60]);
}

#[test]
fn a_tenant_has_a_limited_number_of_tails() {
    let running = RunningTails::default();
    let tenant = TenantId::default();
    let slots: Vec<_> = (0..TAILS_MAX).map(|_| running.enter(&tenant).expect("room for one more")).collect();
    let refused = running.enter(&tenant).map(|_| ()).expect_err("no more room");
    assert_eq!(refused.message, "max concurrent tail requests limit exceeded, count > limit (11 > 10)");
    assert!(running.enter(&TenantId::new("other").expect("a good name")).is_ok());
    drop(slots);
    assert!(running.enter(&tenant).is_ok());
}

#[test]
fn stages_run_on_no_async_thread_however_short_the_lines() {
    // The one thread for blocking work is taken: what needs it cannot be done at once.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build();
    runtime.expect("a runtime").block_on(async {
        let tasks = Tasks::new();
        let (release, taken) = std::sync::mpsc::sync_channel::<()>(1);
        let holder = tasks.spawn_blocking("holds the thread", move || taken.recv().is_err());
        for (query, is_at_once) in [
            (r#"{app="x"}"#, true),
            (r#"{app="x"} |= "a" !~ "b+""#, true),
            (r#"{app="x"} | logfmt"#, false),
            (r#"{app="x"} | line_format "{{range 1000}}{{end}}""#, false),
        ] {
            let tail = Engine::default().tail(query).expect("a good query");
            let done = apply(&tasks, tail, followed(&[(1, "a=1")]).streams).now_or_never();
            assert_eq!(done.is_some(), is_at_once, "{query}");
        }
        drop(release);
        assert!(holder.await.expect("the thread ends"));
    });
}
