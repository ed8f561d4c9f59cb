//! Functions that match: globs and regular expressions in Go's dialect.

use std::borrow::Cow;

use model::go_regex;
use regex::{Captures, Regex};

use super::{Arg, Args, Body, Function, Kind, Parameter, Prepared, converter, editor, may, need};
use crate::error::{Eval, RunError};
use crate::expression::Expr;
use crate::frame::Frame;
use crate::grok::Grok;
use crate::path::Path;
use crate::value::{Filling, Map, VALUE_BYTES_MAX, Value, too_large};

pub(super) const TABLE: &[Function] = &[
    converter("IsMatch", &[need("target", Kind::TextLike), need("pattern", Kind::Text)], |args, frame| {
        let pattern = regex(args, 1, frame)?;
        Ok(Value::Bool(match args.text_like(0, frame)? {
            Some(text) => pattern.is_match(&text),
            None => false,
        }))
    })
    .prepared(|args| prepare_regex(args, 1, "IsMatch")),
    converter("ExtractPatterns", &[need("target", Kind::Text), need("pattern", Kind::Text)], extract)
        .prepared(|args| prepare_regex(args, 1, "ExtractPatterns")),
    converter(
        "ExtractGrokPatterns",
        &[
            need("target", Kind::Text),
            need("pattern", Kind::Text),
            may("named_captures_only", Kind::LiteralBool),
            may("pattern_definitions", Kind::LiteralTexts),
        ],
        extract_grok,
    )
    .prepared(prepare_grok),
    editor(
        "delete_matching_keys",
        &[need("target", Kind::Path), need("pattern", Kind::Text)],
        |args, frame| retain_keys(args, frame, false),
    )
    .prepared(|args| prepare_regex(args, 1, "delete_matching_keys")),
    editor(
        "keep_matching_keys",
        &[need("target", Kind::Path), need("pattern", Kind::Text)],
        |args, frame| retain_keys(args, frame, true),
    )
    .prepared(|args| prepare_regex(args, 1, "keep_matching_keys")),
    editor("replace_match", &REPLACE_MATCH, replace_match)
        .prepared(|args| prepare_glob(args, 1, "replace_match")),
    editor("replace_all_matches", &REPLACE_MATCH, replace_all_matches)
        .prepared(|args| prepare_glob(args, 1, "replace_all_matches")),
    editor("replace_pattern", &REPLACE_PATTERN, replace_pattern)
        .prepared(|args| prepare_regex(args, 1, "replace_pattern")),
    editor("replace_all_patterns", &REPLACE_ALL_PATTERNS, replace_all_patterns).prepared(|args| {
        match args.literal_text(1) {
            Some("key" | "value") => prepare_regex(args, 2, "replace_all_patterns"),
            other => {
                Err(format!("invalid mode {}, must be either 'key' or 'value'", other.unwrap_or_default()))
            }
        }
    }),
];

const REPLACE_MATCH: [Parameter; 5] = [
    need("target", Kind::Path),
    need("pattern", Kind::Text),
    need("replacement", Kind::Text),
    may("function", Kind::Function),
    may("replacement_format", Kind::Text),
];
const REPLACE_PATTERN: [Parameter; 5] = [
    need("target", Kind::Path),
    need("regex_pattern", Kind::Text),
    need("replacement", Kind::Text),
    may("function", Kind::Function),
    may("replacement_format", Kind::Text),
];
const REPLACE_ALL_PATTERNS: [Parameter; 6] = [
    need("target", Kind::Path),
    need("mode", Kind::LiteralText),
    need("regex_pattern", Kind::Text),
    need("replacement", Kind::Text),
    may("function", Kind::Function),
    may("replacement_format", Kind::Text),
];

fn compile(pattern: &str, function: &str) -> Result<Regex, String> {
    go_regex::compile(pattern).map_err(|error| {
        format!("the regex pattern supplied to {function} '{pattern:?}' is not a valid pattern: {error}")
    })
}

