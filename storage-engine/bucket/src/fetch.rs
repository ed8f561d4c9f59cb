//! What is in a bucket: one listing, and a request for each small object that was not seen before.
//!
//! Sketch: a bucket of 10,000 blocks is a listing of about 60,000 names, 60 requests; a second look costs the listing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use format::BlockMeta;
use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use ulid::Ulid;

use crate::filenames::{META, of_block, split_block};
use crate::marks::{MARK_BYTES_MAX, Mark, MarkKind};
use crate::thanos_meta::ThanosMeta;
use crate::{Bucket, BucketResult, Object};

/// Small objects that are fetched at a time (`--block-meta-fetch-concurrency` of Thanos).
const FETCHES_AT_ONCE: usize = 32;

/// Bytes of a description that are read at most. The largest seen list some thousand sources.
const META_BYTES_MAX: u64 = 64 << 20;

/// A whole block.
#[derive(Clone, Debug)]
pub struct BucketBlock {
    /// Its description.
    pub meta: Arc<BlockMeta>,
    /// Thanos' section of it.
    pub thanos: Arc<ThanosMeta>,
    /// Its objects: name inside the block and size, in the order of the names.
    pub objects: Vec<(String, u64)>,
    /// When its description was written, ms since 1970.
    pub modified_ms: i64,
    /// That it is to be removed.
    pub deletion: Option<Mark>,
    /// That it is not to be compacted.
    pub no_compact: Option<Mark>,
    /// That it is not to be downsampled.
    pub no_downsample: Option<Mark>,
}

impl BucketBlock {
    /// Its identifier.
    pub fn ulid(&self) -> Ulid {
        self.meta.ulid
    }

    /// The blocks of level 1 that are in it: itself, if its description names none.
    pub fn sources(&self) -> impl Iterator<Item = Ulid> {
        let named = self.meta.compaction.sources.iter().copied();
        named.chain(self.meta.compaction.sources.is_empty().then_some(self.meta.ulid))
    }

    /// Bytes of all its objects.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Size of one of its objects.
    pub fn object_bytes(&self, name: &str) -> Option<u64> {
        self.objects.iter().find(|(have, _)| have == name).map(|(_, bytes)| *bytes)
    }

    fn set_mark(&mut self, kind: MarkKind, mark: Option<Mark>) {
        match kind {
            MarkKind::Deletion => self.deletion = mark,
            MarkKind::NoCompact => self.no_compact = mark,
            MarkKind::NoDownsample => self.no_downsample = mark,
        }
    }
}

/// A folder of a block without a description that can be read: an upload or a deletion that goes on or was cut, or a
/// block that another program may well be able to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialBlock {
    /// The block's identifier.
    pub ulid: Ulid,
    /// When its newest object was written, ms since 1970.
    pub modified_ms: i64,
    /// What is wrong with its description; `None` when the listing has none, which alone is a leftover.
    pub fault: Option<String>,
    /// That it is to be removed.
    pub deletion: Option<Mark>,
}

/// A look at a bucket.
#[derive(Clone, Debug, Default)]
pub struct BucketView {
    /// Whole blocks in the order of their start times, then identifiers.
    pub blocks: Vec<BucketBlock>,
    /// The others, in the order of their identifiers.
    pub partial: Vec<PartialBlock>,
}

/// Looks at a bucket, and remembers what it saw.
pub struct Fetcher {
    bucket: Bucket,
    seen: Mutex<HashMap<String, (Object, Small)>>,
}

/// A small object that was read.
#[derive(Clone)]
enum Small {
    Meta(Arc<BlockMeta>, Arc<ThanosMeta>),
    Mark(Option<Mark>),
    Damaged(String),
    /// It is in the listing, and the request did not find it: removed in between, or a store that answers from a
    /// place that lags. Never remembered, so that it is asked for again.
    Gone,
}

impl Fetcher {
    /// Looks at `bucket`.
    pub fn new(bucket: Bucket) -> Self {
        Self { bucket, seen: Mutex::default() }
    }

