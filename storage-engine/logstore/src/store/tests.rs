//! What the store promises, on a disk that loses power, fills up and decays.

mod compact;
mod counts;
mod rewrite;
mod shared;
mod stop;
mod tenants;
mod torn;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{Direction, ErrorKind, Labels, LogEntries, Matcher, TenantId, TimeRange};
use proptest::prelude::*;
use runtime::{Disk, DiskFault, ManualClock, MemoryBudget, SimulatedDisk, Tasks};
use storage_api::{LogAppender, LogBatch, LogPage, LogQuerier, LogSelect, StreamEntries};

use super::LogStore;
use crate::retention::RetentionRules;
use crate::settings::LogStoreSettings;

const NOW: i64 = 1_795_255_200_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// Time, line, metadata.
type Row = (i64, String, Vec<(String, String)>);
/// Rows by the value of the label `app`.
type Rows = BTreeMap<String, Vec<Row>>;

struct Machine {
    disk: SimulatedDisk,
    clock: Arc<ManualClock>,
    settings: LogStoreSettings,
    tasks: Tasks,
}

impl Machine {
    fn new(seed: u64) -> Self {
        let settings = LogStoreSettings {
            page_bytes: 256,
            flush_interval: Duration::from_secs(100_000),
            memory_wait: Duration::from_millis(1),
            ..LogStoreSettings::default()
        };
        let clock = Arc::new(ManualClock::at_ns(NOW));
        Self { disk: SimulatedDisk::new(seed), clock, settings, tasks: Tasks::new() }
    }

    fn open(&mut self) -> LogStore {
        self.try_open().expect("a store opens whatever is on the disk")
    }

    fn try_open(&mut self) -> storage_api::StorageResult<LogStore> {
        self.tasks = Tasks::new();
        LogStore::open(
            Arc::new(self.disk.clone()),
            PathBuf::from("/logs"),
            self.settings.clone(),
            &self.tasks,
            self.clock.clone(),
            MemoryBudget::new(u64::MAX),
        )
    }

    /// Ends the process without a flush.
    async fn stop(&self, store: LogStore) {
        drop(store);
        self.tasks.shutdown(Duration::from_secs(60)).await.expect("every task ends");
    }

