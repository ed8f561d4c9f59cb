//! `tidegate check`: looks at a config or a running server and says it by the exit code, for scripts and probes.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use reqwest::StatusCode;

use super::ConfigArguments;
use super::client::{ClientArguments, ready_url};

/// What to look at.
#[derive(Args, Clone, Debug)]
pub struct CheckArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// The config, as `validate` does.
    Config,
    /// Whether a server runs.
    Healthy(ClientArguments),
    /// Whether a server takes requests: `/-/ready`, or `/ready` where it has the Loki API only.
    Ready(ClientArguments),
}

/// Longest wait for a server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Looks; an error is a no.
pub fn run(config: &ConfigArguments, arguments: &CheckArguments) -> anyhow::Result<()> {
    match &arguments.what {
        What::Config => {
            super::validate::run(config)?;
            super::print("the config is valid\n")
        }
        What::Healthy(client) => probe(config, client, "/-/healthy"),
        What::Ready(client) => super::print(&ready(config, client)?),
    }
}

fn probe(config: &ConfigArguments, client: &ClientArguments, path: &str) -> anyhow::Result<()> {
    super::print(&client.get(config, path, &[], TIMEOUT)?)
}

/// What a server says that is ready. One that has the Loki API only says it where Loki does.
fn ready(config: &ConfigArguments, client: &ClientArguments) -> anyhow::Result<String> {
    let default_url = match &client.url {
        Some(_) => String::new(),
        None => ready_url(config)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime.block_on(async {
        match client.ask(&default_url, "/-/ready", &[], TIMEOUT).await? {
            (StatusCode::NOT_FOUND, _) => client.ask(&default_url, "/ready", &[], TIMEOUT).await,
            answer => Ok(answer),
        }
    })?;
    if !status.is_success() {
        bail!("{status}: {}", body.trim());
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use http::StatusCode;

    use super::ready;
    use crate::cli::ConfigArguments;
    use crate::cli::client::{ClientArguments, Output};

    #[test]
    fn a_server_is_ready_as_its_own_path_says() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let serve = |paths: &'static [&'static str], status: StatusCode| {
            let route = |router: Router, path: &&'static str| {
                let path = *path;
                router.route(path, get(move || async move { (status, path) }))
            };
            let router = paths.iter().fold(Router::new(), route);
            let bound = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
            let listener = bound.expect("a free port");
            let url = format!("http://{}", listener.local_addr().expect("is bound"));
            runtime.spawn(async move { axum::serve(listener, router).await });
            url
        };
        for (paths, status, want) in [
            (&["/-/ready", "/ready"] as &'static [&'static str], StatusCode::OK, Ok("/-/ready")),
            (&["/ready"], StatusCode::OK, Ok("/ready")),
            (&["/ready"], StatusCode::SERVICE_UNAVAILABLE, Err("503")),
            (&["/other"], StatusCode::OK, Err("404")),
        ] {
            let url = Some(serve(paths, status));
            let client = ClientArguments { url, tenant: None, header: Vec::new(), output: Output::Text };
            match (ready(&ConfigArguments::default(), &client), want) {
                (Ok(body), Ok(want)) => assert_eq!(body, want),
                (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{error}"),
                (found, want) => panic!("{found:?}, wanted {want:?}"),
            }
        }
    }
}
