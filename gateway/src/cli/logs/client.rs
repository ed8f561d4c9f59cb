//! Requests to a Loki.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{RequestBuilder, Response, StatusCode};
use runtime::{Clock, SystemClock};
use serde_json::Value;

use super::ServerArguments;
use crate::cli::notes::Notes;

/// How long one answer may take: a little more than a query may run.
const TIMEOUT: Duration = Duration::from_secs(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Tries of a push, with pauses that double from the first one.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Header by which Loki is asked for another form of an answer.
const ENCODING_FLAGS: &str = "x-loki-response-encoding-flags";

/// A server and what it is to be told about us.
pub(super) struct LokiClient {
    http: reqwest::Client,
    server: ServerArguments,
    /// What answers said about themselves.
    pub(super) notes: RefCell<Notes>,
}

impl LokiClient {
    pub(super) fn new(server: &ServerArguments) -> anyhow::Result<Self> {
        let url = reqwest::Url::parse(&server.addr);
        if !url.is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            bail!("--addr {:?}: want a URL with http:// or https://", server.addr);
        }
        let http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).build()?;
        Ok(Self { http, server: server.clone(), notes: RefCell::default() })
    }

    /// A GET of a path below `/loki/api/v1`, with the headers that every request has.
    pub(super) fn request(&self, path: &str, parameters: &[(&'static str, String)]) -> RequestBuilder {
        // Without it structured metadata comes among the labels, and nobody could tell which it was.
        let request = self.http.get(self.url(path)).header(ENCODING_FLAGS, "categorize-labels");
        self.with_headers(request.query(parameters))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/loki/api/v1/{path}", self.server.addr.trim_end_matches('/'))
    }

    fn with_headers(&self, mut request: RequestBuilder) -> RequestBuilder {
        if let Some(tenant) = &self.server.org_id {
            request = request.header("x-scope-orgid", tenant);
        }
        match (&self.server.username, &self.server.bearer_token) {
            (Some(user), _) => request.basic_auth(user, self.server.password.as_ref()),
            (None, Some(token)) => request.bearer_auth(token),
            (None, None) => request,
        }
    }

    /// A JSON answer. What it says about itself is told.
    pub(super) async fn get(
        &self,
        path: &str,
        parameters: &[(&'static str, String)],
    ) -> anyhow::Result<Value> {
        let answer = self.request(path, parameters).timeout(TIMEOUT).send().await;
        let answer = answer.with_context(|| format!("asking {}", self.server.addr))?;
        let text = good(answer).await?;
        let answer =
            serde_json::from_str(&text).with_context(|| format!("{path}: the answer is not JSON"))?;
        self.notes.borrow_mut().tell(&answer);
        Ok(answer)
    }

    /// Pushes streams; tries again where the server says that it cannot take them now. Gives what the server says of
    /// entries that it refused for good; it stores the others of the push.
    pub(super) async fn push(&self, body: &Value) -> anyhow::Result<Option<String>> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let request = self.with_headers(self.http.post(self.url("push"))).timeout(TIMEOUT).json(body);
            let answer = request.send().await.with_context(|| format!("pushing to {}", self.server.addr))?;
            let status = answer.status();
            if status == StatusCode::BAD_REQUEST {
                let text = answer.text().await.context("reading the answer")?;
                return Ok(Some(text.trim().to_owned()));
            }
            let again = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
            if !again || attempt == TRIES {
                good(answer).await?;
                return Ok(None);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(None)
    }
}

/// The body of a good answer.
async fn good(answer: Response) -> anyhow::Result<String> {
    let status = answer.status();
    let text = answer.text().await.context("reading the answer")?;
    if !status.is_success() {
        bail!("the server answered {status}: {}", text.trim());
    }
    Ok(text)
}

/// The time, nanoseconds since the Unix epoch.
pub(super) fn now_ns() -> i64 {
    SystemClock.now_ns()
}
