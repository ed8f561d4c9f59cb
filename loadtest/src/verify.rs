//! Reading back what was acknowledged, through the query APIs or a sink behind the target.
//!
//! What is not there at first is looked for again until a time of grace is over: then it is late, else lost.

mod labels;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod sink;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::{Load, Proof};
use crate::ledger::Sent;
use crate::run::WorkerResult;
use crate::transport::tls;

/// A query without an answer after this long fails the verification.
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a query is asked at least before the verification fails with it.
const TRIES_MIN: u32 = 3;
/// Pause before what was missing is looked for again.
const AGAIN: Duration = Duration::from_millis(300);

/// What the verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// Acknowledged items that were looked for: samples, lines, or data points and spans in a sink.
    pub(crate) checked: u64,
    /// Acknowledged items that are not there.
    pub(crate) lost: u64,
    /// Items that are there more than once.
    pub(crate) duplicated: u64,
    /// Items that differ from what was sent, or were never sent.
    pub(crate) wrong: u64,
    /// Acknowledged items that were not there at first, and later were; no fault by itself.
    pub(crate) late: u64,
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

    fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.wrong += other.wrong;
        self.late += other.late;
        if self.example.is_none() {
            self.example = other.example;
        }
    }

    /// The last look at something, whose first look missed `missed_at_first` items.
    fn after(self, missed_at_first: u64) -> Self {
        Self { late: missed_at_first.saturating_sub(self.lost), ..self }
    }
}

/// Looks at query APIs.
pub(crate) struct Reader<'a> {
    client: reqwest::Client,
    load: &'a Load,
    proof: &'a Proof,
    /// When the run began.
    pub(crate) started_ns: i64,
    grace_until: Instant,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(load: &'a Load, proof: &'a Proof, started_ns: i64) -> anyhow::Result<Self> {
        let mut client = reqwest::Client::builder().timeout(QUERY_TIMEOUT);
        if tls::is_https(&proof.prometheus) || tls::is_https(&proof.loki) {
            client = client.tls_backend_preconfigured(tls::client_config(&load.pace().trust)?);
        }
        let client = client.build().context("an HTTP client")?;
        Ok(Self { client, load, proof, started_ns, grace_until: Instant::now() + proof.grace })
    }

    /// GETs `path` of the Prometheus or Loki API with `query` and reads the JSON answer. An API that does not answer is
    /// asked again until the time of grace is over, since the target may just be coming back, and some times at least.
    async fn get<T: DeserializeOwned>(
        &self,
        base: &str,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<T> {
        let mut tries = 1;
        loop {
            match self.get_once(base, path, query).await {
                Err(_) if tries < TRIES_MIN || Instant::now() < self.grace_until => {
                    tries += 1;
                    tokio::time::sleep(AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    async fn get_once<T: DeserializeOwned>(
        &self,
        base: &str,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<T> {
        let url = format!("{}{path}", base.trim_end_matches('/'));
        // Otherwise a Loki makes a stream of each line whose metadata is its own.
        let request = self.client.get(&url).header("X-Loki-Response-Encoding-Flags", "categorize-labels");
        let mut request = request.query(query);
        if let Some(tenant) = &self.load.pace().tenant {
            request = request.header("X-Scope-OrgID", tenant);
        }
        for (name, value) in &self.load.pace().headers {
            request = request.header(name, value);
        }
        let response = request.send().await.with_context(|| format!("asking {url}"))?;
        let status = response.status();
        let body = response.bytes().await.with_context(|| format!("reading the answer of {url}"))?;
        if !status.is_success() {
            bail!("{url} answered {status}: {}", String::from_utf8_lossy(&body));
        }
        serde_json::from_slice(&body).with_context(|| format!("reading the answer of {url}"))
    }

    /// Waits before another look; false when the time of grace is over.
    async fn may_look_again(&self) -> bool {
        if Instant::now() >= self.grace_until {
            return false;
        }
        tokio::time::sleep(AGAIN).await;
        true
    }
}

/// What was sent of each template.
fn by_template(result: &WorkerResult) -> Vec<Vec<Sent>> {
    let mut sent: Vec<Vec<Sent>> = vec![Vec::new(); result.templates.len()];
    for entry in &result.ledger {
        sent[entry.template as usize].push(*entry);
    }
    sent
}
