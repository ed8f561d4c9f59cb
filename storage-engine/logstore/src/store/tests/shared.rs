//! Files in an object store: whatever request fails, wherever a process ends and whoever else writes there, every line
//! is there once.

use runtime::{Clock, Objects, SimulatedObjects};
use storage_api::{LogMaintenance, LogMask};

use super::*;

const HOUR_NS: i64 = 3600 * SECOND;

/// A process with a disk of its own, and an object store.
fn machine_in(objects: &SimulatedObjects, clock: &Arc<ManualClock>, seed: u64) -> Machine {
    let mut machine = Machine::new(seed);
    machine.clock = Arc::clone(clock);
    machine.settings.objects = Some(Arc::new(objects.clone()));
    machine.settings.refresh_interval = Duration::from_secs(100_000);
    machine
}

fn world() -> (SimulatedObjects, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at_ns(NOW));
    (SimulatedObjects::new(clock.clone()), clock)
}

fn pass(clock: &ManualClock, ns: i64) {
    clock.set_ns(clock.now_ns() + ns);
}

fn files_of(objects: &SimulatedObjects) -> Vec<String> {
    objects.names().into_iter().filter(|name| name.ends_with(".parquet")).collect()
}

fn manifests_of(objects: &SimulatedObjects) -> usize {
    objects.names().iter().filter(|name| name.starts_with("tidegate/logs/manifests/")).count()
}

/// Looks for what others did, as the store does from time to time.
async fn refresh(store: &LogStore) {
    let inner = Arc::clone(&store.0);
    tokio::task::spawn_blocking(move || inner.refresh()).await.expect("no panic").expect("a listing");
}

async fn remove_garbage(store: &LogStore) -> u64 {
    let inner = Arc::clone(&store.0);
    tokio::task::spawn_blocking(move || inner.remove_garbage()).await.expect("no panic").expect("listings")
}

/// Lines that no other part of a test has.
fn part(name: &str, count: i64) -> Rows {
    let line = |n: i64| row(NOW - 86_400 * SECOND + n * SECOND, &format!("{name} line {n}"));
    rows("api", &(0..count).map(line).collect::<Vec<_>>())
}

fn all_of(parts: &[&Rows]) -> Rows {
    let mut all = Rows::new();
    for part in parts {
        part.iter().for_each(|(app, rows)| all.entry(app.clone()).or_default().extend(rows.clone()));
    }
    // Entries of one time come in no order of their own from several files.
    all.values_mut().for_each(|rows| rows.sort());
    all
}

async fn read_sorted(store: &LogStore) -> Rows {
    all_of(&[&read_raw(store, &everything()).await])
}

#[tokio::test]
async fn lines_come_back_from_the_object_store_and_after_a_restart() {
    let (objects, clock) = world();
    let mut machine = machine_in(&objects, &clock, 1);
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    store.flush().await.expect("flushed");
    assert_eq!(files_of(&objects).len(), 2, "{:?}", objects.names());
    assert!(machine.data_files().is_empty(), "nothing but the write-ahead log is on the disk");
    let other = TenantId::new("o*r").expect("valid");
    store.append(&other, batch(&rows("api", &[row(NOW, "theirs")]))).await.expect("stored");
    assert_eq!(read_raw(&store, &everything()).await, sorted(example()));
    machine.stop(store).await;
    let store = machine.open();
    assert_eq!(read_raw(&store, &everything()).await, sorted(example()));
    store.close().await.expect("closed");
    let theirs = LogSelect { tenant: other, ..everything() };
    assert_eq!(read_raw(&store, &theirs).await, rows("api", &[row(NOW, "theirs")]));
    machine.stop(store).await;
    // A disk that was lost takes nothing along that was flushed.
    let store = machine_in(&objects, &clock, 2).open();
    assert_eq!(read_raw(&store, &everything()).await, sorted(example()));
    assert_eq!(read_raw(&store, &theirs).await, rows("api", &[row(NOW, "theirs")]));
}

#[tokio::test]
async fn a_start_reads_the_manifest_only() {
    let (objects, clock) = world();
    let mut machine = machine_in(&objects, &clock, 1);
    let store = machine.open();
    for n in 0..20 {
        append(&store, &part(&format!("part {n}"), 3)).await.expect("stored");
        store.flush().await.expect("flushed");
    }
    machine.stop(store).await;
    let before = objects.requests();
    let store = machine.open();
    assert_eq!(objects.requests() - before, 3, "a listing, the newest manifest and the next one");
    assert_eq!(read_sorted(&store).await["api"].len(), 60);
}

