//! Reading back what was acknowledged, through the query APIs.

pub(crate) mod logs;
pub(crate) mod metrics;

use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::OtlpArgs;

/// A query without an answer after this long fails the verification.
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

/// What the verification found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Verdict {
    /// Acknowledged items that were looked for.
    pub(crate) checked: u64,
    /// Acknowledged items that are not there.
    pub(crate) lost: u64,
    /// Items that are there more than once.
    pub(crate) duplicated: u64,
    /// Items that differ from what was sent, or were never sent.
    pub(crate) wrong: u64,
    /// The first fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) example: Option<String>,
}

impl Verdict {
    /// Whether everything acknowledged is there once and right.
    pub(crate) fn passed(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.wrong == 0
    }

    fn note(&mut self, example: impl FnOnce() -> String) {
        self.example.get_or_insert_with(example);
    }
}

/// GETs `url` with `query` and reads the JSON answer.
async fn get<T: DeserializeOwned>(
    client: &reqwest::Client,
    args: &OtlpArgs,
    url: &str,
    query: &[(&str, String)],
) -> anyhow::Result<T> {
    let mut request = client.get(url).query(query).timeout(QUERY_TIMEOUT);
    if let Some(tenant) = &args.tenant {
        request = request.header("X-Scope-OrgID", tenant);
    }
    let response = request.send().await.with_context(|| format!("asking {url}"))?;
    let status = response.status();
    let body = response.bytes().await.with_context(|| format!("reading the answer of {url}"))?;
    if !status.is_success() {
        bail!("{url} answered {status}: {}", String::from_utf8_lossy(&body));
    }
    serde_json::from_slice(&body).with_context(|| format!("reading the answer of {url}"))
}
