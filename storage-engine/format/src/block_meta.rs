//! A block's meta.json (tsdb/block.go): what is in the block and what it was made from. Keys that are not known here,
//! such as the section of Thanos, are kept as they are.

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::FormatError;

/// The only version there is.
const VERSION: u32 = 1;

/// Hints about where a block's data comes from, in `compaction.hints`.
pub mod hint {
    /// All samples came out of order, so that the block says nothing about up to when the head was flushed.
    pub const OUT_OF_ORDER: &str = "from-out-of-order";
    /// Only series that had gone stale were flushed.
    pub const STALE_SERIES: &str = "from-stale-series";
    /// Only series that somebody chose were flushed.
    pub const SELECTED_SERIES: &str = "from-selected-series";
}

/// A block's description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockMeta {
    /// Identifier, and the name of the block's folder.
    #[serde(with = "text")]
    pub ulid: Ulid,
    /// Time of the first sample or the aligned start of the block, ms.
    pub min_time: i64,
    /// End of the block, ms; samples are before it.
    pub max_time: i64,
    /// Counts.
    #[serde(default)]
    pub stats: BlockStats,
    /// What the block was made from.
    pub compaction: Compaction,
    /// Version of this file, always 1.
    pub version: u32,
    /// Keys of others.
    #[serde(flatten)]
    pub others: serde_json::Map<String, serde_json::Value>,
}

/// What a block holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockStats {
    /// Samples of both kinds.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    /// Floats; older programs do not write it.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    /// Native histograms.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    /// Series.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_series: u64,
    /// Chunks.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    /// Ranges in the tombstones file.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
}

/// How a block came to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Compaction {
    /// How often the oldest part of the data was compacted; 1 is straight from a head.
    pub level: u32,
    /// The blocks of level 1 whose data is in the block, in order.
    #[serde(default, with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Ulid>,
    /// A compaction left nothing: the block is to be removed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deletable: bool,
    /// The blocks that the block was made of directly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<BlockDesc>,
    /// A compaction of the block failed; it is not tried again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub failed: bool,
    /// See [`hint`]; sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// Keys of others.
    #[serde(flatten)]
    pub others: serde_json::Map<String, serde_json::Value>,
}

/// A block in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockDesc {
    /// Identifier.
    #[serde(with = "text")]
    pub ulid: Ulid,
    /// See [`BlockMeta::min_time`].
    pub min_time: i64,
    /// See [`BlockMeta::max_time`].
    pub max_time: i64,
}

impl Compaction {
    /// Whether the block has this hint.
    pub fn has_hint(&self, hint: &str) -> bool {
        self.hints.iter().any(|have| have == hint)
    }

    /// Gives the block a hint.
    pub fn add_hint(&mut self, hint: &str) {
        if !self.has_hint(hint) {
            self.hints.push(hint.to_owned());
            self.hints.sort_unstable();
        }
    }
}

/// Key of the section with the checksum.
const SEAL: &str = "tidegate";

impl BlockMeta {
    /// A block straight from a head: level 1, its own source.
    pub fn new(ulid: Ulid, min_time: i64, max_time: i64) -> Self {
        Self {
            ulid,
            min_time,
            max_time,
            stats: BlockStats::default(),
            compaction: Compaction { level: 1, sources: vec![ulid], ..Compaction::default() },
            version: VERSION,
            others: serde_json::Map::new(),
        }
    }

    /// The bytes of the file, indented with tabs as Go writes them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
        self.serialize(&mut serializer).expect("a Vec takes all that is written and all keys are text");
        out
    }

    /// The bytes of the file with a checksum in a section of ours, so that a flipped bit is no other time range.
    /// Programs that do not know the section pass over it, and leave it out when they write the file.
    pub fn encode_sealed(&self) -> Vec<u8> {
        let mut sealed = self.clone();
        sealed.others.insert(SEAL.to_owned(), self.seal());
        sealed.encode()
    }

    /// What the section of ours holds: the checksum of the file without it.
    fn seal(&self) -> serde_json::Value {
        serde_json::json!({ "crc32c": format!("{:08x}", crc32c::crc32c(&self.encode())) })
    }

    /// Reads the bytes of the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let fault = |reason| FormatError::new("meta.json", reason);
        let mut meta: Self =
            serde_json::from_slice(bytes).map_err(|_| fault("it is no JSON of a block's description"))?;
        let seal = meta.others.remove(SEAL);
        if seal.is_some_and(|seal| seal != meta.seal()) {
            return Err(fault("its checksum is wrong"));
        }
        if meta.version != VERSION {
            return Err(fault("its version is not 1"));
        }
        if meta.min_time > meta.max_time {
            return Err(fault("its minTime is behind its maxTime"));
        }
        Ok(meta)
    }

    /// The block in short.
    pub fn desc(&self) -> BlockDesc {
        BlockDesc { ulid: self.ulid, min_time: self.min_time, max_time: self.max_time }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// An identifier as text.
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use ulid::Ulid;

    pub(super) fn serialize<S: Serializer>(ulid: &Ulid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(ulid)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ulid, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ulid::from_string(&text).map_err(D::Error::custom)
    }
}

/// Identifiers as texts.
mod texts {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use ulid::Ulid;

    pub(super) fn serialize<S: Serializer>(ulids: &[Ulid], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ulids.iter().map(Ulid::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Ulid>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| Ulid::from_string(text).map_err(D::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests;
