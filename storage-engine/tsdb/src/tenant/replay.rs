//! Replay of a tenant's checkpoint and log: one reader, workers that fill the head.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use format::head_record::METADATA;
use model::MetricMetadata;
use parking_lot::Mutex;

use super::metadata::restore_metadata;
use crate::error::TsdbError;
use crate::head::replay::Restored;
use crate::head::{Head, SHARDS};

/// Records that wait for a replay worker: enough to keep it busy, little memory.
const REPLAY_QUEUE: usize = 64;

/// More workers than this only wait for the reader.
const REPLAY_WORKERS_MAX: u32 = 4;

/// Runs `open`, which reads checkpoint and log, with workers that fill the head: each owns some shards and gets every
/// record, so the records of a shard are applied in order.
pub(super) fn replay<T>(
    head: &Head,
    metadata: &Mutex<BTreeMap<String, MetricMetadata>>,
    open: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<T, TsdbError>,
) -> Result<(T, Restored), TsdbError> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = u32::try_from(cores).unwrap_or(REPLAY_WORKERS_MAX).min(REPLAY_WORKERS_MAX).min(SHARDS);
    // Scoped threads: they are joined before this returns, so no task set needs to own them.
    std::thread::scope(|scope| {
        let start = |worker: u32| {
            let (sender, records) = sync_channel::<Arc<[u8]>>(REPLAY_QUEUE);
            (sender, scope.spawn(move || restore_all(head, &records, |shard| shard % workers == worker)))
        };
        let (senders, threads): (Vec<SyncSender<_>>, Vec<_>) = (0..workers).map(start).unzip();
        let opened = open(&mut |record| match record.split_first() {
            Some((&METADATA, items)) => restore_metadata(items, metadata),
            Some(_) => {
                let record: Arc<[u8]> = record.into();
                for sender in &senders {
                    // A worker ends only when its channel does.
                    sender
                        .send(Arc::clone(&record))
                        .expect("the worker is there until the sender is dropped");
                }
            }
            None => {}
        });
        drop(senders);
        let mut total = Restored::default();
        for thread in threads {
            let restored = thread.join().expect("a replay worker does not panic");
            total.samples += restored.samples;
            total.unknown += restored.unknown;
        }
        opened.map(|opened| (opened, total))
    })
}

fn restore_all(head: &Head, records: &Receiver<Arc<[u8]>>, mine: impl Fn(u32) -> bool) -> Restored {
    let mut total = Restored::default();
    for record in records {
        match head.restore(&record, &mine) {
            Ok(restored) => {
                total.samples += restored.samples;
                total.unknown += restored.unknown;
            }
            // Its checksum was right, so it was written like that: a defect of ours, or another version's record.
            Err(error) => tracing::error!(%error, "a record in the log cannot be read to its end"),
        }
    }
    total
}
