//! The Tidegate gateway: receivers, pipelines, stores and query APIs put together into one process.
//!
//! The binary is a thin `main` over this library, so that tests start the same server inside their own process.

pub mod api;
mod apis;
mod bucket_work;
pub mod cli;
pub mod config;
mod data_lock;
pub mod duration;
pub mod extensions;
mod receive_work;
pub mod receivers;
pub mod server;
mod stores;
mod telemetry;
pub mod wiring;

/// Makes aws-lc-rs the process' TLS provider. To be called first thing: rustls panics at its first use without one
/// when several are linked in.
pub fn install_crypto_provider() {
    // Only fails when a provider is there already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
