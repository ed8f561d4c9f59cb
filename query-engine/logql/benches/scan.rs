//! Speed of scans over pages in memory, per core: needles, parsers, counts. Prints bytes per second of raw lines.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use logql::{Engine, EngineSettings, QueryParams};
use model::{Direction, Labels, LogEntries, TenantId, TimeRange};
use storage_api::{BoxFuture, LogPage, LogQuerier, LogSelect, StorageResult, StreamSummary};
use tokio_util::sync::CancellationToken;

/// Lines of the corpus; about 64 MB.
const LINES: usize = 256 * 1024;
/// Lines of a page; about 128 KB.
const PAGE_LINES: usize = 512;

struct Page {
    labels: Labels,
    entries: Arc<LogEntries>,
}

impl LogPage for Page {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn range(&self) -> TimeRange {
        let times = self.entries.timestamps_ns();
        TimeRange::new(times[0], times[times.len() - 1])
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn read(&self) -> StorageResult<Arc<LogEntries>> {
        Ok(Arc::clone(&self.entries))
    }
}

struct Store(Vec<Arc<Page>>);

impl LogQuerier for Store {
    fn select<'a>(
        &'a self,
        _select: &'a LogSelect,
        direction: Direction,
    ) -> BoxFuture<'a, StorageResult<Vec<Arc<dyn LogPage>>>> {
        let mut pages: Vec<Arc<dyn LogPage>> = self.0.iter().map(|page| Arc::clone(page) as _).collect();
        if direction == Direction::Backward {
            pages.reverse();
        }
        Box::pin(async move { Ok(pages) })
    }

    fn streams<'a>(&'a self, _select: &'a LogSelect) -> BoxFuture<'a, StorageResult<Vec<StreamSummary>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// JSON lines with a random id each, one line a millisecond, in 8 streams.
fn corpus() -> (Arc<Store>, u64) {
    let mut pages = Vec::new();
    let mut bytes = 0;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for page in 0..LINES / PAGE_LINES {
        let mut entries = LogEntries::new();
        for line in 0..PAGE_LINES {
            let id = random();
            let text = format!(
                r#"{{"level":"{}","ts":"2026-01-01T00:00:00Z","caller":"http/server.go:{}","msg":"request served","method":"GET","path":"/api/v1/items/{}","status":{},"duration_ms":{}.{},"trace_id":"{id:016x}{:016x}","user":{{"id":{},"plan":"free"}}}}"#,
                ["info", "debug", "warn", "error"][(id % 4) as usize],
                id % 900,
                id % 100_000,
                [200, 200, 200, 404, 500][(id % 5) as usize],
                id % 700,
                id % 10,
                random(),
                id % 5000,
            );
            bytes += text.len() as u64;
            entries.push(((page * PAGE_LINES + line) * 1_000_000) as i64, &text, []);
        }
        let labels = Labels::from_pairs([("app", "bench".to_owned()), ("pod", format!("p{}", page % 8))]);
        pages.push(Arc::new(Page { labels, entries: Arc::new(entries) }));
    }
    (Arc::new(Store(pages)), bytes)
}

fn scans(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime starts");
    let (store, bytes) = corpus();
    let engine = Engine::new(EngineSettings { threads: 1, ..EngineSettings::default() });
    let params = QueryParams {
        start_ns: 0,
        end_ns: LINES as i64 * 1_000_000,
        step_ns: 10_000_000_000,
        limit: 100,
        direction: Direction::Backward,
        interval_ns: 0,
    };
    let (tenant, cancel) = (TenantId::default(), CancellationToken::new());
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Bytes(bytes)).sample_size(10);
    for (name, query) in [
        ("absent needle", r#"{app="bench"} |= "no such text anywhere""#),
        ("case-insensitive absent needle", r#"{app="bench"} |~ "(?i)no such TEXT""#),
        ("regex with literal", r#"{app="bench"} |~ "ZZZ/[0-9]+ served""#),
        ("excluded common word", r#"{app="bench"} != "request""#),
        ("count needle", r#"sum(count_over_time({app="bench"} |= "error" [10s]))"#),
        ("count all by stream", r#"sum by (pod) (count_over_time({app="bench"}[10s]))"#),
        ("json filter", r#"sum(count_over_time({app="bench"} | json | status >= 500 [10s]))"#),
        ("json count by status", r#"sum by (status) (count_over_time({app="bench"} | json [10s]))"#),
        ("json all labels", r#"{app="bench"} | json | level = "none""#),
        (
            "pattern count",
            r#"sum by (l) (count_over_time({app="bench"} | pattern "<_>level\":\"<l>\"<_>" [10s]))"#,
        ),
        (
            "unwrap quantile",
            r#"quantile_over_time(0.9, {app="bench"} | json | unwrap duration_ms [10s]) by (pod)"#,
        ),
        (
            "line_format",
            r#"sum(bytes_over_time({app="bench"} | json | line_format "{{.level}} {{.path}}" [10s]))"#,
        ),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let run = engine.query_range(query, params, &tenant, Arc::clone(&store) as _, &cancel);
                let output = runtime.block_on(run).expect("the query runs");
                black_box(output.stats.lines_processed)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, scans);
criterion_main!(benches);
