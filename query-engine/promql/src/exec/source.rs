//! A source of columns: keys up front, values on demand.

use super::column::{Column, Key, SeriesColumn};
use super::context::Context;
use super::grid::Grid;
use super::parallel;
use super::scratch::Scratch;
use crate::error::PromqlResult;

type Compute<'q> = Box<dyn Fn(usize, &mut Scratch, &mut Column) -> PromqlResult<()> + Send + Sync + 'q>;

/// Series whose values are computed when asked for.
pub(crate) struct Source<'q> {
    pub(crate) keys: Vec<Key>,
    compute: Compute<'q>,
}

impl<'q> Source<'q> {
    /// `compute` fills a column (all absent, of the right length) with the values of the series at an index.
    pub(crate) fn new(
        keys: Vec<Key>,
        compute: impl Fn(usize, &mut Scratch, &mut Column) -> PromqlResult<()> + Send + Sync + 'q,
    ) -> Self {
        Self { keys, compute: Box::new(compute) }
    }

    /// Columns that are there already.
    pub(crate) fn ready(series: Vec<SeriesColumn>) -> Self {
        let (keys, columns): (Vec<Key>, Vec<Column>) = series.into_iter().map(|s| (s.key, s.column)).unzip();
        Self::new(keys, move |index, _, out| {
            out.values.clone_from(&columns[index].values);
            out.histograms.clone_from(&columns[index].histograms);
            Ok(())
        })
    }

    /// The same keys with changed values.
    pub(crate) fn map_columns(self, change: impl Fn(&mut Column) + Send + Sync + 'q) -> Self {
        let compute = self.compute;
        Self::new(self.keys, move |index, scratch, out| {
            compute(index, scratch, out)?;
            change(out);
            Ok(())
        })
    }

    /// Computes one series.
    pub(crate) fn column(&self, index: usize, grid: Grid, scratch: &mut Scratch) -> PromqlResult<Column> {
        let mut column = Column::absent(grid.steps);
        (self.compute)(index, scratch, &mut column)?;
        Ok(column)
    }

    /// Computes the series `range`, on all cores.
    pub(crate) fn batch(
        &self,
        range: std::ops::Range<usize>,
        context: &Context,
        grid: Grid,
    ) -> PromqlResult<Vec<Column>> {
        parallel::map(context, range.len(), grid.steps, |index, scratch| {
            self.column(range.start + index, grid, scratch)
        })
    }

    /// Computes everything; series without a sample are left out.
    pub(crate) fn collect(self, context: &Context, grid: Grid) -> PromqlResult<Vec<SeriesColumn>> {
        context.hold_columns(self.keys.len(), grid.steps)?;
        let columns = parallel::map(context, self.keys.len(), grid.steps, |index, scratch| {
            let column = self.column(index, grid, scratch)?;
            if column.is_empty() {
                return Ok(None);
            }
            context.hold_samples(column.samples())?;
            Ok(Some(column))
        })?;
        let series = self.keys.into_iter().zip(columns);
        Ok(series.filter_map(|(key, column)| Some(SeriesColumn { key, column: column? })).collect())
    }
}
