//! `google.rpc.Status`: the body of every OTLP error, with the two details that OTLP uses.
//!
//! Source: `google/rpc/{status,error_details}.proto`, `google/protobuf/{any,duration}.proto` and the proto3 JSON
//! mapping. Details of other types are skipped when reading.

use std::time::Duration;

use crate::DecodeError;
use crate::json::{JsonError, Lexer, put_string};
use crate::protobuf::{Fields, put_bytes_field, put_message, put_varint_field, text};

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// Longest delay a `google.protobuf.Duration` can hold: some 10,000 years.
const DURATION_SECONDS_MAX: u64 = 315_576_000_000;

/// An error as gRPC and OTLP/HTTP carry it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// A gRPC status code, 0 to 16; others are kept.
    pub code: i32,
    /// What went wrong, for the sender's developers.
    pub message: String,
    /// `RetryInfo`: how long to wait before sending the same again.
    pub retry_delay: Option<Duration>,
    /// `BadRequest`: what is wrong with the request.
    pub violations: Vec<FieldViolation>,
}

/// One thing wrong with a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, e.g. `resourceLogs[0].scopeLogs[1]`; may be empty.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Status {
    /// A status without details.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), ..Self::default() }
    }

    /// Adds how long to wait.
    pub fn with_retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = Some(delay);
        self
    }

    /// Adds something that is wrong with the request.
    pub fn with_violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.violations.push(FieldViolation { field: field.into(), description: description.into() });
        self
    }

    /// Encodes it as protobuf: a body of OTLP/HTTP, or the `grpc-status-details-bin` of gRPC.
    pub fn to_protobuf(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.code != 0 {
            put_varint_field(&mut out, 1, self.code as i64 as u64);
        }
        put_text(&mut out, 2, &self.message);
        if let Some(delay) = self.retry_delay {
            put_detail(&mut out, RETRY_INFO, |out| {
                put_message(out, 1, |out| put_duration(out, delay));
            });
        }
        if !self.violations.is_empty() {
            put_detail(&mut out, BAD_REQUEST, |out| {
                for violation in &self.violations {
                    put_message(out, 1, |out| {
                        put_text(out, 1, &violation.field);
                        put_text(out, 2, &violation.description);
                    });
                }
            });
        }
        out
    }

    /// Encodes it as JSON: a body of OTLP/HTTP.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = format!("{{\"code\":{},\"message\":", self.code).into_bytes();
        put_string(&mut out, &self.message);
        let mut open: &[u8] = b",\"details\":[";
        if let Some(delay) = self.retry_delay {
            out.extend_from_slice(open);
            let text = duration_text(delay);
            out.extend_from_slice(
                format!("{{\"@type\":\"{RETRY_INFO}\",\"retryDelay\":\"{text}\"}}").as_bytes(),
            );
            open = b",";
        }
        if !self.violations.is_empty() {
            out.extend_from_slice(open);
            out.extend_from_slice(format!("{{\"@type\":\"{BAD_REQUEST}\",\"fieldViolations\":").as_bytes());
            for (index, violation) in self.violations.iter().enumerate() {
                out.extend_from_slice(if index == 0 { b"[{\"field\":" } else { b",{\"field\":" });
                put_string(&mut out, &violation.field);
                out.extend_from_slice(b",\"description\":");
                put_string(&mut out, &violation.description);
                out.push(b'}');
            }
            out.extend_from_slice(b"]}");
        }
        if self.retry_delay.is_some() || !self.violations.is_empty() {
            out.push(b']');
        }
        out.push(b'}');
        out
    }

    /// Decodes the protobuf form.
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut status = Self::default();
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => status.code = field.varint()? as i32,
                2 => status.message = field.str()?.to_owned(),
                3 => status.read_detail(field.bytes()?)?,
                _ => (),
            }
        }
        Ok(status)
    }

    fn read_detail(&mut self, any: &[u8]) -> Result<(), DecodeError> {
        let (mut type_url, mut value): (&str, &[u8]) = ("", &[]);
        for field in Fields::new(any) {
            let field = field?;
            match field.number {
                1 => type_url = field.str()?,
                2 => value = field.bytes()?,
                _ => (),
            }
        }
        match type_url {
            RETRY_INFO => {
                for field in Fields::new(value) {
                    let field = field?;
                    if field.number == 1 {
                        self.retry_delay = read_duration(field.bytes()?)?;
                    }
                }
            }
            BAD_REQUEST => {
                for field in Fields::new(value) {
                    let field = field?;
                    if field.number == 1 {
                        self.violations.push(read_violation(field.bytes()?)?);
                    }
                }
            }
            _ => (),
        }
        Ok(())
    }

    /// Decodes the JSON form.
    pub fn from_json(json: &[u8]) -> Result<Self, DecodeError> {
        let mut status = Self::default();
        let mut lexer = Lexer::new(json)?;
        lexer.object(|lexer, name| {
            match name {
                "code" => {
                    let code = lexer.number()?.parse();
                    status.code = code.map_err(|_| lexer.error("expected a status code before this"))?;
                }
                "message" => status.message = lexer.string()?.to_owned(),
                "details" => lexer.array(|lexer| read_json_detail(lexer, &mut status))?,
                _ => lexer.skip()?,
            }
            Ok(())
        })?;
        lexer.end()?;
        Ok(status)
    }
}

