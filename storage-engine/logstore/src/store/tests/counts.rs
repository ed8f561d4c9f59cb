//! Counts without reading: what they say is what reading would say.

use storage_api::{EntryCount, LogCountSelect};

use super::*;

const MINUTE: i64 = 60 * SECOND;

fn counted(by: Option<&[&str]>, bucket_minutes: i64) -> LogCountSelect {
    LogCountSelect {
        tenant: TenantId::default(),
        range: TimeRange::ALL,
        matchers: Vec::new(),
        by: by.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        bucket_minutes,
        origin_minute: NOW / MINUTE,
    }
}

fn levelled(at: i64, line: &str, level: &str) -> Row {
    (at, line.to_owned(), vec![("detected_level".to_owned(), level.to_owned())])
}

/// App, minutes after `NOW`, level, entries at the start and later.
type Count = (String, i64, String, u64, u64);

async fn counts(store: &LogStore, select: &LogCountSelect) -> Vec<Count> {
    let mut all = Vec::new();
    for stream in store.counts(select).await.expect("counts") {
        let app = stream.labels.get("app").expect("every stream has it").to_owned();
        for bucket in stream.buckets {
            let minute = bucket.minute - NOW / MINUTE;
            all.push((
                app.clone(),
                minute,
                bucket.level.to_string(),
                bucket.at_start.entries,
                bucket.later.entries,
            ));
        }
    }
    all
}

fn expect(expected: &[(&str, i64, &str, u64, u64)]) -> Vec<Count> {
    let owned = |&(app, minute, level, start, later): &(&str, i64, &str, u64, u64)| {
        (app.to_owned(), minute, level.to_owned(), start, later)
    };
    expected.iter().map(owned).collect()
}

#[tokio::test]
async fn entries_are_counted_by_bucket_and_level() {
    assert_eq!(NOW % MINUTE, 0, "the test counts minutes from it");
    let mut machine = Machine::new(1);
    let store = machine.open();
    let lines = [
        levelled(NOW, "a", "info"),
        levelled(NOW + 1, "bb", "info"),
        levelled(NOW + 59 * SECOND, "c", "error"),
        levelled(NOW + MINUTE, "dddd", "info"),
        levelled(NOW + 3 * MINUTE + 7, "e", "info"),
    ];
    append(&store, &rows("api", &lines)).await.expect("stored");
    assert_eq!(counts(&store, &counted(Some(&[]), 1)).await, [], "nothing is known of what is in memory");
    store.flush().await.expect("flushed");
    let by_level = expect(&[
        ("api", 0, "error", 0, 1),
        ("api", 0, "info", 1, 1),
        ("api", 1, "info", 1, 0),
        ("api", 3, "info", 0, 1),
    ]);
    assert_eq!(counts(&store, &counted(Some(&["app", "detected_level", "not_there"]), 1)).await, by_level);
    let by_two = expect(&[("api", 0, "", 1, 3), ("api", 2, "", 0, 1)]);
    assert_eq!(counts(&store, &counted(Some(&["app"]), 2)).await, by_two);
    let answer = store.counts(&counted(Some(&[]), 2)).await.expect("counts");
    assert_eq!(answer[0].counted, [(NOW, NOW + 3 * MINUTE + 7)]);
    assert_eq!(answer[0].buckets[0].at_start, EntryCount { entries: 1, bytes: 1 });
    assert_eq!(answer[0].buckets[0].later, EntryCount { entries: 3, bytes: 2 + 1 + 4 });
    let second =
        LogCountSelect { range: TimeRange::new(NOW + MINUTE, NOW + 2 * MINUTE), ..counted(Some(&[]), 1) };
    assert_eq!(counts(&store, &second).await, expect(&[("api", 1, "", 1, 0)]));
    let other = LogCountSelect { matchers: vec![Matcher::equal("app", "web")], ..counted(Some(&[]), 1) };
    assert_eq!(counts(&store, &other).await, []);
}

