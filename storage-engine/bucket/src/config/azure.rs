//! Azure Blob Storage (providers/azure/azure.go of Thanos' objstore).
//!
//! Credentials: a connection string, the account's key, a client's secret, else the identity of the machine.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::azure::MicrosoftAzureBuilder;
use serde::Deserialize;
use serde_json::Value;

use super::http::HttpConfig;
use super::{required, retry, unusable};
use crate::{BucketError, BucketResult};

/// Where accounts are when nothing else is said.
const ENDPOINT: &str = "blob.core.windows.net";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AzureConfig {
    az_tenant_id: String,
    client_id: String,
    client_secret: String,
    storage_account: String,
    storage_account_key: String,
    storage_connection_string: String,
    storage_create_container: bool,
    container: String,
    endpoint: String,
    user_assigned_id: String,
    max_retries: usize,
    /// Thanos' client only.
    #[serde(rename = "reader_config")]
    _reader_config: Value,
    /// Thanos' client only.
    #[serde(rename = "pipeline_config")]
    _pipeline_config: Value,
    http_config: HttpConfig,
    msi_resource: String,
}

impl AzureConfig {
    pub(super) fn store(&self) -> BucketResult<(Arc<dyn ObjectStore>, String)> {
        required("config.container", &self.container)?;
        let lacked = [
            ("storage_create_container", self.storage_create_container),
            ("msi_resource", !self.msi_resource.is_empty()),
        ];
        if let Some((key, _)) = lacked.into_iter().find(|(_, is_set)| *is_set) {
            return Err(BucketError::config(format!("config.{key}"), "is not supported by this version"));
        }
        let parts = connection_string(&self.storage_connection_string);
        let part = |key: &str| parts.iter().find(|(have, _)| have == key).map(|(_, value)| value.as_str());
        let account = part("AccountName").unwrap_or(&self.storage_account);
        required("config.storage_account", account)?;
        let mut builder =
            MicrosoftAzureBuilder::new().with_account(account).with_container_name(&self.container);
        let mut is_plain = part("DefaultEndpointsProtocol") == Some("http");
        let key = part("AccountKey").unwrap_or(&self.storage_account_key);
        if !key.is_empty() {
            builder = builder.with_access_key(key);
        } else if !self.client_secret.is_empty() {
            required("config.client_id", &self.client_id)?;
            required("config.az_tenant_id", &self.az_tenant_id)?;
            builder = builder.with_client_secret_authorization(
                &self.client_id,
                &self.client_secret,
                &self.az_tenant_id,
            );
        } else if !self.user_assigned_id.is_empty() {
            builder = builder.with_client_id(&self.user_assigned_id);
        }
        if let Some(endpoint) = part("BlobEndpoint") {
            is_plain |= endpoint.starts_with("http://");
            builder = builder.with_endpoint(endpoint.to_owned());
        } else if !self.endpoint.is_empty() && self.endpoint != ENDPOINT {
            let scheme = if is_plain { "http" } else { "https" };
            builder = builder.with_endpoint(format!("{scheme}://{account}.{}", self.endpoint));
        }
        let store = builder
            .with_retry(retry(self.max_retries))
            .with_client_options(self.http_config.options(is_plain)?)
            .with_allow_http(is_plain)
            .build()
            .map_err(|error| unusable(&error))?;
        Ok((Arc::new(store), format!("azure://{}", self.container)))
    }
}

/// `Key=Value;Key=Value`; values may have further equals signs.
fn connection_string(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}
