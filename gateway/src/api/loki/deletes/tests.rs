//! Requests to delete lines: what is kept, and that no query sees what they delete.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Direction, Labels, LogEntries, TenantId, TimeRange};
use parking_lot::Mutex;
use runtime::{Clock, Disk, ManualClock, SimulatedDisk, Tasks};
use storage_api::{
    BoxFuture, LogMaintenance, LogMask, LogPage, LogQuerier, LogSelect, StorageResult, StreamSummary,
};

use super::requests::NewDelete;
use super::{DeleteRequests, DeletesError, MaskedQuerier, parse_time};

const GOLDEN: &[u8] = include_bytes!("../../../../../docs/formats/log-deletes-v1.json");
const FILE: &str = "/data/log-deletes.json";
const MS: i64 = 1_000_000;

fn open(disk: &SimulatedDisk) -> DeleteRequests {
    DeleteRequests::open(Arc::new(disk.clone()), PathBuf::from(FILE), Duration::from_secs(10))
}

fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    disk.create_dir_all(&PathBuf::from("/data")).expect("a folder");
    disk
}

fn new(query: &str, start_ms: i64, end_ms: i64) -> NewDelete {
    NewDelete { query: query.to_owned(), start_ms, end_ms }
}

#[test]
fn the_golden_file_of_version_1_reads_and_writes_back_the_same() {
    let disk = disk();
    disk.write_atomically(&PathBuf::from(FILE), GOLDEN).expect("a write");
    let requests = open(&disk);
    let tenant = TenantId::new("default").expect("a good name");
    let [request] = &requests.of_tenant(&tenant)[..] else { panic!("one request") };
    assert_eq!(request.query, r#"{app="shop"} |= "4711""#);
    assert_eq!((request.start_ms, request.end_ms), (1_795_255_200_000, 1_795_258_800_000));
    let id = requests.add(&tenant, new(r#"{app="x"}"#, 1, 2), 3).expect("a write");
    requests.remove(&tenant, &id).expect("a write");
    let written = disk.read(&PathBuf::from(FILE)).expect("a file");
    assert_eq!(String::from_utf8_lossy(&written).trim_end(), String::from_utf8_lossy(GOLDEN).trim_end());
}

#[test]
fn what_was_answered_survives_power_loss() {
    let disk = disk();
    let tenant = TenantId::default();
    let requests = open(&disk);
    let first = requests.add(&tenant, new(r#"{app="x"}"#, 1, 2), 3).expect("a write");
    let second = requests.add(&tenant, new(r#"{app="x"}"#, 1, 2), 3).expect("a write");
    assert_ne!(first, second);
    requests.remove(&tenant, &first).expect("a write");
    assert_eq!(requests.generation(&tenant), 3);
    disk.power_loss();
    let ids = |requests: &DeleteRequests| -> Vec<String> {
        requests.of_tenant(&tenant).into_iter().map(|request| request.id).collect()
    };
    assert_eq!(ids(&open(&disk)), [second]);
}

#[tokio::test]
async fn no_line_is_shown_while_it_is_not_known_which_are_deleted() {
    for (bytes, want, is_set_aside) in [
        (&b"{"[..], "cannot be understood", true),
        (b"", "cannot be understood", true),
        (br#"{"version":2,"other":{}}"#, "is of version 2, this program knows 1", false),
        (br#"{"version":1,"tenants":{"a/b":[]}}"#, "cannot be understood", true),
    ] {
        let (disk, damaged) = (disk(), PathBuf::from(format!("{FILE}.damaged")));
        disk.write_atomically(&PathBuf::from(FILE), bytes).expect("a write");
        // The second start finds the file set aside.
        for want in [want, if is_set_aside { "the file was damaged" } else { want }] {
            let requests = Arc::new(open(&disk));
            let reason = requests.unknown().expect("a file that cannot be understood");
            assert!(reason.contains(want), "{reason}");
            assert_eq!(disk.exists(&damaged), is_set_aside);
            let added = requests.add(&TenantId::default(), new(r#"{app="x"}"#, 1, 2), 3);
            added.expect_err("would make a file without the other requests");
            let masked = MaskedQuerier::new(Arc::new(Pages(vec![page("x", &[(10, "a")])])), requests);
            let error = masked.select(&everything(), Direction::Forward).await.err().expect("no line");
            assert!(error.to_string().contains("logs are not read"), "{error}");
        }
        if is_set_aside {
            disk.remove_file(&damaged).expect("a person decided");
            assert_eq!(open(&disk).unknown(), None);
        }
    }
}

#[test]
fn a_tenant_has_a_limit_and_what_is_done_does_not_count() {
    let requests = open(&disk());
    let (tenant, other) = (TenantId::default(), TenantId::new("other").expect("a good name"));
    let ids: Vec<String> =
        (0..250).map(|_| requests.add(&tenant, new(r#"{app="x"}"#, 1, 2), 3).expect("one of 250")).collect();
    let error = requests.add(&tenant, new(r#"{app="x"}"#, 1, 2), 3).expect_err("one too many");
    assert_eq!(
        error.to_string(),
        "there are 250 delete requests of this tenant, no more are allowed; cancel some first"
    );
    requests.add(&other, new(r#"{app="x"}"#, 1, 2), 3).expect("has its own");
    requests.mark_processed(&tenant, &ids[0], 4).expect("a write");
    requests.add(&tenant, new(r#"{app="x"}"#, 1, 2), 5).expect("in the place of the one that is done");
    assert_eq!((requests.of_tenant(&tenant).len(), requests.of_tenant(&other).len()), (250, 1));
}

#[test]
fn a_query_that_cannot_be_used_is_the_senders_fault() {
    let large = format!(r#"{{app="x"}} |~ "(a{{1000}}){{1000}}{}""#, "b".repeat(10));
    let added = open(&disk()).add(&TenantId::default(), new(&large, 1, 2), 3);
    assert!(matches!(added, Err(DeletesError::Query(_))), "{added:?}");
}

struct Page(Labels, Arc<LogEntries>);

struct Pages(Vec<Arc<Page>>);

impl LogPage for Page {
    fn labels(&self) -> &Labels {
        &self.0
    }

    fn range(&self) -> TimeRange {
        let times = self.1.timestamps_ns();
        TimeRange::new(times[0], times[times.len() - 1])
    }

    fn len(&self) -> usize {
        self.1.len()
    }

    fn read(&self) -> StorageResult<Arc<LogEntries>> {
        Ok(Arc::clone(&self.1))
    }
}

impl LogQuerier for Pages {
    fn select<'a>(
        &'a self,
        _: &'a LogSelect,
        _: Direction,
    ) -> BoxFuture<'a, StorageResult<Vec<Arc<dyn LogPage>>>> {
        let pages = self.0.iter().map(|page| Arc::clone(page) as Arc<dyn LogPage>).collect();
        Box::pin(async move { Ok(pages) })
    }

    fn streams<'a>(&'a self, _: &'a LogSelect) -> BoxFuture<'a, StorageResult<Vec<StreamSummary>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

fn page(app: &str, lines: &[(i64, &str)]) -> Arc<Page> {
    let mut entries = LogEntries::new();
    lines.iter().for_each(|(ms, line)| entries.push(ms * MS, line, []));
    Arc::new(Page(Labels::from_pairs([("app", app)]), Arc::new(entries)))
}

fn everything() -> LogSelect {
    let tenant = TenantId::default();
    LogSelect { tenant, range: TimeRange::ALL, matchers: Vec::new(), line_contains: Vec::new() }
}

async fn check(deletes: &[(&str, i64, i64)], want: &[&str]) {
    let requests = Arc::new(open(&disk()));
    let tenant = TenantId::default();
    for (query, start_ms, end_ms) in deletes {
        requests.add(&tenant, new(query, *start_ms, *end_ms), 100).expect("a write");
    }
    let store = Pages(vec![
        page("x", &[(10, "level=info a"), (20, "level=warn b"), (30, "level=info c")]),
        page("y", &[(10, "level=info d")]),
    ]);
    let masked = MaskedQuerier::new(Arc::new(store), requests);
    let mut left = Vec::new();
    for page in masked.select(&everything(), Direction::Forward).await.expect("a query") {
        let entries = page.read().expect("a page");
        left.extend(entries.iter().map(|entry| entry.line.to_owned()));
    }
    assert_eq!(left, want, "{deletes:?}");
}

#[tokio::test]
async fn queries_do_not_see_what_a_request_deletes() {
    let all = ["level=info a", "level=warn b", "level=info c", "level=info d"];
    check(&[], &all).await;
    check(&[(r#"{app="x"}"#, 0, 99)], &all[3..]).await;
    check(&[(r#"{app="x"}"#, 20, 20)], &[all[0], all[2], all[3]]).await;
    check(&[(r#"{app="x"}"#, 21, 29)], &all).await;
    check(&[(r#"{app=~".+"} |= "info""#, 0, 10)], &[all[1], all[2]]).await;
    check(&[(r#"{app="x"} | logfmt | level="warn""#, 0, 99)], &[all[0], all[2], all[3]]).await;
    check(&[(r#"{app="y"}"#, 0, 99), (r#"{app="x"} |= "c""#, 0, 99)], &all[..2]).await;
}

#[test]
fn times_are_seconds_or_rfc_3339() {
    for (text, want) in [
        ("1", Some(1000)),
        ("1.5", Some(1500)),
        ("1970-01-01T00:00:01.25Z", Some(1250)),
        ("1795255200000000000", None),
        ("x", None),
        ("NaN", None),
    ] {
        assert_eq!(parse_time(text), want, "{text}");
    }
}

/// A store that keeps what it was asked to remove.
#[derive(Default)]
struct Removed(Mutex<Vec<(TenantId, Arc<dyn LogMask>)>>);

impl LogMaintenance for Removed {
    fn flush(&self) -> BoxFuture<'_, StorageResult<()>> {
        Box::pin(async { Ok(()) })
    }

    fn remove<'a>(
        &'a self,
        tenant: &'a TenantId,
        mask: Arc<dyn LogMask>,
    ) -> BoxFuture<'a, StorageResult<u64>> {
        self.0.lock().push((tenant.clone(), mask));
        Box::pin(async { Ok(1) })
    }
}

#[tokio::test]
async fn a_request_is_processed_once_when_it_can_no_longer_be_taken_back() {
    let (disk, tenant, tasks) = (disk(), TenantId::default(), Tasks::new());
    let requests = Arc::new(open(&disk));
    let clock = Arc::new(ManualClock::at_ns(0));
    requests.add(&tenant, new(r#"{app="x"} |= "warn""#, 0, 99), 1000).expect("a write");
    let store = Removed::default();
    let shared: Arc<dyn Clock> = clock.clone();
    for (now_ms, expected) in [(10_999, 0), (11_000, 1), (12_000, 1)] {
        clock.set_ns(now_ms * MS);
        super::worker::process_due(&requests, &store, &shared, &tasks).await;
        assert_eq!(store.0.lock().len(), expected, "{now_ms}");
        assert_eq!(requests.in_range(&tenant, TimeRange::ALL).is_empty(), expected == 1, "{now_ms}");
    }
    assert_eq!(open(&disk).of_tenant(&tenant)[0].processed_ms, Some(11_000));
    let (asked, mask) = store.0.lock().remove(0);
    assert_eq!(asked, tenant);
    let entries = page("x", &[(10, "level=info"), (20, "level=warn"), (100, "level=warn")]).1.clone();
    let mut gone = vec![false; 3];
    mask.mark(&Labels::from_pairs([("app", "x")]), &entries, &mut gone);
    assert_eq!(gone, [false, true, false]);
    assert!(!mask.concerns(&Labels::from_pairs([("app", "y")]), TimeRange::ALL));
}
