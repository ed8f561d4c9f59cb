//! `zpages`: pages for people about the running process (extension of the same name in the collector): the service, its
//! pipelines, its extensions, and what its components counted.
//!
//! The pages are our own; the paths are the collector's. Names from the config are escaped: a page shows them and never
//! runs them.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::HeaderValue;
use http::header::CONTENT_SECURITY_POLICY;
use pipelines::{ComponentConfig, ConfigError, Stability};
use serde::Deserialize;
use serde_json::Value;

use super::{Extension, ExtensionContext, ExtensionFactory, OwnPage};
use crate::api::process::ProcessInfo;
use crate::server::section::HttpSection;

pub(super) const FACTORY: ExtensionFactory =
    ExtensionFactory { kind: "zpages", stability: Stability::Beta, create };

/// Where to listen unless the config says.
const ENDPOINT_DEFAULT: &str = "localhost:55679";

/// The keys beside those of the listener.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    expvar: Expvar,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expvar {
    /// Only false: it is about Go's runtime.
    enabled: bool,
}

fn create(config: &ComponentConfig<'_>, context: &ExtensionContext) -> Result<Extension, ConfigError> {
    let (server, own) = HttpSection::split(config)?;
    let config: Config = ComponentConfig { id: config.id, value: &own }.parse()?;
    if config.expvar.enabled {
        return Err(ConfigError::at("expvar.enabled", "is not supported: it is about Go's runtime"));
    }
    let endpoint = server.endpoint.clone().unwrap_or_else(|| ENDPOINT_DEFAULT.to_owned());
    if endpoint.is_empty() {
        return Err(ConfigError::at(
            "endpoint",
            "\"endpoint\" is required when using the \"zpages\" extension",
        ));
    }
    let mut routes = Router::new();
    for (name, render) in PAGES {
        let process = Arc::clone(&context.process);
        let page = move || {
            let answer = page(name, &render(&process));
            async move { answer }
        };
        routes = routes.route(&format!("/debug/{name}"), get(page));
    }
    let page = OwnPage { what: "zPages", endpoint, server, routes };
    Ok(Extension { page: Some(page), ..Extension::default() })
}

type Render = fn(&ProcessInfo) -> String;

/// The pages by name.
const PAGES: [(&str, Render); 4] =
    [("servicez", servicez), ("pipelinez", pipelinez), ("extensionz", extensionz), ("tracez", tracez)];

fn page(name: &str, content: &str) -> Response {
    let links: String =
        PAGES.iter().map(|(page, _)| format!("<a href=\"/debug/{page}\">{page}</a> ")).collect();
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}</title></head>\
         <body><p>{links}</p><h1>{name}</h1>{content}</body></html>\n"
    );
    let mut response = Html(html).into_response();
    // Nothing on these pages is a script, and nothing that gets into them may become one.
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

/// A table of escaped cells.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut html = String::from("<table border=\"1\"><tr>");
    for cell in head {
        let _ = write!(html, "<th>{}</th>", escape(cell));
    }
    html.push_str("</tr>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{}</td>", escape(&cell));
        }
        html.push_str("</tr>");
    }
    html.push_str("</table>");
    html
}

fn servicez(process: &ProcessInfo) -> String {
    let started = chrono::DateTime::from_timestamp_millis(process.started_ms).unwrap_or_default();
    let rows = [
        ("command", "tidegate".to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("process id", std::process::id().to_string()),
        ("started", started.to_rfc3339()),
        ("ready", process.is_ready().to_string()),
    ];
    table(&["property", "value"], rows.map(|(name, value)| vec![name.to_owned(), value]))
}

fn pipelinez(process: &ProcessInfo) -> String {
    let config = process.config();
    let pipelines = config.pointer("/service/pipelines").and_then(Value::as_object);
    let list = |pipeline: &Value, key: &str| {
        let ids = pipeline.get(key).and_then(Value::as_array);
        let ids: Vec<&str> = ids.into_iter().flatten().filter_map(Value::as_str).collect();
        ids.join(", ")
    };
    let rows = pipelines.into_iter().flatten().map(|(id, pipeline)| {
        let kinds = ["receivers", "processors", "exporters"].map(|kind| list(pipeline, kind));
        std::iter::once(id.clone()).chain(kinds).collect()
    });
    table(&["pipeline", "receivers", "processors", "exporters"], rows)
}

fn extensionz(process: &ProcessInfo) -> String {
    let config = process.config();
    let ids = config.pointer("/service/extensions").and_then(Value::as_array);
    let rows = ids.into_iter().flatten().filter_map(Value::as_str).map(|id| vec![id.to_owned()]);
    table(&["extension"], rows)
}

/// No spans are kept; what the components counted tells where items are refused or fail.
fn tracez(process: &ProcessInfo) -> String {
    let text = process.metrics.as_ref().map(|metrics| metrics.render()).unwrap_or_default();
    let rows = text.lines().filter(|line| line.starts_with("otelcol_")).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        Some(vec![series.to_owned(), value.to_owned()])
    });
    format!(
        "<p>Spans of this process are not recorded. Counters of its components:</p>{}",
        table(&["series", "value"], rows)
    )
}
