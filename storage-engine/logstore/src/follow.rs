//! Readers that follow the store: each has a bounded queue of copies of what is appended.
//!
//! FOLLOW-1: an entry is handed on only after it is durable and queries see it. FOLLOW-2: appends never wait for a
//! reader: what does not fit into its queue is left out, and the reader is told. FOLLOW-3: a query that begins after
//! `follow` sees every entry that is not handed on; readers are added only between appends that become visible.

use std::collections::VecDeque;
use std::sync::Arc;

use model::{Labels, Matcher, TenantId};
use parking_lot::{Mutex, RwLock};
use storage_api::{BoxFuture, Followed, LogFollow, LogFollower, StreamEntries};
use tokio::sync::Notify;

use crate::store::LogStore;

/// Bytes of entries that may wait for one reader.
const QUEUE_BYTES_MAX: usize = 4 << 20;
/// Streams with left-out entries that are named to a reader.
const DROPPED_STREAMS_MAX: usize = 100;

/// The readers of a store.
#[derive(Default)]
pub(crate) struct Followers {
    all: Arc<RwLock<Vec<Arc<Follower>>>>,
}

struct Follower {
    tenant: TenantId,
    matchers: Vec<Matcher>,
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Default)]
struct Queue {
    streams: VecDeque<StreamEntries>,
    bytes: usize,
    dropped: Vec<(Labels, i64)>,
    closed: bool,
}

/// One reader's end.
struct Follow {
    follower: Arc<Follower>,
    all: Arc<RwLock<Vec<Arc<Follower>>>>,
}

impl Followers {
    fn add(&self, tenant: &TenantId, matchers: Vec<Matcher>) -> Follow {
        let follower = Arc::new(Follower {
            tenant: tenant.clone(),
            matchers,
            queue: Mutex::default(),
            filled: Notify::new(),
        });
        self.all.write().push(Arc::clone(&follower));
        Follow { follower, all: Arc::clone(&self.all) }
    }

    /// Runs `store`, which makes durable entries visible to queries, and hands copies of them on. A reader that comes
    /// meanwhile waits until both are done: FOLLOW-3.
    pub(crate) fn storing(
        &self,
        tenant: &TenantId,
        streams: Vec<StreamEntries>,
        store: impl FnOnce(Vec<StreamEntries>),
    ) {
        let all = self.all.read();
        let of_tenant = all.iter().filter(|follower| follower.tenant == *tenant);
        let copies: Vec<_> = of_tenant
            .filter_map(|follower| {
                let copied = follower.copy(&streams);
                (!copied.is_empty()).then_some((follower, copied))
            })
            .collect();
        store(streams);
        for (follower, copied) in copies {
            follower.take(copied);
        }
    }

    /// Tells every reader that nothing more comes.
    pub(crate) fn close(&self) {
        for follower in self.all.read().iter() {
            follower.queue.lock().closed = true;
            follower.filled.notify_one();
        }
    }
}

impl Follower {
    /// What of an append this reader wants. A reader whose queue is full costs no copies.
    fn copy(&self, streams: &[StreamEntries]) -> Vec<StreamEntries> {
        let matches = |labels: &Labels| self.matchers.iter().all(|matcher| matcher.matches_labels(labels));
        let matching = streams.iter().filter(|stream| matches(&stream.labels));
        let mut room = QUEUE_BYTES_MAX.saturating_sub(self.queue.lock().bytes);
        let mut copied = Vec::new();
        for stream in matching.filter(|stream| !stream.entries.is_empty()) {
            let bytes = stream.entries.memory_bytes();
            if bytes <= room {
                room -= bytes;
                copied.push(stream.clone());
            } else {
                self.note_dropped(stream);
            }
        }
        copied
    }

    fn take(&self, streams: Vec<StreamEntries>) {
        {
            let mut queue = self.queue.lock();
            for stream in streams {
                let bytes = stream.entries.memory_bytes();
                // Appends that ran beside this one may have taken the room.
                if queue.bytes + bytes > QUEUE_BYTES_MAX {
                    queue.note_dropped(&stream);
                    continue;
                }
                queue.bytes += bytes;
                queue.streams.push_back(stream);
            }
        }
        self.filled.notify_one();
    }

    fn note_dropped(&self, stream: &StreamEntries) {
        self.queue.lock().note_dropped(stream);
        self.filled.notify_one();
    }
}

impl Queue {
    fn note_dropped(&mut self, stream: &StreamEntries) {
        let known = self.dropped.iter().any(|(labels, _)| *labels == stream.labels);
        if !known && self.dropped.len() < DROPPED_STREAMS_MAX {
            let first = stream.entries.timestamps_ns().iter().copied().min().unwrap_or(0);
            self.dropped.push((stream.labels.clone(), first));
        }
    }

    fn drain(&mut self) -> Followed {
        self.bytes = 0;
        Followed { streams: self.streams.drain(..).collect(), dropped: std::mem::take(&mut self.dropped) }
    }
}

impl LogFollow for Follow {
    fn next(&mut self) -> BoxFuture<'_, Option<Followed>> {
        Box::pin(async {
            loop {
                // `notify_one` leaves a permit, so that what comes between the look and the wait is not missed.
                {
                    let mut queue = self.follower.queue.lock();
                    if !queue.streams.is_empty() || !queue.dropped.is_empty() {
                        return Some(queue.drain());
                    }
                    if queue.closed {
                        return None;
                    }
                }
                self.follower.filled.notified().await;
            }
        })
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.all.write().retain(|other| !Arc::ptr_eq(other, &self.follower));
    }
}

impl LogFollower for LogStore {
    fn follow(&self, tenant: &TenantId, matchers: Vec<Matcher>) -> Box<dyn LogFollow> {
        Box::new(self.followers().add(tenant, matchers))
    }
}

#[cfg(test)]
mod tests;
