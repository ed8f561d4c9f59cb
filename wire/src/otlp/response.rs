//! Export responses: `Export{Metrics,Logs,Trace}ServiceResponse`, which differ only in one JSON name.
//!
//! Source: the collector services of opentelemetry-proto. Full success is an empty message; a partial one says how
//! many items were refused and why; 0 refused with a message is a warning.

use model::{AppendReport, Signal};

use crate::DecodeError;
use crate::json::{JsonError, Lexer, put_string};
use crate::protobuf::{Fields, put_bytes_field, put_message, put_varint_field, text};

/// The answer to a request of which not everything was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialSuccess {
    /// Data points, log records or spans that were refused; the sender must not send them again.
    pub rejected: u64,
    /// Why, for people.
    pub message: String,
}

impl PartialSuccess {
    /// What to answer for a report: `None` when nothing was refused and there is no warning.
    pub fn from_report(report: &AppendReport) -> Option<Self> {
        if report.rejected.is_empty() {
            return None;
        }
        let mut message = String::new();
        for rejection in &report.rejected {
            if !message.is_empty() {
                message.push_str("; ");
            }
            match rejection.count {
                0 | 1 => (),
                count => message.push_str(&format!("{count}x ")),
            }
            message.push_str(&format!("{}: {}", rejection.reason, rejection.message));
        }
        Some(Self { rejected: report.rejected_count(), message })
    }
}

/// Encodes a response as protobuf, the same for every signal.
pub fn response_to_protobuf(partial: Option<&PartialSuccess>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(partial) = partial {
        put_message(&mut out, 1, |out| {
            if partial.rejected != 0 {
                put_varint_field(out, 1, partial.rejected);
            }
            if !partial.message.is_empty() {
                put_bytes_field(out, 2, partial.message.as_bytes());
            }
        });
    }
    out
}

/// Encodes a response as JSON.
pub fn response_to_json(signal: Signal, partial: Option<&PartialSuccess>) -> Vec<u8> {
    let Some(partial) = partial else { return b"{}".to_vec() };
    let mut out = b"{\"partialSuccess\":{".to_vec();
    if partial.rejected != 0 {
        put_string(&mut out, rejected_name(signal));
        out.extend_from_slice(format!(":\"{}\"", partial.rejected).as_bytes());
    }
    if !partial.message.is_empty() {
        if partial.rejected != 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"\"errorMessage\":");
        put_string(&mut out, &partial.message);
    }
    out.extend_from_slice(b"}}");
    out
}

fn rejected_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Metrics => "rejectedDataPoints",
        Signal::Logs => "rejectedLogRecords",
        Signal::Traces => "rejectedSpans",
    }
}

/// Decodes a protobuf response: `None` is full success, which an empty `partial_success` is too.
pub fn response_from_protobuf(bytes: &[u8]) -> Result<Option<PartialSuccess>, DecodeError> {
    let mut partial = PartialSuccess::default();
    for field in Fields::new(bytes) {
        let field = field?;
        if field.number != 1 {
            continue;
        }
        for field in Fields::new(field.bytes()?) {
            let field = field?;
            match field.number {
                1 => partial.rejected = rejected(field.varint()? as i64),
                2 => partial.message = text(field.bytes()?)?.to_owned(),
                _ => (),
            }
        }
    }
    Ok(Some(partial).filter(|partial| *partial != PartialSuccess::default()))
}

/// Decodes a JSON response, as [`response_from_protobuf`].
pub fn response_from_json(signal: Signal, json: &[u8]) -> Result<Option<PartialSuccess>, DecodeError> {
    let mut partial = PartialSuccess::default();
    let mut lexer = Lexer::new(json)?;
    lexer.object(|lexer, name| {
        if !matches!(name, "partialSuccess" | "partial_success") {
            return lexer.skip();
        }
        lexer.object(|lexer, name| read_partial(signal, lexer, name, &mut partial))
    })?;
    lexer.end()?;
    Ok(Some(partial).filter(|partial| *partial != PartialSuccess::default()))
}

fn read_partial(
    signal: Signal,
    lexer: &mut Lexer<'_>,
    name: &str,
    partial: &mut PartialSuccess,
) -> Result<(), JsonError> {
    if name == "errorMessage" {
        partial.message = lexer.string()?.to_owned();
        return Ok(());
    }
    if name != rejected_name(signal) {
        return lexer.skip();
    }
    let number = match lexer.peek() {
        Some(b'"') => lexer.string()?.parse().ok(),
        _ => lexer.number()?.parse().ok(),
    };
    let number: i64 = number.ok_or_else(|| lexer.error("expected an integer before this"))?;
    partial.rejected = rejected(number);
    Ok(())
}

/// The field is a signed integer; less than nothing cannot be refused.
fn rejected(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
