//! What commands that ask a running server share: its address, headers, and the form of the output.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

/// Whom to ask, and how.
#[derive(Args, Clone, Debug)]
pub struct ClientArguments {
    /// The server, e.g. http://localhost:9090.
    #[arg(long, env = "TIDEGATE_URL", global = true)]
    pub url: Option<String>,
    /// The tenant to ask about, sent as X-Scope-OrgID.
    #[arg(long, env = "TIDEGATE_TENANT", global = true)]
    pub tenant: Option<String>,
    /// A header to send, "Name: value"; may be given several times.
    #[arg(long, value_name = "NAME: VALUE", global = true)]
    pub header: Vec<String>,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t = Output::Text, global = true)]
    pub output: Output,
}

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines for people.
    Text,
    /// JSON for programs.
    Json,
}

/// Most of an answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 1 << 30;

impl ClientArguments {
    /// Asks `path` of the server and returns the body, of an error of the API too.
    pub(super) fn get(
        &self,
        default_url: &str,
        path: &str,
        form: &[(&str, String)],
        timeout: Duration,
    ) -> anyhow::Result<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (status, body) = runtime.block_on(self.ask(default_url, path, form, timeout))?;
        // Errors of the API are JSON as well; anything else comes from somebody in between.
        if !status.is_success() && !body.trim_start().starts_with('{') {
            bail!("{status}: {}", body.trim());
        }
        Ok(body)
    }

    /// Asks `path` with GET; the parameters go into the address.
    pub(super) async fn ask(
        &self,
        default_url: &str,
        path: &str,
        parameters: &[(&str, String)],
        timeout: Duration,
    ) -> anyhow::Result<(reqwest::StatusCode, String)> {
        let base = self.url.as_deref().unwrap_or(default_url).trim_end_matches('/');
        let url = format!("{base}{path}");
        let client = reqwest::Client::builder().timeout(timeout).build()?;
        let mut request = client.get(&url).query(parameters);
        if let Some(tenant) = &self.tenant {
            request = request.header("X-Scope-OrgID", tenant);
        }
        for header in &self.header {
            let (name, value) = header
                .split_once(':')
                .with_context(|| format!("--header {header:?}: want \"Name: value\""))?;
            request = request.header(name.trim(), value.trim());
        }
        let mut response = request.send().await.with_context(|| format!("asking {url}"))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(piece) =
            response.chunk().await.with_context(|| format!("reading the answer of {url}"))?
        {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_BYTES_MAX {
                bail!("the answer of {url} is larger than {ANSWER_BYTES_MAX} bytes");
            }
        }
        Ok((status, String::from_utf8(body).context("the answer is not UTF-8")?))
    }
}