    fn data_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![PathBuf::from("/logs/data")];
        while let Some(folder) = folders.pop() {
            for entry in self.disk.list(&folder).unwrap_or_default() {
                let path = folder.join(&entry.name);
                if entry.is_dir { folders.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }
}

fn row(at: i64, line: &str) -> Row {
    (at, line.to_owned(), vec![])
}

fn batch(rows: &Rows) -> LogBatch {
    let stream = |(app, rows): (&String, &Vec<Row>)| {
        let mut entries = LogEntries::new();
        for (at, line, metadata) in rows {
            entries.push(*at, line, metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        }
        StreamEntries { labels: Labels::from_pairs([("app", app.as_str()), ("env", "test")]), entries }
    };
    LogBatch { streams: rows.iter().map(stream).collect() }
}

fn rows(app: &str, rows: &[Row]) -> Rows {
    Rows::from([(app.to_owned(), rows.to_vec())])
}

fn everything() -> LogSelect {
    LogSelect {
        tenant: TenantId::default(),
        range: TimeRange::ALL,
        matchers: Vec::new(),
        line_contains: Vec::new(),
    }
}

async fn pages(store: &LogStore, select: &LogSelect) -> Vec<Arc<dyn LogPage>> {
    store.select(select, Direction::Forward).await.expect("a query")
}

/// All rows as they come, pages by their first entry, each page checked against what it says of itself.
async fn read_raw(store: &LogStore, select: &LogSelect) -> Rows {
    let mut found = Rows::new();
    for page in pages(store, select).await {
        let entries = page.read().expect("a sound page");
        assert_eq!(entries.len(), page.len());
        let times = entries.timestamps_ns();
        assert!(times.is_sorted());
        assert_eq!(page.range(), TimeRange::new(times[0], times[times.len() - 1]));
        let app = page.labels().get("app").expect("every stream has it").to_owned();
        let pairs = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let rows =
            entries.iter().map(|e| (e.timestamp_ns, e.line.to_owned(), e.metadata.map(pairs).collect()));
        found.entry(app).or_default().extend(rows);
    }
    found.values_mut().for_each(|rows| rows.sort_by_key(|row| row.0));
    found
}

/// What a reader makes of it, who drops exact duplicates.
fn deduplicated(mut rows: Rows) -> Rows {
    for rows in rows.values_mut() {
        let mut kept: Vec<Row> = Vec::new();
        for row in rows.drain(..) {
            if !kept.contains(&row) {
                kept.push(row);
            }
        }
        *rows = kept;
    }
    rows
}

async fn append(store: &LogStore, rows: &Rows) -> storage_api::StorageResult<model::AppendReport> {
    store.append(&TenantId::default(), batch(rows)).await
}

fn example() -> Rows {
    let line = |n: i64| {
        let metadata =
            vec![("trace_id".to_owned(), format!("{n:032x}")), ("détail".to_owned(), String::new())];
        (NOW + (n % 7) * SECOND, format!("line {n} of many, with some text"), metadata)
    };
    Rows::from([
        ("api".to_owned(), (0..40).map(line).collect()),
        ("web".to_owned(), vec![row(NOW - 86_400 * SECOND, "yesterday"), row(NOW, "zwölf \0\n")]),
    ])
}

fn sorted(mut rows: Rows) -> Rows {
    rows.values_mut().for_each(|rows| rows.sort_by_key(|row| row.0));
    rows
}

#[tokio::test]
async fn lines_come_back_from_memory_from_files_and_after_a_restart() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    assert_eq!(append(&store, &example()).await.expect("stored").stored, 42);
    let expected = sorted(example());
    assert_eq!(read_raw(&store, &everything()).await, expected);
    store.flush().await.expect("flushed");
    assert_eq!(read_raw(&store, &everything()).await, expected);
    assert_eq!(machine.data_files().len(), 2, "a file for each of the two days");
    machine.stop(store).await;
    let store = machine.open();
    assert_eq!(read_raw(&store, &everything()).await, expected);
    let more = rows("api", &[row(NOW + SECOND, "after the restart")]);
    append(&store, &more).await.expect("stored");
    machine.stop(store).await;
    let store = machine.open();
    let mut both = example();
    both.get_mut("api").expect("it is there").extend(more["api"].clone());
    assert_eq!(read_raw(&store, &everything()).await, sorted(both.clone()));
    store.close().await.expect("closed");
    assert_eq!(append(&store, &more).await.expect_err("closed").kind(), ErrorKind::Closed);
    machine.stop(store).await;
    let store = machine.open();
    assert_eq!(read_raw(&store, &everything()).await, sorted(both));
}

#[tokio::test]
async fn tenants_and_matchers_and_times_see_only_their_own() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    let other = TenantId::new("other").expect("valid");
    append(&store, &example()).await.expect("stored");
    store.append(&other, batch(&rows("api", &[row(NOW, "theirs")]))).await.expect("stored");
    for flushed in [false, true] {
        if flushed {
            store.flush().await.expect("flushed");
        }
        let theirs = LogSelect { tenant: other.clone(), ..everything() };
        assert_eq!(read_raw(&store, &theirs).await, rows("api", &[row(NOW, "theirs")]));
        let web = LogSelect { matchers: vec![Matcher::equal("app", "web")], ..everything() };
        assert_eq!(read_raw(&store, &web).await, sorted(rows("web", &example()["web"])));
        let nothing = LogSelect { matchers: vec![Matcher::equal("app", "we")], ..everything() };
        assert!(pages(&store, &nothing).await.is_empty());
        let today = LogSelect { range: TimeRange::new(NOW, NOW), ..everything() };
        assert!(
            !read_raw(&store, &today).await["web"].contains(&row(NOW - 86_400 * SECOND, "yesterday"))
                || !flushed
        );
        let later = LogSelect { range: TimeRange::new(NOW + 60 * SECOND, i64::MAX), ..everything() };
        assert!(pages(&store, &later).await.is_empty());
    }
}

#[tokio::test]
async fn streams_are_counted_without_reading_lines() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    for flushed in [false, true] {
        if flushed {
            store.flush().await.expect("flushed");
        }
        let streams = store.streams(&everything()).await.expect("streams");
        let counts: Vec<_> = streams.iter().map(|s| (s.labels.get("app"), s.entries, s.bytes)).collect();
        let api_bytes: usize = example()["api"].iter().map(|row| row.1.len()).sum();
        assert_eq!(counts, [(Some("api"), 40, api_bytes as u64), (Some("web"), 2, 9 + 9)]);
        let today = LogSelect { range: TimeRange::new(NOW - SECOND, i64::MAX), ..everything() };
        assert_eq!(store.streams(&today).await.expect("streams")[1].entries, 1);
    }
}

