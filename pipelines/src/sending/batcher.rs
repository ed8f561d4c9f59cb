//! `sending_queue.batch`: joins small batches and splits large ones between the queue and its consumers.
//!
//! Batches of different signals, tenants and chosen client metadata stay apart. A queue keeps its batches until the
//! deliveries that they went into are settled, so nothing here is lost with a queue on disk.

use std::sync::Arc;

use bytes::Bytes;
use model::{Signal, TenantId};
use runtime::MemoryBudget;
use tokio::time::Instant;
use wire::otlp::{PartsRoom, merge, split_within};

use super::config::{QueueBatchConfig, Sizer};
use super::taken::Taken;
use crate::Batch;

/// What a consumer delivers at once.
pub(super) struct Joined {
    pub(super) batch: Batch,
    /// Whose pieces are in it.
    pub(super) of: Vec<Arc<Taken>>,
}

/// Batches that are being joined.
pub(super) struct Batcher {
    config: QueueBatchConfig,
    budget: Arc<MemoryBudget>,
    /// The oldest first.
    open: Vec<Open>,
    /// Bytes in `open`.
    bytes: usize,
    bytes_max: usize,
}

/// Kinds of batches that are joined at the same time; with more, the oldest leaves early.
const OPEN_MAX: usize = 1000;

/// Bytes that are joined at the same time; past them the oldest leaves early. A queue on disk may hold far more than
/// memory does, and reads on for as long as batches are joined.
const OPEN_BYTES_MAX: usize = 128 << 20;

struct Open {
    signal: Signal,
    tenant: TenantId,
    /// Values of the metadata that keeps batches apart.
    key: Vec<Option<String>>,
    due: Instant,
    size: u64,
    pieces: Vec<Batch>,
    of: Vec<Arc<Taken>>,
}

impl Batcher {
    pub(super) fn new(config: QueueBatchConfig, budget: Arc<MemoryBudget>) -> Self {
        let enough = match config.sizer {
            // Two batches of any size that is asked for can be joined side by side.
            Sizer::Bytes => usize::try_from(config.min_size).unwrap_or(usize::MAX).saturating_mul(2),
            _ => 0,
        };
        Self { config, budget, open: Vec::new(), bytes: 0, bytes_max: enough.max(OPEN_BYTES_MAX) }
    }

    /// Adds a batch and returns what is to leave now.
    pub(super) fn add(&mut self, batch: Batch, taken: Arc<Taken>, now: Instant) -> Vec<Joined> {
        let mut leaving = Vec::new();
        let pieces = self.pieces(&batch);
        taken.in_pieces(pieces.len());
        for piece in pieces {
            self.add_piece(piece, Arc::clone(&taken), now, &mut leaving);
        }
        leaving
    }

    fn add_piece(&mut self, piece: Batch, taken: Arc<Taken>, now: Instant, leaving: &mut Vec<Joined>) {
        let QueueBatchConfig { sizer, min_size, max_size, flush_timeout, .. } = self.config;
        let key = self.key(&piece);
        let size = sizer.size(&piece);
        let same =
            |open: &Open| open.signal == piece.signal && open.tenant == piece.tenant && open.key == key;
        let mut found = self.open.iter().position(same);
        if let Some(at) = found
            && max_size > 0
            && self.open[at].size + size > max_size
        {
            leaving.push(self.close(at));
            found = None;
        }
        let at = found.unwrap_or_else(|| {
            if self.open.len() >= OPEN_MAX {
                leaving.push(self.close(0));
            }
            let (signal, tenant) = (piece.signal, piece.tenant.clone());
            let due = now + flush_timeout.0;
            self.open.push(Open { signal, tenant, key, due, size: 0, pieces: Vec::new(), of: Vec::new() });
            self.open.len() - 1
        });
        let open = &mut self.open[at];
        open.size += size;
        self.bytes += piece.payload.len();
        open.pieces.push(piece);
        open.of.push(taken);
        if open.size >= min_size {
            leaving.push(self.close(at));
        }
        while self.bytes > self.bytes_max {
            leaving.push(self.close(0));
        }
    }

    fn close(&mut self, at: usize) -> Joined {
        let open = self.open.remove(at);
        self.bytes -= open.pieces.iter().map(|piece| piece.payload.len()).sum::<usize>();
        open.close(&self.budget)
    }

    /// Bytes that are being joined.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the next batch is due, whatever its size. The oldest is the first.
    pub(super) fn due(&self) -> Option<Instant> {
        self.open.first().map(|open| open.due)
    }

    /// What is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Joined> {
        let due = self.open.iter().take_while(|open| open.due <= now).count();
        (0..due).map(|_| self.close(0)).collect()
    }

    /// Everything.
    pub(super) fn take_all(&mut self) -> Vec<Joined> {
        (0..self.open.len()).map(|_| self.close(0)).collect()
    }

    fn key(&self, batch: &Batch) -> Vec<Option<String>> {
        let value = |key: &String| {
            let pairs = batch.client.metadata.iter();
            let mut named = pairs.filter(|(name, _)| name.eq_ignore_ascii_case(key));
            named.next().map(|(_, value)| value.clone())
        };
        self.config.partition.metadata_keys.iter().map(value).collect()
    }

    /// The batch in pieces of at most the largest size, if that is possible.
    fn pieces(&self, batch: &Batch) -> Vec<Batch> {
        let parts = match self.config.max_size {
            0 => None,
            max => self.config.sizer.split(batch.signal, &batch.payload, batch.items, max).ok(),
        };
        let with = |(payload, items)| Batch { payload, items, ..batch.clone() };
        match parts {
            Some(parts) if parts.len() > 1 => parts.into_iter().map(with).collect(),
            _ => vec![batch.clone()],
        }
    }
}

/// Parts of at most `bytes_max`, down to single items; `None` when the payload cannot be split.
pub(super) fn split_bytes(
    signal: Signal,
    payload: &Bytes,
    items: u64,
    bytes_max: u64,
    room: &mut PartsRoom,
) -> Option<Vec<(Bytes, u64)>> {
    let bytes = payload.len() as u64;
    if bytes <= bytes_max || items <= 1 {
        return Some(vec![(payload.clone(), items)]);
    }
    // Headers are repeated in every part, so the first guess may be too large; then the part is split again.
    let items_max = (items * bytes_max / bytes).clamp(1, items - 1);
    let mut parts = Vec::new();
    for (part, part_items) in split_within(signal, payload, items_max, room).ok()? {
        match part_items < items {
            true => parts.extend(split_bytes(signal, &part, part_items, bytes_max, room)?),
            false => parts.push((part, part_items)),
        }
    }
    Some(parts)
}

impl Open {
    fn close(self, budget: &Arc<MemoryBudget>) -> Joined {
        let first = self.pieces.first().cloned().expect("an open batch has a piece");
        if self.pieces.len() == 1 {
            return Joined { batch: first, of: self.of };
        }
        let payloads: Vec<Bytes> = self.pieces.iter().map(|piece| piece.payload.clone()).collect();
        let items = self.pieces.iter().map(|piece| piece.items).sum();
        let payload = merge(&payloads);
        let reservation = Some(Arc::new(budget.reserve_unchecked(payload.len() as u64)));
        Joined { batch: Batch { payload, items, reservation, ..first }, of: self.of }
    }
}

#[cfg(test)]
mod tests;
