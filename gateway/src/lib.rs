//! The Tidegate gateway: receivers, pipelines, stores and query APIs put together into one process.
//!
//! The binary is a thin `main` over this library, so that tests start the same server inside their own process.

pub mod config;
pub mod duration;
pub mod server;