    /// The bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// What is there now.
    pub async fn fetch(&self) -> BucketResult<BucketView> {
        let mut folders: BTreeMap<Ulid, Vec<Object>> = BTreeMap::new();
        for object in self.bucket.list(None).await? {
            if let Some((ulid, _)) = split_block(&object.name) {
                folders.entry(ulid).or_default().push(object);
            }
        }
        let is_small = |object: &&Object| {
            split_block(&object.name)
                .is_some_and(|(_, name)| name == META || MarkKind::of_file(name).is_some())
        };
        let small: Vec<Object> = folders.values().flatten().filter(is_small).cloned().collect();
        let mut read: HashMap<String, (Object, Small)> = stream::iter(small)
            .map(|object| async move {
                let small = self.small(&object).await?;
                BucketResult::Ok((object.name.clone(), (object, small)))
            })
            .buffer_unordered(FETCHES_AT_ONCE)
            .try_collect()
            .await?;
        let mut view = BucketView::default();
        for (ulid, objects) in folders {
            take_folder(ulid, objects, &read, &mut view);
        }
        view.blocks.sort_by_key(|block| (block.meta.min_time, block.ulid()));
        read.retain(|_, (_, small)| !matches!(small, Small::Gone));
        *self.seen.lock() = read;
        Ok(view)
    }

    async fn small(&self, object: &Object) -> BucketResult<Small> {
        let known = self.seen.lock().get(&object.name).filter(|(seen, _)| seen == object).cloned();
        if let Some((_, small)) = known {
            return Ok(small);
        }
        let (ulid, name) = split_block(&object.name).expect("only names of blocks are asked for");
        let mark = MarkKind::of_file(name);
        let bytes_max = if mark.is_some() { MARK_BYTES_MAX } else { META_BYTES_MAX };
        let bytes = match self.bucket.get_if_there(&object.name, bytes_max).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Small::Gone),
            Err(error) if error.kind() == model::ErrorKind::Corrupt => {
                return Ok(damaged(&object.name, error.to_string()));
            }
            Err(error) => return Err(error),
        };
        if let Some(kind) = mark {
            let mark = kind.decode(&bytes);
            if mark.is_none() {
                tracing::warn!(mark = object.name, "a mark cannot be read and is left out of account");
            }
            return Ok(Small::Mark(mark));
        }
        let read = BlockMeta::decode(&bytes).map_err(|error| error.to_string()).and_then(|meta| {
            let thanos = ThanosMeta::of(&meta).map_err(|error| error.message())?;
            if meta.ulid != ulid {
                return Err(format!("it says that it is block {}", meta.ulid));
            }
            Ok((meta, thanos))
        });
        Ok(match read {
            Ok((meta, thanos)) => Small::Meta(Arc::new(meta), Arc::new(thanos)),
            Err(fault) => damaged(&object.name, fault),
        })
    }
}

/// Told once for each form of the object, because it is remembered.
fn damaged(name: &str, fault: String) -> Small {
    tracing::error!(name, fault, "a block of the bucket cannot be read; it is left out and stays as it is");
    Small::Damaged(fault)
}

/// Puts the objects of one folder into the view.
fn take_folder(
    ulid: Ulid,
    objects: Vec<Object>,
    read: &HashMap<String, (Object, Small)>,
    view: &mut BucketView,
) {
    let small = |name: &str| read.get(&of_block(ulid, name));
    let mark = |kind: MarkKind| match small(kind.file()) {
        Some((_, Small::Mark(mark))) => mark.clone(),
        _ => None,
    };
    let modified_ms = objects.iter().map(|object| object.modified_ms).max().unwrap_or_default();
    let fault = match small(META) {
        Some((object, Small::Meta(meta, thanos))) => {
            let inside =
                |object: Object| split_block(&object.name).map(|(_, name)| (name.to_owned(), object.bytes));
            let mut objects: Vec<(String, u64)> = objects.into_iter().filter_map(inside).collect();
            objects.sort_unstable();
            let mut block = BucketBlock {
                meta: Arc::clone(meta),
                thanos: Arc::clone(thanos),
                objects,
                modified_ms: object.modified_ms,
                deletion: None,
                no_compact: None,
                no_downsample: None,
            };
            MarkKind::ALL.into_iter().for_each(|kind| block.set_mark(kind, mark(kind)));
            view.blocks.push(block);
            return;
        }
        Some((_, Small::Damaged(fault))) => Some(fault.clone()),
        Some(_) => Some("it is in the listing, but was not found when it was asked for".to_owned()),
        None => None,
    };
    view.partial.push(PartialBlock { ulid, modified_ms, fault, deletion: mark(MarkKind::Deletion) });
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
