//! A queued batch as a record of the queue's log, version 1 (`docs/formats/queue-v1.md`).
//!
//! Integers are little-endian. The payload comes last and has no length of its own.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use model::{Signal, TenantId};

use crate::{Batch, ClientMetadata};

const VERSION: u8 = 1;

/// Names and values of one sender; more than any receiver takes in headers.
const METADATA_MAX: usize = 4096;

/// Writes a batch. Metadata past its limits is left out: it serves to keep batches apart, not to be delivered.
pub fn encode_queued(batch: &Batch) -> Vec<u8> {
    let ClientMetadata { address, metadata } = &*batch.client;
    let pairs = metadata.iter().filter(|(name, value)| fits(name) && fits(value)).take(METADATA_MAX);
    let mut out = Vec::with_capacity(64 + batch.payload.len());
    out.push(VERSION);
    out.push(batch.signal as u8);
    out.extend_from_slice(&batch.items.to_le_bytes());
    put_text(&mut out, batch.tenant.as_str());
    put_text(&mut out, address.as_deref().filter(|address| fits(address)).unwrap_or_default());
    let count = u16::try_from(pairs.clone().count()).expect("at most METADATA_MAX");
    out.extend_from_slice(&count.to_le_bytes());
    for (name, value) in pairs {
        put_text(&mut out, name);
        put_text(&mut out, value);
    }
    out.extend_from_slice(&batch.payload);
    out
}

fn fits(text: &str) -> bool {
    u16::try_from(text.len()).is_ok()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).expect("tenant ids are short, the others were filtered by `fits`");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Why a record is not a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum EntryError {
    /// A newer program wrote it.
    Version(u8),
    /// Not what `encode_queued` writes.
    Malformed,
}

/// Reads a record. The payload is a slice of it.
pub fn decode_queued(mut record: Bytes) -> Result<Batch, EntryError> {
    let malformed = EntryError::Malformed;
    match record.try_get_u8() {
        Ok(VERSION) => {}
        Ok(version) => return Err(EntryError::Version(version)),
        Err(_) => return Err(malformed),
    }
    let parts = (|| {
        let signal = record.try_get_u8().ok()?;
        let signal = Signal::ALL.into_iter().find(|known| *known as u8 == signal)?;
        let items = record.try_get_u64_le().ok()?;
        let tenant = TenantId::new(&take_text(&mut record)?).ok()?;
        let address = Some(take_text(&mut record)?).filter(|address| !address.is_empty());
        let count = record.try_get_u16_le().ok()?;
        let mut metadata = Vec::new();
        for _ in 0..count {
            metadata.push((take_text(&mut record)?, take_text(&mut record)?));
        }
        Some((signal, items, tenant, ClientMetadata { address, metadata }))
    })();
    let (signal, items, tenant, client) = parts.ok_or(malformed)?;
    Ok(Batch { signal, tenant, payload: record, items, client: Arc::new(client), reservation: None })
}

fn take_text(record: &mut Bytes) -> Option<String> {
    let len = usize::from(record.try_get_u16_le().ok()?);
    if len > record.len() {
        return None;
    }
    String::from_utf8(record.split_to(len).to_vec()).ok()
}

#[cfg(test)]
mod tests;
