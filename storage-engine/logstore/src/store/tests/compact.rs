//! Merging files: nothing is lost or doubled, whatever happens meanwhile.

use super::*;

/// Three flushes of a day ago with a retry among them.
async fn three_files(store: &LogStore) -> Rows {
    let yesterday = NOW - 86_400 * SECOND;
    let line = |n: i64| row(yesterday + n * SECOND, &format!("line {n} of many"));
    let parts = [
        rows("api", &(0..30).map(line).collect::<Vec<_>>()),
        rows("api", &(20..60).map(line).collect::<Vec<_>>()),
        rows("web", &(0..20).map(line).collect::<Vec<_>>()),
    ];
    let mut all = Rows::new();
    for part in parts {
        append(store, &part).await.expect("stored");
        store.flush().await.expect("flushed");
        part.into_iter().for_each(|(app, rows)| all.entry(app).or_default().extend(rows));
    }
    deduplicated(sorted(all))
}

#[tokio::test]
async fn merged_files_hold_every_line_once_and_the_old_ones_go() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    let expected = three_files(&store).await;
    assert_eq!(machine.data_files().len(), 3);
    store.compact().await.expect("merged");
    assert_eq!(machine.data_files().len(), 1);
    assert_eq!(read_raw(&store, &everything()).await, expected);
    store.compact().await.expect("nothing to do");
    machine.stop(store).await;
    let store = machine.open();
    assert_eq!(read_raw(&store, &everything()).await, expected, "after a restart");
    assert!(store.quarantined().is_empty());
}

#[tokio::test]
async fn a_query_keeps_the_files_that_it_found() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    let expected = three_files(&store).await;
    let found = pages(&store, &everything()).await;
    store.compact().await.expect("merged");
    let lines: usize = found.iter().map(|page| page.read().expect("still there").len()).sum();
    assert_eq!(lines, 30 + 40 + 20, "as they were, the retried ones twice");
    assert_eq!(machine.data_files().len(), 4);
    drop(found);
    append(&store, &rows("late", &[row(NOW, "x")])).await.expect("stored");
    store.compact().await.expect("nothing to do but to tidy up");
    assert_eq!(machine.data_files().len(), 1);
    assert_eq!(read_raw(&store, &everything()).await["api"], expected["api"]);
}

#[tokio::test]
async fn a_merge_cut_off_at_any_operation_loses_and_doubles_nothing() {
    let mut cuts = 0;
    for operations in 0.. {
        let mut machine = Machine::new(operations);
        let store = machine.open();
        let expected = three_files(&store).await;
        machine.disk.cut_power_after(operations);
        let merged = store.compact().await;
        let has_power = machine.disk.has_power();
        machine.stop(store).await;
        machine.disk.power_loss();
        let store = machine.open();
        assert_eq!(deduplicated(read_raw(&store, &everything()).await), expected, "cut after {operations}");
        assert!(store.quarantined().is_empty(), "cut after {operations}");
        // What was merged is merged again, and nothing is left behind.
        store.compact().await.expect("merged");
        assert_eq!(read_raw(&store, &everything()).await, expected, "cut after {operations}");
        assert_eq!(machine.data_files().len(), 1, "cut after {operations}");
        if has_power {
            merged.expect("nothing was in its way");
            break;
        }
        cuts += 1;
    }
    assert!(cuts >= 5, "only {cuts} operations were cut");
}

#[tokio::test]
async fn a_full_disk_stops_a_merge_and_nothing_else() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    let expected = three_files(&store).await;
    machine.disk.set_capacity_bytes(0);
    assert!(store.compact().await.is_err());
    assert_eq!(deduplicated(read_raw(&store, &everything()).await), expected);
    machine.disk.set_capacity_bytes(u64::MAX);
    store.compact().await.expect("merged");
    assert_eq!(read_raw(&store, &everything()).await, expected);
    assert_eq!(machine.data_files().len(), 1, "what the stopped merge wrote is gone");
}

#[tokio::test]
async fn a_damaged_file_is_not_merged_and_the_others_are() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    let expected = three_files(&store).await;
    let damaged = machine.data_files().remove(0);
    machine.disk.damage(&damaged, 40, 0x10);
    store.compact().await.expect("merged");
    assert_eq!(store.quarantined().len(), 1);
    assert_eq!(machine.data_files().len(), 2);
    assert_eq!(read_raw(&store, &everything()).await["web"], expected["web"]);
}
