//! The reader of requests of both versions.
//!
//! - RW-1: a series is known by a 128-bit key over the bytes of its labels (version 1) or the texts behind its symbols
//!   (version 2); equal keys of one version and seed mean equal labels in equal order.

use model::{Exemplar, Labels, METRIC_NAME, MetricMetadata, MetricType, Sample};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::Version;
use crate::DecodeError;
use crate::protobuf::{Field, Fields, text};

/// A sample as version 2 has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleWithStart {
    /// Time and value.
    pub sample: Sample,
    /// When counting began, ms; 0 is not known.
    pub start_ms: i64,
}

/// A request, without the snappy around it.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    version: Version,
    bytes: &'a [u8],
    seed: u64,
    symbols: Vec<&'a [u8]>,
    /// A hash of each symbol.
    hashes: Vec<u128>,
}

/// One series of a request. Use the same one for all, it keeps its memory.
#[derive(Clone, Debug, Default)]
pub struct Series<'a> {
    /// The floats as they were sent.
    pub samples: Vec<SampleWithStart>,
    /// The native histograms as they were sent, for [`super::read_histogram`].
    pub histograms: Vec<&'a [u8]>,
    /// The exemplars as they were sent, for [`Request::exemplar`].
    pub exemplars: Vec<&'a [u8]>,
    /// From the first field with labels to the end of the last one.
    labels: &'a [u8],
    /// Whether other fields lie between those.
    is_apart: bool,
    metadata: Option<&'a [u8]>,
    key: Vec<u8>,
}

impl<'a> Request<'a> {
    /// Reads the symbols of a request. Senders that know `seed` can make series with colliding keys.
    pub fn new(version: Version, bytes: &'a [u8], seed: u64) -> Result<Self, DecodeError> {
        // The same bytes mean different things to the two versions.
        let seed = seed ^ version as u64;
        let mut request = Self { version, bytes, seed, symbols: Vec::new(), hashes: Vec::new() };
        if version == Version::V2 {
            let mut fields = Fields::new(bytes);
            while let Some(field) = fields.next_field()? {
                if field.number == 4 {
                    let symbol = field.bytes()?;
                    request.symbols.push(symbol);
                    request.hashes.push(xxh3_128_with_seed(symbol, seed));
                }
            }
        }
        Ok(request)
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The encoded series, in order, for [`Self::read`].
    pub fn series(&self) -> impl Iterator<Item = Result<&'a [u8], DecodeError>> + use<'a> {
        let number = match self.version {
            Version::V1 => 1,
            Version::V2 => 5,
        };
        messages(self.bytes, number)
    }

    /// Takes one series apart into `series`.
    #[inline]
    pub fn read(&self, encoded: &'a [u8], series: &mut Series<'a>) -> Result<(), DecodeError> {
        series.clear();
        let mut fields = Fields::new(encoded);
        let mut labels: Option<(usize, usize)> = None;
        let mut at = 0;
        while let Some(field) = fields.next_field()? {
            let start = std::mem::replace(&mut at, fields.offset());
            match (self.version, field.number) {
                (version, 1) => {
                    if version == Version::V1 {
                        field.bytes()?;
                    }
                    let (first, end) = labels.unwrap_or((start, start));
                    series.is_apart |= end != start;
                    labels = Some((first, at));
                }
                (_, 2) => series.samples.push(sample(field.bytes()?)?),
                (Version::V1, 4) | (Version::V2, 3) => series.histograms.push(field.bytes()?),
                (Version::V1, 3) | (Version::V2, 4) => series.exemplars.push(field.bytes()?),
                (Version::V2, 5) => series.metadata = Some(field.bytes()?),
                _ => {}
            }
        }
        if let Some((start, end)) = labels {
            series.labels = &encoded[start..end];
        }
        Ok(())
    }

    /// The key of a series (RW-1).
    #[inline]
    pub fn key(&self, series: &mut Series<'a>) -> Result<u128, DecodeError> {
        if self.version == Version::V1 && !series.is_apart {
            return Ok(xxh3_128_with_seed(series.labels, self.seed));
        }
        let key = &mut series.key;
        key.clear();
        let mut fields = Fields::new(series.labels);
        let mut at = 0;
        while let Some(field) = fields.next_field()? {
            let start = std::mem::replace(&mut at, fields.offset());
            match (self.version, field.number) {
                (Version::V1, 1) => key.extend_from_slice(&series.labels[start..at]),
                (Version::V2, 1) => field.varints(|number| {
                    let hash = self.hashes.get(clamped(number) as usize).copied();
                    key.extend_from_slice(&hash.unwrap_or(u128::from(number)).to_le_bytes());
                })?,
                _ => {}
            }
        }
        Ok(xxh3_128_with_seed(key, self.seed))
    }

    /// The labels of a series, or a sentence about what is wrong with them: each name must be there once and none may be
    /// empty, all is UTF-8, and there is a metric name. Labels with an empty value are left out.
    pub fn labels(&self, series: &Series<'a>) -> Result<Labels, DecodeError> {
        let labels = self.pairs(series.labels)?;
        match labels.metric_name() {
            Some(_) => Ok(labels),
            None => Err(DecodeError::invalid(format!("invalid metric name or labels, got {labels}"))),
        }
    }

    /// The labels in the fields 1 of a message.
    fn pairs(&self, message: &'a [u8]) -> Result<Labels, DecodeError> {
        let (mut pairs, mut refs): (Vec<(&str, &str)>, Vec<u32>) = Default::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next_field()? {
            match (self.version, field.number) {
                (Version::V1, 1) => pairs.push(label_pair(field.bytes()?)?),
                (Version::V2, 1) => field.varints(|number| refs.push(clamped(number)))?,
                _ => {}
            }
        }
        if !refs.len().is_multiple_of(2) {
            return Err(DecodeError::invalid(format!("invalid labels_refs length {}", refs.len())));
        }
        for &[name, value] in refs.as_chunks::<2>().0 {
            pairs.push((self.symbol(name)?, self.symbol(value)?));
        }
        if let Some(labels) = Labels::try_from_sorted(&pairs)
            && pairs.first().is_none_or(|(name, _)| !name.is_empty())
        {
            return Ok(labels);
        }
        pairs.sort_by_key(|(name, _)| *name);
        if let Some([(twice, _), _]) = pairs.array_windows().find(|[first, second]| first.0 == second.0) {
            return Err(DecodeError::invalid(format!(
                "invalid labels for series, labels {}, duplicated label {twice}",
                Labels::from_pairs(pairs.iter().copied())
            )));
        }
        if pairs.first().is_some_and(|(name, _)| name.is_empty()) {
            let labels = Labels::from_pairs(pairs.iter().copied());
            return Err(DecodeError::invalid(format!("invalid metric name or labels, got {labels}")));
        }
        Ok(Labels::from_pairs(pairs))
    }

    fn symbol(&self, number: u32) -> Result<&'a str, DecodeError> {
        let Some(symbol) = self.symbols.get(number as usize) else {
            let size = self.symbols.len();
            return Err(DecodeError::invalid(format!(
                "symbol {number} is outside of the symbols table (size {size})"
            )));
        };
        text(symbol)
    }

