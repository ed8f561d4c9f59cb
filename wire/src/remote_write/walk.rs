//! A request on its way into a store without a detour: what it holds, and its series given to a taker one by one.
//!
//! - RWW-1: every sample and histogram is given to the taker or counted in the report with a reason; a warning is a
//!   rejection of 0 points.
//! - RWW-2: a series that the taker knows by its key costs the hash of its labels; label sets are made for others only.
//!   The same request is walked in the same order each time.

use model::{AppendReport, Exemplar, Labels, MetricMetadata, NativeHistogram};

use super::{Request, Series, Version, family_of, read_histogram};
use crate::DecodeError;
use crate::protobuf::Fields;

/// Reason of a rejection: labels that are no labels.
pub const INVALID_LABELS: &str = "invalid_labels";

/// Reason of a warning: a series of version 2 without samples and histograms, which its specification forbids.
pub const EMPTY_SERIES: &str = "empty_series";

/// Sentence of that warning.
pub(crate) fn empty_series(labels: &Labels) -> String {
    format!("TimeSeries must contain at least one sample or histogram for series {labels}")
}

/// How much is in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Floats.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars of series that have samples or histograms.
    pub exemplars: u64,
    /// Families that a version 1 request describes.
    pub families: u64,
}

impl Contents {
    /// Samples and histograms together.
    pub fn points(&self) -> u64 {
        self.samples + self.histograms
    }
}

/// Counts what is in a request. Looks at the fields of series, not inside them; what is malformed so far is an error.
pub fn contents(version: Version, bytes: &[u8]) -> Result<Contents, DecodeError> {
    let mut found = Contents::default();
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next_field()? {
        match (version, field.number) {
            (Version::V1, 1) | (Version::V2, 5) => count_series(version, field.bytes()?, &mut found)?,
            (Version::V1, 3) => found.families += 1,
            _ => {}
        }
    }
    Ok(found)
}

#[inline]
fn count_series(version: Version, encoded: &[u8], found: &mut Contents) -> Result<(), DecodeError> {
    let (mut samples, mut histograms, mut exemplars) = (0, 0, 0);
    let mut fields = Fields::new(encoded);
    while let Some(field) = fields.next_field()? {
        match (version, field.number) {
            (_, 2) => samples += 1,
            (Version::V1, 4) | (Version::V2, 3) => histograms += 1,
            (Version::V1, 3) | (Version::V2, 4) => exemplars += 1,
            _ => {}
        }
    }
    found.samples += samples;
    found.histograms += histograms;
    if samples + histograms > 0 {
        found.exemplars += exemplars;
    }
    Ok(())
}

/// Takes the series of a request.
pub trait Taker {
    /// Failure of a whole request.
    type Error: From<DecodeError>;

    /// Turns to the series of a key that was inserted before; `points` samples and histograms of it will follow. May
    /// forget: `false` when the series is not known.
    fn lookup(&mut self, key: u128, points: u32) -> bool;

    /// Turns to the series that the last look-up did not find, and remembers it under its key.
    fn insert(&mut self, key: u128, labels: &Labels) -> Result<Option<Refused>, Self::Error>;

    /// Tells what is known about a metric family.
    fn metadata(&mut self, family: &str, metadata: &MetricMetadata);

    /// A float of the series turned to.
    fn sample(&mut self, timestamp_ms: i64, value: f64);

    /// A native histogram of it.
    fn histogram(&mut self, timestamp_ms: i64, histogram: NativeHistogram);

    /// An exemplar of it.
    fn exemplar(&mut self, exemplar: Exemplar);
}

/// A series that is not to be.
#[derive(Debug)]
pub struct Refused {
    /// Short stable name for metrics, e.g. `series_limit`.
    pub reason: &'static str,
    /// Sentence for the sender.
    pub message: String,
}

/// Gives the series of a request to `taker`, by keys that `seed` makes hard to guess. The report counts the points that
/// it got as stored.
///
/// Malformed bytes and failures of the taker are errors of the whole request; what it got up to then is to be thrown
/// away.
pub fn walk<T: Taker>(
    version: Version,
    bytes: &[u8],
    seed: u64,
    taker: &mut T,
) -> Result<AppendReport, T::Error> {
    let request = Request::new(version, bytes, seed)?;
    let mut report = AppendReport::default();
    let mut series = Series::default();
    for encoded in request.series() {
        request.read(encoded?, &mut series)?;
        let points = u32::try_from(series.points()).unwrap_or(u32::MAX);
        if points == 0 {
            without_points(&request, &series, &mut report);
            continue;
        }
        let key = request.key(&mut series)?;
        if !taker.lookup(key, points) && !insert(&request, &series, key, taker, &mut report)? {
            continue;
        }
        for sample in &series.samples {
            taker.sample(sample.sample.timestamp_ms, sample.sample.value);
        }
        report.stored += series.samples.len() as u64;
        if !series.histograms.is_empty() {
            histograms(&request, &series, taker, &mut report)?;
        }
        for bytes in &series.exemplars {
            taker.exemplar(request.exemplar(bytes)?);
        }
    }
    for family in request.metadata() {
        let (family, metadata) = family?;
        taker.metadata(family, &metadata);
    }
    Ok(report)
}

/// What is said about a series without samples and histograms: version 1 allows them.
#[cold]
fn without_points(request: &Request<'_>, series: &Series<'_>, report: &mut AppendReport) {
    match request.labels(series) {
        Err(error) => report.reject(INVALID_LABELS, 0, || error.to_string()),
        Ok(labels) if request.version() == Version::V2 => {
            report.reject(EMPTY_SERIES, 0, || empty_series(&labels));
        }
        Ok(_) => {}
    }
}

/// Whether the series is there now; if not, its points are counted as refused.
#[cold]
fn insert<'a, T: Taker>(
    request: &Request<'a>,
    series: &Series<'a>,
    key: u128,
    taker: &mut T,
    report: &mut AppendReport,
) -> Result<bool, T::Error> {
    let points = series.points() as u64;
    let labels = match request.labels(series) {
        Ok(labels) => labels,
        Err(error) => {
            report.reject(INVALID_LABELS, points, || error.to_string());
            return Ok(false);
        }
    };
    let metadata = request.series_metadata(series)?;
    if let Some(Refused { reason, message }) = taker.insert(key, &labels)? {
        report.reject(reason, points, || message);
        return Ok(false);
    }
    if let Some(metadata) = metadata {
        taker.metadata(family_of(&labels, metadata.metric_type), &metadata);
    }
    Ok(true)
}

fn histograms<'a, T: Taker>(
    request: &Request<'a>,
    series: &Series<'a>,
    taker: &mut T,
    report: &mut AppendReport,
) -> Result<(), T::Error> {
    for bytes in &series.histograms {
        let timed = read_histogram(bytes)?;
        match timed.histogram {
            Ok(histogram) => {
                taker.histogram(timed.timestamp_ms, histogram);
                report.stored += 1;
            }
            Err(fault) => {
                let labels = request.labels(series)?;
                report.reject("invalid_histogram", 1, || format!("{fault} for series {labels}"));
            }
        }
    }
    Ok(())
}
