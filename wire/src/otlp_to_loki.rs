//! OTLP log records to Loki streams, as Loki's own OTLP endpoint maps them (pkg/loghttp/push/otlp.go), with the
//! `detected_level` that its distributor adds (pkg/distributor/field_detection.go).
//!
//! The resource decides the stream: some of its attributes become index labels, the others structured metadata of
//! every entry. Both are cached by the hash of the resource's bytes, so that the steady state copies a record's text
//! and allocates nothing per record. Metadata comes in Loki's order: record attributes, record fields, resource,
//! scope, `detected_level`.
//!
//! - O2L-1: every record is either in a stream or counted in the report with a reason.
//! - O2L-2: what a push request carried comes back exactly: labels named by the resource attribute
//!   [`LABELS_HINT`] are labels verbatim, see `loki_to_otlp`.
//! - O2L-3: all entries together are at most [`OUTPUT_RATIO_MAX`] times as large as the request, and a little: the
//!   metadata of a resource is repeated for each of its records, which must not make a bomb of it.

mod level;
mod metadata;

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use model::{AppendReport, Labels, LogEntries};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use self::level::LevelField;
pub(crate) use self::metadata::Pairs;
use crate::DecodeError;
use crate::otlp::{self, AnyValue, LogRecord, ResourceGroup, ScopeGroup};
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

