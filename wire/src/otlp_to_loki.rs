//! OTLP log records to Loki streams, as Loki's own OTLP endpoint maps them (pkg/loghttp/push/otlp.go), with the
//! `detected_level` that its distributor adds (pkg/distributor/field_detection.go).
//!
//! The resource decides the stream: some of its attributes become index labels, the others structured metadata of
//! every entry. Both are cached by the hash of the resource's bytes, and what records with the same attribute keys
//! have in common by these (`records`), so that the steady state compares keys, copies values and allocates nothing
//! per record. Metadata comes in Loki's order: record attributes, record fields, resource, scope, `detected_level`.
//!
//! - O2L-1: every record is either in a stream or counted in the report with a reason.
//! - O2L-2: what a push request carried comes back exactly: labels named by the resource attribute
//!   [`LABELS_HINT`] are labels verbatim, see `loki_to_otlp`.
//! - O2L-3: all entries together are at most [`OUTPUT_RATIO_MAX`] times as large as the request, and a little: the
//!   metadata of a resource is repeated for each of its records, which must not make a bomb of it.

mod level;
mod metadata;
mod records;

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use model::{AppendReport, Labels, LogEntries};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use self::level::LevelField;
pub(crate) use self::metadata::Pairs;
use self::records::{Records, Scratch};
use crate::DecodeError;
use crate::otlp::{self, AnyValue, ResourceGroup};
use crate::prometheus_names::LabelNaming;

/// Resource attribute that lists, separated by commas, the attributes that are index labels as they are: the hint
/// that the collector's loki exporter took. It is not stored.
pub const LABELS_HINT: &str = "loki.resource.labels";

/// Most bytes of lines and metadata for each byte of the request.
pub const OUTPUT_RATIO_MAX: usize = 32;

/// What [`OUTPUT_RATIO_MAX`] is given on top, for requests of a few records.
const OUTPUT_BYTES_SPARE: usize = 8 << 20;

/// Resources whose labels and metadata are kept; when there are more, all are forgotten and made again.
const RESOURCES_CACHED_MAX: usize = 4096;

/// Bytes of labels and metadata kept for them, and for what their records have in common.
const CACHED_BYTES_MAX: usize = 8 << 20;

/// A record and an attribute have at least so many bytes in a request.
const RECORD_BYTES_MIN: usize = 8;

/// Room that a stream may keep unused, whatever it holds.
const SLACK_BYTES_MAX: usize = 4 << 10;

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAME_LABEL: &str = "service_name";
const UNKNOWN_SERVICE: &str = "unknown_service";

/// Resource attributes that are index labels by default (pkg/loghttp/push/otlp_config.go).
pub const DEFAULT_INDEX_ATTRIBUTES: [&str; 18] = [
    "service.name",
    "service.namespace",
    "service.instance.id",
    "deployment.environment",
    "deployment.environment.name",
    "cloud.region",
    "cloud.availability_zone",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.container.name",
    "container.name",
    "k8s.replicaset.name",
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
];

/// Labels that are looked through for a `service_name` by default (pkg/validation/limits.go).
pub const DEFAULT_DISCOVER_SERVICE_NAME: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// How records are mapped.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Resource attributes that become index labels.
    pub index_attributes: Vec<String>,
    /// Labels that stand in for a missing service name; with none of them in the list it is not made up.
    pub discover_service_name: Vec<String>,
    /// Add `detected_level`.
    pub discover_log_levels: bool,
    /// Seed of the cache keys. A random one per process keeps senders from making colliding keys.
    pub key_seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            index_attributes: DEFAULT_INDEX_ATTRIBUTES.map(String::from).to_vec(),
            discover_service_name: DEFAULT_DISCOVER_SERVICE_NAME.map(String::from).to_vec(),
            discover_log_levels: true,
            key_seed: 0,
        }
    }
}

/// A request as streams.
#[derive(Clone, Debug, Default)]
pub struct Translated {
    /// Entries by stream, in the order of the request; each label set once.
    pub streams: Vec<(Labels, LogEntries)>,
    /// Records in `streams` count as stored, the others are refused with their reason.
    pub report: AppendReport,
}

/// Translates requests. Holds a cache of resources and scratch memory: use one per thread.
#[derive(Debug, Default)]
pub struct Translator {
    settings: Settings,
    resources: HashMap<u128, Arc<ResourceStream>>,
    /// By resource and scope.
    records: HashMap<(u128, u128), Records>,
    cached_bytes: usize,
    scratch: Scratch,
    density: Density,
}

