//! Entries that were asked to go are gone, others stay; streams go when their time has come.

use storage_api::{LogMaintenance, LogMask};

use super::*;
use crate::retention::StreamRetention;

/// Takes lines with a text from streams of an app.
struct WithText(&'static str, &'static str);

impl LogMask for WithText {
    fn concerns(&self, labels: &Labels, _range: TimeRange) -> bool {
        labels.get("app") == Some(self.0)
    }

    fn mark(&self, _labels: &Labels, entries: &LogEntries, gone: &mut [bool]) {
        for (gone, entry) in gone.iter_mut().zip(entries.iter()) {
            *gone |= entry.line.contains(self.1);
        }
    }
}

fn without(rows: &Rows, app: &str, text: &str) -> Rows {
    let mut left = rows.clone();
    if let Some(rows) = left.get_mut(app) {
        rows.retain(|row| !row.1.contains(text));
    }
    left.retain(|_, rows| !rows.is_empty());
    left
}

#[tokio::test]
async fn removed_lines_are_in_no_file_and_in_no_write_ahead_log() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    store.flush().await.expect("flushed");
    // These are in memory when the removal begins.
    append(&store, &rows("api", &[row(NOW + 5, "late line 17 of"), row(NOW + 6, "stays")]))
        .await
        .expect("stored");
    let before = read_raw(&store, &everything()).await;
    let expected = without(&before, "api", "line 17 of");
    let gone: usize = before["api"].len() - expected["api"].len();
    assert!(gone >= 2, "the test has something to remove");
    let removed = store.remove(&TenantId::default(), Arc::new(WithText("api", "line 17 of"))).await;
    assert_eq!(removed.expect("removed"), gone as u64);
    assert_eq!(read_raw(&store, &everything()).await, expected);
    machine.stop(store).await;
    let store = machine.open();
    assert_eq!(read_raw(&store, &everything()).await, expected);
    let again = store.remove(&TenantId::default(), Arc::new(WithText("api", "line 17 of"))).await;
    assert_eq!(again.expect("nothing to do"), 0);
    // A stream that keeps nothing is no stream any more.
    store.remove(&TenantId::default(), Arc::new(WithText("api", ""))).await.expect("removed");
    let streams = store.streams(&everything()).await.expect("streams");
    assert!(streams.iter().all(|stream| stream.labels.get("app") != Some("api")), "{streams:?}");
    assert_eq!(read_raw(&store, &everything()).await, without(&expected, "api", ""));
}

#[tokio::test]
async fn a_removal_that_the_disk_refuses_loses_and_doubles_nothing() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    store.flush().await.expect("flushed");
    let before = read_raw(&store, &everything()).await;
    machine.disk.inject(DiskFault::FailCreates);
    let refused = store.remove(&TenantId::default(), Arc::new(WithText("api", "line 17 of"))).await;
    assert_eq!(refused.expect_err("no file can be made").kind(), ErrorKind::Internal);
    assert_eq!(read_raw(&store, &everything()).await, before);
    machine.disk.heal();
    store.remove(&TenantId::default(), Arc::new(WithText("api", "line 17 of"))).await.expect("removed");
    assert_eq!(read_raw(&store, &everything()).await, without(&before, "api", "line 17 of"));
}

#[tokio::test]
async fn a_stream_goes_when_its_own_retention_is_over() {
    let mut machine = Machine::new(1);
    machine.settings.retention = debug_for_an_hour();
    let store = machine.open();
    for app in ["debug", "api"] {
        append(&store, &rows(app, &[row(NOW, "a line")])).await.expect("stored");
    }
    store.flush().await.expect("flushed");
    store.0.expire().await.expect("nothing to do");
    assert_eq!(read_raw(&store, &everything()).await.len(), 2);
    machine.clock.set_ns(NOW + 3601 * SECOND);
    store.0.expire().await.expect("expired");
    let left = read_raw(&store, &everything()).await;
    assert_eq!(left, rows("api", &[row(NOW, "a line")]));
    let refused = append(&store, &rows("debug", &[row(NOW, "too old")])).await.expect("answered");
    assert_eq!(refused.rejected_count(), 1);
    machine.clock.set_ns(NOW + 31 * 86_400 * SECOND);
    store.0.expire().await.expect("expired");
    assert_eq!(machine.data_files().len(), 0);
}

/// Lines of `debug` go after an hour, others after 30 days.
fn debug_for_an_hour() -> RetentionRules {
    RetentionRules {
        period: Duration::from_secs(30 * 86_400),
        streams: vec![StreamRetention {
            matchers: vec![Matcher::equal("app", "debug")],
            priority: 1,
            period: Duration::from_secs(3600),
        }],
        ..RetentionRules::default()
    }
}

/// A store with two files of a line of `debug` and one of `api`, the first of them with a damaged page.
async fn with_damage(machine: &mut Machine) -> LogStore {
    let store = machine.open();
    for line in ["first", "second"] {
        for app in ["debug", "api"] {
            append(&store, &rows(app, &[row(NOW, line)])).await.expect("stored");
        }
        store.flush().await.expect("flushed");
    }
    let first = machine.data_files().into_iter().min().expect("two files");
    machine.disk.damage(&first, 40, 0x10);
    store
}

