//! What a run knows beside the payload: the time, and who sent the payload (paths of the context `otelcol`).

use std::fmt;
use std::sync::Arc;

use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::path::Key;
use crate::path_read::{list_index, map_key};
use crate::value::{Map, Value};

/// Who sent a payload.
pub trait Sender: fmt::Debug + Send + Sync {
    /// Its address, if it is known.
    fn address(&self) -> Option<&str>;

    /// Headers or metadata of its request in their order; a name may come several times.
    fn metadata(&self) -> &[(String, String)];
}

/// What a run knows beside the payload. A time alone is one without a sender.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// The time of the run, nanoseconds since the Unix epoch.
    pub now_ns: i64,
    /// Who sent the payload, if that is known.
    pub sender: Option<Arc<dyn Sender>>,
}

impl From<i64> for Around {
    fn from(now_ns: i64) -> Self {
        Self { now_ns, sender: None }
    }
}

/// `otelcol.client.addr`.
pub(crate) fn address<'p>(frame: &Frame<'p>) -> Value<'p> {
    let address = frame.sender.as_ref().and_then(|sender| sender.address());
    address.map_or(Value::Nil, Value::text)
}

/// `otelcol.client.metadata` with its keys: a map of lists, a list, or one of its texts. Names are compared without
/// regard to case, as in client.Metadata of the collector.
pub(crate) fn metadata<'p>(keys: &'p [Key], frame: &Frame<'p>) -> Eval<Value<'p>> {
    let pairs = frame.sender.as_ref().map_or(&[][..], |sender| sender.metadata());
    let values = |wanted: &str| -> Vec<&str> {
        let named = pairs.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        named.map(|(_, value)| value.as_str()).collect()
    };
    let list = |texts: Vec<&str>| Value::List(texts.into_iter().map(Value::text).collect());
    let Some((first, rest)) = keys.split_first() else {
        let mut map = Map::default();
        for (name, _) in pairs {
            let name = name.to_ascii_lowercase();
            if map.get(&name).is_none() {
                let values = list(values(&name));
                map.put(name.into(), values);
            }
        }
        return Ok(Value::Map(map));
    };
    let found = values(&map_key(first, frame)?);
    match rest {
        _ if found.is_empty() => Ok(Value::Nil),
        [] => Ok(list(found)),
        [index] => Ok(Value::text(found[list_index(index, found.len(), frame)?])),
        _ => Err(RunError::new("cannot index into string slice more than once")),
    }
}
