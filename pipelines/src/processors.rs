//! The processors, one file each, and their registry.

mod attributes;
mod batch;
mod matching;
mod memory_limiter;
mod resource;

use crate::ProcessorFactory;

/// Every processor. The name of a row is its type in configs, its file and its example under `configs/processors/`.
pub const PROCESSORS: &[ProcessorFactory] =
    &[attributes::FACTORY, batch::FACTORY, memory_limiter::FACTORY, resource::FACTORY];