/// How much becomes of a request, as the last one showed: what buffers are sized by.
#[derive(Clone, Copy, Debug, Default)]
struct Density {
    payload_bytes: usize,
    records: usize,
    line_bytes: usize,
    values: usize,
    value_bytes: usize,
}

/// What a resource gives to all of its records.
#[derive(Debug)]
struct ResourceStream {
    labels: Labels,
    metadata: Pairs,
    /// Level that a stream label says, in Loki's words.
    label_level: Option<String>,
    /// What the metadata says about the level.
    metadata_level: LevelField,
}

impl Translator {
    /// A translator with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Translates one `ExportLogsServiceRequest`. Records without any time get `now_ns`.
    pub fn translate(&mut self, payload: &[u8], now_ns: i64) -> Result<Translated, DecodeError> {
        let mut translated = Translated::default();
        let mut positions = HashMap::<Labels, usize>::new();
        let mut bytes_left = payload.len() * OUTPUT_RATIO_MAX + OUTPUT_BYTES_SPARE;
        for group in otlp::resources(payload) {
            let group = group?;
            self.forget_if_full();
            let (resource_key, resource) = match self.resource(&group) {
                Ok(resource) => resource,
                Err(error) => {
                    let count = count_records(&group)?;
                    translated.report.reject("invalid_labels", count, || error.to_string());
                    continue;
                }
            };
            let mut position = None;
            for scope in group.scopes() {
                let scope = scope?;
                let key = (resource_key, xxh3_128_with_seed(scope.scope_bytes(), self.settings.key_seed));
                let records = match self.records.entry(key) {
                    Entry::Occupied(known) => Ok(known.into_mut()),
                    Entry::Vacant(new) => Records::new(&scope, &resource, &self.settings).map(|records| {
                        self.cached_bytes += records.cached_bytes();
                        new.insert(records)
                    }),
                };
                let records = match records {
                    Ok(records) => records,
                    Err(error) => {
                        let count = scope.log_records().encoded().count() as u64;
                        translated.report.reject("invalid_labels", count, || error.to_string());
                        continue;
                    }
                };
                let before = records.cached_bytes();
                for record in scope.log_records() {
                    let record = record?;
                    let position = *position.get_or_insert_with(|| {
                        *positions.entry_ref(&resource.labels).or_insert_with(|| {
                            let mut entries = LogEntries::new();
                            self.density.reserve(&mut entries, group.encoded_len());
                            translated.streams.push((resource.labels.clone(), entries));
                            translated.streams.len() - 1
                        })
                    });
                    let entries = &mut translated.streams[position].1;
                    match records.append(&record, now_ns, &mut self.scratch, entries, &mut bytes_left) {
                        Ok(()) => translated.report.stored += 1,
                        Err((reason, error)) => translated.report.reject(reason, 1, || error.to_string()),
                    }
                }
                self.cached_bytes += records.cached_bytes() - before;
            }
        }
        translated.streams.retain(|(_, entries)| !entries.is_empty());
        self.density.learn(payload.len(), &mut translated.streams);
        Ok(translated)
    }

    /// Makes room in the caches. Only between resources: those in use stay.
    fn forget_if_full(&mut self) {
        let full = self.resources.len() >= RESOURCES_CACHED_MAX || self.records.len() >= RESOURCES_CACHED_MAX;
        if full || self.cached_bytes > CACHED_BYTES_MAX {
            self.resources.clear();
            self.records.clear();
            self.cached_bytes = 0;
        }
    }

    fn resource(&mut self, group: &ResourceGroup<'_>) -> Result<(u128, Arc<ResourceStream>), DecodeError> {
        let key = xxh3_128_with_seed(group.resource_bytes(), self.settings.key_seed);
        if let Some(resource) = self.resources.get(&key) {
            return Ok((key, Arc::clone(resource)));
        }
        let resource = Arc::new(ResourceStream::new(group, &self.settings)?);
        self.cached_bytes += resource.labels.text_bytes() + resource.metadata.text_bytes();
        self.resources.insert(key, Arc::clone(&resource));
        Ok((key, resource))
    }
}

