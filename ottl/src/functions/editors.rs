//! Editors of maps, lists and fields.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Args, Function, Kind, Prepared, editor, may, need};
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::path::Path;
use crate::value::{Filling, Map, VALUE_BYTES_MAX, Value, too_large};

pub(super) const TABLE: &[Function] = &[
    editor("set", &[need("target", Kind::Path), need("value", Kind::Value)], set),
    editor(
        "append",
        &[need("target", Kind::Path), may("value", Kind::Value), may("values", Kind::Values)],
        append,
    )
    .prepared(|args| match args.is_given(1) || args.is_given(2) {
        true => Ok(Prepared::Nothing),
        false => {
            Err("at least one of the optional arguments ('value' or 'values') must be provided".to_owned())
        }
    }),
    editor(
        "delete_index",
        &[need("target", Kind::Path), need("start_index", Kind::Int), may("end_index", Kind::Int)],
        delete_index,
    ),
    editor("delete_key", &[need("target", Kind::Path), need("key", Kind::Text)], |args, frame| {
        let key = args.text(1, frame)?;
        args.path(0)?.edit_map(frame, |map| {
            map.remove(&key);
            Ok(())
        })
    }),
    editor("keep_keys", &[need("target", Kind::Path), need("keys", Kind::Texts)], keep_keys).prepared(
        |args| {
            let literals = args.elements(1).iter().all(|arg| arg.literal().is_some());
            Ok(match literals {
                true => Prepared::Keys(args.literal_texts(1).into_iter().map(str::to_owned).collect()),
                false => Prepared::Nothing,
            })
        },
    ),
    editor(
        "flatten",
        &[
            need("target", Kind::Path),
            may("prefix", Kind::LiteralText),
            may("depth", Kind::LiteralInt),
            may("resolve_conflicts", Kind::LiteralBool),
        ],
        flatten,
    )
    .prepared(|args| match args.literal_int(2) {
        Some(depth) if depth < 1 => Err(format!(
            "invalid depth '{depth}' for flatten function, must be greater than 0"
        )),
        _ => Ok(Prepared::Nothing),
    }),
    editor(
        "limit",
        &[need("target", Kind::Path), need("limit", Kind::LiteralInt), need("priority_keys", Kind::LiteralTexts)],
        limit,
    )
    .prepared(|args| {
        let (limit, keys) = (args.literal_int(1).unwrap_or(0), args.literal_texts(2).len() as i64);
        if limit < 0 {
            return Err(format!("invalid limit for limit function, {limit} cannot be negative"));
        }
        if limit < keys {
            return Err(format!(
                "invalid limit for limit function, {limit} cannot be less than number of priority attributes {keys}"
            ));
        }
        Ok(Prepared::Nothing)
    }),
    editor(
        "merge_maps",
        &[need("target", Kind::Path), need("source", Kind::Map), need("strategy", Kind::LiteralText)],
        merge_maps,
    )
    .prepared(|args| match args.literal_text(2) {
        Some("insert" | "update" | "upsert") => Ok(Prepared::Nothing),
        other => Err(format!(
            "invalid value for strategy, {}, must be 'insert', 'update' or 'upsert'",
            other.unwrap_or_default()
        )),
    }),
    editor(
        "truncate_all",
        &[need("target", Kind::Path), need("limit", Kind::LiteralInt), may("utf8_safe", Kind::LiteralBool)],
        truncate_all,
    )
    .prepared(|args| match args.literal_int(1) {
        Some(limit) if limit < 0 => {
            Err(format!("invalid limit for truncate_all function, {limit} cannot be negative"))
        }
        _ => Ok(Prepared::Nothing),
    }),
    editor("stringify_all", &[need("target", Kind::Path)], |args, frame| {
        args.path(0)?.edit_map(frame, |map| {
            for (_, value) in &mut map.0 {
                if !matches!(value.resolve_in_place()?, Value::Text(_)) {
                    *value = Value::text(value.as_text()?);
                }
            }
            Ok(())
        })
    }),
];

fn set<'p>(args: &'p Args, frame: &mut Frame<'p>) -> Eval<()> {
    match args.value(1, frame)? {
        Value::Nil => Ok(()),
        value => args.path(0)?.set(frame, value),
    }
}

fn append<'p>(args: &'p Args, frame: &mut Frame<'p>) -> Eval<()> {
    let path: &'p Path = args.path(0)?;
    let mut list = match path.get(frame)? {
        Value::Nil => Vec::new(),
        Value::List(list) => list,
        other => vec![other],
    };
    if args.is_given(1) {
        list.push(args.value(1, frame)?);
    }
    for arg in args.elements(2) {
        list.push(arg.value(frame)?);
    }
    path.set(frame, Value::List(list))
}

fn delete_index<'p>(args: &'p Args, frame: &mut Frame<'p>) -> Eval<()> {
    let path: &'p Path = args.path(0)?;
    let mut list = path.get(frame)?.into_list()?;
    let len = list.len() as i64;
    let start = args.int(1, frame)?;
    let end = if args.is_given(2) { args.int(2, frame)? } else { start.saturating_add(1) };
    if !(start == 0 && end == len) {
        if start < 0 || start >= len {
            return Err(RunError::new(format!("startIndex {start} out of bounds for slice of length {len}")));
        }
        if end < start {
            return Err(RunError::new(format!("endIndex {end} cannot be less than startIndex {start}")));
        }
        if end > len {
            return Err(RunError::new(format!(
                "deletion range [{start}:{end}] out of bounds for slice of length {len}"
            )));
        }
    }
    list.drain(start as usize..end as usize);
    path.set(frame, Value::List(list))
}

