//! Protocol codecs shared by receivers, exporters and the load tester.
//!
//! Everything here is pure: bytes in, bytes or borrowed views out, no IO and no clock.
//!
//! - WIRE-1: no input makes a decoder panic, recurse without a cap, or allocate more than a small multiple of
//!   the input's size.
//! - WIRE-2: the steady state of the hot decoders (OTLP protobuf) allocates nothing per item.

pub mod compression;
pub mod delta_to_cumulative;
mod error;
pub mod grpc;
mod json;
pub mod loki_push;
pub mod loki_to_otlp;
pub mod native_histogram;
pub mod otlp;
pub mod otlp_to_loki;
pub mod otlp_to_prometheus;
pub mod prometheus_names;
pub mod prometheus_text;
pub mod protobuf;
pub mod remote_read;
pub mod remote_write;
pub mod remote_write_to_otlp;
pub mod rpc_status;

pub use error::DecodeError;