/// Appends, flushes and merges with all requests failing from one on; gives what was stored, and whether any failed.
async fn work(store: &LogStore, objects: &SimulatedObjects, requests: u64, is_done: bool) -> (Rows, bool) {
    let parts = [part("first", 9), part("second", 5), part("third", 2)];
    for part in &parts[..2] {
        append(store, part).await.expect("stored");
        store.flush().await.expect("flushed");
    }
    append(store, &parts[2]).await.expect("stored");
    objects.fail_after(requests, is_done);
    let flushed = store.flush().await;
    let merged = store.compact().await;
    let mask = Arc::new(Second);
    let removed = store.remove(&TenantId::default(), mask).await;
    let found = read_lenient(store).await;
    let has_failed = objects.heal();
    if !has_failed {
        flushed.expect("nothing was in its way");
        merged.expect("nothing was in its way");
        assert_eq!(removed.expect("nothing was in its way"), 5);
        assert_eq!(found.expect("nothing was in its way"), all_of(&[&parts[0], &parts[2]]));
    } else if let Some(found) = found {
        // An answer is whole or an error.
        let less = all_of(&[&parts[0], &parts[2]]);
        assert!(found == all_of(&[&parts[0], &parts[1], &parts[2]]) || found == less, "{found:?}");
    }
    (all_of(&[&parts[0], &parts[1], &parts[2]]), has_failed)
}

/// Takes the lines of the second part.
struct Second;

impl LogMask for Second {
    fn concerns(&self, _labels: &Labels, _range: TimeRange) -> bool {
        true
    }

    fn mark(&self, _labels: &Labels, entries: &LogEntries, gone: &mut [bool]) {
        gone.iter_mut()
            .zip(entries.iter())
            .for_each(|(gone, entry)| *gone |= entry.line.starts_with("second"));
    }
}

/// All rows; `None` when the answer is an error.
async fn read_lenient(store: &LogStore) -> Option<Rows> {
    let mut found = Rows::new();
    let pages = store.select(&everything(), Direction::Forward).await.ok()?;
    tokio::task::spawn_blocking(move || {
        for page in pages {
            let (entries, range) = page.read_rows().ok()?;
            let rows = range.map(|n| (entries.get(n).timestamp_ns, entries.get(n).line.to_owned(), vec![]));
            found.entry("api".to_owned()).or_default().extend(rows);
        }
        Some(all_of(&[&found]))
    })
    .await
    .expect("no panic")
}

fn without_second(rows: &Rows) -> Rows {
    let mut left = rows.clone();
    left.values_mut().for_each(|rows| rows.retain(|row| !row.1.starts_with("second")));
    left
}

#[tokio::test]
async fn requests_that_fail_from_any_one_on_lose_and_double_nothing() {
    for (is_done, restarts) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut failures = 0;
        for requests in 0.. {
            let (objects, clock) = world();
            let mut machine = machine_in(&objects, &clock, requests);
            let mut store = machine.open();
            let (all, has_failed) = work(&store, &objects, requests, is_done).await;
            let context = format!("{requests} requests, done {is_done}, restarts {restarts}");
            if restarts {
                machine.stop(store).await;
                store = machine.open();
            }
            let found = read_sorted(&store).await;
            assert!(found == all || found == without_second(&all), "{context}: {found:?}");
            store.remove(&TenantId::default(), Arc::new(Second)).await.expect("removed");
            assert_eq!(read_sorted(&store).await, without_second(&all), "{context}");
            store.compact().await.expect("merged");
            assert_eq!(read_sorted(&store).await, without_second(&all), "{context}, merged");
            // What was left behind goes when it is old, and nothing else does.
            pass(&clock, 2 * HOUR_NS);
            remove_garbage(&store).await;
            assert_eq!(read_sorted(&store).await, without_second(&all), "{context}, tidied");
            let named = store.0.state.read().files.files.len();
            assert_eq!(files_of(&objects).len(), named, "{context}");
            assert!(store.quarantined().is_empty(), "{context}");
            machine.stop(store).await;
            if !has_failed {
                break;
            }
            failures += 1;
        }
        assert!(failures > 12, "only {failures} requests failed");
    }
}

