//! A source of columns: keys up front, values on demand.

use std::sync::atomic::{AtomicU64, Ordering};

use super::column::{Column, Key, SeriesColumn};
use super::context::Context;
use super::grid::Grid;
use super::parallel;
use super::scratch::Scratch;
use crate::error::PromqlResult;

/// Samples that the histograms of one batch count for: 16 MiB of them, as a batch of floats has. Beyond that a thread
/// ends the batch with the series that it is at.
const BATCH_HISTOGRAM_SAMPLES: u64 = 1 << 20;

type Compute<'q> = Box<dyn Fn(usize, &mut Scratch, &mut Column) -> PromqlResult<()> + Send + Sync + 'q>;

/// Series whose values are there or are computed when asked for.
pub(crate) struct Source<'q> {
    pub(crate) keys: Vec<Key>,
    values: Values<'q>,
}

enum Values<'q> {
    Ready(Vec<Column>),
    Computed(Compute<'q>),
}

impl<'q> Source<'q> {
    /// `compute` fills a column (all absent, of the right length) with the values of the series at an index.
    pub(crate) fn new(
        keys: Vec<Key>,
        compute: impl Fn(usize, &mut Scratch, &mut Column) -> PromqlResult<()> + Send + Sync + 'q,
    ) -> Self {
        Self { keys, values: Values::Computed(Box::new(compute)) }
    }

    /// Columns that are there already.
    pub(crate) fn ready(series: Vec<SeriesColumn>) -> Self {
        let (keys, columns) = series.into_iter().map(|s| (s.key, s.column)).unzip();
        Self { keys, values: Values::Ready(columns) }
    }

    /// The same keys with changed values.
    pub(crate) fn map_columns(self, change: impl Fn(&mut Column) + Send + Sync + 'q) -> Self {
        let values = match self.values {
            Values::Ready(mut columns) => {
                columns.iter_mut().for_each(change);
                Values::Ready(columns)
            }
            Values::Computed(compute) => Values::Computed(Box::new(move |index, scratch, out| {
                compute(index, scratch, out)?;
                change(out);
                Ok(())
            })),
        };
        Self { keys: self.keys, values }
    }

    /// Computes the series `range`, on all cores. Histograms are counted as held; once they are many the batch ends
    /// early, with the columns of the first series of `range`.
    pub(crate) fn batch(
        &self,
        range: std::ops::Range<usize>,
        context: &Context,
        grid: Grid,
    ) -> PromqlResult<Vec<Column>> {
        match &self.values {
            Values::Ready(columns) => Ok(columns[range].to_vec()),
            Values::Computed(compute) => {
                let most = BATCH_HISTOGRAM_SAMPLES.min(context.samples_max / 8);
                let held = AtomicU64::new(0);
                let is_enough = || held.load(Ordering::Relaxed) > most;
                parallel::map_until(context, range.len(), grid.steps, is_enough, |index, scratch| {
                    let mut column = Column::absent(grid.steps);
                    compute(range.start + index, scratch, &mut column)?;
                    if column.has_histograms() {
                        let samples = column.samples();
                        held.fetch_add(samples, Ordering::Relaxed);
                        context.hold_samples(samples)?;
                    }
                    Ok(column)
                })
            }
        }
    }

    /// Everything; series without a sample are left out.
    pub(crate) fn collect(self, context: &Context, grid: Grid) -> PromqlResult<Vec<SeriesColumn>> {
        context.hold_columns(self.keys.len(), grid.steps)?;
        let columns = match self.values {
            Values::Ready(columns) => {
                columns.into_iter().map(|column| (!column.is_empty()).then_some(column)).collect()
            }
            Values::Computed(compute) => {
                parallel::map(context, self.keys.len(), grid.steps, |index, scratch| {
                    let mut column = Column::absent(grid.steps);
                    compute(index, scratch, &mut column)?;
                    if column.is_empty() {
                        return Ok(None);
                    }
                    context.hold_samples(column.samples())?;
                    Ok(Some(column))
                })?
            }
        };
        let series = self.keys.into_iter().zip(columns);
        Ok(series.filter_map(|(key, column)| Some(SeriesColumn { key, column: column? })).collect())
    }
}
