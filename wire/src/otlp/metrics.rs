//! Views of metrics and their data points (`opentelemetry/proto/metrics/v1/metrics.proto`).

use super::scalars::{Doubles, Fixed64s, ScalarRun, Varints};
use super::views::{Attributes, Run, View, Views};
use crate::DecodeError;
use crate::protobuf::{Fields, text, zigzag_decode};

/// Bit of a point's flags: there is no value, the series ends here.
const NO_RECORDED_VALUE: u32 = 1;

/// One metric: a name and data points of one type.
#[derive(Clone, Copy, Debug)]
pub struct Metric<'a> {
    name: &'a [u8],
    description: &'a [u8],
    unit: &'a [u8],
    data: Option<(u32, &'a [u8])>,
    /// Attributes of the metric itself, which are not part of its identity.
    pub metadata: Attributes<'a>,
}

impl<'a> Metric<'a> {
    /// The name.
    #[inline]
    pub fn name(&self) -> Result<&'a str, DecodeError> {
        text(self.name)
    }

    /// The name without a UTF-8 check, for hashing.
    #[inline]
    pub fn name_bytes(&self) -> &'a [u8] {
        self.name
    }

    /// What it measures, for people.
    pub fn description(&self) -> Result<&'a str, DecodeError> {
        text(self.description)
    }

    /// The unit in UCUM notation, e.g. `By/s`.
    pub fn unit(&self) -> Result<&'a str, DecodeError> {
        text(self.unit)
    }

    /// The unit without a UTF-8 check, for hashing.
    #[inline]
    pub fn unit_bytes(&self) -> &'a [u8] {
        self.unit
    }

    /// The data points.
    #[inline]
    pub fn data(&self) -> Result<MetricData<'a>, DecodeError> {
        let Some((number, bytes)) = self.data else { return Ok(MetricData::Empty) };
        let (mut temporality, mut monotonic) = (Temporality::Unspecified, false);
        if matches!(number, 7 | 9 | 10) {
            let mut fields = Fields::new(bytes);
            while let Some(field) = fields.next_field()? {
                match field.number {
                    2 => temporality = Temporality::from_number(field.varint()?),
                    3 if number == 7 => monotonic = field.varint()? != 0,
                    _ => (),
                }
            }
        }
        Ok(match number {
            5 => MetricData::Gauge { points: Views::new(bytes, 1) },
            7 => MetricData::Sum { points: Views::new(bytes, 1), temporality, monotonic },
            9 => MetricData::Histogram { points: Views::new(bytes, 1), temporality },
            10 => MetricData::ExponentialHistogram { points: Views::new(bytes, 1), temporality },
            _ => MetricData::Summary { points: Views::new(bytes, 1) },
        })
    }
}

impl<'a> View<'a> for Metric<'a> {
    #[inline]
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut name, mut description, mut unit): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
        let (mut data, mut metadata) = (None, Run::default());
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => name = field.bytes()?,
                2 => description = field.bytes()?,
                3 => unit = field.bytes()?,
                5 | 7 | 9 | 10 | 11 => data = Some((field.number, field.bytes()?)),
                12 => metadata.add(start, fields.offset()),
                _ => (),
            }
            start = fields.offset();
        }
        Ok(Self { name, description, unit, data, metadata: Attributes::new(bytes, 12, metadata) })
    }
}

/// The data points of a metric, by type.
#[derive(Clone, Debug)]
pub enum MetricData<'a> {
    /// No data field at all, or one of a type that is not known.
    Empty,
    /// Sampled values.
    Gauge {
        /// The points.
        points: Views<'a, NumberPoint<'a>>,
    },
    /// Sums over time.
    Sum {
        /// The points.
        points: Views<'a, NumberPoint<'a>>,
        /// What a point sums over.
        temporality: Temporality,
        /// Whether the sum only grows.
        monotonic: bool,
    },
    /// Histograms with explicit bounds.
    Histogram {
        /// The points.
        points: Views<'a, HistogramPoint<'a>>,
        /// What a point sums over.
        temporality: Temporality,
    },
    /// Histograms with exponential bounds.
    ExponentialHistogram {
        /// The points.
        points: Views<'a, ExponentialHistogramPoint<'a>>,
        /// What a point sums over.
        temporality: Temporality,
    },
    /// Quantile summaries.
    Summary {
        /// The points.
        points: Views<'a, SummaryPoint<'a>>,
    },
}

