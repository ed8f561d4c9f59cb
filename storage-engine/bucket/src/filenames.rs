//! Names of objects in a bucket (pkg/block/block.go and pkg/block/metadata/markers.go of Thanos).

use ulid::Ulid;

/// A block's description.
pub const META: &str = "meta.json";
/// A block's index.
pub const INDEX: &str = "index";
/// What was deleted from a local block; there is none in a bucket.
pub(crate) const TOMBSTONES: &str = "tombstones";
/// A block's folder of chunk files.
pub const CHUNKS: &str = "chunks";
/// Says that a block is to be removed.
pub const DELETION_MARK: &str = "deletion-mark.json";
/// Says that a block is not to be compacted.
pub const NO_COMPACT_MARK: &str = "no-compact-mark.json";
/// Says that a block is not to be downsampled.
pub const NO_DOWNSAMPLE_MARK: &str = "no-downsample-mark.json";

/// What a shipper has uploaded, in the folder of local blocks (pkg/shipper/shipper.go).
pub(crate) const SHIPPER_STATE: &str = "thanos.shipper.json";

/// Ending of the local file with the parts of a block that every query needs; ours.
pub(crate) const INDEX_HEADER: &str = ".index-header";

/// Where leases are; ours. Thanos looks only at folders whose names are identifiers of blocks.
pub(crate) const LEASES: &str = "tidegate/leases";

/// An object of a block.
pub(crate) fn of_block(ulid: Ulid, name: &str) -> String {
    format!("{ulid}/{name}")
}

/// Takes a name apart into the block and the rest, if it is one of a block's objects.
pub(crate) fn split_block(name: &str) -> Option<(Ulid, &str)> {
    let (folder, rest) = name.split_once('/')?;
    Some((block(folder)?, rest))
}

/// The identifier that is a folder's name.
pub(crate) fn block(folder: &str) -> Option<Ulid> {
    // Lower case reads as the same identifier, but names another folder.
    Ulid::from_string(folder).ok().filter(|ulid| folder.len() == 26 && ulid.to_string() == folder)
}
