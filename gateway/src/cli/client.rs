//! What commands that ask a running server share: its address, headers, and the form of the output.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::ConfigArguments;

/// Whom to ask, and how.
#[derive(Args, Clone, Debug)]
pub struct ClientArguments {
    /// The server, e.g. http://localhost:9090. Default the one that --config describes.
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

/// The Prometheus API of a server that runs with a config, as it is reached from this machine; without a config that of
/// the built-in one.
pub(super) fn prometheus_url(config: &ConfigArguments) -> anyhow::Result<String> {
    let config = config.load()?;
    let server = &config.server.prometheus;
    let endpoint = server.endpoint();
    if endpoint.is_empty() {
        bail!(
            "the config switches the Prometheus API off (server.prometheus.endpoint); name a server with --url"
        );
    }
    url_of("Prometheus API", endpoint, server.tls.is_some())
}

/// The server of a config that says whether it is ready: the Prometheus API, or the Loki API where that is all there is.
pub(super) fn ready_url(arguments: &ConfigArguments) -> anyhow::Result<String> {
    let config = arguments.load()?;
    let loki = &config.server.loki;
    match config.server.prometheus.endpoint().is_empty() && !loki.endpoint().is_empty() {
        true => url_of("Loki API", loki.endpoint(), loki.tls.is_some()),
        false => prometheus_url(arguments),
    }
}

fn url_of(what: &str, endpoint: &str, has_tls: bool) -> anyhow::Result<String> {
    if endpoint.starts_with("unix:") {
        bail!("the {what} listens on {endpoint}, which is no URL; name a server with --url");
    }
    let (host, port) = endpoint.rsplit_once(':').unwrap_or((endpoint, "9090"));
    // An address of every interface is also this machine's.
    let host = if matches!(host, "" | "0.0.0.0" | "[::]") { "localhost" } else { host };
    Ok(format!("{}://{host}:{port}", if has_tls { "https" } else { "http" }))
}

impl ClientArguments {
    /// Asks `path` of the server, without one that of the config, and returns the body, of an error of the API too.
    pub(super) fn get(
        &self,
        config: &ConfigArguments,
        path: &str,
        form: &[(&str, String)],
        timeout: Duration,
    ) -> anyhow::Result<String> {
        let default_url = match &self.url {
            Some(_) => String::new(),
            None => prometheus_url(config)?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (status, body) = runtime.block_on(self.ask(&default_url, path, form, timeout))?;
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

#[cfg(test)]
mod tests {
    use super::{prometheus_url, ready_url};
    use crate::cli::ConfigArguments;

    #[test]
    fn the_server_of_a_config_is_asked_where_it_listens() {
        let check_url =
            |url: fn(&ConfigArguments) -> anyhow::Result<String>, set: &[&str], want: Result<&str, &str>| {
                let set = set.iter().map(|set| (*set).to_owned()).collect();
                match (url(&ConfigArguments { config: Vec::new(), set }), want) {
                    (Ok(found), Ok(want)) => assert_eq!(found, want),
                    (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{error}"),
                    (found, want) => panic!("{found:?}, wanted {want:?}"),
                }
            };
        let check = |set: &[&str], want| check_url(prometheus_url, set, want);
        check(&[], Ok("http://localhost:9090"));
        check(&["server.prometheus.endpoint=0.0.0.0:19090"], Ok("http://localhost:19090"));
        check(&["server.prometheus.endpoint=node-1:80"], Ok("http://node-1:80"));
        check(
            &["server.prometheus.endpoint=:9443", "server.prometheus.tls={cert_file: a, key_file: b}"],
            Ok("https://localhost:9443"),
        );
        check(&["server.prometheus.endpoint="], Err("switches the Prometheus API off"));
        check(&["server.prometheus.endpoint=unix:/run/t.sock"], Err("name a server with --url"));
        let check = |set: &[&str], want| check_url(ready_url, set, want);
        check(&[], Ok("http://localhost:9090"));
        check(&["server.prometheus.endpoint="], Ok("http://localhost:3100"));
        check(
            &[
                "server.prometheus.endpoint=",
                "server.loki={endpoint: ':1', tls: {cert_file: a, key_file: b}}",
            ],
            Ok("https://localhost:1"),
        );
        check(
            &["server.prometheus.endpoint=", "server.loki.endpoint="],
            Err("switches the Prometheus API off"),
        );
    }
}
