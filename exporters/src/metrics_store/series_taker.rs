//! Remote write requests on their way into the columns of a batch: series by series, each with one look-up.

use model::{ErrorKind, Exemplar, Labels, MetricMetadata, NativeHistogram};
use wire::otlp_to_prometheus::{SampleSink, SeriesResolver};
use wire::remote_write::{Refused, Taker};

use super::columns::{Columns, Handle, Sink};
use super::series_cache::{ResolveError, StoreResolver};

/// Puts the series of one request into a sink.
pub(super) struct SeriesTaker<'a> {
    resolver: StoreResolver<'a>,
    sink: Sink<'a>,
    /// The next point: its series and its ordinal.
    next: Handle,
    /// Ordinal of the first point of the series turned to.
    first: u32,
}

impl<'a> SeriesTaker<'a> {
    pub(super) fn new(resolver: StoreResolver<'a>, sink: Sink<'a>) -> Self {
        let next = Handle { series: storage_api::SeriesRef(0), ordinal: 0 };
        Self { resolver, sink, next, first: 0 }
    }

    pub(super) fn into_columns(self) -> Columns {
        self.sink.into_columns()
    }

    #[inline]
    fn advance(&mut self) -> Handle {
        let handle = self.next;
        self.next.ordinal = handle.ordinal.wrapping_add(1);
        handle
    }
}

impl Taker for SeriesTaker<'_> {
    type Error = ResolveError;

    #[inline]
    fn lookup(&mut self, key: u128, points: u32) -> bool {
        let (ordinal, series) = self.resolver.find_one(key, points);
        (self.first, self.next.ordinal) = (ordinal, ordinal);
        if let Some(series) = series {
            self.next.series = series;
        }
        series.is_some()
    }

    fn insert(&mut self, key: u128, labels: &Labels) -> Result<Option<Refused>, ResolveError> {
        match self.resolver.make_one(key, labels)? {
            Ok(series) => {
                self.next.series = series;
                Ok(None)
            }
            Err(error) => {
                // Told apart from labels that cannot be read, which version 1 leaves out without a word.
                let is_limit = error.kind() == ErrorKind::Throttled;
                let reason = if is_limit { "series_limit" } else { "label_limit" };
                Ok(Some(Refused { reason, message: error.to_string() }))
            }
        }
    }

    fn metadata(&mut self, family: &str, metadata: &MetricMetadata) {
        self.resolver.metadata(family, metadata);
    }

    #[inline]
    fn sample(&mut self, timestamp_ms: i64, value: f64) {
        let handle = self.advance();
        self.sink.point(&[handle], timestamp_ms, &[value]);
    }

    fn histogram(&mut self, timestamp_ms: i64, histogram: NativeHistogram) {
        let handle = self.advance();
        self.sink.histogram(handle, timestamp_ms, histogram);
    }

    fn exemplar(&mut self, exemplar: Exemplar) {
        // It belongs to the series; any of its points does to name it.
        let handle = Handle { ordinal: self.first, ..self.next };
        self.sink.exemplar(handle, exemplar);
    }
}
