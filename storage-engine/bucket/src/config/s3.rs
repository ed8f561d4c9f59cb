//! S3 and what speaks its protocol (providers/s3/s3.go of Thanos' objstore).
//!
//! Credentials: both keys of the configuration, else those of the environment, else of a web identity or of the
//! machine. `~/.aws` is not read.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use serde::Deserialize;
use serde_json::Value;

use super::http::HttpConfig;
use super::{required, retry, unusable};
use crate::{BucketError, BucketResult};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct S3Config {
    bucket: String,
    endpoint: String,
    region: String,
    /// Only the client of AWS knows it.
    #[serde(rename = "disable_dualstack")]
    _disable_dualstack: Value,
    aws_sdk_auth: bool,
    access_key: String,
    insecure: bool,
    signature_version2: bool,
    secret_key: String,
    session_token: String,
    put_user_metadata: std::collections::BTreeMap<String, String>,
    http_config: HttpConfig,
    /// Thanos' client only.
    #[serde(rename = "trace")]
    _trace: Value,
    list_objects_version: String,
    bucket_lookup_type: String,
    /// Requests are signed with a hash of their content.
    #[serde(rename = "send_content_md5")]
    _send_content_md5: Value,
    disable_multipart: bool,
    /// Parts are smaller here, so that one fits into little memory.
    #[serde(rename = "part_size")]
    _part_size: Value,
    sse_config: SseConfig,
    sts_endpoint: String,
    max_retries: usize,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SseConfig {
    #[serde(rename = "type")]
    kind: String,
    kms_key_id: String,
    kms_encryption_context: std::collections::BTreeMap<String, String>,
    encryption_key: String,
}

impl S3Config {
    pub(super) fn store(&self) -> BucketResult<(Arc<dyn ObjectStore>, String)> {
        required("config.bucket", &self.bucket)?;
        required("config.endpoint", &self.endpoint)?;
        self.refuse_lacked()?;
        let mut builder = match (self.access_key.is_empty(), self.secret_key.is_empty()) {
            (true, true) => AmazonS3Builder::from_env(),
            (false, false) if self.aws_sdk_auth => {
                let message = "it cannot be given together with access_key and secret_key";
                return Err(BucketError::config("config.aws_sdk_auth", message));
            }
            (false, false) => AmazonS3Builder::new()
                .with_access_key_id(&self.access_key)
                .with_secret_access_key(&self.secret_key),
            _ => {
                let message = "access_key and secret_key are given both or neither";
                return Err(BucketError::config("config", message));
            }
        };
        if !self.session_token.is_empty() {
            builder = builder.with_token(&self.session_token);
        }
        builder = self.place(builder)?;
        builder = self.encryption(builder)?;
        let store = builder
            .with_bucket_name(&self.bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retry(self.max_retries))
            .with_client_options(self.http_config.options(self.insecure)?)
            .build()
            .map_err(|error| unusable(&error))?;
        Ok((Arc::new(store), format!("s3://{}", self.bucket)))
    }

    fn refuse_lacked(&self) -> BucketResult<()> {
        let lacked = [
            ("signature_version2", self.signature_version2),
            ("put_user_metadata", !self.put_user_metadata.is_empty()),
            ("disable_multipart", self.disable_multipart),
            ("sts_endpoint", !self.sts_endpoint.is_empty()),
            ("list_objects_version", self.list_objects_version == "v1"),
            ("sse_config.kms_encryption_context", !self.sse_config.kms_encryption_context.is_empty()),
        ];
        match lacked.into_iter().find(|(_, is_set)| *is_set) {
            Some((key, _)) => {
                Err(BucketError::config(format!("config.{key}"), "is not supported by this version"))
            }
            None => Ok(()),
        }
    }

    /// Endpoint, region and whether the bucket is a part of the host's name.
    fn place(&self, mut builder: AmazonS3Builder) -> BucketResult<AmazonS3Builder> {
        let host = self.endpoint.as_str();
        if host.contains("://") {
            let message = format!("{host:?} has a scheme; host:port is wanted, insecure: true for http");
            return Err(BucketError::config("config.endpoint", message));
        }
        let is_amazon = host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn");
        let of_host = host.strip_prefix("s3.").and_then(|rest| rest.split_once(".amazonaws.com"));
        let region = match (self.region.as_str(), of_host) {
            ("", Some((region, _))) if !region.is_empty() => region,
            ("", _) => "us-east-1",
            (region, _) => region,
        };
        builder = builder.with_region(region);
        let is_virtual = match self.bucket_lookup_type.as_str() {
            "" | "auto" => is_amazon && !self.bucket.contains('.'),
            "virtual-hosted" => true,
            "path" => false,
            other => {
                let message = format!("unknown value {other:?}, have auto, path, virtual-hosted");
                return Err(BucketError::config("config.bucket_lookup_type", message));
            }
        };
        let scheme = if self.insecure { "http" } else { "https" };
        let endpoint = if is_virtual {
            format!("{scheme}://{}.{host}", self.bucket)
        } else {
            format!("{scheme}://{host}")
        };
        Ok(builder
            .with_endpoint(endpoint)
            .with_virtual_hosted_style_request(is_virtual)
            .with_allow_http(self.insecure))
    }

    fn encryption(&self, builder: AmazonS3Builder) -> BucketResult<AmazonS3Builder> {
        let sse = &self.sse_config;
        match sse.kind.as_str() {
            "" => Ok(builder),
            "SSE-S3" => {
                let key: AmazonS3ConfigKey =
                    "aws_server_side_encryption".parse().map_err(|error| unusable(&error))?;
                Ok(builder.with_config(key, "AES256"))
            }
            "SSE-KMS" => {
                required("config.sse_config.kms_key_id", &sse.kms_key_id)?;
                Ok(builder.with_sse_kms_encryption(&sse.kms_key_id))
            }
            "SSE-C" => {
                let message = "SSE-C is not supported by this version, have SSE-S3, SSE-KMS".to_owned();
                required("config.sse_config.encryption_key", &sse.encryption_key)?;
                Err(BucketError::config("config.sse_config.type", message))
            }
            other => {
                let message = format!("unknown type {other:?}, have SSE-S3, SSE-KMS");
                Err(BucketError::config("config.sse_config.type", message))
            }
        }
    }
}
