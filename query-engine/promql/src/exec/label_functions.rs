//! `label_replace` and `label_join`: work done once per series.

use model::METRIC_NAME;
use regex::Regex;

use super::column::SeriesColumn;
use super::grid::Grid;
use super::merge::{Duplicates, merge};
use super::source::Source;
use super::{Evaluator, string_of};
use crate::error::{PromqlError, PromqlResult};
use crate::syntax::Expr;

/// Longest value that a label may get, bytes: far above what stores take.
const VALUE_BYTES_MAX: usize = 1 << 20;

impl<'q> Evaluator<'q> {
    pub(super) fn label_replace(&self, args: &'q [Expr], grid: Grid) -> PromqlResult<Source<'q>> {
        let replacement = string_of(&args[2])?;
        let from = string_of(&args[3])?;
        let pattern = string_of(&args[4])?;
        let regex = Regex::new(&format!("^(?s:{pattern})$")).map_err(|_| {
            let text = format!("invalid regular expression in label_replace(): {pattern}");
            PromqlError::execution(text)
        })?;
        let target = destination(&args[1], "label_replace")?;
        let series = self.vector(&args[0], grid)?;
        self.relabel(series, target, |series| {
            let value = series.key.labels.get(from).unwrap_or("");
            let captures = regex.captures(value)?;
            let mut text = String::new();
            expand(replacement, &captures, &mut text);
            Some(text)
        })
    }

    pub(super) fn label_join(&self, args: &'q [Expr], grid: Grid) -> PromqlResult<Source<'q>> {
        let separator = string_of(&args[2])?;
        let from: PromqlResult<Vec<&str>> = args[3..].iter().map(string_of).collect();
        let from = from?;
        if from.iter().any(|name| name.is_empty()) {
            return Err(PromqlError::execution("invalid source label name in label_join(): "));
        }
        let target = destination(&args[1], "label_join")?;
        let series = self.vector(&args[0], grid)?;
        self.relabel(series, target, |series| {
            let mut joined = String::new();
            for (index, name) in from.iter().enumerate() {
                joined.push_str(if index > 0 { separator } else { "" });
                joined.push_str(series.key.labels.get(name).unwrap_or(""));
                if joined.len() > VALUE_BYTES_MAX {
                    break;
                }
            }
            Some(joined)
        })
    }

    fn relabel(
        &self,
        mut series: Vec<SeriesColumn>,
        target: &str,
        value: impl Fn(&SeriesColumn) -> Option<String>,
    ) -> PromqlResult<Source<'q>> {
        for series in &mut series {
            let Some(value) = value(series) else { continue };
            if value.len() > VALUE_BYTES_MAX {
                return Err(PromqlError::execution(format!(
                    "label {target:?} would get a value of more than {VALUE_BYTES_MAX} bytes"
                )));
            }
            self.context.check()?;
            self.context.hold_text(value.len())?;
            series.key.labels = series.key.labels.to_builder().set(target, &value).build();
            if target == METRIC_NAME {
                series.key.drop_name = false;
            }
        }
        Ok(Source::ready(merge(series, Duplicates::Merge)?))
    }
}

/// The name of the label that is set: any text but the empty one.
fn destination<'e>(expr: &'e Expr, function: &str) -> PromqlResult<&'e str> {
    string_of(expr).ok().filter(|name| !name.is_empty()).ok_or_else(|| {
        let shown = super::shown_string_of(expr).unwrap_or_default();
        PromqlError::execution(format!("invalid destination label name in {function}(): {shown}"))
    })
}

/// Expands `$1`, `$name` and `${name}` as Go's `regexp.Expand` does: a name is the longest run of letters, digits and
/// underscores, an unknown one is empty, `$$` is a dollar sign. Stops a little beyond
/// [`VALUE_BYTES_MAX`].
fn expand(template: &str, captures: &regex::Captures<'_>, out: &mut String) {
    let mut rest = template;
    while let Some(at) = rest.find('$').filter(|_| out.len() <= VALUE_BYTES_MAX) {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
            continue;
        }
        let is_name = |c: char| c == '_' || c.is_alphanumeric();
        let (name, tail) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, tail)) => (name, tail),
            None => after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len())),
        };
        if name.is_empty() || !name.chars().all(is_name) {
            out.push('$');
            rest = after;
            continue;
        }
        let found = match name.parse::<usize>() {
            Ok(index) => captures.get(index),
            Err(_) => captures.name(name),
        };
        out.push_str(found.map_or("", |found| found.as_str()));
        rest = tail;
    }
    out.push_str(rest);
}
