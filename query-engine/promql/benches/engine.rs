//! Queries over 10,000 series with a sample every 15 s, one hour at a step of one minute. What is measured is the CPU
//! time of the whole process, which does not depend on what else the machine does.

#![expect(unreachable_pub, reason = "the modules of a bench program have no other user")]

#[path = "../tests/promqltest/memory_storage.rs"]
mod memory_storage;

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, criterion_group, criterion_main};
use memory_storage::MemoryStorage;
use model::{Labels, SampleColumns};
use promql::{Engine, EngineSettings, QueryOptions};
use runtime::Tasks;

const SERIES: usize = 10_000;
const MINUTE: i64 = 60_000;

fn storage() -> MemoryStorage {
    let mut storage = MemoryStorage::default();
    let bounds = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"];
    for index in 0..SERIES {
        let mut samples = SampleColumns::default();
        let mut value = 0.0;
        for sample in 0..480_i64 {
            value += ((index as i64 * 7 + sample * 13) % 17) as f64 * (1 + index % 10) as f64;
            samples.push(sample * 15_000, value);
        }
        let labels = Labels::from_pairs([
            ("__name__", "requests_bucket"),
            ("instance", &format!("host-{}", index / 10 % 100)),
            ("path", &format!("/path/{}", index / 1000)),
            ("cluster", "eu-1"),
            ("job", "api"),
            ("le", bounds[index % 10]),
        ]);
        storage.append(labels, &samples);
    }
    for index in 0..100 {
        let mut samples = SampleColumns::default();
        (0..480).for_each(|sample| samples.push(sample * 15_000, 1.0));
        let labels = Labels::from_pairs([
            ("__name__", "host_info"),
            ("instance", &format!("host-{index}")),
            ("rack", &format!("r{}", index % 7)),
        ]);
        storage.append(labels, &samples);
    }
    storage
}

/// CPU time of all threads of the process.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("below a second"))
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn queries(criterion: &mut Criterion<CpuTime>) {
    let storage = storage();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for (name, query) in [
        ("raw_selector", "requests_bucket"),
        ("sum_by_rate", "sum by (instance) (rate(requests_bucket[5m]))"),
        ("histogram_quantile", "histogram_quantile(0.99, sum by (le, path) (rate(requests_bucket[5m])))"),
        ("topk", "topk(5, rate(requests_bucket[5m]))"),
        ("join", "rate(requests_bucket[5m]) * on (instance) group_left (rack) host_info"),
        ("max_over_time_1h", "max_over_time(requests_bucket[1h])"),
        ("sum_over_time_1h", "sum_over_time(requests_bucket[1h])"),
        ("quantile_over_time_1h", "quantile_over_time(0.9, requests_bucket{path=\"/path/0\"}[1h])"),
        ("subquery", "max_over_time(sum by (instance) (rate(requests_bucket[5m]))[30m:1m])"),
    ] {
        for threads in [1, 2] {
            let settings = EngineSettings { threads, ..EngineSettings::default() };
            let engine = Engine::new(settings, Tasks::new());
            criterion.bench_function(&format!("{name}/threads_{threads}"), |bencher| {
                bencher.iter(|| {
                    let (start, end) = (60 * MINUTE, 119 * MINUTE);
                    let options = QueryOptions::default();
                    let run = engine.range(query, start, end, MINUTE, &storage, options);
                    runtime.block_on(run).expect("a valid query")
                });
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(10)
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(300));
    targets = queries
}
criterion_main!(benches);
