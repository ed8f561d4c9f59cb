//! Follows a query over a WebSocket until the server or the user ends it.

use anyhow::{Context, bail};
use futures_util::StreamExt;
use http::StatusCode;
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::client::LokiClient;
use super::output::{self, Printer};

pub(super) async fn run(
    client: &LokiClient,
    parameters: &[(&'static str, String)],
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let request = client
        .request("tail", parameters)
        .version(http::Version::HTTP_11)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, generate_key());
    let answer = request.send().await.context("asking for a tail")?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = answer.status();
        bail!("the server answered {status}: {}", answer.text().await.unwrap_or_default().trim());
    }
    let upgraded = answer.upgrade().await.context("changing to a WebSocket")?;
    let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
    while let Some(message) = socket.next().await {
        match message.context("the connection broke")? {
            Message::Text(text) => show(&text, printer)?,
            Message::Close(Some(frame)) if !frame.reason.is_empty() => {
                bail!("the server ended the tail: {}", frame.reason)
            }
            Message::Close(_) => return Ok(()),
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
    Ok(())
}

fn show(frame: &str, printer: &mut Printer) -> anyhow::Result<()> {
    let frame: Value = serde_json::from_str(frame).context("a frame is not JSON")?;
    let mut entries = output::entries(&frame["streams"])?;
    entries.sort_by_key(|entry| entry.timestamp_ns);
    printer.print(&entries)?;
    for dropped in frame["dropped_entries"].as_array().into_iter().flatten() {
        crate::cli::note(&format!(
            "the server left out lines of {}",
            output::labels_text(&dropped["labels"])
        ));
    }
    Ok(())
}
