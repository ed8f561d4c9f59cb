//! What a log line costs: CPU time of the whole process, all threads, for durable appends and for flushes to Parquet.
//!
//! Times are CPU seconds, not wall seconds, so throughput reads as bytes per second and core. Bytes are those of lines
//! and structured metadata. Records are like OTLP ones: some 200 bytes of line with ids in it and 8 attributes.

use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use logstore::{LogStore, LogStoreSettings};
use model::{Labels, LogEntries, TenantId};
use runtime::{Clock, LocalDisk, MemoryBudget, SystemClock, Tasks};
use storage_api::{LogAppender, LogBatch, StreamEntries};

const RECORDS_OF_BATCH: usize = 1000;
const STREAMS_OF_BATCH: usize = 10;
/// Requests under way at once, as many connections have them.
const CONCURRENT: usize = 16;

/// CPU time of the process.
struct ProcessCpu(WallTime);

impl Measurement for ProcessCpu {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu_time()
    }

    fn end(&self, start: Duration) -> Duration {
        cpu_time() - start
    }

    fn add(&self, left: &Duration, right: &Duration) -> Duration {
        *left + *right
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A small generator, so that every run has the same lines.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn batch(random: &mut Random, now_ns: i64) -> LogBatch {
    let mut streams = Vec::new();
    for stream in 0..STREAMS_OF_BATCH {
        let labels = Labels::from_pairs([
            ("service_name", format!("service-{stream}")),
            ("k8s_namespace_name", "shop".to_owned()),
            ("k8s_pod_name", format!("service-{stream}-7d4b9c6f5-x2x{stream}")),
        ]);
        let mut entries = LogEntries::new();
        for number in 0..RECORDS_OF_BATCH / STREAMS_OF_BATCH {
            let (user, latency) = (random.next() % 100_000, random.next() % 900);
            let status = [200, 200, 200, 404, 500][(random.next() % 5) as usize];
            let line = format!(
                "ts=2026-11-21T10:00:00.{number:06}Z caller=handler.go:214 level=info msg=\"request completed\" \
                 method=GET path=/api/v1/carts/{user}/items status={status} duration={latency}ms bytes={} peer=10.2.{}.{}",
                random.next() % 60_000,
                user % 256,
                latency % 256
            );
            let (trace_id, span_id) =
                (format!("{:016x}{:016x}", random.next(), random.next()), format!("{:016x}", random.next()));
            let (status, user) = (status.to_string(), user.to_string());
            let pairs = [
                ("trace_id", trace_id.as_str()),
                ("span_id", span_id.as_str()),
                ("severity_text", "INFO"),
                ("severity_number", "9"),
                ("detected_level", "info"),
                ("http_status_code", &status),
                ("user_id", &user),
                ("scope_name", "github.com/shop/cart/handler"),
            ];
            entries.push(now_ns + number as i64 * 100_000, &line, pairs);
        }
        streams.push(StreamEntries { labels, entries });
    }
    LogBatch { streams }
}

struct Bench {
    runtime: tokio::runtime::Runtime,
    store: LogStore,
    _folder: tempfile::TempDir,
    random: Random,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let settings = LogStoreSettings {
            flush_bytes: u64::MAX,
            flush_interval: Duration::from_secs(100_000),
            memory_bytes_max: u64::MAX,
            ..LogStoreSettings::default()
        };
        let store = {
            let _inside = runtime.enter();
            let disk = Arc::new(LocalDisk);
            let budget = MemoryBudget::new(u64::MAX);
            LogStore::open(
                disk,
                folder.path().join("logs"),
                settings,
                &Tasks::new(),
                Arc::new(SystemClock),
                budget,
            )
            .expect("a store")
        };
        Self { runtime, store, _folder: folder, random: Random(88_172_645_463_325_252) }
    }

    /// Batches for one round, made outside of what is measured.
    fn batches(&mut self, count: usize) -> Vec<LogBatch> {
        let now = SystemClock.now_ns();
        // A batch holds what a sender gathered in 10 ms.
        (0..count as i64).map(|number| batch(&mut self.random, now + number * 10_000_000)).collect()
    }

    fn append(&self, batches: Vec<LogBatch>) {
        let tenant = TenantId::default();
        self.runtime.block_on(async {
            let mut batches = batches.into_iter();
            loop {
                let group: Vec<_> = batches.by_ref().take(CONCURRENT).collect();
                if group.is_empty() {
                    return;
                }
                let appends = group.into_iter().map(|batch| self.store.append(&tenant, batch));
                for report in futures_util::future::join_all(appends).await {
                    report.expect("stored");
                }
            }
        });
    }

    fn flush(&self) {
        self.runtime.block_on(self.store.flush()).expect("flushed");
    }
}

fn text_bytes(batch: &LogBatch) -> u64 {
    batch.streams.iter().map(|stream| stream.entries.text_bytes() as u64).sum()
}

fn cpu(criterion: &mut Criterion<ProcessCpu>) {
    // About the size at which the store flushes.
    let batches_of_flush = 160;
    let bytes = text_bytes(&batch(&mut Random(7), 0));
    let mut group = criterion.benchmark_group("log_store_cpu");
    group.sample_size(10).throughput(Throughput::Bytes(bytes * batches_of_flush));
    group.bench_function("append_durable_160k_records", |bencher| {
        let mut bench = Bench::new();
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let batches = bench.batches(batches_of_flush as usize);
                let start = cpu_time();
                bench.append(batches);
                spent += cpu_time() - start;
                bench.flush();
            }
            spent
        });
    });
    group.bench_function("flush_160k_records", |bencher| {
        let mut bench = Bench::new();
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let batches = bench.batches(batches_of_flush as usize);
                bench.append(batches);
                let start = cpu_time();
                bench.flush();
                spent += cpu_time() - start;
            }
            spent
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ProcessCpu(WallTime));
    targets = cpu
}
criterion_main!(benches);