/// What a point of a sum or histogram sums over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Temporality {
    /// Not said, which senders must not do.
    Unspecified,
    /// Since the previous point.
    Delta,
    /// Since the start time.
    Cumulative,
}

impl Temporality {
    fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Delta,
            2 => Self::Cumulative,
            _ => Self::Unspecified,
        }
    }
}

/// The value of a number point or exemplar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NumberValue {
    /// A float.
    Double(f64),
    /// An integer.
    Int(i64),
}

impl NumberValue {
    /// The value as a float; integers beyond 2^53 are rounded.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Double(value) => value,
            Self::Int(value) => value as f64,
        }
    }
}

/// A point of a gauge or sum.
#[derive(Clone, Copy, Debug)]
pub struct NumberPoint<'a> {
    /// The attributes.
    pub attributes: Attributes<'a>,
    /// Nanoseconds since the Unix epoch; 0 is unknown.
    pub start_time_unix_nano: u64,
    /// Nanoseconds since the Unix epoch.
    pub time_unix_nano: u64,
    /// The value, which senders leave out with the flag "no recorded value".
    pub value: Option<NumberValue>,
    /// Bits; see [`Self::has_no_recorded_value`].
    pub flags: u32,
    exemplars: &'a [u8],
}

impl<'a> NumberPoint<'a> {
    /// The exemplars.
    pub fn exemplars(&self) -> Views<'a, Exemplar<'a>> {
        Views::new(self.exemplars, 5)
    }

    /// Whether the sender says that there is no value and the series ends here.
    pub fn has_no_recorded_value(&self) -> bool {
        self.flags & NO_RECORDED_VALUE != 0
    }
}

impl<'a> View<'a> for NumberPoint<'a> {
    #[inline]
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut start_time_unix_nano, mut time_unix_nano, mut value, mut flags) = (0, 0, None, 0);
        let (mut attributes, mut exemplars) = (Run::default(), Run::default());
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                2 => start_time_unix_nano = field.fixed64()?,
                3 => time_unix_nano = field.fixed64()?,
                4 => value = Some(NumberValue::Double(field.double()?)),
                5 => exemplars.add(start, fields.offset()),
                6 => value = Some(NumberValue::Int(field.fixed64()? as i64)),
                7 => attributes.add(start, fields.offset()),
                8 => flags = field.varint()? as u32,
                _ => (),
            }
            start = fields.offset();
        }
        let attributes = Attributes::new(bytes, 7, attributes);
        let exemplars = exemplars.of(bytes);
        Ok(Self { attributes, start_time_unix_nano, time_unix_nano, value, flags, exemplars })
    }
}

/// A point of a histogram with explicit bounds.
#[derive(Clone, Debug)]
pub struct HistogramPoint<'a> {
    /// The attributes.
    pub attributes: Attributes<'a>,
    /// Nanoseconds since the Unix epoch; 0 is unknown.
    pub start_time_unix_nano: u64,
    /// Nanoseconds since the Unix epoch.
    pub time_unix_nano: u64,
    /// Number of observations.
    pub count: u64,
    /// Sum of observations, absent when some may be negative.
    pub sum: Option<f64>,
    /// Smallest observation.
    pub min: Option<f64>,
    /// Largest observation.
    pub max: Option<f64>,
    /// Observations per bucket: none, or one more than there are bounds. Not checked here.
    pub bucket_counts: Fixed64s<'a>,
    /// Upper bounds of all buckets but the last, ascending. Not checked here.
    pub explicit_bounds: Doubles<'a>,
    /// Bits; see [`Self::has_no_recorded_value`].
    pub flags: u32,
    exemplars: &'a [u8],
}

impl<'a> HistogramPoint<'a> {
    /// The exemplars.
    pub fn exemplars(&self) -> Views<'a, Exemplar<'a>> {
        Views::new(self.exemplars, 8)
    }

    /// Whether the sender says that there is no value and the series ends here.
    pub fn has_no_recorded_value(&self) -> bool {
        self.flags & NO_RECORDED_VALUE != 0
    }
}

