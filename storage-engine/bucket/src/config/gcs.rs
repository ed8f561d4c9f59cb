//! Google Cloud Storage (providers/gcs/gcs.go of Thanos' objstore).
//!
//! Credentials: the account of the configuration as JSON, else those that the environment or the machine has.
//! `STORAGE_EMULATOR_HOST` leads to an emulator, as with Google's own clients.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::gcp::GoogleCloudStorageBuilder;
use serde::Deserialize;
use serde_json::Value;

use super::http::HttpConfig;
use super::{required, retry, unusable};
use crate::{BucketError, BucketResult};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GcsConfig {
    bucket: String,
    service_account: String,
    use_grpc: bool,
    /// gRPC only.
    #[serde(rename = "grpc_conn_pool_size")]
    _grpc_conn_pool_size: Value,
    http_config: HttpConfig,
    /// Thanos' client only.
    #[serde(rename = "chunk_size_bytes")]
    _chunk_size_bytes: Value,
    max_retries: usize,
}

impl GcsConfig {
    pub(super) fn store(&self) -> BucketResult<(Arc<dyn ObjectStore>, String)> {
        required("config.bucket", &self.bucket)?;
        if self.use_grpc {
            return Err(BucketError::config("config.use_grpc", "is not supported by this version"));
        }
        let mut builder = if self.service_account.is_empty() {
            GoogleCloudStorageBuilder::from_env()
        } else {
            GoogleCloudStorageBuilder::new().with_service_account_key(&self.service_account)
        };
        let emulator = std::env::var("STORAGE_EMULATOR_HOST").ok().filter(|host| !host.is_empty());
        if let Some(host) = &emulator {
            let url = if host.contains("://") { host.clone() } else { format!("http://{host}") };
            builder = builder.with_base_url(&url).with_skip_signature(true);
        }
        let store = builder
            .with_bucket_name(&self.bucket)
            .with_retry(retry(self.max_retries))
            .with_client_options(self.http_config.options(emulator.is_some())?)
            .build()
            .map_err(|error| unusable(&error))?;
        Ok((Arc::new(store), format!("gs://{}", self.bucket)))
    }
}