/// A literal pattern is compiled once.
fn prepare_regex(args: &Args, index: usize, function: &str) -> Result<Prepared, String> {
    match args.literal_text(index) {
        Some(pattern) => compile(pattern, function).map(Prepared::Regex),
        None => Ok(Prepared::Nothing),
    }
}

fn prepare_glob(args: &Args, index: usize, function: &str) -> Result<Prepared, String> {
    match args.literal_text(index) {
        Some(glob) => compile(&glob_pattern(glob), function).map(Prepared::Regex),
        None => Ok(Prepared::Nothing),
    }
}

fn regex<'p>(args: &'p Args, index: usize, frame: &Frame<'p>) -> Eval<Cow<'p, Regex>> {
    match &args.prepared {
        Prepared::Regex(regex) => Ok(Cow::Borrowed(regex)),
        _ => {
            let pattern = args.text(index, frame)?;
            go_regex::compile(&pattern).map(Cow::Owned).map_err(RunError::new)
        }
    }
}

fn glob<'p>(args: &'p Args, index: usize, frame: &Frame<'p>) -> Eval<Cow<'p, Regex>> {
    match &args.prepared {
        Prepared::Regex(regex) => Ok(Cow::Borrowed(regex)),
        _ => {
            let pattern = glob_pattern(&args.text(index, frame)?);
            go_regex::compile(&pattern).map(Cow::Owned).map_err(RunError::new)
        }
    }
}

/// A glob (github.com/gobwas/glob without separators) as a regular expression for the whole text.
fn glob_pattern(glob: &str) -> String {
    let mut pattern = "(?s)\\A(?:".to_owned();
    let mut chars = glob.chars().peekable();
    let mut depth = 0;
    while let Some(c) = chars.next() {
        match c {
            '*' => pattern.push_str(".*"),
            '?' => pattern.push('.'),
            '\\' => pattern.push_str(&regex::escape(&chars.next().unwrap_or('\\').to_string())),
            '[' => {
                pattern.push('[');
                if chars.next_if_eq(&'!').is_some() {
                    pattern.push('^');
                }
            }
            ']' => pattern.push(']'),
            '{' => {
                depth += 1;
                pattern.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                pattern.push(')');
            }
            ',' if depth > 0 => pattern.push('|'),
            '-' => pattern.push('-'),
            c => pattern.push_str(&regex::escape(&c.to_string())),
        }
    }
    pattern.push_str(")\\z");
    pattern
}

fn extract<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let pattern = regex(args, 1, frame)?;
    if pattern.capture_names().flatten().next().is_none() {
        return Err(RunError::new("at least 1 named capture group must be supplied in the given regex"));
    }
    let text = args.text(0, frame)?;
    let mut map = Map::default();
    if let Some(found) = pattern.captures(&text) {
        for name in pattern.capture_names().flatten() {
            let part = found.name(name).map_or("", |part| part.as_str());
            map.put(Cow::Owned(name.to_owned()), Value::text(part));
        }
    }
    Ok(Value::Map(map))
}

const INVALID_GROK: &str = "the regex pattern supplied to ExtractGrokPatterns";

fn grok(args: &Args, pattern: &str, own: &[(String, String)]) -> Result<Grok, String> {
    let named_only = args.literal_bool(2).unwrap_or(false);
    let grok = Grok::compile(pattern, named_only, own)
        .map_err(|error| format!("{INVALID_GROK} '{pattern}' is not a valid pattern: {error}"))?;
    match named_only && !grok.has_fields() {
        true => Err("at least 1 named capture group must be supplied in the given regex".to_owned()),
        false => Ok(grok),
    }
}

