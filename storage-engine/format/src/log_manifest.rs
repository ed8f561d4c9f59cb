//! The list of a log store's data files, as bytes.
//!
//! Layout: magic, version, flushed generation, files, CRC32C of all before it. Written whole each time and put in place
//! by renaming, so a reader sees one version or the next.

use model::TenantId;

use crate::log_cursor::{Cursor, put_text, put_varint, put_zigzag};
use crate::log_error::{LogFormatError, LogFormatResult};

const UNIT: &str = "log manifest";
const MAGIC: &[u8; 8] = b"TGLOGMAN";
const VERSION: u16 = 1;

/// Which data files make up a log store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogManifest {
    /// Every write-ahead record up to this generation is in the files.
    pub flushed_generation: u64,
    /// The files in no order.
    pub files: Vec<LogManifestFile>,
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
        out.extend_from_slice(&VERSION.to_le_bytes());
        put_varint(self.flushed_generation, &mut out);
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
        if version != VERSION {
            return Err(LogFormatError::Version { unit: UNIT, got: version, known: VERSION });
        }
        let flushed_generation = cursor.varint()?;
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
        Ok(Self { flushed_generation, files })
    }
}

#[cfg(test)]
mod tests {
    use super::{LogManifest, LogManifestFile, TenantId};

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
        let manifest = LogManifest { flushed_generation: 300, files: vec![file.clone(), file] };
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