#[tokio::test]
async fn processes_that_share_an_object_store_keep_each_others_lines() {
    let (objects, clock) = world();
    let mut machines: Vec<Machine> = (0..3).map(|seed| machine_in(&objects, &clock, seed)).collect();
    let mut stores: Vec<LogStore> = machines.iter_mut().map(Machine::open).collect();
    let mut parts = Vec::new();
    for round in 0..6 {
        let of_round: Vec<Rows> = (0..3).map(|n| part(&format!("round {round} of {n}"), 4)).collect();
        let work = stores.iter().zip(&of_round).map(|(store, part)| async move {
            append(store, part).await.expect("stored");
            store.flush().await.expect("flushed");
            store.compact().await.expect("merged");
        });
        futures_util::future::join_all(work).await;
        parts.extend(of_round);
        if round == 3 {
            // One of them ends without a word, another starts anew.
            let store = stores.remove(1);
            machines[1].stop(store).await;
            stores.insert(1, machines[1].open());
        }
    }
    let all = all_of(&parts.iter().collect::<Vec<_>>());
    for store in &stores {
        refresh(store).await;
        assert_eq!(read_sorted(store).await, all);
        assert!(store.quarantined().is_empty());
    }
    // Old manifests and files go; who is asked later finds what there is.
    pass(&clock, 2 * HOUR_NS);
    append(&stores[0], &part("late", 1)).await.expect("stored");
    stores[0].flush().await.expect("flushed");
    for store in &stores {
        remove_garbage(store).await;
    }
    let all = all_of(&[&all, &part("late", 1)]);
    for store in &stores {
        assert_eq!(read_sorted(store).await, all);
    }
    assert!(manifests_of(&objects) <= 3, "{:?}", objects.names());
}

#[tokio::test]
async fn a_process_whose_files_others_merged_reads_what_they_made_of_them() {
    let (objects, clock) = world();
    let (mut one, mut two) = (machine_in(&objects, &clock, 1), machine_in(&objects, &clock, 2));
    let (store, other) = (one.open(), two.open());
    let parts = [part("a", 9), part("b", 9)];
    for part in &parts {
        append(&store, part).await.expect("stored");
        store.flush().await.expect("flushed");
    }
    refresh(&other).await;
    other.compact().await.expect("merged");
    pass(&clock, 2 * HOUR_NS);
    remove_garbage(&other).await;
    assert_eq!(files_of(&objects).len(), 1);
    // It has not looked since, and finds the files gone.
    assert_eq!(read_sorted(&store).await, all_of(&[&parts[0], &parts[1]]));
    assert!(store.quarantined().is_empty());
}

#[tokio::test]
async fn who_slept_long_follows_the_newest_state_and_not_one_that_was_removed() {
    let (objects, clock) = world();
    let (mut one, mut two) = (machine_in(&objects, &clock, 1), machine_in(&objects, &clock, 2));
    let (sleeper, other) = (one.open(), two.open());
    append(&sleeper, &part("slept over", 3)).await.expect("stored");
    let mut parts = vec![part("slept over", 3)];
    for hour in 0..4 {
        let part = part(&format!("hour {hour}"), 3);
        append(&other, &part).await.expect("stored");
        other.flush().await.expect("flushed");
        parts.push(part);
        pass(&clock, 2 * HOUR_NS);
        remove_garbage(&other).await;
    }
    // The number that comes next to the sleeper is free again.
    assert!(manifests_of(&objects) < 3, "{:?}", objects.names());
    sleeper.flush().await.expect("flushed");
    let all = all_of(&parts.iter().collect::<Vec<_>>());
    assert_eq!(read_sorted(&sleeper).await, all);
    refresh(&other).await;
    assert_eq!(read_sorted(&other).await, all);
    let store = machine_in(&objects, &clock, 3).open();
    assert_eq!(read_sorted(&store).await, all);
}

#[tokio::test]
async fn a_folder_that_is_used_twice_loses_nothing_that_any_of_its_processes_acknowledged() {
    let (objects, clock) = world();
    let mut machine = machine_in(&objects, &clock, 1);
    let first = machine.open();
    append(&first, &part("first", 3)).await.expect("stored");
    first.flush().await.expect("flushed");
    let mut copy = machine_in(&objects, &clock, 2);
    let id = machine.disk.read(Path::new("/logs/writer")).expect("there");
    copy.disk.create_dir_all(Path::new("/logs")).expect("made");
    copy.disk.write_atomically(Path::new("/logs/writer"), &id).expect("written");
    let second = copy.open();
    // The copy's generations pass those of the first.
    let mut theirs = vec![part("first", 3)];
    for n in 0..5 {
        let part = part(&format!("second {n}"), 3);
        append(&second, &part).await.expect("stored");
        second.flush().await.expect("flushed");
        theirs.push(part);
    }
    append(&first, &part("third", 3)).await.expect("the first cannot know yet");
    let refused = first.flush().await.expect_err("it is not the only one");
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.to_string().contains("another process writes as"), "{refused}");
    let refused = append(&first, &part("fourth", 3)).await.expect_err("it knows now");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("its data folder was copied"), "{refused}");
    assert_eq!(read_sorted(&second).await, all_of(&theirs.iter().collect::<Vec<_>>()));
    // Under a new name, twice, because its first start had its answer lost.
    machine.stop(first).await;
    objects.fail_after(2, true);
    assert!(machine.try_open().is_err());
    objects.heal();
    let first = machine.open();
    append(&first, &part("fifth", 3)).await.expect("stored");
    first.flush().await.expect("flushed");
    refresh(&second).await;
    append(&second, &part("sixth", 3)).await.expect("stored");
    second.flush().await.expect("the other has another name now");
    theirs.extend(["third", "fifth", "sixth"].map(|name| part(name, 3)));
    let all = all_of(&theirs.iter().collect::<Vec<_>>());
    refresh(&first).await;
    for (machine, store) in [(&mut machine, first), (&mut copy, second)] {
        assert_eq!(without_repeats(read_sorted(&store).await), all);
        machine.stop(store).await;
        let store = machine.open();
        assert_eq!(without_repeats(read_sorted(&store).await), all);
        machine.stop(store).await;
    }
}