/// Bytes of labels and metadata kept for them.
const RESOURCE_BYTES_CACHED_MAX: usize = 8 << 20;

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
    resource_bytes: usize,
    record: Pairs,
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
            let resource = match self.resource(&group) {
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
                let scope_metadata = scope_metadata(&scope);
                for record in scope.log_records() {
                    let record = record?;
                    let scope_metadata = match &scope_metadata {
                        Ok(metadata) => metadata,
                        Err(error) => {
                            translated.report.reject("invalid_labels", 1, || error.to_string());
                            continue;
                        }
                    };
                    let position = *position.get_or_insert_with(|| {
                        *positions.entry_ref(&resource.labels).or_insert_with(|| {
                            translated.streams.push((resource.labels.clone(), LogEntries::new()));
                            translated.streams.len() - 1
                        })
                    });
                    let entries = &mut translated.streams[position].1;
                    match self.record(&record, now_ns, &resource, scope_metadata, entries, &mut bytes_left) {
                        Ok(()) => translated.report.stored += 1,
                        Err((reason, error)) => translated.report.reject(reason, 1, || error.to_string()),
                    }
                }
            }
        }
        translated.streams.retain(|(_, entries)| !entries.is_empty());
        Ok(translated)
    }

    /// Appends one record to its stream; an error is a reason and its sentence.
    fn record(
        &mut self,
        record: &LogRecord<'_>,
        now_ns: i64,
        resource: &ResourceStream,
        scope: &(Pairs, LevelField),
        entries: &mut LogEntries,
        bytes_left: &mut usize,
    ) -> Result<(), (&'static str, DecodeError)> {
        let own = &mut self.record;
        own.clear();
        append_record(record, own).map_err(|error| ("invalid_metadata", error))?;
        let body = record.body().map_err(|error| ("invalid_body", error))?;
        let made;
        let line = match body {
            AnyValue::String(text) => text,
            AnyValue::Empty => "",
            _ => {
                let mut text = String::new();
                body.append_as_string(&mut text).map_err(|error| ("invalid_body", error))?;
                made = text;
                &made
            }
        };
        let (scope, scope_level) = (&scope.0, &scope.1);
        let size = line.len() + own.text_bytes() + resource.metadata.text_bytes() + scope.text_bytes();
        *bytes_left = bytes_left.checked_sub(size).ok_or_else(|| ("request_too_large", too_large()))?;
        if !entries.has_room_for(line.len(), size) {
            return Err(("request_too_large", too_large()));
        }
        let pairs = || own.iter().chain(resource.metadata.iter()).chain(scope.iter());
        let level = if self.settings.discover_log_levels {
            let own_level = LevelField::of(own.iter());
            let metadata_level = own_level.or(&resource.metadata_level).or(scope_level);
            level::detect(resource.label_level.as_deref(), &metadata_level, pairs(), line)
        } else {
            None
        };
        let level = level.map(|level| (level::DETECTED_LEVEL, level));
        entries.push(timestamp_ns(record, now_ns), line, pairs().chain(level));
        Ok(())
    }

    fn resource(&mut self, group: &ResourceGroup<'_>) -> Result<Arc<ResourceStream>, DecodeError> {
        let key = xxh3_128_with_seed(group.resource_bytes(), self.settings.key_seed);
        if let Some(resource) = self.resources.get(&key) {
            return Ok(Arc::clone(resource));
        }
        let resource = Arc::new(ResourceStream::new(group, &self.settings)?);
        let bytes = resource.labels.text_bytes() + resource.metadata.text_bytes();
        if self.resources.len() >= RESOURCES_CACHED_MAX
            || self.resource_bytes + bytes > RESOURCE_BYTES_CACHED_MAX
        {
            self.resources.clear();
            self.resource_bytes = 0;
        }
        self.resource_bytes += bytes;
        self.resources.insert(key, Arc::clone(&resource));
        Ok(resource)
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

#[cold]
fn too_large() -> DecodeError {
    DecodeError::invalid(format!(
        "the records of the request repeat so much metadata that they are more than {OUTPUT_RATIO_MAX} times as large"
    ))
}

fn timestamp_ns(record: &LogRecord<'_>, now_ns: i64) -> i64 {
    match (record.time_unix_nano, record.observed_time_unix_nano) {
        (0, 0) => now_ns,
        (0, observed) => observed as i64,
        (time, _) => time as i64,
    }
}

/// Attributes and fields of a record, in Loki's order.
fn append_record(record: &LogRecord<'_>, out: &mut Pairs) -> Result<(), DecodeError> {
    const EVENT_NAME: &str = "event_name";
    let event_name = record.event_name()?;
    for attribute in record.attributes.iter() {
        let attribute = attribute?;
        out.push_attribute(attribute.key()?, attribute.value()?)?;
        // The field beats an attribute of its name.
        if !event_name.is_empty() && out.last_name() == Some(EVENT_NAME) {
            out.pop();
        }
    }
    if record.time_unix_nano != 0 && record.observed_time_unix_nano != 0 {
        out.push_number("observed_timestamp", record.observed_time_unix_nano as i64);
    }
    if record.severity_number != 0 {
        out.push_number(level::SEVERITY_NUMBER, record.severity_number.into());
    }
    let severity_text = record.severity_text()?;
    if !severity_text.is_empty() {
        out.push("severity_text", severity_text);
    }
    if record.dropped_attributes_count != 0 {
        out.push_number("dropped_attributes_count", record.dropped_attributes_count.into());
    }
    if record.flags != 0 {
        out.push_number("flags", record.flags.into());
    }
    for (name, id) in [("trace_id", record.trace_id), ("span_id", record.span_id)] {
        if id.iter().any(|byte| *byte != 0) {
            out.push_hex(name, id);
        }
    }
    if !event_name.is_empty() {
        out.push(EVENT_NAME, event_name);
    }
    Ok(())
}

/// Attributes and fields of a scope, and what they say about the level.
fn scope_metadata(group: &ScopeGroup<'_>) -> Result<(Pairs, LevelField), DecodeError> {
    let scope = group.scope()?;
    let mut out = Pairs::default();
    for attribute in scope.attributes.iter() {
        let attribute = attribute?;
        out.push_attribute(attribute.key()?, attribute.value()?)?;
    }
    for (name, text) in [("scope_name", scope.name()?), ("scope_version", scope.version()?)] {
        if !text.is_empty() {
            out.push(name, text);
        }
    }
    if scope.dropped_attributes_count != 0 {
        out.push_number("scope_dropped_attributes_count", scope.dropped_attributes_count.into());
    }
    let level = LevelField::of(out.iter());
    Ok((out, level))
}

/// How Loki names labels and metadata.
const NAMING: LabelNaming = LabelNaming::LOKI;

#[cfg(test)]
mod tests;
