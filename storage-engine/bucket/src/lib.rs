//! Blocks of metrics in an object store, laid out as Thanos has them: `<ULID>/{meta.json,index,chunks/,…-mark.json}`.
//!
//! [`Bucket`] is the store behind few calls, opened from Thanos' own configuration; [`Fetcher`] lists what is there with
//! one listing and no request for what did not change; [`upload_block`] and [`delete_block`] keep the order that makes a
//! block whole or not there; [`BlockDisk`] lets a block be read in place, with [`BlockCache`] so that
//! queries find again what others fetched; [`Shipper`] uploads what a store finished;
//! [`Lease`] gives work one owner; [`BucketObjects`] lets a store of another layout keep its files in the bucket.
//!
//! - BUCKET-1: meta.json is the last object of a block that is written and the first that is removed, so that a reader
//!   that finds it finds all others.
//! - BUCKET-2: an answer of the object store is data from the network: sizes are capped, damage is an error.
//! - BUCKET-3: meta.json of a block never changes; marks beside it are small objects of their own.

mod block_disk;
mod config;
mod duplicates;
mod error;
mod fetch;
mod filenames;
mod index_header;
mod lease;
mod marks;
mod objects;
mod page_cache;
mod paged_file;
mod read_ahead;
mod remove;
mod shipper;
mod store;
mod thanos_meta;
mod upload;

pub use block_disk::{BlockCache, BlockDisk};
pub use config::BucketConfig;
pub use duplicates::duplicates;
pub use error::{BucketError, BucketResult};
pub use fetch::{BucketBlock, BucketView, Fetcher, PartialBlock};
pub use filenames::{CHUNKS, DELETION_MARK, INDEX, META, NO_COMPACT_MARK, NO_DOWNSAMPLE_MARK};
#[doc(hidden)]
pub use index_header::check_index_header;
pub use lease::{Lease, LeaseState};
pub use marks::{Mark, MarkKind, Reason};
pub use objects::BucketObjects;
pub use page_cache::PageCache;
pub use remove::delete_block;
pub use shipper::{Shipped, Shipper, ShipperState, is_wanted};
pub use store::{Bucket, Object};
pub use thanos_meta::{BlockFile, Downsample, Source, ThanosMeta};
pub use upload::upload_block;