#[tokio::test]
async fn a_search_for_a_text_skips_pages_without_it_and_finds_every_line_with_it() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    store.flush().await.expect("flushed");
    let all = pages(&store, &everything()).await.len();
    for (needle, lines) in
        [("line 17 of", 1), ("zw\u{f6}lf", 1), ("some text", 40), ("quartz xylophone", 0), ("17", 1)]
    {
        let select = LogSelect { line_contains: vec![vec![needle.to_owned()]], ..everything() };
        let found = read_raw(&store, &select).await;
        let hits = found.values().flatten().filter(|row| row.1.contains(needle)).count();
        assert_eq!(hits, lines, "{needle}");
        let read = pages(&store, &select).await.len();
        assert!(lines != 1 || needle.len() < 4 || read <= 2, "{needle} reads {read} of {all} pages");
        assert!(lines > 0 || read == 0, "{needle} reads {read} of {all} pages");
    }
}

#[tokio::test]
async fn a_retried_batch_is_kept_once() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    for _ in 0..3 {
        assert_eq!(append(&store, &example()).await.expect("stored").stored, 42);
    }
    assert_eq!(read_raw(&store, &everything()).await, sorted(example()));
    machine.stop(store).await;
    let store = machine.open();
    assert_eq!(read_raw(&store, &everything()).await, sorted(example()), "after replay");
    store.flush().await.expect("flushed");
    assert_eq!(read_raw(&store, &everything()).await, sorted(example()), "in files");
    append(&store, &example()).await.expect("stored");
    assert_eq!(deduplicated(read_raw(&store, &everything()).await), sorted(example()), "as a reader sees it");
}

/// Runs appends and flushes until the power goes off after `operations`; gives what was sent and what was acknowledged.
async fn work_until_power_loss(machine: &mut Machine, seed: u64, operations: u64) -> (Rows, Rows) {
    let (mut sent, mut acknowledged) = (Rows::new(), Rows::new());
    machine.disk.cut_power_after(operations);
    let Ok(store) = machine.try_open() else { return (sent, acknowledged) };
    for round in 0..12u64 {
        let at = |n: u64| NOW - ((seed * 31 + round * 17 + n) % 90_000) as i64 * SECOND;
        let batch = |lane: u64| {
            let line = |n| row(at(n), &format!("seed {seed} round {round} lane {lane} line {n}"));
            rows(&format!("app{}", (seed + round + lane) % 3), &(0..4).map(line).collect::<Vec<_>>())
        };
        let batches = [batch(0), batch(1), batch(2)];
        let appends = futures_util::future::join_all(batches.iter().map(|batch| append(&store, batch)));
        // A flush in the middle of appends; it fails once the power is off.
        let flush = async {
            if (seed + round).is_multiple_of(3) {
                let _ = store.flush().await;
            }
            if (seed + round) % 3 == 1 {
                let _ = store.compact().await;
            }
        };
        let (answers, ()) = futures_util::future::join(appends, flush).await;
        for (batch, answer) in batches.iter().zip(answers) {
            for (app, rows) in batch {
                sent.entry(app.clone()).or_default().extend(rows.clone());
                if answer.is_ok() {
                    acknowledged.entry(app.clone()).or_default().extend(rows.clone());
                }
            }
        }
        if !machine.disk.has_power() {
            break;
        }
    }
    machine.stop(store).await;
    (sent, acknowledged)
}