impl<'a> View<'a> for HistogramPoint<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut point = Self {
            attributes: Attributes::new(bytes, 9, Run::default()),
            start_time_unix_nano: 0,
            time_unix_nano: 0,
            count: 0,
            sum: None,
            min: None,
            max: None,
            bucket_counts: Fixed64s::none(),
            explicit_bounds: Doubles::none(),
            flags: 0,
            exemplars: &[],
        };
        let (mut attributes, mut exemplars) = (Run::default(), Run::default());
        let (mut counts, mut bounds) = (ScalarRun::default(), ScalarRun::default());
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                2 => point.start_time_unix_nano = field.fixed64()?,
                3 => point.time_unix_nano = field.fixed64()?,
                4 => point.count = field.fixed64()?,
                5 => point.sum = Some(field.double()?),
                6 => counts.add(&field, start, fields.offset())?,
                7 => bounds.add(&field, start, fields.offset())?,
                8 => exemplars.add(start, fields.offset()),
                9 => attributes.add(start, fields.offset()),
                10 => point.flags = field.varint()? as u32,
                11 => point.min = Some(field.double()?),
                12 => point.max = Some(field.double()?),
                _ => (),
            }
            start = fields.offset();
        }
        point.attributes = Attributes::new(bytes, 9, attributes);
        point.bucket_counts = Fixed64s::new(bytes, 6, counts);
        point.explicit_bounds = Doubles::new(bytes, 7, bounds);
        point.exemplars = exemplars.of(bytes);
        Ok(point)
    }
}

/// A point of a histogram with exponential bounds: bucket `i` holds values in `(base^i, base^(i+1)]`,
/// `base = 2^(2^-scale)`.
#[derive(Clone, Debug)]
pub struct ExponentialHistogramPoint<'a> {
    /// The attributes.
    pub attributes: Attributes<'a>,
    /// Nanoseconds since the Unix epoch; 0 is unknown.
    pub start_time_unix_nano: u64,
    /// Nanoseconds since the Unix epoch.
    pub time_unix_nano: u64,
    /// Number of observations.
    pub count: u64,
    /// Sum of observations, absent when some may be negative.
    pub sum: Option<f64>,
    /// Smallest observation.
    pub min: Option<f64>,
    /// Largest observation.
    pub max: Option<f64>,
    /// Resolution.
    pub scale: i32,
    /// Observations within `[-zero_threshold, zero_threshold]`.
    pub zero_count: u64,
    /// Half the width of the zero bucket.
    pub zero_threshold: f64,
    /// Buckets of positive values.
    pub positive: Buckets<'a>,
    /// Buckets of negative values.
    pub negative: Buckets<'a>,
    /// Bits; see [`Self::has_no_recorded_value`].
    pub flags: u32,
    exemplars: &'a [u8],
}

impl<'a> ExponentialHistogramPoint<'a> {
    /// The exemplars.
    pub fn exemplars(&self) -> Views<'a, Exemplar<'a>> {
        Views::new(self.exemplars, 11)
    }

    /// Whether the sender says that there is no value and the series ends here.
    pub fn has_no_recorded_value(&self) -> bool {
        self.flags & NO_RECORDED_VALUE != 0
    }
}

impl<'a> View<'a> for ExponentialHistogramPoint<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut point = Self {
            attributes: Attributes::new(bytes, 1, Run::default()),
            start_time_unix_nano: 0,
            time_unix_nano: 0,
            count: 0,
            sum: None,
            min: None,
            max: None,
            scale: 0,
            zero_count: 0,
            zero_threshold: 0.0,
            positive: Buckets::parse(&[])?,
            negative: Buckets::parse(&[])?,
            flags: 0,
            exemplars: &[],
        };
        let (mut attributes, mut exemplars) = (Run::default(), Run::default());
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => attributes.add(start, fields.offset()),
                2 => point.start_time_unix_nano = field.fixed64()?,
                3 => point.time_unix_nano = field.fixed64()?,
                4 => point.count = field.fixed64()?,
                5 => point.sum = Some(field.double()?),
                6 => point.scale = zigzag_decode(field.varint()?) as i32,
                7 => point.zero_count = field.fixed64()?,
                8 => point.positive = Buckets::parse(field.bytes()?)?,
                9 => point.negative = Buckets::parse(field.bytes()?)?,
                10 => point.flags = field.varint()? as u32,
                11 => exemplars.add(start, fields.offset()),
                12 => point.min = Some(field.double()?),
                13 => point.max = Some(field.double()?),
                14 => point.zero_threshold = field.double()?,
                _ => (),
            }
            start = fields.offset();
        }
        point.attributes = Attributes::new(bytes, 1, attributes);
        point.exemplars = exemplars.of(bytes);
        Ok(point)
    }
}

