//! The list of a log store's data files, as bytes.
//!
//! Layout: magic, version, flushed generation, files, CRC32C of all before it. Written whole each time. On a local disk
//! (version 1) it is put in place by renaming, so a reader sees one state or the next. In an object store (version 2)
//! each state is an object of its own, which names all processes that write to the store and what was taken out lately.

use model::TenantId;

use crate::log_cursor::{Cursor, put_text, put_varint, put_zigzag};
use crate::log_error::{LogFormatError, LogFormatResult};

const UNIT: &str = "log manifest";
const MAGIC: &[u8; 8] = b"TGLOGMAN";
/// On a local disk.
const VERSION_LOCAL: u16 = 1;
/// In an object store.
const VERSION_SHARED: u16 = 2;

/// Which data files make up a log store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogManifest {
    /// Every write-ahead record up to this generation is in the files.
    pub flushed_generation: u64,
    /// The files in no order.
    pub files: Vec<LogManifestFile>,
    /// What a store that several processes share has besides; `None` on a local disk.
    pub shared: Option<LogManifestShared>,
}

/// What the manifest of a log store in an object store has besides the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogManifestShared {
    /// Every process that ever wrote to it.
    pub writers: Vec<LogWriter>,
    /// Files that were taken out lately: who still reads by an older manifest finds their objects.
    pub removed: Vec<LogRemoved>,
}

/// A process that writes to a log store in an object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogWriter {
    /// Who.
    pub id: u128,
    /// Every record up to this generation of its write-ahead log is in the files.
    pub flushed_generation: u64,
    /// Unlike that of any other manifest: which one it wrote last.
    pub commit: u128,
}

/// A file that is no longer of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRemoved {
    /// The identifier in its name.
    pub id: u128,
    /// When it was taken out, ms since 1970.
    pub at_ms: i64,
}

/// A data file: what is needed to decide whether to open it, and to open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogManifestFile {
    /// Whose entries.
    pub tenant: TenantId,
    /// Path below the tenant's folder, `/` between parts.
    pub path: String,
    /// Size of the file.
    pub file_bytes: u64,
    /// Where the index starts.
    pub index_offset: u64,
    /// Bytes of the index.
    pub index_bytes: u32,
    /// How many entries.
    pub rows: u64,
    /// Bytes of lines and metadata.
    pub text_bytes: u64,
    /// The oldest entry, ns.
    pub min_ns: i64,
    /// The newest entry, ns.
    pub max_ns: i64,
}

impl LogManifest {
    /// The manifest as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let version = if self.shared.is_some() { VERSION_SHARED } else { VERSION_LOCAL };
        out.extend_from_slice(&version.to_le_bytes());
        put_varint(self.flushed_generation, &mut out);
        if let Some(shared) = &self.shared {
            shared.encode(&mut out);
        }
        put_varint(self.files.len() as u64, &mut out);
        for file in &self.files {
            put_text(file.tenant.as_str(), &mut out);
            put_text(&file.path, &mut out);
            for number in
                [file.file_bytes, file.index_offset, file.index_bytes.into(), file.rows, file.text_bytes]
            {
                put_varint(number, &mut out);
            }
            put_zigzag(file.min_ns, &mut out);
            put_zigzag(file.max_ns, &mut out);
        }
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads a manifest back.
    pub fn decode(bytes: &[u8]) -> LogFormatResult<Self> {
        let damaged = |reason| LogFormatError::damaged(UNIT, reason);
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("it ends early"))?;
        let mut cursor = Cursor::new(UNIT, body);
        if cursor.bytes(MAGIC.len())? != MAGIC {
            return Err(damaged("it does not start with its magic"));
        }
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(damaged("its checksum is wrong"));
        }
        let version = cursor.u16()?;
        if version != VERSION_LOCAL && version != VERSION_SHARED {
            return Err(LogFormatError::Version { unit: UNIT, got: version, known: VERSION_SHARED });
        }
        let flushed_generation = cursor.varint()?;
        let shared =
            (version == VERSION_SHARED).then(|| LogManifestShared::decode(&mut cursor)).transpose()?;
        let count = cursor.count(9)?;
        let mut files = Vec::with_capacity(count);
        for _ in 0..count {
            files.push(LogManifestFile {
                tenant: TenantId::new(cursor.text()?).map_err(|_| damaged("a tenant id breaks the rules"))?,
                path: cursor.text()?.to_owned(),
                file_bytes: cursor.varint()?,
                index_offset: cursor.varint()?,
                index_bytes: cursor.varint_u32()?,
                rows: cursor.varint()?,
                text_bytes: cursor.varint()?,
                min_ns: cursor.zigzag()?,
                max_ns: cursor.zigzag()?,
            });
        }
        cursor.finish()?;
        Ok(Self { flushed_generation, files, shared })
    }
}

impl LogManifestShared {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.writers.len() as u64, out);
        for writer in &self.writers {
            out.extend_from_slice(&writer.id.to_le_bytes());
            put_varint(writer.flushed_generation, out);
            out.extend_from_slice(&writer.commit.to_le_bytes());
        }
        put_varint(self.removed.len() as u64, out);
        for removed in &self.removed {
            out.extend_from_slice(&removed.id.to_le_bytes());
            put_zigzag(removed.at_ms, out);
        }
    }

    fn decode(cursor: &mut Cursor<'_>) -> LogFormatResult<Self> {
        let mut shared = Self::default();
        for _ in 0..cursor.count(33)? {
            shared.writers.push(LogWriter {
                id: cursor.u128()?,
                flushed_generation: cursor.varint()?,
                commit: cursor.u128()?,
            });
        }
        for _ in 0..cursor.count(17)? {
            shared.removed.push(LogRemoved { id: cursor.u128()?, at_ms: cursor.zigzag()? });
        }
        Ok(shared)
    }
}

#[cfg(test)]
mod tests {
    use super::{LogManifest, LogManifestFile, LogManifestShared, LogRemoved, LogWriter, TenantId};

    #[test]
    fn a_manifest_comes_back_and_every_damaged_byte_is_noticed() {
        let file = LogManifestFile {
            tenant: TenantId::new("a.b").expect("a valid id"),
            path: "2026-11-21/10/01J.parquet".to_owned(),
            file_bytes: 1 << 40,
            index_offset: 77,
            index_bytes: u32::MAX,
            rows: 3,
            text_bytes: 0,
            min_ns: i64::MIN,
            max_ns: i64::MAX,
        };
        let writer = |id| LogWriter { id, flushed_generation: 1 << 50, commit: u128::MAX - id };
        let shared = LogManifestShared {
            writers: vec![writer(1), writer(2)],
            removed: vec![LogRemoved { id: u128::MAX, at_ms: -5 }],
        };
        for shared in [None, Some(LogManifestShared::default()), Some(shared)] {
            let files = vec![file.clone(), file.clone()];
            let manifest = LogManifest { flushed_generation: 300, files, shared };
            let bytes = manifest.encode();
            assert_eq!(LogManifest::decode(&bytes).expect("own bytes"), manifest);
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x10;
                assert!(LogManifest::decode(&damaged).is_err(), "byte {at}");
                assert!(LogManifest::decode(&bytes[..at]).is_err(), "cut at {at}");
            }
        }
    }
}
