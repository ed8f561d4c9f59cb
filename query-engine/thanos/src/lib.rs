//! Thanos' protocols: the StoreAPI as a server and as a client, deduplication of replicas, and receiving writes.
//!
//! Facts are Thanos' own (thanos-io/thanos v0.42), proven by the real programs in `interop/`. The server shows the store
//! of this process, and the blocks of a bucket, to queriers; the client makes other stores look like one [`storage_api::MetricsQuerier`].
//! Invariants: GRPC-1 (`grpc`), CHUNK-1 (`local`).

mod bucket_store;
mod chunk_columns;
mod dedup;
mod discovery;
mod endpoints;
mod error;
mod fanout;
mod frontend;
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod local;
mod merge;
mod proto;
mod receive;
mod replicas;
mod select;
mod series_frame;
mod server;
mod stream;
#[cfg(test)]
mod testing;

pub use bucket_store::{BucketStoreHandle, BucketStoreSettings, TimeBound};
pub use dedup::DedupFunction;
pub use endpoints::{EndpointSet, EndpointSettings, StoreStatus};
pub use error::{ThanosError, ThanosResult};
pub use fanout::{Fanout, FanoutOptions, FanoutQuerier, FanoutSettings};
pub use frontend::{Answered, Frontend, FrontendSettings, RangeQuery};
pub use grpc::Compression;
pub use grpc::client::ClientTls;
pub use grpc::server::AnswerBody;
pub use local::{LocalSettings, LocalStore};
pub use receive::{Hashrings, Router, RouterSettings, StoreWriter, WriteTarget};
pub use server::{Queries, Sources, StoreApiServer};
