//! `set_semconv_span_name`: names a span as the semantic conventions say, so that its name has few values
//! (func_set_semconv_span_name.go of the collector's contrib repository; opentelemetry.io/docs/specs/semconv).

use std::borrow::Cow;

use super::{Args, Function, Kind, Prepared, editor, may, need};
use crate::context::Context;
use crate::error::Eval;
use crate::frame::Frame;
use crate::message::Scalar;
use crate::value::Value;

pub(super) const TABLE: &[Function] = &[editor(
    "set_semconv_span_name",
    &[need("semconv_version", Kind::LiteralText), may("original_span_name_attribute", Kind::LiteralText)],
    set_name,
)
.prepared(check)
.only(Context::Span)];

// Fields of `Span`.
const NAME: u32 = 5;
const KIND: u32 = 6;
const ATTRIBUTES: u32 = 9;

fn check(args: &Args) -> Result<Prepared, String> {
    let version = args.literal_text(0).unwrap_or_default();
    let numbers: Option<Vec<u64>> =
        version.strip_prefix('v').unwrap_or(version).split('.').map(|part| part.parse().ok()).collect();
    let numbers = numbers.filter(|numbers| numbers.len() <= 3);
    let Some(mut numbers) = numbers else {
        return Err(format!("failed to parse semconv version {version:?}: invalid semantic version"));
    };
    numbers.resize(3, 0);
    if numbers < vec![1, 37, 0] || numbers > vec![1, 40, 0] {
        return Err(format!("unsupported semconv version {version:?}: must be between 1.37.0 and 1.40.0"));
    }
    match args.literal_text(1) {
        Some("") => Err("originalSpanNameAttribute cannot be an empty string".to_owned()),
        _ => Ok(Prepared::Nothing),
    }
}

fn set_name(args: &Args, frame: &mut Frame<'_>) -> Eval<()> {
    let old = frame.record.text(NAME)?.into_owned();
    let Some(new) = Span { frame }.name()?.filter(|new| *new != old) else { return Ok(()) };
    frame.record.set(NAME, Scalar::Bytes(new.into_bytes()));
    if let Some(key) = args.literal_text(1) {
        frame.record.map_mut(ATTRIBUTES)?.put(Cow::Owned(key.to_owned()), Value::text(old));
    }
    Ok(())
}

/// A span whose attributes are asked for.
struct Span<'f, 'p> {
    frame: &'f Frame<'p>,
}

type Name = Eval<Option<String>>;

impl Span<'_, '_> {
    /// The first attribute of the keys that is there, as text.
    fn text(&self, keys: &[&str]) -> Name {
        for key in keys {
            if let Some(value) = self.frame.record.pair(ATTRIBUTES, key)? {
                return value.as_text().map(Some);
            }
        }
        Ok(None)
    }

    fn is_set(&self, key: &str) -> Eval<bool> {
        Ok(matches!(self.frame.record.pair(ATTRIBUTES, key)?, Some(Value::Bool(true))))
    }

    fn name(&self) -> Name {
        let ways: &[fn(&Self) -> Name] = match self.frame.record.bits(KIND) {
            2 => &[|span| span.http("http.route"), Self::rpc, Self::messaging],
            3 => &[|span| span.http("url.template"), Self::rpc, Self::database, Self::messaging],
            4 | 5 => &[Self::messaging],
            _ => &[],
        };
        for way in ways {
            if let Some(name) = way(self)?.filter(|name| !name.is_empty()) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn http(&self, subject: &str) -> Name {
        let Some(method) = self.text(&["http.request.method", "http.method"])? else { return Ok(None) };
        Ok(Some(match self.text(&[subject])? {
            Some(subject) => format!("{method} {subject}"),
            None => method,
        }))
    }

    fn rpc(&self) -> Name {
        let Some(system) = self.text(&["rpc.system.name", "rpc.system"])? else { return Ok(None) };
        let method = self.text(&["rpc.method", "rpc.grpc.method"])?;
        let service = self.text(&["rpc.service", "rpc.grpc.service"])?;
        Ok(Some(match (service, method) {
            (Some(service), Some(method)) => format!("{service}/{method}"),
            (None, Some(method)) => method,
            (Some(service), None) => format!("{service}/*"),
            (None, None) => system,
        }))
    }

    fn database(&self) -> Name {
        let Some(system) = self.text(&["db.system.name", "db.system"])? else { return Ok(None) };
        if let Some(summary) = self.text(&["db.query.summary"])? {
            return Ok(Some(summary));
        }
        let operation = self.text(&["db.operation.name", "db.operation"])?.unwrap_or_default();
        let target = self.database_target()?;
        Ok(Some(match (operation.is_empty(), target.is_empty()) {
            (false, false) => format!("{operation} {target}"),
            (false, true) => operation,
            (true, false) => target,
            (true, true) => system,
        }))
    }

    fn database_target(&self) -> Eval<String> {
        let namespace = self.text(&["db.namespace", "db.name"])?.unwrap_or_default();
        for key in ["db.collection.name", "db.stored_procedure.name"] {
            if let Some(part) = self.text(&[key])? {
                return Ok(if namespace.is_empty() { part } else { format!("{namespace}.{part}") });
            }
        }
        if namespace.is_empty() { Ok(self.server()?.unwrap_or_default()) } else { Ok(namespace) }
    }

    fn server(&self) -> Name {
        let Some(address) = self.text(&["server.address"])? else { return Ok(None) };
        Ok(Some(match self.text(&["server.port"])? {
            Some(port) => format!("{address}:{port}"),
            None => address,
        }))
    }

    fn messaging(&self) -> Name {
        let Some(system) = self.text(&["messaging.system"])? else { return Ok(None) };
        let operation = self.text(&["messaging.operation.name", "messaging.operation"])?;
        let destination = self.messaging_destination()?.filter(|destination| !destination.is_empty());
        Ok(Some(match (operation, destination) {
            (Some(operation), Some(destination)) => format!("{operation} {destination}"),
            (None, Some(destination)) => destination,
            (Some(operation), None) => operation,
            (None, None) => system,
        }))
    }

    fn messaging_destination(&self) -> Name {
        if self.is_set("messaging.destination.temporary")? {
            return Ok(Some("(temporary)".to_owned()));
        }
        if self.is_set("messaging.destination.anonymous")? {
            return Ok(Some("(anonymous)".to_owned()));
        }
        let keys = ["messaging.destination.template", "messaging.destination.name", "messaging.destination"];
        match self.text(&keys)? {
            Some(destination) => Ok(Some(destination)),
            None => self.server(),
        }
    }
}
