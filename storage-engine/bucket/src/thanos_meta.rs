//! Thanos' section of a block's meta.json (pkg/block/metadata/meta.go).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use format::BlockMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::BucketError;

/// The key of the section.
const KEY: &str = "thanos";

/// The only version; an absent one is the same.
const VERSION: u64 = 1;

/// Thanos' section of meta.json.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThanosMeta {
    /// Version of the section.
    #[serde(skip_serializing_if = "is_zero")]
    pub version: u64,
    /// External labels: who made the block.
    pub labels: BTreeMap<String, String>,
    /// What was done to the samples.
    pub downsample: Downsample,
    /// Which kind of program made the block; see [`Source`].
    pub source: String,
    /// Names of the chunk files. A reader that finds this takes it for complete.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub segment_files: Vec<String>,
    /// All files of the block, by name in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<BlockFile>,
    /// What was rewritten, as others wrote it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rewrites: Vec<Value>,
    /// The largest series and chunk in the index, as others wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_stats: Option<Value>,
    /// What others keep there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Value>,
    /// When the block was whole in the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_time: Option<DateTime<Utc>>,
    /// Keys of later versions.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// What was done to the samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Downsample {
    /// Length of a window, ms: 0 for raw samples, 300000 or 3600000.
    pub resolution: i64,
}

/// A file of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockFile {
    /// Name inside the block.
    pub rel_path: String,
    /// Size; absent for meta.json.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size_bytes: u64,
    /// Hash, as others wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Value>,
}

/// Programs that make blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A store that takes pushed data.
    Receive,
    /// A compactor.
    Compactor,
    /// Somebody who uploaded it by hand.
    Upload,
}

impl Source {
    /// The text in the section.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Compactor => "compactor",
            Self::Upload => "bucket.upload",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl ThanosMeta {
    /// The section of a new block.
    pub fn new(labels: BTreeMap<String, String>, resolution_ms: i64, source: Source) -> Self {
        Self {
            version: VERSION,
            labels,
            downsample: Downsample { resolution: resolution_ms },
            source: source.as_str().to_owned(),
            ..Self::default()
        }
    }

    /// Reads the section of a description; a block without one has no labels.
    pub fn of(meta: &BlockMeta) -> Result<Self, BucketError> {
        let name = || format!("{}/meta.json", meta.ulid);
        let Some(section) = meta.others.get(KEY) else { return Ok(Self::default()) };
        let read: Self = serde_json::from_value(section.clone())
            .map_err(|error| BucketError::corrupt(name(), format!("its thanos section: {error}")))?;
        if read.version > VERSION {
            let message = format!("its thanos section has version {}, this program reads 1", read.version);
            return Err(BucketError::corrupt(name(), message));
        }
        Ok(read)
    }

    /// Puts the section into a description.
    pub fn put_into(&self, meta: &mut BlockMeta) {
        let section = serde_json::to_value(self).expect("all keys are text");
        meta.others.insert(KEY.to_owned(), section);
    }

    /// Length of a window, ms; 0 for raw samples.
    pub fn resolution_ms(&self) -> i64 {
        self.downsample.resolution
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockFile, Source, ThanosMeta};
    use format::BlockMeta;
    use ulid::Ulid;

    #[test]
    fn a_section_of_thanos_reads_and_writes_back_with_all_its_keys() {
        let theirs = r#"{"version":1,"labels":{"a":"b"},"downsample":{"resolution":300000},"source":"compactor",
            "segment_files":["000001"],"files":[{"rel_path":"index","size_bytes":7},{"rel_path":"meta.json"}],
            "index_stats":{"series_max_size":5},"extensions":{"x":[1]},"upload_time":"2026-01-02T03:04:05.678Z","later":true}"#;
        let section: serde_json::Value = serde_json::from_str(theirs).expect("JSON");
        let mut meta = BlockMeta::new(Ulid::from_parts(1, 1), 0, 10);
        meta.others.insert("thanos".to_owned(), section.clone());
        let read = ThanosMeta::of(&meta).expect("it is one");
        assert_eq!((read.resolution_ms(), read.labels["a"].as_str()), (300_000, "b"));
        assert_eq!(read.files[0], BlockFile { rel_path: "index".to_owned(), size_bytes: 7, hash: None });
        let mut written = BlockMeta::new(Ulid::from_parts(1, 1), 0, 10);
        read.put_into(&mut written);
        assert_eq!(written.others["thanos"], section);
    }

    #[test]
    fn a_section_of_another_version_is_refused_and_none_is_empty() {
        let mut meta = BlockMeta::new(Ulid::from_parts(1, 1), 0, 10);
        assert_eq!(ThanosMeta::of(&meta).expect("none"), ThanosMeta::default());
        let mut section = ThanosMeta::new(Default::default(), 0, Source::Receive);
        section.version = 2;
        section.put_into(&mut meta);
        assert!(ThanosMeta::of(&meta).is_err());
    }
}