async fn readable_lines(store: &LogStore) -> Vec<String> {
    let mut lines = Vec::new();
    for page in pages(store, &everything()).await {
        let (entries, rows) = page.read_rows().expect("damage is no error");
        lines.extend(entries.iter().take(rows.end).skip(rows.start).map(|entry| entry.line.to_owned()));
    }
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn a_damaged_file_keeps_no_other_from_its_retention_nor_from_a_removal() {
    let mut machine = Machine::new(1);
    machine.settings.retention = debug_for_an_hour();
    let store = with_damage(&mut machine).await;
    machine.clock.set_ns(NOW + 3601 * SECOND);
    store.0.expire().await.expect("what can be done is done");
    let left = readable_lines(&store).await;
    assert_eq!(left.iter().filter(|line| *line == "second").count(), 1, "that of api: {left:?}");
    let removed = store.remove(&TenantId::default(), Arc::new(WithText("api", "second"))).await;
    assert_eq!(removed.expect("removed"), 1);
    assert!(!readable_lines(&store).await.contains(&"second".to_owned()));
    // When nothing in it is inside retention any more it goes.
    machine.clock.set_ns(NOW + 31 * 86_400 * SECOND);
    store.0.expire().await.expect("expired");
    assert_eq!(machine.data_files().len(), 0);
}

#[tokio::test]
async fn on_a_disk_that_is_full_files_past_retention_make_room() {
    let mut machine = Machine::new(1);
    machine.settings.retention = RetentionRules::uniform(Duration::from_secs(3600));
    let store = machine.open();
    append(&store, &rows("api", &[row(NOW, "old")])).await.expect("stored");
    store.flush().await.expect("flushed");
    let mut random = 1_u32;
    let mut letter = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'!' + (random >> 24) as u8 % 90)
    };
    let line: String = (0..20_000).map(|_| letter()).collect();
    append(&store, &rows("api", &[row(NOW + 300 * SECOND, &line)])).await.expect("stored");
    let gigabyte = 1 << 30;
    machine.disk.set_capacity_bytes(gigabyte);
    let used = gigabyte - machine.disk.free_bytes(Path::new("/logs")).expect("known");
    // Room for a manifest, and not for the file of the line.
    machine.disk.set_capacity_bytes(used + 4000);
    store.flush().await.expect_err("the disk is full");
    assert_eq!(machine.data_files().len(), 1);
    machine.clock.set_ns(NOW + 3601 * SECOND);
    store.0.flush_wanted.notify_one();
    let gone = async {
        while !machine.data_files().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("the old file goes");
}

#[tokio::test]
async fn forgotten_streams_come_back_with_their_entries() {
    let mut machine = Machine::new(1);
    machine.settings.index_cache_bytes = 1;
    let store = machine.open();
    for app in ["old", "new"] {
        append(&store, &rows(app, &[row(NOW, "a line")])).await.expect("stored");
        store.flush().await.expect("flushed");
    }
    let before = read_raw(&store, &everything()).await;
    let old = Labels::from_pairs([("app", "old"), ("env", "test")]);
    let index = store.0.stream_index(&TenantId::default());
    for sweep in 1..=2 {
        assert!(index.known(&old).is_some(), "sweep {sweep}");
        // Time passes, whatever the clock is set to.
        machine.clock.jump_to_ns(NOW - sweep * 3600 * SECOND);
        machine.clock.set_ns(NOW - sweep * 3600 * SECOND + 601 * SECOND);
        store.0.forget_streams();
    }
    assert_eq!(index.known(&old), None, "neither memory nor an open file has it");
    assert_eq!(read_raw(&store, &everything()).await, before);
    machine.clock.jump_to_ns(NOW);
    append(&store, &rows("old", &[row(NOW + 1, "another")])).await.expect("stored");
    assert_eq!(read_raw(&store, &everything()).await["old"].len(), 2);
}

// EXPIRY-1.
#[tokio::test]
async fn a_clock_that_is_far_ahead_for_a_while_takes_no_files() {
    const DAY: i64 = 86_400 * SECOND;
    let mut machine = Machine::new(1);
    machine.settings.retention = RetentionRules::uniform(Duration::from_secs(31 * 86_400));
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    store.flush().await.expect("flushed");
    let before = machine.data_files();
    assert!(!before.is_empty());
    machine.clock.jump_to_ns(NOW + 40 * DAY);
    store.0.expire().await.expect("a look");
    machine.clock.set_ns(NOW + 40 * DAY + 1800 * SECOND);
    store.0.expire().await.expect("a look");
    machine.clock.jump_to_ns(NOW + 1800 * SECOND);
    store.0.expire().await.expect("a look");
    assert_eq!(machine.data_files(), before, "it was put right");
    machine.clock.jump_to_ns(NOW + 40 * DAY);
    store.0.expire().await.expect("a look");
    assert_eq!(machine.data_files(), before);
    machine.clock.set_ns(NOW + 40 * DAY + 3600 * SECOND);
    store.0.expire().await.expect("a look");
    assert_eq!(read_raw(&store, &everything()).await, Rows::new(), "it stayed so");
}
