//! Series of a metric query between its operators.

use hashbrown::HashMap;
use model::Labels;

/// A value at a step.
pub(super) type Point = (u32, f64);

/// One series: points ascending by step, each step at most once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) labels: Labels,
    pub(super) points: Vec<Point>,
}

/// Series in order; the order matters only after `sort`.
pub(super) type SeriesSet = Vec<Series>;

/// Points per label set while an operator makes them.
#[derive(Default)]
pub(super) struct SeriesBuilder {
    index: HashMap<Labels, usize>,
    series: SeriesSet,
}

impl SeriesBuilder {
    /// The points of a label set so far.
    pub(super) fn points(&mut self, labels: &Labels) -> &mut Vec<Point> {
        let position = *self.index.entry(labels.clone()).or_insert_with_key(|labels| {
            self.series.push(Series { labels: labels.clone(), points: Vec::new() });
            self.series.len() - 1
        });
        &mut self.series[position].points
    }

    /// The series that have points; `None` when some step has two points for one label set.
    pub(super) fn build(mut self) -> Option<SeriesSet> {
        self.series.retain(|series| !series.points.is_empty());
        for series in &mut self.series {
            series.points.sort_by_key(|(step, _)| *step);
            if series.points.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return None;
            }
        }
        Some(self.series)
    }
}
