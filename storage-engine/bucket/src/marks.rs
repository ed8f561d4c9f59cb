//! Marks beside a block: that it is to be removed, not to be compacted, not to be downsampled
//! (pkg/block/metadata/markers.go of Thanos).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ulid::Ulid;

use crate::filenames::{DELETION_MARK, NO_COMPACT_MARK, NO_DOWNSAMPLE_MARK, of_block};
use crate::{Bucket, BucketResult};

/// The version of all marks.
const VERSION: u64 = 1;

/// Bytes of a mark that are read at most.
pub(crate) const MARK_BYTES_MAX: u64 = 1 << 20;

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarkKind {
    /// The block is to be removed once a delay passed.
    Deletion,
    /// The block is left out of compaction.
    NoCompact,
    /// The block is left out of downsampling.
    NoDownsample,
}

/// Why a block is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// An operator said so.
    Manual,
    /// The index of a block with it could pass the limit.
    IndexSizeExceeding,
    /// Its chunks are not in order.
    BlockIndexOutOfOrderChunk,
    /// Downsampled blocks that overlap cannot become one.
    DownsampleVerticalCompaction,
}

impl Reason {
    /// The reason as it stands in the mark.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::IndexSizeExceeding => "index-size-exceeding",
            Self::BlockIndexOutOfOrderChunk => "block-index-out-of-order-chunk",
            Self::DownsampleVerticalCompaction => "downsample-vertical-compaction",
        }
    }
}

/// A mark that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When it was set, seconds since 1970.
    pub time_s: i64,
    /// What whoever set it said.
    pub details: String,
    /// Why, for marks that leave a block out; ours or others' words.
    pub reason: String,
}

impl MarkKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Deletion, Self::NoCompact, Self::NoDownsample];

    /// The name of the object inside the block.
    pub fn file(self) -> &'static str {
        match self {
            Self::Deletion => DELETION_MARK,
            Self::NoCompact => NO_COMPACT_MARK,
            Self::NoDownsample => NO_DOWNSAMPLE_MARK,
        }
    }

    fn time_key(self) -> &'static str {
        match self {
            Self::Deletion => "deletion_time",
            Self::NoCompact => "no_compact_time",
            Self::NoDownsample => "no_downsample_time",
        }
    }

    pub(crate) fn of_file(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.file() == name)
    }

    /// Reads a mark. `None` when it is none, as happens while it is written. A deletion mark without its time is none:
    /// it would be one of long ago, and the block would go at once.
    pub(crate) fn decode(self, bytes: &[u8]) -> Option<Mark> {
        let mark: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        if mark.get("version")?.as_u64()? != VERSION {
            return None;
        }
        let text = |key: &str| mark.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let time_s = match mark.get(self.time_key()) {
            None if self != Self::Deletion => 0,
            time => time?.as_i64()?,
        };
        Some(Mark { time_s, details: text("details"), reason: text("reason") })
    }

    fn encode(self, ulid: Ulid, mark: &Mark) -> Vec<u8> {
        let mut object = Map::new();
        object.insert("id".to_owned(), ulid.to_string().into());
        object.insert("version".to_owned(), VERSION.into());
        if !mark.details.is_empty() {
            object.insert("details".to_owned(), mark.details.clone().into());
        }
        object.insert(self.time_key().to_owned(), mark.time_s.into());
        if self != Self::Deletion {
            object.insert("reason".to_owned(), mark.reason.clone().into());
        }
        Value::Object(object).to_string().into_bytes()
    }

    /// Puts a mark on a block; one that is there stays as it is. Says whether it was put.
    pub async fn put(self, bucket: &Bucket, ulid: Ulid, mark: &Mark) -> BucketResult<bool> {
        let name = of_block(ulid, self.file());
        if bucket.exists(&name).await? {
            return Ok(false);
        }
        bucket.put(&name, self.encode(ulid, mark)).await?;
        metrics::counter!("thanos_compact_blocks_marked_total", "marker" => self.file()).increment(1);
        Ok(true)
    }

    /// Takes a mark away; that there is none is no error.
    pub async fn remove(self, bucket: &Bucket, ulid: Ulid) -> BucketResult<()> {
        bucket.delete(&of_block(ulid, self.file())).await
    }
}

#[cfg(test)]
mod tests {
    use super::{Mark, MarkKind};
    use ulid::Ulid;

    #[test]
    fn marks_have_the_keys_of_thanos() {
        let ulid = Ulid::from_string("01ARZ3NDEKTSV4RRFFQ69G5FAV").expect("an identifier");
        let mark = Mark { time_s: 1_700_000_000, details: "x".to_owned(), reason: "manual".to_owned() };
        let deletion = MarkKind::Deletion.encode(ulid, &mark);
        let expected =
            r#"{"deletion_time":1700000000,"details":"x","id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","version":1}"#;
        let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
        assert_eq!(read(&deletion), read(expected.as_bytes()));
        let theirs = r#"{"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","version":1,"details":"d","no_compact_time":5,"reason":"manual"}"#;
        let decoded = MarkKind::NoCompact.decode(theirs.as_bytes()).expect("a mark");
        assert_eq!(decoded, Mark { time_s: 5, details: "d".to_owned(), reason: "manual".to_owned() });
    }

    #[test]
    fn a_broken_mark_is_none() {
        let [without, float, text] = [
            br#"{"version":1}"#.as_slice(),
            br#"{"version":1,"deletion_time":1.7e9}"#,
            br#"{"version":1,"deletion_time":"1700000000"}"#,
        ];
        for bytes in [b"".as_slice(), b"{", b"[]", b"{\"version\":2}", b"\xff", without, float, text] {
            assert_eq!(MarkKind::Deletion.decode(bytes), None, "{bytes:?}");
        }
        assert!(MarkKind::NoCompact.decode(without).is_some(), "its time says nothing of what it means");
    }
}
