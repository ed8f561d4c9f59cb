//! Fills a folder with the blocks of two replicas, as two stores would have shipped them: counters with resets, gauges and
//! native histograms, every two hours a block, and hours in which a replica was away. For measuring compaction beside
//! Thanos: `interop/compact.py` runs it.
//!
//! `make_bucket FOLDER DAYS SERIES STEP_SECONDS`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bucket::{Bucket, Source, ThanosMeta, upload_block};
use format::{BlockMeta, ChunkSample, Recoder};
use model::{BucketSpan, IntegerBuckets, IntegerHistogram, Labels, NativeHistogram};
use object_store::local::LocalFileSystem;
use runtime::{Clock, Disk, LocalDisk, SystemClock};
use tsdb::block::{BlockChunk, BlockWriter};
use ulid::Ulid;

const HOUR_MS: i64 = 3_600_000;

/// The beginning of two weeks as compaction cuts them.
const START_MS: i64 = 1_209_600_000 * 1405;

/// Samples of a chunk.
const CHUNK_SAMPLES: i64 = 120;

/// Numbers that look random and are the same each time (splitmix64).
fn noise(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn sample(series: u64, time_ms: i64) -> ChunkSample {
    let at = time_ms / 1000;
    let roll = noise(series << 32 ^ at.cast_unsigned());
    match series % 20 {
        0 => {
            let count = 5 + (at.cast_unsigned() + series * 911) % 90_000;
            let histogram = IntegerHistogram {
                schema: 3,
                zero_threshold: 0.001,
                count,
                sum: count as f64 * 0.5,
                positive: IntegerBuckets {
                    spans: vec![BucketSpan { offset: 0, length: 2 }],
                    deltas: vec![2, count.cast_signed() - 4],
                },
                ..IntegerHistogram::default()
            };
            ChunkSample::Histogram(NativeHistogram::Integer(Arc::new(histogram)))
        }
        1..=12 => ChunkSample::Float((at + series.cast_signed() * 7919).rem_euclid(150_000) as f64),
        _ => ChunkSample::Float(f64::from((roll % 100_000) as u32) / 16.0),
    }
}

fn labels(series: u64) -> Labels {
    let kind = ["histogram", "counter", "gauge"]
        [if series.is_multiple_of(20) { 0 } else { 1 + usize::from(series % 20 > 12) }];
    Labels::from_pairs([
        ("__name__", format!("test_{kind}_{}", series % 97)),
        ("instance", format!("host-{:03}", series % 211)),
        ("series", format!("{series:06}")),
    ])
}

/// One block of two hours; `None` when the replica was away.
fn block(dir: &Path, replica: u64, hour: i64, order: &[(Labels, u64)], step_ms: i64) -> Option<PathBuf> {
    // A tenth of the blocks of one replica, others of the other.
    if noise(replica << 40 | hour.cast_unsigned()) % 10 == replica {
        return None;
    }
    let from_ms = START_MS + hour * HOUR_MS;
    let offset_ms = if replica == 0 { 0 } else { 4000 };
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
    let ulid = Ulid::from_parts((from_ms + 2 * HOUR_MS).cast_unsigned(), u128::from(noise(replica) >> 1));
    let mut writer = BlockWriter::create(&disk, dir, ulid).expect("a folder of its own");
    for (labels, series) in order {
        let mut recoder = Recoder::default();
        let mut written = Vec::new();
        for (at, time_ms) in
            (from_ms + offset_ms..from_ms + 2 * HOUR_MS).step_by(step_ms as usize).enumerate()
        {
            if at as i64 % CHUNK_SAMPLES == 0 {
                written.extend(std::mem::take(&mut recoder).finish());
            }
            recoder.push(time_ms, &sample(*series, time_ms));
        }
        written.extend(recoder.finish());
        let chunks: Vec<BlockChunk<'_>> = written
            .iter()
            .map(|(range, encoding, data)| BlockChunk { range: *range, encoding: *encoding, data })
            .collect();
        writer.add_series(labels, &chunks).expect("in order");
    }
    let meta = BlockMeta::new(ulid, from_ms, from_ms + 2 * HOUR_MS);
    writer.finish(meta).expect("the disk has room").map(|meta| dir.join(meta.ulid.to_string()))
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, days, series, step_s] = arguments.as_slice() else {
        panic!("make_bucket FOLDER DAYS SERIES STEP_SECONDS");
    };
    let number = |text: &String| text.parse::<i64>().expect("a number");
    let (days, series, step_ms) = (number(days), number(series), number(step_s) * 1000);
    let folder = Path::new(folder);
    let work = folder.with_extension("work");
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::create_dir_all(&work).expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let store = LocalFileSystem::new_with_prefix(folder).expect("a folder");
    let bucket = Bucket::new(Arc::new(store), "made", runtime.handle().clone());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut order: Vec<(Labels, u64)> =
        (0..series.cast_unsigned()).map(|number| (labels(number), number)).collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for hour in (0..days * 24).step_by(2) {
        for replica in 0..2 {
            let Some(made) = block(&work, replica, hour, &order, step_ms) else { continue };
            let name = if replica == 0 { "a" } else { "b" };
            let labels = BTreeMap::from([
                ("cluster".to_owned(), "c".to_owned()),
                ("replica".to_owned(), name.to_owned()),
            ]);
            let thanos = ThanosMeta::new(labels, 0, Source::Receive);
            upload_block(&bucket, &LocalDisk, &*clock, &made, thanos, &mut |_| {})
                .expect("it can be uploaded");
            std::fs::remove_dir_all(&made).expect("it is there");
        }
    }
    std::fs::remove_dir_all(&work).expect("it is there");
}