/// What readers make of a line that came twice.
fn without_repeats(mut rows: Rows) -> Rows {
    rows.values_mut().for_each(Vec::dedup);
    rows
}

#[tokio::test]
async fn an_object_store_that_is_away_makes_errors_and_refusals_and_no_short_answers() {
    let (objects, clock) = world();
    let mut machine = machine_in(&objects, &clock, 1);
    machine.settings.memory_bytes_max = 40_000;
    let store = machine.open();
    append(&store, &part("before", 20)).await.expect("stored");
    store.flush().await.expect("flushed");
    machine.stop(store).await;
    let store = machine.open();
    objects.fail_after(0, false);
    let refused = store.select(&everything(), Direction::Forward).await;
    let refused = refused.map(|pages| pages.len()).expect_err("what is in files cannot be read");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let mut parts = vec![part("before", 20)];
    let refused = loop {
        let part = part(&format!("part {} {}", parts.len(), "x".repeat(200)), 20);
        match append(&store, &part).await {
            Ok(_) => parts.push(part),
            Err(refused) => break refused,
        }
        assert!(parts.len() < 100, "memory has an end");
    };
    assert_eq!(refused.kind(), ErrorKind::Throttled);
    assert!(refused.retry_after().is_some());
    assert_eq!(store.flush().await.expect_err("away").kind(), ErrorKind::Unavailable);
    store.close().await.expect("what is in the write-ahead log is safe");
    machine.stop(store).await;
    assert!(machine.try_open().is_err(), "which files there are is not known");
    objects.heal();
    let store = machine.open();
    assert_eq!(read_sorted(&store).await, all_of(&parts.iter().collect::<Vec<_>>()));
    store.flush().await.expect("flushed");
    assert_eq!(read_sorted(&store).await, all_of(&parts.iter().collect::<Vec<_>>()));
}

#[tokio::test]
async fn damage_and_loss_in_the_object_store_are_told_and_change_nothing_there() {
    let (objects, clock) = world();
    let mut machine = machine_in(&objects, &clock, 1);
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    store.flush().await.expect("flushed");
    machine.stop(store).await;
    let [yesterday, today] = files_of(&objects).try_into().expect("two files");
    let index_at = {
        let store = machine.open();
        let files = Arc::clone(&store.0.state.read().files.files);
        let today =
            files.iter().find(|file| file.path == Path::new(&today)).expect("it is named").about.clone();
        machine.stop(store).await;
        today.index_offset as usize
    };
    objects.damage(&today, index_at + 1, 1);
    objects.remove(&yesterday).expect("removed");
    let store = machine.open();
    for _ in 0..2 {
        assert!(read_raw(&store, &everything()).await.is_empty());
        assert_eq!(store.missing(&TenantId::default(), TimeRange::ALL).len(), 2);
    }
    store.compact().await.expect("nothing to do");
    append(&store, &part("after", 3)).await.expect("stored");
    store.flush().await.expect("flushed");
    assert_eq!(read_sorted(&store).await, part("after", 3));
    assert_eq!(store.0.state.read().files.files.len(), 3, "both are still named");
}

#[tokio::test]
async fn files_on_the_other_side_are_not_passed_over() {
    let (objects, clock) = world();
    let mut machine = Machine::new(1);
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    store.close().await.expect("closed");
    machine.stop(store).await;
    machine.settings.objects = Some(Arc::new(objects.clone()));
    let refused = machine.try_open().map(drop).expect_err("files on the disk").to_string();
    assert!(refused.contains("has 2 data files on the local disk"), "{refused}");
    let mut machine = machine_in(&objects, &clock, 2);
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    store.close().await.expect("closed");
    machine.stop(store).await;
    machine.settings.objects = None;
    let refused = machine.try_open().map(drop).expect_err("files in the bucket").to_string();
    assert!(refused.contains("set storage.logs.bucket"), "{refused}");
    // Without manifests every file would be garbage.
    for name in objects.names().iter().filter(|name| name.contains("/manifests/")) {
        objects.remove(name).expect("removed");
    }
    let refused = machine_in(&objects, &clock, 3).try_open().map(drop).expect_err("no manifest").to_string();
    assert!(refused.contains("it must be restored"), "{refused}");
}