fn keep_keys<'p>(args: &'p Args, frame: &mut Frame<'p>) -> Eval<()> {
    if let Prepared::Keys(keys) = &args.prepared {
        return args.path(0)?.edit_map(frame, |map| {
            map.0.retain(|(key, _)| keys.contains(&**key));
            Ok(())
        });
    }
    let mut keys = Vec::new();
    for arg in args.elements(1) {
        keys.push(arg.value(frame)?.into_text()?);
    }
    args.path(0)?.edit_map(frame, |map| {
        map.0.retain(|(key, _)| keys.contains(key));
        Ok(())
    })
}

fn limit<'p>(args: &'p Args, frame: &mut Frame<'p>) -> Eval<()> {
    let limit = args.literal_int(1).unwrap_or(0) as usize;
    let keys = args.literal_texts(2);
    args.path(0)?.edit_map(frame, |map| {
        if map.0.len() <= limit {
            return Ok(());
        }
        let mut count = keys.iter().filter(|key| map.get(key).is_some()).count();
        map.0.retain(|(key, _)| {
            if keys.contains(&&**key) {
                return true;
            }
            let is_kept = count < limit;
            count += usize::from(is_kept);
            is_kept
        });
        Ok(())
    })
}

fn merge_maps<'p>(args: &'p Args, frame: &mut Frame<'p>) -> Eval<()> {
    let source = args.map(1, frame)?;
    let strategy = args.literal_text(2).unwrap_or_default();
    args.path(0)?.edit_map(frame, |map| {
        let mut merged = Filling::of(std::mem::take(map));
        for (key, value) in source.0 {
            let is_there = merged.get(&key).is_some();
            let is_put = match strategy {
                "insert" => !is_there,
                "update" => is_there,
                _ => true,
            };
            if is_put {
                merged.put(key, value);
            }
        }
        *map = merged.finish();
        Ok(())
    })
}

fn truncate_all<'p>(args: &'p Args, frame: &mut Frame<'p>) -> Eval<()> {
    let limit = args.literal_int(1).unwrap_or(0) as usize;
    args.path(0)?.edit_map(frame, |map| {
        for (_, value) in &mut map.0 {
            // An encoded value that is no longer than the limit holds no text that is.
            if matches!(value, Value::Raw(raw) if raw.len() <= limit) {
                continue;
            }
            let Value::Text(text) = value.resolve_in_place()? else { continue };
            if text.len() > limit {
                // Texts are UTF-8 here in any case, so that nothing is cut inside of a character.
                let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
                *text = Cow::Owned(text[..end].to_owned());
            }
        }
        Ok(())
    })
}

fn flatten<'p>(args: &'p Args, frame: &mut Frame<'p>) -> Eval<()> {
    let prefix = args.literal_text(1).unwrap_or_default();
    let mut flat = Flat {
        out: Filling::default(),
        known: HashMap::new(),
        key_bytes_left: VALUE_BYTES_MAX,
        resolves: args.literal_bool(3).unwrap_or(false),
        depth_max: args.literal_int(2).unwrap_or(i64::MAX),
    };
    args.path(0)?.edit_map(frame, |map| {
        // A statement that fails leaves the map as it was.
        flat.map(map.clone(), prefix, 0)?;
        *map = flat.out.finish();
        Ok(())
    })
}

/// The state of `flatten`.
struct Flat<'p> {
    out: Filling<'p>,
    /// How often a key came again.
    known: HashMap<String, usize>,
    /// Every leaf's key repeats those above it: what they may have together.
    key_bytes_left: usize,
    resolves: bool,
    depth_max: i64,
}

impl<'p> Flat<'p> {
    fn map(&mut self, map: Map<'p>, prefix: &str, depth: i64) -> Eval<()> {
        for (key, value) in map.0 {
            let key = if prefix.is_empty() { key.into_owned() } else { format!("{prefix}.{key}") };
            self.value(key, value, depth)?;
        }
        Ok(())
    }

    fn value(&mut self, key: String, value: Value<'p>, depth: i64) -> Eval<()> {
        let value = match value {
            Value::Raw(raw) => Value::decode(raw)?,
            value => value,
        };
        match value {
            Value::Map(map) if depth < self.depth_max => self.map(map, &key, depth + 1),
            Value::List(list) if depth < self.depth_max => {
                for (index, element) in list.into_iter().enumerate() {
                    match element.resolve()? {
                        Value::Map(map) if depth + 1 < self.depth_max => {
                            self.map(map, &format!("{key}.{index}"), depth + 2)?;
                        }
                        Value::List(inner) if depth + 1 < self.depth_max => {
                            for (position, element) in inner.into_iter().enumerate() {
                                // Upstream's prefix has no dot of its own here.
                                self.value(format!("{key}.{index}{position}"), element, depth + 3)?;
                            }
                        }
                        element if self.resolves => self.put(key.clone(), element)?,
                        element => self.put(format!("{key}.{index}"), element)?,
                    }
                }
                Ok(())
            }
            value => self.put(key, value),
        }
    }

    fn put(&mut self, key: String, value: Value<'p>) -> Eval<()> {
        self.key_bytes_left = self.key_bytes_left.checked_sub(key.len()).ok_or_else(too_large)?;
        if !self.resolves {
            self.out.put(Cow::Owned(key), value);
            return Ok(());
        }
        let key = match self.out.get(&key).is_some() {
            true => {
                let count = self.known.entry(key.clone()).or_default();
                let next = format!("{key}.{count}");
                *count += 1;
                next
            }
            false => {
                self.known.insert(key.clone(), 0);
                key
            }
        };
        self.out.put(Cow::Owned(key), value);
        Ok(())
    }
}
