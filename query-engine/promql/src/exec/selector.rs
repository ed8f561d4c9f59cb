//! Instant vector selectors: the newest sample of each series inside the lookback window of each step.

use std::sync::Arc;

use model::{IncompatibleBuckets, TimeRange, is_stale_nan};
use storage_api::Series;

use super::Evaluator;
use super::column::{Column, Key, stored_float};
use super::grid::{Grid, Reference};
use super::range_functions::extended::{smoothed_float, smoothed_histogram};
use super::scratch::{Points, Scratch};
use super::source::Source;
use crate::annotations::Annotation;
use crate::error::{PromqlError, PromqlResult};
use crate::syntax::{Extension, Span, Subquery, VectorSelector};

/// What a selector answers for a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Select {
    /// Its value.
    Value,
    /// Its time, in seconds.
    Timestamp,
    /// The same, for info series, which must be floats.
    InfoTimestamp,
}

impl<'q> Evaluator<'q> {
    pub(super) fn vector_selector(
        &self,
        selector: &'q VectorSelector,
        span: Span,
        grid: Grid,
    ) -> PromqlResult<Source<'q>> {
        if selector.extension == Extension::Smoothed {
            return self.smoothed_selector(selector, span, grid);
        }
        Ok(self.instant_selector(selector, grid, Select::Value))
    }

    pub(super) fn instant_selector(
        &self,
        selector: &'q VectorSelector,
        grid: Grid,
        select: Select,
    ) -> Source<'q> {
        let context = self.context;
        let series = self.series(selector);
        let reference = Reference::new(selector.at, selector.offset.ms);
        let lookback = context.lookback_ms;
        Source::new(keys(&series), move |index, scratch, out| {
            if grid.steps == 0 {
                return Ok(());
            }
            let first = reference.at(grid, 0);
            let last = reference.at(grid, grid.steps - 1);
            let range = TimeRange::new(first.saturating_sub(lookback).saturating_add(1), last);
            scratch.samples.clear();
            series[index].chunks.decode(range, &mut scratch.samples)?;
            context.count_read(scratch.samples.len());
            if selector.skips_buckets {
                scratch.drop_buckets();
            }
            if newest(scratch, grid, reference, lookback, select, out) {
                return Ok(());
            }
            let labels = &series[index].labels;
            let text = format!("this should be an info metric, with float samples: {labels}");
            Err(PromqlError::execution(text))
        })
    }

    /// `metric smoothed`: between the samples around each step.
    fn smoothed_selector(
        &self,
        selector: &'q VectorSelector,
        span: Span,
        grid: Grid,
    ) -> PromqlResult<Source<'q>> {
        let context = self.context;
        let series = self.series(selector);
        let reference = Reference::new(selector.at, selector.offset.ms);
        let lookback = context.lookback_ms;
        Ok(Source::new(keys(&series), move |index, scratch, out| {
            if grid.steps == 0 {
                return Ok(());
            }
            let first = reference.at(grid, 0).saturating_sub(lookback).saturating_add(1);
            let last = reference.at(grid, grid.steps - 1).saturating_add(lookback);
            scratch.samples.clear();
            series[index].chunks.decode(TimeRange::new(first, last), &mut scratch.samples)?;
            context.count_read(scratch.samples.len());
            if selector.skips_buckets {
                scratch.drop_buckets();
            }
            scratch.split_samples();
            let metric = series[index].labels.metric_name().unwrap_or("");
            for step in 0..grid.steps {
                let at = reference.at(grid, step);
                smoothed_step(&scratch.points, at, lookback, out, step, &|note| {
                    context.annotate(note(span, metric));
                });
            }
            Ok(())
        }))
    }

    /// The series that a selector selected.
    pub(super) fn series(&self, selector: &VectorSelector) -> Arc<[Series]> {
        Arc::clone(&self.selected[selector.slot])
    }

    pub(super) fn subquery_grid(&self, subquery: &Subquery, grid: Grid) -> Grid {
        let reference = Reference::new(subquery.at, subquery.offset.ms);
        let step = match subquery.step.ms {
            0 => self.context.subquery_step_ms,
            step => step,
        };
        Grid::of_subquery(grid, reference, subquery.range.ms, step)
    }
}

/// Keys of selected series.
pub(super) fn keys(series: &[Series]) -> Vec<Key> {
    series.iter().map(|s| Key { labels: s.labels.clone(), drop_name: false }).collect()
}

/// Answers false for a histogram where none may be.
fn newest(
    scratch: &Scratch,
    grid: Grid,
    reference: Reference,
    lookback_ms: i64,
    select: Select,
    out: &mut Column,
) -> bool {
    let samples = &scratch.samples;
    let times = &samples.timestamps_ms;
    let mut behind = 0;
    for step in 0..grid.steps {
        let at = reference.at(grid, step);
        while behind < times.len() && times[behind] <= at {
            behind += 1;
        }
        let Some(index) = behind.checked_sub(1) else { continue };
        if times[index] <= at.saturating_sub(lookback_ms) {
            continue;
        }
        let histogram = if samples.histograms.is_empty() {
            None
        } else {
            let place = samples.histograms.binary_search_by_key(&index, |(position, _)| *position);
            place.ok().map(|place| &samples.histograms[place].1)
        };
        let is_stale = match histogram {
            Some(histogram) => is_stale_nan(histogram.sum),
            None => is_stale_nan(samples.values[index]),
        };
        if is_stale {
            continue;
        }
        match (select, histogram) {
            (Select::InfoTimestamp, Some(_)) => return false,
            (Select::Timestamp | Select::InfoTimestamp, _) => out.values[step] = times[index] as f64 / 1000.0,
            (Select::Value, Some(histogram)) => out.set_histogram(step, Arc::clone(histogram)),
            (Select::Value, None) => out.values[step] = stored_float(samples.values[index]),
        }
    }
    true
}

type Note<'n> = &'n dyn Fn(&dyn Fn(Span, &str) -> Annotation);

fn smoothed_step(
    points: &Points,
    at_ms: i64,
    lookback_ms: i64,
    out: &mut Column,
    step: usize,
    note: Note<'_>,
) {
    let (start, end) = (at_ms.saturating_sub(lookback_ms), at_ms.saturating_add(lookback_ms));
    let inside = |behind: &dyn Fn(i64) -> usize| (behind(start), behind(end));
    let (low, high) = inside(&|bound| points.times.partition_point(|time| *time <= bound));
    let (first, last) = inside(&|bound| points.histograms.partition_point(|(time, _)| *time <= bound));
    let histograms = &points.histograms[first..last];
    if low < high && !histograms.is_empty() {
        note(&Annotation::mixed_floats_histograms);
        return;
    }
    if histograms.is_empty() {
        let value = smoothed_float(&points.times[low..high], &points.values[low..high], at_ms);
        if let Some(value) = value {
            out.values[step] = value;
        }
        return;
    }
    let mut notes = Vec::new();
    match smoothed_histogram(histograms, at_ms, &mut |operation| notes.push(operation)) {
        Ok(Some(histogram)) => out.set_histogram(step, Arc::new(histogram)),
        Ok(None) => {}
        Err(IncompatibleBuckets) => note(&Annotation::mixed_exponential_custom),
    }
    for operation in notes {
        note(&|span, _| Annotation::mismatched_custom_buckets(span, operation));
    }
}