fn prepare_grok(args: &Args) -> Result<Prepared, String> {
    let mut own = Vec::new();
    for (index, definition) in args.literal_texts(3).into_iter().enumerate() {
        let Some((name, pattern)) = definition.split_once('=') else {
            let start: String = definition.chars().take(17).collect();
            let shown = if definition.chars().count() > 20 { start + "..." } else { definition.to_owned() };
            return Err(format!(
                "pattern {shown:?} supplied to ExtractGrokPatterns at index {index} has incorrect format, expecting \
                 PATTERNNAME=pattern definition"
            ));
        };
        if name.contains(':') {
            return Err(format!("pattern ID {name:?} should not contain ':'"));
        }
        own.push((name.to_owned(), pattern.to_owned()));
    }
    match args.literal_text(1) {
        Some(pattern) => Ok(Prepared::Grok(Box::new(grok(args, pattern, &own)?))),
        None => Ok(Prepared::GrokPatterns(own)),
    }
}

fn extract_grok<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let text = args.text(0, frame)?;
    let map = match &args.prepared {
        Prepared::Grok(grok) => grok.parse(&text)?,
        Prepared::GrokPatterns(own) => {
            grok(args, &args.text(1, frame)?, own).map_err(RunError::new)?.parse(&text)?
        }
        _ => return Err(RunError::new(INVALID_GROK)),
    };
    Ok(Value::Map(map))
}

fn retain_keys<'p>(args: &'p Args, frame: &mut Frame<'p>, is_kept: bool) -> Eval<()> {
    let pattern = regex(args, 1, frame)?;
    args.path(0)?.edit_map(frame, |map| {
        map.0.retain(|(key, _)| pattern.is_match(key) == is_kept);
        Ok(())
    })
}

/// Gives a text to a function that takes one, and puts the answer into the format.
fn apply(function: &'static Function, text: &str, format: Option<&str>, frame: &Frame<'_>) -> Eval<String> {
    let Body::Converter(body) = function.body else {
        return Err(RunError::new("an editor has no value"));
    };
    if function.parameters.is_empty() || function.parameters[1..].iter().any(|p| !p.is_optional) {
        return Err(RunError::new(format!(
            "incorrect number of arguments. Expected: {} Received: 1",
            function.parameters.len()
        )));
    }
    let mut values = vec![Arg::Value(Expr::Literal(Value::text(text)))];
    values.extend(function.parameters[1..].iter().map(|_| Arg::Missing));
    let args = Args { values, prepared: Prepared::Nothing };
    let Value::Text(answer) = body(&args, frame)? else {
        return Err(RunError::new("the replacement value must be a string"));
    };
    match format {
        None => Ok(answer.into_owned()),
        Some(format) if format.matches("%s").count() == 1 && format.matches('%').count() == 1 => {
            Ok(format.replace("%s", &answer))
        }
        Some(_) => Err(RunError::new(
            "replacementFormat must be format string containing a single %s and no other format specifiers",
        )),
    }
}

/// What texts are replaced with.
struct Replacement<'p> {
    text: Cow<'p, str>,
    function: Option<&'static Function>,
    format: Option<Cow<'p, str>>,
}

impl<'p> Replacement<'p> {
    /// From the arguments at `first` (text), `first + 1` (function) and `first + 2` (format).
    fn read(args: &'p Args, first: usize, frame: &Frame<'p>) -> Eval<Self> {
        let format = match args.is_given(first + 2) {
            true => Some(args.text(first + 2, frame)?),
            false => None,
        };
        Ok(Self { text: args.text(first, frame)?, function: args.function(first + 1), format })
    }

    /// The replacement of a whole text.
    fn whole(&self, frame: &Frame<'_>) -> Eval<String> {
        match self.function {
            Some(function) => apply(function, &self.text, self.format.as_deref(), frame),
            None => Ok(self.text.clone().into_owned()),
        }
    }

