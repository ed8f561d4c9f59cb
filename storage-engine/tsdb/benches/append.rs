//! Appends to known series through the whole durable path, on a temporary folder: CPU a sample, memory a series, log
//! bytes a sample, and the time to replay; then a flush to blocks: CPU, memory and size a sample, and the start after. `cargo bench -p tsdb`; `TMPDIR` chooses the disk.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use futures_util::StreamExt;
use futures_util::stream;
use model::{Labels, MatchOp, Matcher, SampleColumns, TenantId, TimeRange};
use runtime::{LocalDisk, SystemClock, Tasks};
use storage_api::{MetricsAdmin, MetricsAppender, MetricsQuerier, MetricsSelect, SampleBatch, SeriesRef};
use tsdb::{Tsdb, TsdbSettings};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERIES: usize = 109_440;
/// Samples of a request, and requests under way at a time.
const REQUEST: usize = 1000;
const REQUESTS: usize = 32;
const INTERVAL_MS: i64 = 15_000;
const START_MS: i64 = 1_700_000_000_000;

/// User and system CPU seconds of this process.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("has a name").split(' ').collect();
    let ticks = |field: usize| fields[field].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

/// Resident bytes of this process.
fn rss_bytes() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux has it");
    statm.split(' ').nth(1).expect("has fields").parse::<f64>().expect("a number") * 4096.0
}

/// Highest resident bytes of this process since the last call with `reset`.
fn rss_peak_bytes(reset: bool) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux has it");
    let peak = line.split_whitespace().nth(1).expect("a number").parse::<f64>().expect("a number") * 1024.0;
    if reset {
        fs::write("/proc/self/clear_refs", "5").expect("Linux takes it");
    }
    peak
}

fn folder_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("readable"));
    entries
        .map(|e| if e.path().is_dir() { folder_bytes(&e.path()) } else { e.metadata().expect("there").len() })
        .sum()
}

/// Ten labels with about 208 bytes, as a cluster's metrics have them: 20 series to a pod.
fn labels(series: usize) -> Labels {
    let pod = series / 20;
    Labels::from_pairs([
        ("__name__", format!("container_network_receive_bytes_{}_total", series % 20)),
        ("cluster", "production-eu-1".to_owned()),
        ("container", "application".to_owned()),
        ("endpoint", "https-metrics".to_owned()),
        ("instance", format!("10.12.{}.{}:10250", pod / 250, pod % 250)),
        ("job", "kubelet".to_owned()),
        ("namespace", format!("team-{}", pod % 40)),
        ("node", format!("ip-10-12-{}.internal", pod / 30)),
        ("pod", format!("application-{:x}-{pod}", pod * 2_654_435_761 % 0xffff_ffff)),
        ("service", "kubelet-service".to_owned()),
    ])
}

/// Counters, gauges and constants, mixed.
fn value(series: usize, round: i64) -> f64 {
    let noise = (series as i64 * 31 + round * 17) % 97;
    match series % 5 {
        0 | 1 => (round * 1000 + noise * 7) as f64,
        2 => 0.37 * noise as f64,
        3 => (round * 60 + noise) as f64,
        _ => 1.0,
    }
}

fn open(dir: &Path) -> Tsdb {
    Tsdb::open(Arc::new(LocalDisk), dir.into(), TsdbSettings::default(), Tasks::new(), Arc::new(SystemClock))
        .expect("opens")
}

