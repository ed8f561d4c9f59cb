//! What readers that follow the store can rely on.

use std::path::PathBuf;
use std::sync::Arc;

use model::{Direction, Labels, LogEntries, Matcher, TenantId, TimeRange};
use runtime::{ManualClock, MemoryBudget, SimulatedDisk, Tasks};
use storage_api::{
    Followed, LogAppender, LogBatch, LogFollow, LogFollower, LogQuerier, LogSelect, StreamEntries,
};

use super::{DROPPED_STREAMS_MAX, Followers, QUEUE_BYTES_MAX};
use crate::{LogStore, LogStoreSettings};

const NOW: i64 = 1_795_255_200_000_000_000;

fn open(settings: LogStoreSettings) -> LogStore {
    let tasks = Tasks::new();
    let disk = Arc::new(SimulatedDisk::new(1));
    let clock = Arc::new(ManualClock::at_ns(NOW));
    LogStore::open(disk, PathBuf::from("/logs"), settings, &tasks, clock, MemoryBudget::new(u64::MAX))
        .expect("an empty store opens")
}

fn entries(app: &str, lines: &[&str]) -> StreamEntries {
    let mut entries = LogEntries::new();
    for (at, line) in lines.iter().enumerate() {
        entries.push(NOW + at as i64, line, []);
    }
    StreamEntries { labels: Labels::from_pairs([("app", app)]), entries }
}

async fn append(store: &LogStore, streams: Vec<StreamEntries>) {
    store.append(&TenantId::default(), LogBatch { streams }).await.expect("an append");
}

async fn next(follow: &mut Box<dyn LogFollow>) -> Followed {
    follow.next().await.expect("the store is open")
}

fn lines(followed: &Followed) -> Vec<(&str, &str)> {
    followed
        .streams
        .iter()
        .flat_map(|stream| {
            let app = stream.labels.get("app").unwrap_or_default();
            (0..stream.entries.len()).map(move |at| (app, stream.entries.line(at)))
        })
        .collect()
}

#[tokio::test]
async fn a_follower_gets_what_matches_and_what_queries_then_see() {
    let store = open(LogStoreSettings::default());
    append(&store, vec![entries("a", &["before"])]).await;
    let tenant = TenantId::default();
    let mut of_a = store.follow(&tenant, vec![Matcher::equal("app", "a")]);
    let mut of_all = store.follow(&tenant, Vec::new());
    append(&store, vec![entries("a", &["one", "two"]), entries("b", &["three"])]).await;
    assert_eq!(lines(&next(&mut of_a).await), [("a", "one"), ("a", "two")]);
    let all = next(&mut of_all).await;
    assert_eq!(lines(&all), [("a", "one"), ("a", "two"), ("b", "three")]);
    let select = LogSelect { tenant, range: TimeRange::ALL, matchers: Vec::new(), line_contains: Vec::new() };
    let pages = store.select(&select, Direction::Forward).await.expect("a query");
    assert_eq!(pages.iter().map(|page| page.len()).sum::<usize>(), 4);
}

#[tokio::test]
async fn refused_entries_and_other_tenants_are_not_handed_on() {
    let mut settings = LogStoreSettings::default();
    settings.limits.line_bytes_max = 5;
    let store = open(settings);
    let mut follow = store.follow(&TenantId::default(), Vec::new());
    let other = TenantId::new("other").expect("a good name");
    store.append(&other, LogBatch { streams: vec![entries("a", &["x"])] }).await.expect("an append");
    append(&store, vec![entries("a", &["too long a line"])]).await;
    append(&store, vec![entries("a", &["good"])]).await;
    assert_eq!(lines(&next(&mut follow).await), [("a", "good")]);
}

#[tokio::test]
async fn a_slow_follower_is_told_what_it_lost_and_holds_no_append_up() {
    let store = open(LogStoreSettings::default());
    let mut follow = store.follow(&TenantId::default(), Vec::new());
    let line = "x".repeat(200 << 10);
    let appends = 2 * QUEUE_BYTES_MAX / line.len();
    for number in 0..appends {
        append(&store, vec![entries(&format!("app-{number}"), &[&line])]).await;
    }
    let followed = next(&mut follow).await;
    assert!(followed.streams.len() * line.len() <= QUEUE_BYTES_MAX, "{} streams", followed.streams.len());
    assert_eq!(followed.streams.len() + followed.dropped.len(), appends, "each is handed on or named");
    assert!(followed.dropped.len() <= DROPPED_STREAMS_MAX);
    assert_eq!(followed.dropped.last().map(|(_, at)| *at), Some(NOW));
    append(&store, vec![entries("after", &["again"])]).await;
    assert_eq!(lines(&next(&mut follow).await), [("after", "again")]);
}

#[tokio::test]
async fn following_ends_with_the_store() {
    let store = open(LogStoreSettings::default());
    let mut follow = store.follow(&TenantId::default(), Vec::new());
    append(&store, vec![entries("a", &["last"])]).await;
    store.close().await.expect("the store closes");
    assert_eq!(lines(&next(&mut follow).await), [("a", "last")]);
    assert!(follow.next().await.is_none());
    drop(follow);
    assert_eq!(store.followers().all.read().len(), 0);
}

#[test]
fn a_reader_that_comes_while_entries_become_visible_waits_for_them() {
    let followers = Arc::new(Followers::default());
    let (added, was_added) = std::sync::mpsc::sync_channel(1);
    let mut adding = None;
    followers.storing(&TenantId::default(), vec![entries("a", &["line"])], |_| {
        let followers = Arc::clone(&followers);
        adding = Some(std::thread::spawn(move || {
            let _follow = followers.add(&TenantId::default(), Vec::new());
            added.send(()).expect("the test waits");
        }));
        // The reader is not handed this line, so that its look back has to find it.
        let waited = was_added.recv_timeout(std::time::Duration::from_millis(100));
        assert!(waited.is_err(), "the reader came before the line was visible and was not handed it");
    });
    was_added.recv().expect("the reader comes once the line is visible");
    adding.expect("the thread was started").join().expect("the reader was added");
}
