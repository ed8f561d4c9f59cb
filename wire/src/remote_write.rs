//! Prometheus remote write 1.0 (prompb/remote.proto, types.proto): an encoder that appends series by series, and views
//! that read a request without decoding it.
//!
//! The snappy block format around a request is `compression::Encoding::Snappy`. The protocol asks for labels that are
//! sorted, unique and not empty, which `model::Labels` guarantees. Native histograms and exemplars are not read.

use model::{Labels, MetricMetadata, MetricType, Sample};

use crate::DecodeError;
use crate::protobuf::{Fields, put_bytes_field, put_double_field, put_message, put_varint_field};

/// Content-Type of a request.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// Name and value of the header that says the protocol's version.
pub const VERSION_HEADER: (&str, &str) = ("X-Prometheus-Remote-Write-Version", "0.1.0");

const SERIES: u32 = 1;
const METADATA: u32 = 3;

/// Appends one series with its samples, oldest first.
pub fn put_series(out: &mut Vec<u8>, labels: &Labels, samples: impl IntoIterator<Item = Sample>) {
    put_message(out, SERIES, |out| {
        for (name, value) in labels.iter() {
            put_message(out, 1, |out| {
                put_bytes_field(out, 1, name.as_bytes());
                put_bytes_field(out, 2, value.as_bytes());
            });
        }
        for sample in samples {
            put_message(out, 2, |out| {
                put_double_field(out, 1, sample.value);
                put_varint_field(out, 2, sample.timestamp_ms as u64);
            });
        }
    });
}

/// Appends what is known about a metric family.
pub fn put_metadata(out: &mut Vec<u8>, family: &str, metadata: &MetricMetadata) {
    put_message(out, METADATA, |out| {
        put_varint_field(out, 1, type_number(metadata.metric_type));
        put_bytes_field(out, 2, family.as_bytes());
        put_bytes_field(out, 4, metadata.help.as_bytes());
        put_bytes_field(out, 5, metadata.unit.as_bytes());
    });
}

/// Numbers of `MetricMetadata.MetricType`.
const TYPES: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

fn type_number(metric_type: MetricType) -> u64 {
    TYPES.iter().position(|listed| *listed == metric_type).unwrap_or_default() as u64
}

/// A request, without the snappy around it.
#[derive(Clone, Copy, Debug)]
pub struct WriteRequest<'a> {
    bytes: &'a [u8],
}

impl<'a> WriteRequest<'a> {
    /// Looks at a request.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The series, in order.
    pub fn series(&self) -> impl Iterator<Item = Result<TimeSeries<'a>, DecodeError>> + use<'a> {
        messages(self.bytes, SERIES).map(|bytes| Ok(TimeSeries { bytes: bytes? }))
    }

    /// Families and what is known about them, in order.
    pub fn metadata(&self) -> impl Iterator<Item = Result<(&'a str, MetricMetadata), DecodeError>> + use<'a> {
        messages(self.bytes, METADATA).map(|bytes| metadata(bytes?))
    }
}

/// One series of a request.
#[derive(Clone, Copy, Debug)]
pub struct TimeSeries<'a> {
    bytes: &'a [u8],
}

impl<'a> TimeSeries<'a> {
    /// Names and values as they were sent: not checked to be sorted, unique or not empty.
    pub fn labels(&self) -> impl Iterator<Item = Result<(&'a str, &'a str), DecodeError>> + use<'a> {
        messages(self.bytes, 1).map(|bytes| {
            let (mut name, mut value) = ("", "");
            for field in Fields::new(bytes?) {
                let field = field?;
                match field.number {
                    1 => name = field.str()?,
                    2 => value = field.str()?,
                    _ => {}
                }
            }
            Ok((name, value))
        })
    }

    /// The samples as they were sent.
    pub fn samples(&self) -> impl Iterator<Item = Result<Sample, DecodeError>> + use<'a> {
        messages(self.bytes, 2).map(|bytes| {
            let mut sample = Sample { timestamp_ms: 0, value: 0.0 };
            for field in Fields::new(bytes?) {
                let field = field?;
                match field.number {
                    1 => sample.value = field.double()?,
                    2 => sample.timestamp_ms = field.varint()? as i64,
                    _ => {}
                }
            }
            Ok(sample)
        })
    }

    /// How many exemplars and native histograms it has, which this reader does not give.
    pub fn others(&self) -> Result<usize, DecodeError> {
        let mut count = 0;
        for field in Fields::new(self.bytes) {
            count += matches!(field?.number, 3 | 4) as usize;
        }
        Ok(count)
    }
}

fn metadata(bytes: &[u8]) -> Result<(&str, MetricMetadata), DecodeError> {
    let mut family = "";
    let mut metadata = MetricMetadata::default();
    for field in Fields::new(bytes) {
        let field = field?;
        match field.number {
            1 => {
                let known = TYPES.get(field.varint()?.min(TYPES.len() as u64) as usize);
                metadata.metric_type = known.copied().unwrap_or_default();
            }
            2 => family = field.str()?,
            4 => metadata.help = field.str()?.to_owned(),
            5 => metadata.unit = field.str()?.to_owned(),
            _ => {}
        }
    }
    Ok((family, metadata))
}

/// The messages of one repeated field.
fn messages(message: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], DecodeError>> {
    Fields::new(message).filter_map(move |field| match field {
        Ok(field) if field.number == number => Some(field.bytes()),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

#[cfg(test)]
mod tests;
