//! The write-ahead log of both stores: checksummed records in numbered segments, one fsync for all waiting writers.
//!
//! One thread per log takes everything that waits, writes it with one call and syncs once; while it syncs, the next
//! group gathers. Cost per record: one copy, one CRC32C pass, one wake-up.
//!
//! Invariants, quoted by asserts and tests:
//! - WAL-1: a ticket resolves `Ok` only when its record and all before it are as durable as the settings ask for.
//! - WAL-2: replay gives every acknowledged record, in order, each once, and no record that was not appended.
//! - WAL-3: a record taken by `append` is written even if its ticket failed, unless the process ends before; so what
//!   the caller did in memory and what is in the log agree again once the disk recovers.
//! - WAL-4: after a failed write nothing is added to that segment; the next one starts with what is not durable yet.
//!
//! The bytes are described in `docs/formats/wal.md`. What a record means is the store's business.

mod error;
mod filenames;
mod frame;
mod log;
mod metrics;
mod reader;
mod replay;
mod settings;
mod writer;

pub use error::WalError;
pub use log::{Permit, Prepared, Ticket, Wal};
pub use reader::Reader;
pub use replay::{Damage, Record, ReplayReport};
pub use settings::{Durability, RECORD_BYTES_MAX, WalSettings};

#[cfg(test)]
mod tests;
