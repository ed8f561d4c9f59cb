//! OTLP/JSON to protobuf and back, by the tables of `schema`, without objects in between.
//!
//! Reading takes what the specification asks for and what the Collector accepts beyond it: keys in lowerCamelCase and
//! snake_case, every number as number or string (`1e2` is an integer too), `"NaN"` and `"Infinity"`, enums by number
//! and name, ids in hex of any case, other bytes in base64 of both alphabets with or without padding, `null` for the
//! default. Unknown fields are ignored, a wrong type is an error with its path; nothing is lost silently.
//! Writing is the proto3 JSON mapping of OTLP: 64-bit integers as strings, enums as numbers, defaults left out.
//!
//! Id lengths and whatever else `check` proves are not judged here: pass what was read through `check`.

mod read;
mod write;

pub use read::to_protobuf;
pub use write::from_protobuf;

#[cfg(test)]
mod tests;
