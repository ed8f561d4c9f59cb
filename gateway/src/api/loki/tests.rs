//! What requests may take, and what they are told when something is wrong.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use logql::{Engine, EngineSettings};
use model::{Direction, ErrorKind, Labels, Matcher, TenantId, TimeRange};
use runtime::{Disk, ManualClock, SimulatedDisk, Tasks};
use storage_api::{
    BoxFuture, Followed, LogFollow, LogFollower, LogMaintenance, LogMask, LogPage, LogQuerier, LogSelect,
    StorageError, StorageResult, StreamSummary,
};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use super::deletes::DeleteRequests;
use super::{LokiApi, RunningTails, router};
use crate::api::process::{Described, ProcessInfo};
use crate::config::types::{LogStoreConfig, QueryConfig};

const MINUTE_NS: i64 = 60_000_000_000;

/// What asks the store, and nothing that reads lines.
const OF_STREAMS: [&str; 12] = [
    "/loki/api/v1/labels",
    "/loki/api/v1/label/app/values",
    "/loki/api/v1/series",
    "/loki/api/v1/detected_labels",
    "/loki/api/v1/index/stats?query={app=%22x%22}",
    "/loki/api/v1/index/shards?query={app=%22x%22}&targetBytesPerShard=1KB",
    "/loki/api/v1/index/volume?query={app=%22x%22}",
    "/loki/api/v1/index/volume_range?query={app=%22x%22}",
    "/loki/api/v1/detected_fields?query={app=%22x%22}",
    "/loki/api/v1/detected_field/a/values?query={app=%22x%22}",
    "/api/prom/label",
    "/api/prom/label/app/values",
];

/// A store as a test wants it.
#[derive(Clone, Copy)]
enum Store {
    /// Never answers.
    Silent,
    /// Fails and tells where.
    Damaged,
    /// Has so many streams, the one with number n of n bytes in each minute.
    Streams(u64),
}

impl LogQuerier for Store {
    fn select<'a>(
        &'a self,
        _: &'a LogSelect,
        _: Direction,
    ) -> BoxFuture<'a, StorageResult<Vec<Arc<dyn LogPage>>>> {
        Box::pin(async move { self.answer(|_| Vec::new()).await })
    }

    fn streams<'a>(&'a self, select: &'a LogSelect) -> BoxFuture<'a, StorageResult<Vec<StreamSummary>>> {
        let TimeRange { min, max } = select.range;
        let minutes = (max.div_euclid(MINUTE_NS) - min.div_euclid(MINUTE_NS) + 1).unsigned_abs();
        let stream = move |n: u64| StreamSummary {
            labels: Labels::from_pairs([("app", format!("x{n}").as_str())]),
            entries: minutes,
            bytes: n * minutes,
        };
        Box::pin(async move { self.answer(|count| (0..count).map(stream).collect()).await })
    }
}

impl Store {
    async fn answer<T>(self, answer: impl FnOnce(u64) -> T) -> StorageResult<T> {
        match self {
            Self::Silent => std::future::pending().await,
            Self::Damaged => Err(StorageError::new(ErrorKind::Corrupt, "/data/logs/7.kv: page 3 is damaged")),
            Self::Streams(count) => Ok(answer(count)),
        }
    }
}

impl LogFollower for Store {
    fn follow(&self, _: &TenantId, _: Vec<Matcher>) -> Box<dyn LogFollow> {
        Box::new(*self)
    }
}

impl LogFollow for Store {
    fn next(&mut self) -> BoxFuture<'_, Option<Followed>> {
        Box::pin(std::future::pending())
    }
}

impl LogMaintenance for Store {
    fn flush(&self) -> BoxFuture<'_, StorageResult<()>> {
        Box::pin(async { Ok(()) })
    }

    fn remove<'a>(&'a self, _: &'a TenantId, _: Arc<dyn LogMask>) -> BoxFuture<'a, StorageResult<u64>> {
        Box::pin(async { Ok(0) })
    }
}

fn api(store: Store) -> LokiApi {
    let disk = SimulatedDisk::new(1);
    disk.create_dir_all(&PathBuf::from("/data")).expect("a folder");
    let (tasks, timeout) = (Tasks::new(), Duration::from_millis(20));
    let settings = EngineSettings { tasks: tasks.clone(), timeout, ..EngineSettings::default() };
    LokiApi {
        engine: Engine::new(settings),
        querier: Arc::new(store),
        follower: Arc::new(store),
        maintenance: Arc::new(store),
        deletes: Arc::new(deletes(&disk)),
        is_delete_enabled: true,
        tasks,
        tails: RunningTails::default(),
        process: ProcessInfo::new(0, None, Described::default()).0,
        clock: Arc::new(ManualClock::at_ns(600 * MINUTE_NS)),
        query: QueryConfig { timeout, ..QueryConfig::default() },
        logs: LogStoreConfig::default(),
        slots: Arc::new(Semaphore::new(1)),
    }
}

