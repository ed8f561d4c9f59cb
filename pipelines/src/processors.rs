//! The processors, one file each, and their registry.

mod attributes;
mod batch;
mod filter;
mod groupbyattrs;
mod hand_on;
mod matching;
mod memory_limiter;
mod ottl_programs;
mod probabilistic_sampler;
mod resource;
mod transform;

use crate::ProcessorFactory;
pub(crate) use ottl_programs::{FailureLog, Mode};

/// Every processor. The name of a row is its type in configs, its file and its example under `configs/processors/`.
pub const PROCESSORS: &[ProcessorFactory] = &[
    attributes::FACTORY,
    batch::FACTORY,
    filter::FACTORY,
    groupbyattrs::FACTORY,
    memory_limiter::FACTORY,
    probabilistic_sampler::FACTORY,
    resource::FACTORY,
    transform::FACTORY,
];
