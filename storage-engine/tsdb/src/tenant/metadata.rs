//! What is known about the metric families of a tenant: kept in memory, and in the log in front of the next samples.

use std::collections::{BTreeMap, BTreeSet};

use format::FormatError;
use format::head_record::{METADATA, MetadataItem, put_metadata, read_metadata};
use model::{MetricMetadata, MetricType};
use parking_lot::Mutex;
use wal::Permit;

use super::{NAMES_RECORD_BYTES, Tenant};

/// Longest help and unit that are kept, bytes; longer ones are cut. People's texts are a few sentences.
const METADATA_TEXT_BYTES_MAX: usize = 4 << 10;

impl Tenant {
    /// Queues the metadata of `changed` families. Takes the lock of the families inside the order lock; nobody takes
    /// them the other way round.
    pub(super) fn log_metadata(&self, permit: &Permit, changed: BTreeSet<String>) {
        if changed.is_empty() {
            return;
        }
        let families = self.metadata.lock();
        let mut record = vec![METADATA];
        for metric in &changed {
            let Some(MetricMetadata { metric_type, help, unit }) = families.get(metric) else { continue };
            let metric_type = type_number(*metric_type);
            put_metadata(&mut record, &MetadataItem { metric, metric_type, help, unit });
            if record.len() >= NAMES_RECORD_BYTES {
                permit.append(&record);
                record.truncate(1);
            }
        }
        if record.len() > 1 {
            permit.append(&record);
        }
    }

    pub(crate) fn set_metadata(&self, metric: &str, metadata: &MetricMetadata) {
        let (help, unit) = (cut(&metadata.help), cut(&metadata.unit));
        let mut families = self.metadata.lock();
        let known = families.get(metric);
        if known.is_some_and(|known| {
            known.metric_type == metadata.metric_type && known.help == help && known.unit == unit
        }) {
            return;
        }
        if metric.len() > self.family_bytes_max {
            let (bytes, limit) = (metric.len(), self.family_bytes_max);
            return tracing::warn!(
                bytes,
                limit,
                "the name of a metric family is too long: metadata is not kept"
            );
        }
        if known.is_none() && families.len() as u64 >= self.families_max {
            return tracing::warn!(metric, "too many metric families: metadata is not kept");
        }
        let (help, unit) = (help.to_owned(), unit.to_owned());
        let metric_type = metadata.metric_type;
        families.insert(metric.to_owned(), MetricMetadata { metric_type, help, unit });
        drop(families);
        self.pending.lock().families.insert(metric.to_owned());
    }

    pub(crate) fn metadata(&self, metric: Option<&str>) -> Vec<(String, MetricMetadata)> {
        let families = self.metadata.lock();
        match metric {
            Some(metric) => {
                families.get(metric).map(|found| (metric.to_owned(), found.clone())).into_iter().collect()
            }
            None => families.iter().map(|(metric, found)| (metric.clone(), found.clone())).collect(),
        }
    }

    /// Hands everything that is known to `write`, as records.
    pub(super) fn write_metadata<E>(&self, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let families = self.metadata.lock();
        let mut record = vec![METADATA];
        for (metric, MetricMetadata { metric_type, help, unit }) in &*families {
            let metric_type = type_number(*metric_type);
            put_metadata(&mut record, &MetadataItem { metric, metric_type, help, unit });
            if record.len() >= NAMES_RECORD_BYTES {
                write(&record)?;
                record.truncate(1);
            }
        }
        if record.len() > 1 { write(&record) } else { Ok(()) }
    }
}

/// As much of a text as is kept.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(METADATA_TEXT_BYTES_MAX)]
}

/// Takes what a record of the log knows.
pub(super) fn restore_metadata(
    items: &[u8],
    metadata: &Mutex<BTreeMap<String, MetricMetadata>>,
) -> Result<(), FormatError> {
    let mut families = metadata.lock();
    read_metadata(items, |item| {
        let known = MetricMetadata {
            metric_type: type_of_number(item.metric_type),
            help: item.help.to_owned(),
            unit: item.unit.to_owned(),
        };
        families.insert(item.metric.to_owned(), known);
    })
}

/// Numbers of metric types in Prometheus' log (tsdb/record/record.go).
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

fn type_number(metric_type: MetricType) -> u8 {
    let index = TYPES.iter().position(|known| *known == metric_type).expect("the table has every type");
    u8::try_from(index).expect("eight types")
}

fn type_of_number(number: u8) -> MetricType {
    TYPES.get(usize::from(number)).copied().unwrap_or_default()
}