fn put_text(out: &mut Vec<u8>, number: u32, text: &str) {
    if !text.is_empty() {
        put_bytes_field(out, number, text.as_bytes());
    }
}

fn put_detail(out: &mut Vec<u8>, type_url: &str, content: impl FnOnce(&mut Vec<u8>)) {
    put_message(out, 3, |out| {
        put_text(out, 1, type_url);
        put_message(out, 2, content);
    });
}

fn put_duration(out: &mut Vec<u8>, delay: Duration) {
    let seconds = delay.as_secs().min(DURATION_SECONDS_MAX);
    if seconds != 0 {
        put_varint_field(out, 1, seconds);
    }
    if delay.subsec_nanos() != 0 {
        put_varint_field(out, 2, delay.subsec_nanos().into());
    }
}

/// `None` for a negative one, which is no hint.
fn read_duration(bytes: &[u8]) -> Result<Option<Duration>, DecodeError> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields::new(bytes) {
        let field = field?;
        match field.number {
            1 => seconds = field.varint()? as i64,
            2 => nanos = field.varint()? as i32,
            _ => (),
        }
    }
    Ok(duration(seconds, nanos))
}

fn duration(seconds: i64, nanos: i32) -> Option<Duration> {
    let seconds = u64::try_from(seconds).ok()?;
    let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(seconds.min(DURATION_SECONDS_MAX), nanos))
}

fn read_violation(bytes: &[u8]) -> Result<FieldViolation, DecodeError> {
    let mut violation = FieldViolation::default();
    for field in Fields::new(bytes) {
        let field = field?;
        match field.number {
            1 => violation.field = text(field.bytes()?)?.to_owned(),
            2 => violation.description = text(field.bytes()?)?.to_owned(),
            _ => (),
        }
    }
    Ok(violation)
}

/// `1s`, `0.5s`: seconds with 0, 3, 6 or 9 decimals.
fn duration_text(delay: Duration) -> String {
    let seconds = delay.as_secs().min(DURATION_SECONDS_MAX);
    match delay.subsec_nanos() {
        0 => format!("{seconds}s"),
        nanos if nanos.is_multiple_of(1_000_000) => format!("{seconds}.{:03}s", nanos / 1_000_000),
        nanos if nanos.is_multiple_of(1_000) => format!("{seconds}.{:06}s", nanos / 1_000),
        nanos => format!("{seconds}.{nanos:09}s"),
    }
}

fn parse_duration_text(text: &str) -> Option<Duration> {
    let digits = text.strip_suffix('s')?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    duration(whole.parse().ok()?, nanos)
}

/// An element of `details`: its `@type` may come after what it describes, so both readings are kept until the end.
fn read_json_detail(lexer: &mut Lexer<'_>, status: &mut Status) -> Result<(), JsonError> {
    let (mut type_url, mut delay, mut violations) = (String::new(), None, Vec::new());
    lexer.object(|lexer, name| {
        match name {
            "@type" => type_url = lexer.string()?.to_owned(),
            "retryDelay" if lexer.peek() == Some(b'"') => delay = parse_duration_text(lexer.string()?),
            "fieldViolations" if lexer.peek() == Some(b'[') => lexer.array(|lexer| {
                violations.push(read_json_violation(lexer)?);
                Ok(())
            })?,
            _ => lexer.skip()?,
        }
        Ok(())
    })?;
    match type_url.as_str() {
        RETRY_INFO => status.retry_delay = delay,
        BAD_REQUEST => status.violations.append(&mut violations),
        _ => (),
    }
    Ok(())
}

fn read_json_violation(lexer: &mut Lexer<'_>) -> Result<FieldViolation, JsonError> {
    let mut violation = FieldViolation::default();
    lexer.object(|lexer, name| {
        match name {
            "field" => violation.field = lexer.string()?.to_owned(),
            "description" => violation.description = lexer.string()?.to_owned(),
            _ => lexer.skip()?,
        }
        Ok(())
    })?;
    Ok(violation)
}

#[cfg(test)]
mod tests;
