//! What a server's answer means for a batch: try again (and when), or never.
//!
//! Source: opentelemetry-proto docs/specification.md, "Failures". Of gRPC codes CANCELLED, DEADLINE_EXCEEDED, ABORTED,
//! OUT_OF_RANGE, UNAVAILABLE and DATA_LOSS may be tried again, RESOURCE_EXHAUSTED only with RetryInfo; of HTTP statuses
//! 429, 502, 503 and 504.

use std::time::Duration;

use chrono::DateTime;
use http::{HeaderMap, header};
use model::{AppendReport, ErrorKind, Signal};
use pipelines::{ComponentId, PipelineError};
use wire::otlp::PartialSuccess;
use wire::rpc_status::Status;

/// Longest hint of a server that is followed: a slip of a server must not park a queue for days.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// An error that no retry helps.
pub(crate) fn permanent(message: impl Into<String>) -> PipelineError {
    PipelineError::new(ErrorKind::Internal, message)
}

/// The error of an attempt before the start.
pub(crate) fn not_started(id: &ComponentId) -> PipelineError {
    PipelineError::new(ErrorKind::Unavailable, format!("exporter {id} is not started"))
}

/// What became of `items` items by an OTLP answer.
pub(crate) fn otlp_report(
    id: &ComponentId,
    signal: Signal,
    items: u64,
    partial: Option<PartialSuccess>,
) -> AppendReport {
    let mut report = AppendReport { stored: items, rejected: Vec::new() };
    if let Some(PartialSuccess { rejected, message }) = partial {
        let dropped = rejected.min(items);
        tracing::warn!(exporter = %id, %signal, dropped_items = dropped, answer = message, "partial success response");
        report.stored -= dropped;
        report.reject("partial_success", dropped, || message);
    }
    report
}

/// What a text answer says, as the end of a sentence: `: text`, or nothing.
pub(crate) fn body_text(body: &[u8]) -> String {
    /// Most bytes of an error body that are told, as Prometheus does.
    const BYTES_MAX: usize = 1024;
    let text = String::from_utf8_lossy(&body[..body.len().min(BYTES_MAX)]);
    match text.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

/// The error that a gRPC status other than OK means.
pub(super) fn grpc_failure(status: &Status) -> PipelineError {
    let Status { code, message, retry_delay, .. } = status;
    let text = format!("rpc error: code = {} desc = {message}", code_name(*code));
    let error = match code {
        1 | 4 | 10 | 11 | 14 | 15 => PipelineError::new(ErrorKind::Unavailable, text),
        8 if retry_delay.is_some() => PipelineError::new(ErrorKind::Throttled, text),
        3 => PipelineError::new(ErrorKind::Invalid, text),
        _ => permanent(text),
    };
    with_hint(error, *retry_delay)
}

fn with_hint(error: PipelineError, hint: Option<Duration>) -> PipelineError {
    match hint {
        Some(hint) => error.with_retry_after(hint.min(RETRY_AFTER_MAX)),
        None => error,
    }
}

/// Names of google.golang.org/grpc/codes.
fn code_name(code: i32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    name.map_or_else(|| format!("Code({code})"), |name| (*name).to_owned())
}

/// The error that an HTTP status other than 2xx means; `message` is what the body said, `now_ms` the time for a
/// `Retry-After` that is a date.
pub(crate) fn http_failure(
    url: &str,
    status: u16,
    headers: &HeaderMap,
    message: &str,
    is_retryable: bool,
    now_ms: i64,
) -> PipelineError {
    let text =
        format!("error exporting items, request to {url} responded with HTTP Status Code {status}{message}");
    if is_retryable {
        let kind = if status == 429 { ErrorKind::Throttled } else { ErrorKind::Unavailable };
        let hint =
            headers.get(header::RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, now_ms));
        return with_hint(PipelineError::new(kind, text), hint);
    }
    if status == 400 { PipelineError::new(ErrorKind::Invalid, text) } else { permanent(text) }
}

/// `Retry-After`: seconds, or an HTTP date.
fn retry_after(value: &str, now_ms: i64) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(value.trim()).ok()?;
    let wait_ms = date.timestamp_millis().saturating_sub(now_ms);
    Some(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)))
}

#[cfg(test)]
mod tests;