/// One round: a sample for every series, in requests of which some are under way together.
async fn append_round(store: &Tsdb, refs: &[SeriesRef], round: i64) {
    let tenant = TenantId::default();
    let requests = refs.chunks(REQUEST).enumerate().map(|(number, refs)| {
        let time = START_MS + round * INTERVAL_MS;
        let values = (0..refs.len()).map(|i| value(number * REQUEST + i, round)).collect();
        let timestamps_ms = vec![time; refs.len()];
        let batch = SampleBatch { refs: refs.to_vec(), timestamps_ms, values, ..SampleBatch::default() };
        store.append(&tenant, batch)
    });
    let mut answers = stream::iter(requests).buffer_unordered(REQUESTS);
    while let Some(answer) = answers.next().await {
        assert_eq!(answer.expect("durable").report.rejected_count(), 0);
    }
}

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("starts");
    let dir = tempfile::tempdir().expect("a folder");
    let tenant = TenantId::default();
    let store = open(dir.path());
    let (before, start) = (rss_bytes(), Instant::now());
    let refs: Vec<_> =
        (0..SERIES).map(|series| store.series(&tenant, &labels(series)).expect("within limits")).collect();
    println!("new series: {:.2} µs each", start.elapsed().as_secs_f64() * 1e6 / SERIES as f64);
    let (mut round, mut appended) = (0, 0.0);
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    while round < 60 {
        runtime.block_on(append_round(&store, &refs, round));
        round += 1;
        appended += SERIES as f64;
    }
    println!(
        "durable append: {:.0} samples/s, {:.3} CPU-µs/sample",
        appended / wall.elapsed().as_secs_f64(),
        (cpu_seconds() - cpu) * 1e6 / appended,
    );
    println!(
        "memory at {SERIES} series with {round} samples: {:.0} B RSS each, {:.0} B by its own count",
        (rss_bytes() - before) / SERIES as f64,
        store.head_stats(&tenant).memory_bytes as f64 / SERIES as f64,
    );
    println!("log: {:.2} B/sample with its series", folder_bytes(dir.path()) as f64 / appended);

    let mut criterion = Criterion::default().measurement_time(Duration::from_secs(5)).sample_size(10);
    let mut group = criterion.benchmark_group("tsdb");
    group.throughput(Throughput::Elements(SERIES as u64));
    group.bench_function("append a sample to each of 109440 series", |bencher| {
        bencher.iter(|| {
            runtime.block_on(append_round(&store, &refs, round));
            round += 1;
        });
    });
    let select = MetricsSelect {
        tenant: tenant.clone(),
        range: TimeRange::ALL,
        matchers: vec![
            Matcher::equal("__name__", "container_network_receive_bytes_3_total"),
            Matcher::new("namespace", MatchOp::Regex, "team-1.*").expect("valid"),
        ],
    };
    let mut columns = SampleColumns::default();
    let mut read = || {
        columns.clear();
        let found = runtime.block_on(store.select(&select)).expect("reads");
        found.iter().for_each(|series| series.chunks.decode(TimeRange::ALL, &mut columns).expect("decodes"));
        black_box(columns.len())
    };
    group.throughput(Throughput::Elements(read() as u64));
    group.bench_function("select 1500 series and decode their samples", |bencher| bencher.iter(&mut read));
    group.finish();

    runtime.block_on(store.close());
    drop(store);
    let store = replay(dir.path(), "log", round);
    let tenant_dir = dir.path().join("default");
    let (start, cpu, before) = (Instant::now(), cpu_seconds(), rss_bytes());
    rss_peak_bytes(true);
    runtime.block_on(store.flush(&tenant)).expect("flushes");
    let samples = round as f64 * SERIES as f64;
    let blocks = runtime.block_on(store.blocks(&tenant)).expect("lists");
    println!(
        "flush: {:.2} s, {:.3} CPU-µs/sample, {:.2} B/sample in {} blocks, RSS {:.0} MB before, {:.0} MB at most, {:.0} \
         MB after",
        start.elapsed().as_secs_f64(),
        (cpu_seconds() - cpu) * 1e6 / samples,
        blocks.iter().map(|block| block.bytes).sum::<u64>() as f64 / samples,
        blocks.len(),
        before / 1e6,
        rss_peak_bytes(false) / 1e6,
        rss_bytes() / 1e6,
    );
    println!("log and checkpoint after it: {} bytes", folder_bytes(&tenant_dir.join("wal")));
    runtime.block_on(store.close());
    drop(store);
    replay(dir.path(), "blocks", round);
}

fn replay(dir: &Path, of: &str, rounds: i64) -> Tsdb {
    let start = Instant::now();
    let store = open(dir);
    let samples = rounds as f64 * SERIES as f64;
    println!(
        "start with {samples:.0} samples in the {of}: {:.2} s, {:.2} s per million, {} series in the head",
        start.elapsed().as_secs_f64(),
        start.elapsed().as_secs_f64() * 1e6 / samples,
        store.head_stats(&TenantId::default()).series,
    );
    store
}