fn check_survivors(found: &Rows, sent: &Rows, acknowledged: &Rows, context: &str) {
    for (app, rows) in acknowledged {
        for row in rows {
            let times = found.get(app).map_or(0, |found| found.iter().filter(|other| *other == row).count());
            assert_eq!(times, 1, "{context}: acknowledged {row:?} is there {times} times");
        }
    }
    for (app, rows) in found {
        for row in rows {
            assert!(sent[app].contains(row), "{context}: {row:?} was never sent");
        }
        assert_eq!(rows.len(), deduplicated(self::rows(app, rows))[app].len(), "{context}: doubled lines");
    }
}

#[tokio::test]
async fn acknowledged_lines_survive_power_loss_at_any_operation_once() {
    for seed in 0..300 {
        let mut machine = Machine::new(seed);
        let (sent, acknowledged) = work_until_power_loss(&mut machine, seed, seed % 120).await;
        machine.disk.power_loss();
        for restart in 0..2 {
            let store = machine.open();
            let found = read_raw(&store, &everything()).await;
            check_survivors(&found, &sent, &acknowledged, &format!("seed {seed}, restart {restart}"));
            if seed.is_multiple_of(2) {
                store.flush().await.expect("flushed");
                let found = read_raw(&store, &everything()).await;
                check_survivors(&found, &sent, &acknowledged, &format!("seed {seed}, flushed {restart}"));
            }
            machine.stop(store).await;
        }
    }
}

#[tokio::test]
async fn a_flush_cut_off_at_any_operation_loses_and_doubles_nothing() {
    for operations in 0.. {
        let mut machine = Machine::new(operations);
        let store = machine.open();
        append(&store, &example()).await.expect("stored");
        machine.disk.cut_power_after(operations);
        let flushed = store.flush().await;
        let done = machine.disk.has_power();
        machine.stop(store).await;
        machine.disk.power_loss();
        let store = machine.open();
        let context = format!("cut after {operations} operations, flush said {flushed:?}");
        assert_eq!(read_raw(&store, &everything()).await, sorted(example()), "{context}");
        store.close().await.expect("closed");
        machine.stop(store).await;
        if done {
            return;
        }
    }
}

#[tokio::test]
async fn a_damaged_manifest_is_made_anew_from_the_files() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    store.flush().await.expect("flushed");
    let more = rows("web", &[row(NOW + SECOND, "only in the write-ahead log")]);
    append(&store, &more).await.expect("stored");
    machine.stop(store).await;
    machine.disk.damage(Path::new("/logs/manifest"), 20, 4);
    let mut both = example();
    both.get_mut("web").expect("it is there").extend(more["web"].clone());
    for _ in 0..2 {
        let store = machine.open();
        assert_eq!(deduplicated(read_raw(&store, &everything()).await), sorted(both.clone()));
        machine.stop(store).await;
    }
    machine.disk.remove_file(Path::new("/logs/manifest")).expect("removed");
    let store = machine.open();
    assert_eq!(deduplicated(read_raw(&store, &everything()).await), sorted(both));
}