fn deletes(disk: &SimulatedDisk) -> DeleteRequests {
    DeleteRequests::open(Arc::new(disk.clone()), PathBuf::from("/data/log-deletes.json"), Duration::ZERO)
}

async fn ask(api: &Arc<LokiApi>, request: http::request::Builder) -> (StatusCode, String) {
    let request = request.body(Body::empty()).expect("a good request");
    let answer = router(Arc::clone(api)).oneshot(request).await.expect("routers do not fail");
    let (head, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    (head.status, String::from_utf8(body.to_vec()).expect("a text"))
}

async fn get(api: &Arc<LokiApi>, uri: &str) -> (StatusCode, String) {
    ask(api, Request::get(uri)).await
}

#[tokio::test]
async fn what_asks_for_streams_or_fields_takes_a_slot_and_the_time_of_a_query() {
    let full = Arc::new(LokiApi { slots: Arc::new(Semaphore::new(0)), ..api(Store::Streams(1)) });
    let silent = Arc::new(api(Store::Silent));
    for uri in OF_STREAMS {
        for (api, what) in [(&full, "no slot is free"), (&silent, "the store does not answer")] {
            let (status, text) = get(api, uri).await;
            assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{uri}, {what}: {text}");
            assert!(text.starts_with("request timed out"), "{uri}, {what}: {text}");
        }
        assert_eq!(silent.slots.available_permits(), 1, "{uri}");
    }
}

#[tokio::test]
async fn volumes_are_of_the_largest_series() {
    let api = Arc::new(LokiApi { query: QueryConfig::default(), ..api(Store::Streams(1200)) });
    for (path, limit, shown) in [
        ("volume?query={}", "3", &["x1199", "x1198", "x1197"][..]),
        ("volume_range?query={}&step=60", "2", &["x1199", "x1198"]),
        ("volume?query={}", "5000", &["x1199", "x200"]),
    ] {
        let uri = format!("/loki/api/v1/index/{path}&limit={limit}&start=60&end=180&targetLabels=app");
        let (status, text) = get(&api, &uri).await;
        assert_eq!(status, StatusCode::OK, "{uri}: {text}");
        assert!(shown.iter().all(|app| text.contains(&format!(r#""{app}""#))), "{uri}");
        let number = limit.parse::<usize>().expect("a number").min(1000);
        assert_eq!(text.matches(r#""metric""#).count(), number, "{uri}");
    }
    let uri = "/loki/api/v1/index/volume_range?query={}&targetLabels=app&limit=1&step=60&start=60&end=180";
    let (_, text) = get(&api, uri).await;
    assert!(text.contains(r#"[[119.999,"1199"],[180,"2398"]]"#), "{text}");
}

#[tokio::test]
async fn errors_of_the_store_tell_no_folders() {
    let api = Arc::new(LokiApi { query: QueryConfig::default(), ..api(Store::Damaged) });
    let of_lines = "/loki/api/v1/query_range?query={app=%22x%22}";
    for uri in OF_STREAMS.into_iter().chain([of_lines]) {
        let (status, text) = get(&api, uri).await;
        assert_eq!(
            (status, text.as_str()),
            (StatusCode::INTERNAL_SERVER_ERROR, "7.kv: page 3 is damaged\n"),
            "{uri}"
        );
    }
}

#[tokio::test]
async fn while_delete_requests_cannot_be_read_nobody_is_told_that_there_are_none() {
    let disk = SimulatedDisk::new(1);
    let path = PathBuf::from("/data/log-deletes.json");
    disk.create_dir_all(&PathBuf::from("/data")).expect("a folder");
    disk.write_atomically(&path, br#"{"version":2}"#).expect("a write");
    let api = Arc::new(LokiApi { deletes: Arc::new(deletes(&disk)), ..api(Store::Streams(0)) });
    let uri = "/loki/api/v1/delete?query={app=%22x%22}&start=1&end=2&request_id=1";
    for request in [Request::get(uri), Request::post(uri), Request::delete(uri)] {
        let (status, text) = ask(&api, request).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
        assert!(text.contains("log-deletes.json is of version 2, this program knows 1"), "{text}");
        assert!(!text.contains("/data"), "{text}");
    }
}

#[tokio::test]
async fn drilldown_is_told_the_limits_that_hold() {
    let logs = serde_json::json!({"retention": "10d", "overrides": {"a": {"retention_period": "48h"}}});
    let logs = serde_json::from_value(logs).expect("a good config");
    let api = Arc::new(LokiApi { logs, ..api(Store::Streams(0)) });
    for (tenant, period) in [("a", "2d"), ("b", "10d")] {
        let request = Request::get("/loki/api/v1/drilldown-limits").header("x-scope-orgid", tenant);
        let (_, text) = ask(&api, request).await;
        assert!(text.contains(&format!(r#""retention_period":"{period}""#)), "{text}");
        assert!(text.contains(r#""volume_max_series":1000"#), "{text}");
    }
}
