//! The processors, one file each, and their registry.

mod memory_limiter;

use crate::ProcessorFactory;

/// Every processor. The name of a row is its type in configs, its file and its example under `configs/processors/`.
pub const PROCESSORS: &[ProcessorFactory] = &[memory_limiter::FACTORY];
