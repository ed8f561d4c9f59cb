//! PromQL: syntax, planning and evaluation over the storage seam.

mod error;
mod syntax;

pub use error::{PromqlError, PromqlResult, Stage};
pub use syntax::*;