#[tokio::test]
async fn a_damaged_page_is_shown_and_the_others_are_served() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    store.flush().await.expect("flushed");
    let file = machine
        .data_files()
        .into_iter()
        .find(|path| path.starts_with("/logs/data/default/2026-11-21"))
        .expect("today's");
    // The first page of the first column starts behind the magic and a header of some 30 bytes.
    machine.disk.damage(&file, 60, 1);
    let all = |store: &LogStore| store.missing(&TenantId::default(), TimeRange::ALL);
    assert_eq!(all(&store), [""; 0]);
    let mut empty = 0;
    for page in pages(&store, &everything()).await {
        empty += usize::from(page.read().expect("not the end of the answer").is_empty());
        let (entries, rows) = page.read_rows().expect("not the end of the answer");
        assert!(rows.end <= entries.len());
    }
    assert_eq!(empty, 1);
    let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
    let told = all(&store);
    assert!(told[0].ends_with(&format!("a page of the log data file {name} cannot be read")), "{told:?}");
    assert_eq!(store.missing(&TenantId::default(), TimeRange::new(0, 1)), [""; 0]);
    let units = store.quarantined();
    assert_eq!((units.len(), &units[0].path, units[0].page), (1, &file, Some(0)));
    let left = read_raw(&store, &everything()).await;
    assert_eq!(left["web"].len(), 2);
    assert!(left["api"].len() < 40 && !left["api"].is_empty());
}

#[tokio::test]
async fn a_file_with_a_damaged_index_is_set_aside_and_the_others_are_served() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    store.flush().await.expect("flushed");
    let file = machine
        .data_files()
        .into_iter()
        .find(|path| path.starts_with("/logs/data/default/2026-11-21"))
        .expect("today's");
    let bytes = machine.disk.read(&file).expect("readable");
    let index = bytes.windows(8).position(|window| window == b"TGLOGIDX").expect("it has an index");
    machine.disk.damage(&file, index + 100, 1);
    machine.stop(store).await;
    for restart in 0..2 {
        let store = machine.open();
        let left = read_raw(&store, &everything()).await;
        assert_eq!(left, rows("web", &[row(NOW - 86_400 * SECOND, "yesterday")]));
        assert_eq!(store.quarantined().len(), 1, "set aside for good, restart {restart}");
        let told = store.missing(&TenantId::default(), TimeRange::new(NOW - SECOND, NOW + SECOND));
        assert!(told[0].ends_with("cannot be read"), "{told:?}");
        assert_eq!(store.missing(&TenantId::default(), TimeRange::new(0, NOW - 86_400 * SECOND)), [""; 0]);
        machine.stop(store).await;
    }
    assert!(machine.data_files().iter().any(|path| path.extension().is_some_and(|name| name == "damaged")));
}

#[tokio::test]
async fn a_query_fails_when_a_file_cannot_be_read_now_and_nothing_is_set_aside() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    store.flush().await.expect("flushed");
    let file = machine.data_files().remove(0);
    let away = file.with_extension("away");
    machine.disk.rename(&file, &away).expect("renamed");
    let error =
        store.select(&everything(), Direction::Forward).await.err().expect("not a part of the answer");
    assert_ne!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(store.quarantined(), []);
    machine.disk.rename(&away, &file).expect("renamed");
    assert!(!read_raw(&store, &everything()).await.is_empty());
    machine.stop(store).await;
}

#[tokio::test]
async fn appends_past_the_memory_cap_are_refused_with_a_retry_hint_until_a_flush_succeeds() {
    let mut machine = Machine::new(1);
    machine.settings.memory_bytes_max = 3000;
    machine.settings.flush_bytes = 1000;
    let store = machine.open();
    // The write-ahead log has its file by then; data files cannot be made.
    append(&store, &rows("web", &[row(NOW, "first")])).await.expect("stored");
    machine.disk.inject(DiskFault::FailCreates);
    let mut refused = None;
    for round in 0..10 {
        let rows = rows("api", &[row(NOW, &format!("{round} {}", "x".repeat(500)))]);
        if let Err(error) = append(&store, &rows).await {
            refused = Some(error);
            break;
        }
    }
    let error = refused.expect("the cap holds");
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert!(error.retry_after().is_some());
    assert!(error.to_string().contains("at most 3000 are allowed (tenant default)"), "{error}");
    let before = read_raw(&store, &everything()).await;
    machine.disk.heal();
    store.flush().await.expect("the disk is well again");
    append(&store, &rows("api", &[row(NOW, "there is room")])).await.expect("stored");
    assert_eq!(read_raw(&store, &everything()).await["api"].len(), before["api"].len() + 1);
}

