//! When each item is due: an open model's rates over time. Pure: no clock.

use std::time::Duration;

/// A straight line from the rate before to `to`, items a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stage {
    pub(crate) length: Duration,
    pub(crate) to: f64,
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    start_s: f64,
    length_s: f64,
    from: f64,
    to: f64,
    /// Items due before it.
    items_before: f64,
}

impl Piece {
    fn items(&self, after_s: f64) -> f64 {
        self.from * after_s + (self.to - self.from) * after_s * after_s / (2.0 * self.length_s)
    }
}

impl Schedule {
    /// One rate for `duration`.
    pub(crate) fn constant(rate: f64, duration: Duration) -> Self {
        Self::new(rate, &[Stage { length: duration, to: rate }])
    }

    /// Stages that begin at the rate `first`.
    pub(crate) fn new(first: f64, stages: &[Stage]) -> Self {
        let (mut start_s, mut from, mut items_before) = (0.0, first, 0.0);
        let mut pieces = Vec::new();
        for stage in stages {
            let length_s = stage.length.as_secs_f64();
            if length_s > 0.0 {
                let piece = Piece { start_s, length_s, from, to: stage.to, items_before };
                start_s += length_s;
                items_before += piece.items(length_s);
                pieces.push(piece);
            }
            from = stage.to;
        }
        Self { pieces }
    }

    /// How long it lasts.
    pub(crate) fn duration(&self) -> Duration {
        self.pieces
            .last()
            .map_or(Duration::ZERO, |last| Duration::from_secs_f64(last.start_s + last.length_s))
    }

    /// Items due until the end.
    pub(crate) fn items(&self) -> f64 {
        self.pieces.last().map_or(0.0, |last| last.items_before + last.items(last.length_s))
    }

    /// The highest rate on the way.
    pub(crate) fn rate_max(&self) -> f64 {
        self.pieces.iter().map(|piece| piece.from.max(piece.to)).fold(0.0, f64::max)
    }

    /// The rate at a time, items a second; 0 after the end.
    pub(crate) fn rate_at(&self, after: Duration) -> f64 {
        let at = after.as_secs_f64();
        self.pieces.iter().find(|piece| at < piece.start_s + piece.length_s).map_or(0.0, |piece| {
            piece.from + (piece.to - piece.from) * (at - piece.start_s).max(0.0) / piece.length_s
        })
    }

    /// When the item behind the first `items` is due; `None` if the plan ends before.
    pub(crate) fn due(&self, items: f64) -> Option<Duration> {
        // A hair below the end is the end: sums of lines are not exact.
        let total = self.items();
        if items >= total - total * 1e-12 {
            return None;
        }
        let piece = self.pieces.iter().rfind(|piece| piece.items_before <= items)?;
        let rest = items - piece.items_before;
        // Root of from·t + (to − from)/(2·length)·t² = rest, in the form that does not cancel.
        let quarter = (piece.to - piece.from) / (2.0 * piece.length_s);
        let root = (piece.from * piece.from + 4.0 * quarter * rest).max(0.0).sqrt();
        let sum = piece.from + root;
        let after = if sum > 0.0 { 2.0 * rest / sum } else { 0.0 };
        Some(Duration::from_secs_f64(piece.start_s + after.min(piece.length_s)))
    }
}

#[cfg(test)]
mod tests;