    /// What a version 2 series says about its family; `None` when it says nothing.
    pub fn series_metadata(&self, series: &Series<'a>) -> Result<Option<MetricMetadata>, DecodeError> {
        let Some(bytes) = series.metadata else { return Ok(None) };
        let mut metadata = MetricMetadata::default();
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => metadata.metric_type = metric_type(&field)?,
                3 => metadata.help = self.symbol(clamped(field.varint()?))?.to_owned(),
                4 => metadata.unit = self.symbol(clamped(field.varint()?))?.to_owned(),
                _ => {}
            }
        }
        Ok(Some(metadata).filter(|metadata| *metadata != MetricMetadata::default()))
    }

    /// The families that a version 1 request describes.
    pub fn metadata(&self) -> impl Iterator<Item = Result<(&'a str, MetricMetadata), DecodeError>> + use<'a> {
        let number = match self.version {
            Version::V1 => 3,
            // A number that version 2 reserves.
            Version::V2 => 2,
        };
        messages(self.bytes, number).map(|bytes| family_metadata(bytes?))
    }

    /// Reads one of [`Series::exemplars`].
    pub fn exemplar(&self, bytes: &'a [u8]) -> Result<Exemplar, DecodeError> {
        let (mut value, mut timestamp_ms) = (0.0, 0);
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                2 => value = field.double()?,
                3 => timestamp_ms = field.varint()? as i64,
                _ => {}
            }
        }
        Ok(Exemplar { labels: self.pairs(bytes)?, value, timestamp_ms })
    }
}

impl Series<'_> {
    fn clear(&mut self) {
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.labels = &[];
        self.is_apart = false;
        self.metadata = None;
    }

    /// Samples and histograms together.
    pub fn points(&self) -> usize {
        self.samples.len() + self.histograms.len()
    }
}

/// Numbers that do not fit are as much outside of any table as the largest that does.
fn clamped(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn label_pair(label: &[u8]) -> Result<(&str, &str), DecodeError> {
    let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
    let mut fields = Fields::new(label);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => name = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((text(name)?, text(value)?))
}

#[inline]
fn sample(bytes: &[u8]) -> Result<SampleWithStart, DecodeError> {
    let (mut value, mut timestamp_ms, mut start_ms) = (0.0, 0, 0);
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => value = field.double()?,
            2 => timestamp_ms = field.varint()? as i64,
            3 => start_ms = field.varint()? as i64,
            _ => {}
        }
    }
    Ok(SampleWithStart { sample: Sample { timestamp_ms, value }, start_ms })
}

fn metric_type(field: &Field<'_>) -> Result<MetricType, DecodeError> {
    let number = field.varint()?.min(MetricType::ALL.len() as u64) as usize;
    Ok(MetricType::ALL.get(number).copied().unwrap_or_default())
}

fn family_metadata(bytes: &[u8]) -> Result<(&str, MetricMetadata), DecodeError> {
    let mut family = "";
    let mut metadata = MetricMetadata::default();
    for field in Fields::new(bytes) {
        let field = field?;
        match field.number {
            1 => metadata.metric_type = metric_type(&field)?,
            2 => family = field.str()?,
            4 => metadata.help = field.str()?.to_owned(),
            5 => metadata.unit = field.str()?.to_owned(),
            _ => {}
        }
    }
    Ok((family, metadata))
}

/// The metric family of a series whose metadata says `metric_type`: classic histograms and summaries have several
/// series each.
pub fn family_of(labels: &Labels, metric_type: MetricType) -> &str {
    let name = labels.get(METRIC_NAME).unwrap_or_default();
    let suffixes: &[&str] = match metric_type {
        MetricType::Histogram | MetricType::GaugeHistogram => &["_bucket", "_sum", "_count"],
        MetricType::Summary => &["_sum", "_count"],
        _ => &[],
    };
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// The messages of one repeated field.
pub(super) fn messages(message: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], DecodeError>> {
    Fields::new(message).filter_map(move |field| match field {
        Ok(field) if field.number == number => Some(field.bytes()),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}