#[tokio::test]
async fn files_past_retention_are_removed() {
    let mut machine = Machine::new(1);
    machine.settings.retention = RetentionRules::uniform(Duration::from_secs(2 * 86_400));
    machine.settings.flush_interval = Duration::from_millis(5);
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    store.flush().await.expect("flushed");
    machine.clock.set_ns(NOW + 86_400 * SECOND + SECOND);
    let gone = async {
        while machine.data_files().len() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("yesterday's file goes");
    assert!(!read_raw(&store, &everything()).await["web"].contains(&row(NOW - 86_400 * SECOND, "yesterday")));
}

#[tokio::test]
async fn refused_entries_are_counted_and_the_others_stored() {
    let mut machine = Machine::new(1);
    machine.settings.limits.streams_max = 2;
    let store = machine.open();
    let long = "x".repeat((256 << 10) + 1);
    let mut all = rows("api", &[row(NOW, "fine"), row(NOW, &long)]);
    all.insert("web".to_owned(), vec![row(NOW, "fine too")]);
    let report = append(&store, &all).await.expect("taken");
    assert_eq!((report.stored, report.rejected_count(), report.rejected[0].reason), (2, 1, "line_too_long"));
    let mut more = rows("api", &[row(NOW + 1, "an old stream")]);
    more.insert("new".to_owned(), vec![row(NOW, "one stream too many")]);
    let report = append(&store, &more).await.expect("taken");
    assert_eq!((report.stored, report.rejected[0].reason), (1, "stream_limit"));
    assert!(
        report.rejected[0].message.contains("user: 'default' (limit: 2)"),
        "{}",
        report.rejected[0].message
    );
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(usize, Row)>),
    Flush,
    Restart,
    Select(usize, i64, i64, String),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pairs = proptest::collection::vec(("[a-c]{1,2}", "[x-z ü]{0,4}"), 0..3);
    let row = ((0i64..50), "[a-d]{0,3}|[a-d]{4,9}", pairs)
        .prop_map(|(at, line, pairs)| (NOW - at * 1200 * SECOND, line, pairs));
    let step = prop_oneof![
        4 => proptest::collection::vec((0usize..3, row), 1..12).prop_map(Step::Append),
        1 => Just(Step::Flush),
        1 => Just(Step::Restart),
        2 => (0usize..3, 0i64..50, 0i64..50, "[a-d]{0,6}").prop_map(|(app, from, to, needle)| Step::Select(app, from, to, needle)),
    ];
    proptest::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_store_answers_as_a_plain_map_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut machine = Machine::new(7);
            let mut store = machine.open();
            let mut map = Rows::new();
            for step in steps.into_iter().chain((0..3).map(|app| Step::Select(app, 50, 0, String::new()))) {
                match step {
                    Step::Append(tagged) => {
                        let mut rows = Rows::new();
                        for (app, row) in tagged {
                            rows.entry(app.to_string()).or_default().push(row);
                        }
                        append(&store, &rows).await.expect("stored");
                        for (app, rows) in rows {
                            map.entry(app).or_default().extend(rows);
                        }
                    }
                    Step::Flush => store.flush().await.expect("flushed"),
                    Step::Restart => {
                        machine.stop(store).await;
                        store = machine.open();
                    }
                    Step::Select(app, from, to, needle) => {
                        let app = app.to_string();
                        let range = TimeRange::new(NOW - from * 1200 * SECOND, NOW - to * 1200 * SECOND);
                        let select = LogSelect {
 range,
 matchers: vec![Matcher::equal("app", app.as_str())],
 line_contains: vec![vec![needle.clone()]],
 ..everything()
 };
                        let inside = |rows: Rows| -> Vec<Row> {
                            let mut rows = deduplicated(rows).remove(&app).unwrap_or_default();
                            rows.retain(|row| range.contains(row.0) && row.1.contains(&needle));
                            // Of one time, entries of several files have no order between them.
                            rows.sort();
                            rows
                        };
                        assert_eq!(inside(read_raw(&store, &select).await), inside(map.clone()));
                    }
                }
            }
            machine.stop(store).await;
        });
    }
}