#[tokio::test]
async fn metadata_that_would_tell_entries_apart_keeps_them_from_being_counted() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    let with = |name: &str| vec![(NOW, "x".to_owned(), vec![(name.to_owned(), "v".to_owned())])];
    append(&store, &rows("api", &with("user.id"))).await.expect("stored");
    store.flush().await.expect("flushed");
    let is_counted = async |by: Option<&[&str]>| !counts(&store, &counted(by, 1)).await.is_empty();
    assert!(is_counted(Some(&["app", "env", "user"])).await);
    assert!(!is_counted(Some(&["user_id"])).await);
    assert!(!is_counted(Some(&["app_extracted"])).await);
    assert!(!is_counted(Some(&["__error__"])).await);
    assert!(!is_counted(None).await);
    append(&store, &rows("web", &with("__error__"))).await.expect("stored");
    store.flush().await.expect("flushed");
    let web = LogCountSelect { matchers: vec![Matcher::equal("app", "web")], ..counted(Some(&["app"]), 1) };
    assert_eq!(counts(&store, &web).await, [], "queries tell such entries apart by whatever they have");
}

#[tokio::test]
async fn a_minute_that_two_files_share_is_counted_when_one_ends_before_the_other_begins() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    for second in [1, 2, 3] {
        append(&store, &rows("api", &[levelled(NOW + second * SECOND, "a", "info")])).await.expect("stored");
        if second < 3 {
            store.flush().await.expect("flushed");
        }
    }
    let answer = store.counts(&counted(Some(&["app"]), 1)).await.expect("counts");
    let (first, second) = (NOW + SECOND, NOW + 2 * SECOND);
    assert_eq!(answer[0].counted, [(first, first), (second, second)], "the third is in memory");
    assert_eq!(answer[0].buckets.len(), 1);
    assert_eq!(answer[0].buckets[0].later, EntryCount { entries: 2, bytes: 2 });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever lies where: entries that are counted and entries of the times that are not are all entries.
    #[test]
    fn what_is_counted_and_what_is_left_to_read_is_everything(
        batches in proptest::collection::vec(
            (proptest::collection::vec((0..40i64, 0..3i64, 0..4u8, 0..2u8), 1..12), any::<bool>()),
            1..6,
        ),
        merges in any::<bool>(),
        bucket_minutes in 1..4i64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut machine = Machine::new(1);
            let store = machine.open();
            let yesterday = NOW - 86_400 * SECOND;
            for (lines, flushes) in &batches {
                for &(minute, second, text, app) in lines {
                    let line = levelled(yesterday + minute * MINUTE + second * SECOND, &format!("line {text}"), "info");
                    append(&store, &rows(&format!("app{app}"), &[line])).await.expect("stored");
                }
                if *flushes {
                    store.flush().await.expect("flushed");
                }
            }
            if merges {
                store.compact().await.expect("merged");
            }
            let expected = deduplicated(read_raw(&store, &everything()).await);
            let select = counted(Some(&["app"]), bucket_minutes);
            let mut uncounted = expected.clone();
            for stream in store.counts(&select).await.expect("counts") {
                let rows = uncounted.get_mut(stream.labels.get("app").expect("it is there")).expect("known");
                assert!(stream.counted.is_sorted_by(|left, right| left.1 < right.0), "{:?}", stream.counted);
                let is_counted =
                    |row: &Row| stream.counted.iter().any(|&(first, last)| (first..=last).contains(&row.0));
                let gone: Vec<Row> = rows.iter().filter(|row| is_counted(row)).cloned().collect();
                rows.retain(|row| !is_counted(row));
                for bucket in stream.buckets {
                    let bucket_ns = bucket.minute * MINUTE;
                    let inside = |row: &&Row| (bucket_ns..bucket_ns + bucket_minutes * MINUTE).contains(&row.0);
                    let all: Vec<&Row> = gone.iter().filter(inside).collect();
                    let at_start = all.iter().filter(|row| row.0 == bucket_ns).count() as u64;
                    assert_eq!(bucket.at_start.entries, at_start);
                    assert_eq!(bucket.later.entries, all.len() as u64 - at_start);
                    let bytes: u64 = all.iter().map(|row| row.1.len() as u64).sum();
                    assert_eq!(bucket.at_start.bytes + bucket.later.bytes, bytes);
                }
                let counted: u64 = gone.len() as u64;
                let sum: u64 = store.counts(&select).await.expect("counts").iter()
                    .filter(|other| other.labels == stream.labels)
                    .flat_map(|other| other.buckets.iter().map(|b| b.at_start.entries + b.later.entries))
                    .sum();
                assert_eq!(sum, counted);
            }
        });
    }
}