/// One side of an exponential histogram.
#[derive(Clone, Debug)]
pub struct Buckets<'a> {
    /// Index of the first bucket.
    pub offset: i32,
    counts: &'a [u8],
}

impl<'a> Buckets<'a> {
    /// Observations per bucket, from `offset` on.
    pub fn counts(&self) -> Varints<'a> {
        Varints::new(self.counts, 2)
    }
}

impl<'a> View<'a> for Buckets<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut offset, mut counts) = (0, Run::default());
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => offset = zigzag_decode(field.varint()?) as i32,
                2 => counts.add(start, fields.offset()),
                _ => (),
            }
            start = fields.offset();
        }
        Ok(Self { offset, counts: counts.of(bytes) })
    }
}

/// A point of a summary.
#[derive(Clone, Copy, Debug)]
pub struct SummaryPoint<'a> {
    /// The attributes.
    pub attributes: Attributes<'a>,
    /// Nanoseconds since the Unix epoch; 0 is unknown.
    pub start_time_unix_nano: u64,
    /// Nanoseconds since the Unix epoch.
    pub time_unix_nano: u64,
    /// Number of observations.
    pub count: u64,
    /// Sum of observations.
    pub sum: f64,
    /// Bits; see [`Self::has_no_recorded_value`].
    pub flags: u32,
    quantiles: &'a [u8],
}

impl<'a> SummaryPoint<'a> {
    /// The quantiles.
    pub fn quantile_values(&self) -> Views<'a, QuantileValue> {
        Views::new(self.quantiles, 6)
    }

    /// Whether the sender says that there is no value and the series ends here.
    pub fn has_no_recorded_value(&self) -> bool {
        self.flags & NO_RECORDED_VALUE != 0
    }
}

impl<'a> View<'a> for SummaryPoint<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut start_time_unix_nano, mut time_unix_nano, mut count, mut sum, mut flags) = (0, 0, 0, 0.0, 0);
        let (mut attributes, mut quantiles) = (Run::default(), Run::default());
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                2 => start_time_unix_nano = field.fixed64()?,
                3 => time_unix_nano = field.fixed64()?,
                4 => count = field.fixed64()?,
                5 => sum = field.double()?,
                6 => quantiles.add(start, fields.offset()),
                7 => attributes.add(start, fields.offset()),
                8 => flags = field.varint()? as u32,
                _ => (),
            }
            start = fields.offset();
        }
        let attributes = Attributes::new(bytes, 7, attributes);
        let quantiles = quantiles.of(bytes);
        Ok(Self { attributes, start_time_unix_nano, time_unix_nano, count, sum, flags, quantiles })
    }
}

/// One quantile of a summary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantileValue {
    /// 0 to 1; 0 is the minimum, 1 the maximum.
    pub quantile: f64,
    /// The value at that quantile.
    pub value: f64,
}

impl View<'_> for QuantileValue {
    fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut pair = Self { quantile: 0.0, value: 0.0 };
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => pair.quantile = field.double()?,
                2 => pair.value = field.double()?,
                _ => (),
            }
        }
        Ok(pair)
    }
}

/// An example measurement of a point.
#[derive(Clone, Copy, Debug)]
pub struct Exemplar<'a> {
    /// Attributes that the point's own leave out.
    pub filtered_attributes: Attributes<'a>,
    /// Nanoseconds since the Unix epoch.
    pub time_unix_nano: u64,
    /// The measurement.
    pub value: Option<NumberValue>,
    /// 8 bytes, or none.
    pub span_id: &'a [u8],
    /// 16 bytes, or none.
    pub trace_id: &'a [u8],
}

impl<'a> View<'a> for Exemplar<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut time_unix_nano, mut value, mut attributes) = (0, None, Run::default());
        let (mut span_id, mut trace_id): (&[u8], &[u8]) = (&[], &[]);
        let mut fields = Fields::new(bytes);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                2 => time_unix_nano = field.fixed64()?,
                3 => value = Some(NumberValue::Double(field.double()?)),
                4 => span_id = field.bytes()?,
                5 => trace_id = field.bytes()?,
                6 => value = Some(NumberValue::Int(field.fixed64()? as i64)),
                7 => attributes.add(start, fields.offset()),
                _ => (),
            }
            start = fields.offset();
        }
        let filtered_attributes = Attributes::new(bytes, 7, attributes);
        Ok(Self { filtered_attributes, time_unix_nano, value, span_id, trace_id })
    }
}
