//! `info(v, {matchers})`: adds the labels of info series (`target_info` unless matchers say otherwise) that have the same
//! `job` and `instance` (promql/info.go).
//!
//! The info series are selected together with all others before evaluation; which of them meet a series of `v` is worked
//! out once per pair.

use hashbrown::{HashMap, HashSet};
use model::{Labels, LabelsBuilder, METRIC_NAME, Matcher};

use super::Evaluator;
use super::column::{Column, Key, SeriesColumn, is_absent};
use super::context::Context;
use super::grid::Grid;
use super::merge::{Duplicates, merge};
use super::selector::Select;
use super::source::Source;
use crate::error::{PromqlError, PromqlResult};
use crate::plan::{INFO_LABELS, info_name_matchers};
use crate::syntax::{Expr, ExprKind, VectorSelector};

impl<'q> Evaluator<'q> {
    pub(super) fn info(&self, args: &'q [Expr], grid: Grid) -> PromqlResult<Source<'q>> {
        let base = self.vector(&args[0], grid)?;
        let Some(ExprKind::Vector(selector)) = args.get(1).map(|arg| &arg.kind) else {
            return Err(PromqlError::execution("info() without its selector"));
        };
        // The planner put the matchers of the info series into the selector; those of the query are the rest.
        let names = info_name_matchers(&selector.matchers);
        let data: Vec<&Matcher> = selector.matchers.iter().filter(|m| m.name() != METRIC_NAME).collect();
        let is_info = |labels: &Labels| {
            let name = labels.get(METRIC_NAME).unwrap_or("");
            names.iter().all(|matcher| matcher.matches(name))
        };
        let infos = self.info_series(selector, grid)?;
        let joiner = Joiner { context: self.context, infos: &infos, data: &data, grid };
        let mut result = Vec::new();
        for series in &base {
            if is_info(&series.key.labels) {
                result.push(series.clone());
            } else {
                joiner.enrich(series, &mut result)?;
            }
        }
        Ok(Source::ready(merge(result, Duplicates::Merge)?))
    }

    /// The info series; their values are the times of their samples, in ms.
    fn info_series(&self, selector: &'q VectorSelector, grid: Grid) -> PromqlResult<Vec<SeriesColumn>> {
        self.instant_selector(selector, grid, Select::InfoTimestamp).collect(self.context, grid)
    }
}

struct Joiner<'j> {
    context: &'j Context,
    infos: &'j [SeriesColumn],
    data: &'j [&'j Matcher],
    grid: Grid,
}

/// What identifies a target.
fn identity(labels: &Labels) -> [&str; 2] {
    INFO_LABELS.map(|name| labels.get(name).unwrap_or(""))
}

impl Joiner<'_> {
    /// Adds `series` with the labels that it has at each step: one output series per set of info series.
    fn enrich(&self, series: &SeriesColumn, result: &mut Vec<SeriesColumn>) -> PromqlResult<()> {
        let own = identity(&series.key.labels);
        let has_identity = own.iter().any(|value| !value.is_empty());
        let candidates: Vec<usize> = (0..self.infos.len())
            .filter(|index| has_identity && identity(&self.infos[*index].key.labels) == own)
            .collect();
        let mut outputs: HashMap<Vec<usize>, Option<usize>> = HashMap::new();
        for step in 0..self.grid.steps {
            let Some(cell) = series.column.get(step) else { continue };
            let chosen = self.newest(&candidates, step)?;
            let place = match outputs.get(&chosen) {
                Some(place) => *place,
                None => {
                    self.context.hold_columns(1, self.grid.steps)?;
                    let place = self.labels(series, &chosen)?.map(|labels| {
                        let key = Key { labels, drop_name: series.key.drop_name };
                        let column = Column::absent(self.grid.steps);
                        result.push(SeriesColumn { key, column });
                        result.len() - 1
                    });
                    outputs.insert(chosen, place);
                    place
                }
            };
            if let Some(place) = place {
                result[place].column.set(step, cell);
            }
        }
        Ok(())
    }

    /// For each info metric the series with the newest sample at a step.
    fn newest(&self, candidates: &[usize], step: usize) -> PromqlResult<Vec<usize>> {
        let mut chosen: Vec<usize> = Vec::new();
        for &index in candidates {
            let info = &self.infos[index];
            let time = info.column.values[step];
            if is_absent(time) {
                continue;
            }
            let name = info.key.labels.get(METRIC_NAME);
            let known = chosen.iter_mut().find(|i| self.infos[**i].key.labels.get(METRIC_NAME) == name);
            let Some(known) = known else {
                chosen.push(index);
                continue;
            };
            let other = &self.infos[*known];
            let other_time = other.column.values[step];
            if other_time == time {
                let (ms, other_ms) = ((time * 1000.0).round(), (other_time * 1000.0).round());
                return Err(PromqlError::execution(format!(
                    "found duplicate series for info metric: existing {} @ {other_ms}, new {} @ {ms}",
                    other.key.labels, info.key.labels
                )));
            }
            if other_time < time {
                *known = index;
            }
        }
        Ok(chosen)
    }

    /// Labels of a series with those of its info series; nothing if it has none and the query asks for some.
    fn labels(&self, series: &SeriesColumn, chosen: &[usize]) -> PromqlResult<Option<Labels>> {
        let own = &series.key.labels;
        let wanted: HashSet<&str> = self.data.iter().map(|matcher| matcher.name()).collect();
        let mut added = LabelsBuilder::new();
        for &index in chosen {
            for (name, value) in self.infos[index].key.labels.iter() {
                if name == METRIC_NAME || (!wanted.is_empty() && !wanted.contains(name)) {
                    continue;
                }
                if added.get(name).is_some_and(|known| known != value) {
                    return Err(PromqlError::execution(format!("conflicting label: {name}")));
                }
                if own.get(name).is_none() {
                    added.set(name, value);
                }
            }
        }
        if chosen.is_empty() && self.data.iter().any(|matcher| !matcher.matches_empty()) {
            return Ok(None);
        }
        let mut labels = own.to_builder();
        for (name, value) in added.build().iter() {
            labels.set(name, value);
        }
        Ok(Some(labels.build()))
    }
}
