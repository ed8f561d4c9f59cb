//! Writers of requests.

use hashbrown::HashMap;
use model::{Exemplar, Labels, MetricMetadata, MetricType, NativeHistogram, Sample};

use super::histogram::put_histogram;
use crate::protobuf::{
    put_bytes_field, put_double_field, put_len_header, put_message, put_varint, put_varint_field, varint_len,
};

/// What one series of a request has, each in time order.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeriesParts<'a> {
    /// Floats.
    pub samples: &'a [Sample],
    /// Native histograms with their times, ms.
    pub histograms: &'a [(i64, NativeHistogram)],
    /// Exemplars.
    pub exemplars: &'a [Exemplar],
}

/// Appends one series to a request of version 1.
pub fn put_series(out: &mut Vec<u8>, labels: &Labels, parts: SeriesParts<'_>) {
    let put_labels = |out: &mut Vec<u8>, labels: &Labels| {
        for (name, value) in labels.iter() {
            put_message(out, 1, |out| {
                put_bytes_field(out, 1, name.as_bytes());
                put_bytes_field(out, 2, value.as_bytes());
            });
        }
    };
    put_message(out, 1, |out| {
        put_labels(out, labels);
        put_samples(out, parts.samples);
        for exemplar in parts.exemplars {
            put_message(out, 3, |out| {
                put_labels(out, &exemplar.labels);
                put_double_field(out, 2, exemplar.value);
                put_varint_field(out, 3, exemplar.timestamp_ms as u64);
            });
        }
        for (timestamp_ms, histogram) in parts.histograms {
            put_histogram(out, 4, *timestamp_ms, histogram);
        }
    });
}

fn put_samples(out: &mut Vec<u8>, samples: &[Sample]) {
    for sample in samples {
        put_message(out, 2, |out| {
            put_double_field(out, 1, sample.value);
            put_varint_field(out, 2, sample.timestamp_ms as u64);
        });
    }
}

/// Appends what is known about a metric family to a request of version 1.
pub fn put_metadata(out: &mut Vec<u8>, family: &str, metadata: &MetricMetadata) {
    put_message(out, 3, |out| {
        put_varint_field(out, 1, type_number(metadata.metric_type));
        put_bytes_field(out, 2, family.as_bytes());
        put_bytes_field(out, 4, metadata.help.as_bytes());
        put_bytes_field(out, 5, metadata.unit.as_bytes());
    });
}

fn type_number(metric_type: MetricType) -> u64 {
    MetricType::ALL.iter().position(|listed| *listed == metric_type).unwrap_or_default() as u64
}

/// A request of version 2 that is being written. Each text is in it once.
#[derive(Clone, Debug)]
pub struct RequestWriter {
    numbers: HashMap<Box<str>, u32>,
    symbols: Vec<u8>,
    series: Vec<u8>,
    refs: Vec<u32>,
}

impl Default for RequestWriter {
    fn default() -> Self {
        let (numbers, symbols, series, refs) = Default::default();
        let mut writer = Self { numbers, symbols, series, refs };
        // The first symbol must be the empty one.
        writer.symbol("");
        writer
    }
}

impl RequestWriter {
    /// Bytes of the request so far.
    pub fn len(&self) -> usize {
        self.symbols.len() + self.series.len()
    }

    /// Whether no series is in it.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = u32::try_from(self.numbers.len()).expect("a request has fewer than 2^32 texts");
        self.numbers.insert(text.into(), number);
        put_bytes_field(&mut self.symbols, 4, text.as_bytes());
        number
    }

    fn put_refs(&mut self, out: &mut Vec<u8>, labels: &Labels) {
        let mut refs = std::mem::take(&mut self.refs);
        refs.clear();
        for (name, value) in labels.iter() {
            refs.extend([self.symbol(name), self.symbol(value)]);
        }
        if !refs.is_empty() {
            put_len_header(out, 1, refs.iter().map(|&number| varint_len(u64::from(number))).sum());
            refs.iter().for_each(|&number| put_varint(out, u64::from(number)));
        }
        self.refs = refs;
    }

    /// Appends one series, and what is known about its family.
    pub fn put_series(&mut self, labels: &Labels, parts: SeriesParts<'_>, metadata: Option<&MetricMetadata>) {
        let mut out = std::mem::take(&mut self.series);
        put_message(&mut out, 5, |out| {
            self.put_refs(out, labels);
            put_samples(out, parts.samples);
            for (timestamp_ms, histogram) in parts.histograms {
                put_histogram(out, 3, *timestamp_ms, histogram);
            }
            for exemplar in parts.exemplars {
                put_message(out, 4, |out| {
                    self.put_refs(out, &exemplar.labels);
                    put_double_field(out, 2, exemplar.value);
                    put_varint_field(out, 3, exemplar.timestamp_ms as u64);
                });
            }
            if let Some(metadata) = metadata {
                let (help, unit) = (self.symbol(&metadata.help), self.symbol(&metadata.unit));
                put_message(out, 5, |out| {
                    put_varint_field(out, 1, type_number(metadata.metric_type));
                    put_varint_field(out, 3, u64::from(help));
                    put_varint_field(out, 4, u64::from(unit));
                });
            }
        });
        self.series = out;
    }

    /// The request; the writer begins a new one.
    pub fn finish(&mut self) -> Vec<u8> {
        let Self { mut symbols, series, .. } = std::mem::take(self);
        symbols.extend_from_slice(&series);
        symbols
    }
}
