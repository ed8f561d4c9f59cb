//! A gateway inside the test's own process, on free ports, with its data in a folder of its own.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of the rig")]

use std::net::SocketAddr;

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tidegate::config::Config;
use tidegate::config::expand::ProcessSurroundings;
use tidegate::config::load::load;
use tidegate::wiring::Gateway;

pub struct Rig {
    gateway: Option<Gateway>,
    pub client: Client,
    _folder: tempfile::TempDir,
}

impl Rig {
    /// Starts the built-in config with `sets` on top.
    pub async fn start(sets: &[&str]) -> Self {
        Self::try_start(sets).await.expect("the gateway starts")
    }

    /// The same where a test wants the start to fail.
    pub async fn try_start(sets: &[&str]) -> anyhow::Result<Self> {
        tidegate::install_crypto_provider();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut all = vec![
            format!("storage.directory={}", folder.path().display()),
            "receivers.otlp.protocols.grpc.endpoint=127.0.0.1:0".to_owned(),
            "receivers.otlp.protocols.http.endpoint=127.0.0.1:0".to_owned(),
            "server.prometheus.endpoint=127.0.0.1:0".to_owned(),
            "server.loki.endpoint=127.0.0.1:0".to_owned(),
            "server.store_api.endpoint=127.0.0.1:0".to_owned(),
        ];
        all.extend(sets.iter().map(|set| (*set).to_owned()));
        let sources = [format!("yaml:{}", tidegate::config::DEFAULT_CONFIG)];
        let loaded = load(&sources, &all, &ProcessSurroundings).expect("the config loads");
        let config = Config::new(loaded).expect("the config is good");
        let gateway = Gateway::start(config).await?;
        Ok(Self { gateway: Some(gateway), client: Client::new(), _folder: folder })
    }

    pub fn address(&self, what: &str) -> SocketAddr {
        self.gateway.as_ref().and_then(|gateway| gateway.address(what)).expect("is listened on")
    }

    pub fn url(&self, what: &str, path: &str) -> String {
        format!("http://{}{path}", self.address(what))
    }

    pub async fn stop(mut self) {
        self.gateway.take().expect("runs").shutdown().await.expect("drains in time");
    }

    /// Sends one log line over OTLP/HTTP.
    pub async fn send_line(&self, time_ns: i64, line: &str) -> StatusCode {
        let body = json!({"resourceLogs": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeLogs": [{"logRecords": [{
                "timeUnixNano": time_ns.to_string(), "body": {"stringValue": line},
                "attributes": [{"key": "customer", "value": {"stringValue": "c-17"}}],
            }]}],
        }]});
        let post = self.client.post(self.url("OTLP HTTP", "/v1/logs")).json(&body);
        post.send().await.expect("an answer").status()
    }

    /// Sends one sample of a counter over OTLP/HTTP.
    pub async fn send_count(&self, time_ns: i64, value: i64) -> StatusCode {
        let body = json!({"resourceMetrics": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeMetrics": [{"metrics": [{"name": "orders", "unit": "1", "sum": {
                "isMonotonic": true, "aggregationTemporality": 2,
                "dataPoints": [{"timeUnixNano": time_ns.to_string(), "asInt": value.to_string()}],
            }}]}],
        }]});
        let post = self.client.post(self.url("OTLP HTTP", "/v1/metrics")).json(&body);
        post.send().await.expect("an answer").status()
    }

    pub async fn prometheus(&self, path: &str) -> (StatusCode, Value) {
        self.get_json("Prometheus API", path).await
    }

    pub async fn loki(&self, path: &str) -> (StatusCode, Value) {
        self.get_json("Loki API", path).await
    }

    async fn get_json(&self, what: &str, path: &str) -> (StatusCode, Value) {
        let response = self.get(what, path).await;
        let status = response.status();
        let text = response.text().await.expect("a body");
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, value)
    }

    pub async fn get(&self, what: &str, path: &str) -> Response {
        self.client.get(self.url(what, path)).send().await.expect("an answer")
    }
}