    /// The text with every match replaced; `None` when nothing matches.
    fn matches(&self, pattern: &Regex, text: &str, frame: &Frame<'_>) -> Eval<Option<String>> {
        if !pattern.is_match(text) {
            return Ok(None);
        }
        let (mut failure, mut made) = (None, 0);
        let replaced = pattern.replace_all(text, |found: &Captures<'_>| {
            if failure.is_some() {
                return String::new();
            }
            let mut expanded = String::new();
            found.expand(&self.text, &mut expanded);
            let replacement = match self.function {
                None => Ok(expanded),
                Some(function) => apply(function, &expanded, self.format.as_deref(), frame),
            };
            let sized = replacement.and_then(|replacement| {
                made += replacement.len();
                if made > VALUE_BYTES_MAX { Err(too_large()) } else { Ok(replacement) }
            });
            sized.unwrap_or_else(|error| {
                failure = Some(error);
                String::new()
            })
        });
        let replaced = replaced.into_owned();
        match failure {
            Some(error) => Err(error),
            None => Ok(Some(replaced)),
        }
    }
}

fn replace_match<'p>(args: &'p Args, frame: &mut Frame<'p>) -> Eval<()> {
    let path: &'p Path = args.path(0)?;
    let pattern = glob(args, 1, frame)?;
    let value = path.get(frame)?;
    let replacement = Replacement::read(args, 2, frame)?.whole(frame)?;
    match value {
        Value::Text(text) if pattern.is_match(&text) => path.set(frame, Value::text(replacement)),
        _ => Ok(()),
    }
}

fn replace_all_matches<'p>(args: &'p Args, frame: &mut Frame<'p>) -> Eval<()> {
    let pattern = glob(args, 1, frame)?;
    let replacement = Replacement::read(args, 2, frame)?.whole(frame)?;
    args.path(0)?.edit_map(frame, |map| {
        let mut matching = Vec::new();
        for (place, (_, value)) in map.0.iter().enumerate() {
            if matches!(value.resolved()?, Value::Text(text) if pattern.is_match(&text)) {
                matching.push(place);
            }
        }
        if matching.len().saturating_mul(replacement.len()) > VALUE_BYTES_MAX {
            return Err(too_large());
        }
        for place in matching {
            map.0[place].1 = Value::text(replacement.clone());
        }
        Ok(())
    })
}

fn replace_pattern<'p>(args: &'p Args, frame: &mut Frame<'p>) -> Eval<()> {
    let path: &'p Path = args.path(0)?;
    let value = path.get(frame)?;
    if value.is_nil() {
        return Ok(());
    }
    let replacement = Replacement::read(args, 2, frame)?;
    let Value::Text(text) = value else { return Ok(()) };
    let pattern = regex(args, 1, frame)?;
    match replacement.matches(&pattern, &text, frame)? {
        Some(replaced) => path.set(frame, Value::text(replaced)),
        None => Ok(()),
    }
}

fn replace_all_patterns<'p>(args: &'p Args, frame: &mut Frame<'p>) -> Eval<()> {
    let path: &'p Path = args.path(0)?;
    let of_keys = args.literal_text(1) == Some("key");
    let mut map = path.get(frame)?.into_map()?;
    let replacement = Replacement::read(args, 3, frame)?;
    let pattern = regex(args, 2, frame)?;
    let mut is_changed = false;
    let mut renamed = Filling::default();
    let mut left = VALUE_BYTES_MAX;
    for (key, value) in &mut map.0 {
        if of_keys {
            // As upstream, an entry whose new key cannot be made goes.
            let Ok(new) = replacement.matches(&pattern, key, frame) else { continue };
            is_changed |= new.is_some();
            let made = new.as_ref().map_or(0, String::len);
            left = left.checked_sub(made).ok_or_else(too_large)?;
            let key = new.map_or_else(|| key.clone(), Cow::Owned);
            renamed.put(key, std::mem::replace(value, Value::Nil));
        } else if let Value::Text(text) = value.resolved()?
            && let Ok(Some(replaced)) = replacement.matches(&pattern, &text, frame)
        {
            is_changed = true;
            left = left.checked_sub(replaced.len()).ok_or_else(too_large)?;
            *value = Value::text(replaced);
        }
    }
    let map = if of_keys { renamed.finish() } else { map };
    if is_changed { path.set(frame, Value::Map(map)) } else { Ok(()) }
}
