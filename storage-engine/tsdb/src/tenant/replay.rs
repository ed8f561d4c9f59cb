//! Replay of a tenant's checkpoint and log: one reader, workers that fill the head.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use format::FormatError;
use format::head_record::METADATA;
use model::MetricMetadata;
use parking_lot::Mutex;

use super::metadata::restore_metadata;
use crate::error::TsdbError;
use crate::head::replay::{Restored, Restorer};
use crate::head::{Head, SHARDS};

/// Records are handed to the workers in bundles of about this size: a wake-up for each record would cost more than it.
const BUNDLE_BYTES: usize = 256 << 10;

/// Bundles that wait for a replay worker: enough to keep it busy, little memory.
const REPLAY_QUEUE: usize = 8;

/// More workers than this only wait for the reader.
const REPLAY_WORKERS_MAX: u32 = 4;

/// Records one after the other.
#[derive(Default)]
struct Bundle {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Bundle {
    fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

/// Runs `open`, which reads checkpoint and log, with workers that fill the head: each owns some shards and gets every
/// record, so the records of a shard are applied in order.
///
/// Fails with what `open` fails with, and when a record cannot be read: its checksum was right, so it was written like
/// that, by another version.
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
            let (sender, bundles) = sync_channel::<Arc<Bundle>>(REPLAY_QUEUE);
            let restorer = Restorer::new(head, move |shard| shard % workers == worker);
            (sender, scope.spawn(move || restore_all(restorer, &bundles)))
        };
        let (senders, threads): (Vec<SyncSender<_>>, Vec<_>) = (0..workers).map(start).unzip();
        let (mut bundle, mut unreadable) = (Bundle::default(), None);
        let opened = open(&mut |record| match record.split_first() {
            Some((&METADATA, items)) => {
                if let Err(error) = restore_metadata(items, metadata) {
                    unreadable.get_or_insert(error);
                }
            }
            _ => {
                bundle.push(record);
                if bundle.bytes.len() >= BUNDLE_BYTES {
                    send(std::mem::take(&mut bundle), &senders);
                }
            }
        });
        send(bundle, &senders);
        drop(senders);
        let mut total = Restored::default();
        for thread in threads {
            match thread.join().expect("a replay worker does not panic") {
                Ok(restored) => {
                    total.merge(restored);
                }
                Err(error) => _ = unreadable.get_or_insert(error),
            }
        }
        let opened = opened?;
        // The next checkpoint would leave it out for good.
        unreadable.map_or(Ok((opened, total)), |error| Err(TsdbError::Record { error }))
    })
}

fn send(bundle: Bundle, workers: &[SyncSender<Arc<Bundle>>]) {
    let bundle = Arc::new(bundle);
    for worker in workers {
        // A worker ends only when its channel does.
        worker.send(Arc::clone(&bundle)).expect("the worker is there until the sender is dropped");
    }
}

fn restore_all<F: Fn(u32) -> bool>(
    mut restorer: Restorer<'_, F>,
    bundles: &Receiver<Arc<Bundle>>,
) -> Result<Restored, FormatError> {
    let mut unreadable = None;
    for bundle in bundles {
        for record in bundle.records() {
            if let Err(error) = restorer.apply(record) {
                unreadable.get_or_insert(error);
            }
        }
    }
    unreadable.map_or_else(|| Ok(restorer.finish()), Err)
}