impl Density {
    /// Reserves what `bytes` of a request like the last one become, so that nothing is copied while entries grow.
    fn reserve(&self, entries: &mut LogEntries, bytes: usize) {
        // A little more than the last had, and never more than the request itself could hold.
        let share = |count: usize| (count * (bytes + bytes / 16) / self.payload_bytes.max(1)).min(bytes);
        entries.reserve(
            share(self.records).min(bytes / RECORD_BYTES_MIN),
            share(self.line_bytes),
            share(self.values).min(bytes / RECORD_BYTES_MIN),
            share(self.value_bytes),
        );
    }

    fn learn(&mut self, payload_bytes: usize, streams: &mut [(Labels, LogEntries)]) {
        *self = Self { payload_bytes, ..Self::default() };
        for (_, entries) in streams {
            self.records += entries.len();
            self.line_bytes += entries.lines().len();
            self.values += entries.value_ends().len();
            self.value_bytes += entries.values().len();
            let text = entries.lines().len() + entries.values().len();
            let used = text + 20 * entries.len() + 4 * entries.value_ends().len();
            if entries.memory_bytes() > used + used / 2 + SLACK_BYTES_MAX {
                entries.shrink_to_fit();
            }
        }
    }
}

impl ResourceStream {
    fn new(group: &ResourceGroup<'_>, settings: &Settings) -> Result<Self, DecodeError> {
        let attributes = group.resource()?.attributes;
        let mut hint = String::new();
        let hint_value = attributes.get(LABELS_HINT)?;
        if let Some(value) = hint_value {
            value.append_as_string(&mut hint)?;
        }
        let mut hinted: Vec<&str> = hint.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        hinted.sort_unstable();

        // A hint says that somebody chose the labels: then none is made up.
        let stand_ins = if hint_value.is_some() { &[][..] } else { &settings.discover_service_name };

        let mut stream = StreamLabels::default();
        if let Some(name) = attributes.get(SERVICE_NAME)? {
            stream.has_service_name = !matches!(name, AnyValue::Empty | AnyValue::String(""));
        }
        let mut metadata = Pairs::default();
        let mut flat = Pairs::default();
        for attribute in attributes.iter() {
            let attribute = attribute?;
            let (key, value) = (attribute.key()?, attribute.value()?);
            if key == LABELS_HINT {
                continue;
            }
            if hinted.binary_search(&key).is_ok() && is_label_name(key) {
                let mut text = String::new();
                value.append_as_string(&mut text)?;
                stream.labels.insert(key.to_owned(), text);
            } else if hinted.binary_search(&key).is_ok()
                || settings.index_attributes.iter().any(|index| index == key)
            {
                flat.clear();
                flat.push_attribute(key, value)?;
                flat.iter().for_each(|(name, value)| stream.add(name, value, stand_ins));
            } else {
                metadata.push_attribute(key, value)?;
            }
        }
        if !stand_ins.is_empty() && !stream.has_service_name {
            stream.labels.insert(SERVICE_NAME_LABEL.to_owned(), UNKNOWN_SERVICE.to_owned());
        }
        let labels = Labels::from_pairs(&stream.labels);
        let label_level = level::of_labels(&labels);
        let metadata_level = LevelField::of(metadata.iter());
        Ok(Self { labels, metadata, label_level, metadata_level })
    }
}

/// Index labels while they are gathered.
#[derive(Default)]
struct StreamLabels {
    labels: BTreeMap<String, String>,
    has_service_name: bool,
}

impl StreamLabels {
    fn add(&mut self, name: &str, value: &str, stand_ins: &[String]) {
        // An empty service name would undo the one that was found.
        if name == SERVICE_NAME_LABEL && value.is_empty() {
            return;
        }
        self.labels.insert(name.to_owned(), value.to_owned());
        let stands_in = stand_ins.iter().any(|listed| listed == name);
        if !self.has_service_name && stands_in && !value.is_empty() {
            self.labels.insert(SERVICE_NAME_LABEL.to_owned(), value.to_owned());
            self.has_service_name = true;
        }
    }
}

/// Whether `name` is a label name of the classic form.
pub(crate) fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn count_records(group: &ResourceGroup<'_>) -> Result<u64, DecodeError> {
    let mut count = 0;
    for scope in group.scopes() {
        count += scope?.log_records().encoded().count() as u64;
    }
    Ok(count)
}

/// How Loki names labels and metadata.
const NAMING: LabelNaming = LabelNaming::LOKI;

#[cfg(test)]
mod tests;
