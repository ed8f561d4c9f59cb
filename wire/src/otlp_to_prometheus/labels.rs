//! Label sets of series that are seen for the first time.
//!
//! The order in which labels come together decides who wins a collision; it is that of `createAttributes` in
//! Prometheus' helper.go: point attributes (sorted by key, values of colliding names joined with `;`), promoted
//! resource attributes where there is none yet, `job` and `instance`, external labels where there is none yet, scope
//! labels, and last the name and what the series of a run differ in.
//!
//! Written for clarity and bounded cost: n attributes cost n·log n.

use std::collections::BTreeMap;

use model::{Labels, METRIC_NAME};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::Settings;
use crate::DecodeError;
use crate::otlp::{Attributes, HistogramPoint, Resource, ResourceGroup, ScopeGroup, SummaryPoint};

const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_NAME: &str = "service.name";
const SERVICE_INSTANCE_ID: &str = "service.instance.id";

/// Most text that the label sets of one point may have together. Every bucket repeats all labels, so that without a
/// limit a point of n bytes could ask for n².
const POINT_LABELS_BYTES_MAX: usize = 4 << 20;

/// Attributes that are in `job` and `instance`.
const IDENTIFYING: [&str; 3] = [SERVICE_NAMESPACE, SERVICE_NAME, SERVICE_INSTANCE_ID];

/// Labels that a resource gives to all of its series.
pub(super) struct ResourceLabels {
    job: String,
    instance: String,
    promoted: BTreeMap<String, String>,
}

impl ResourceLabels {
    pub(super) fn new(group: &ResourceGroup<'_>, settings: &Settings) -> Result<Self, DecodeError> {
        let resource = group.resource()?;
        let mut job = String::new();
        if let Some(name) = resource.attributes.get(SERVICE_NAME)? {
            if let Some(namespace) = resource.attributes.get(SERVICE_NAMESPACE)? {
                namespace.append_as_string(&mut job)?;
                job.push('/');
            }
            name.append_as_string(&mut job)?;
        }
        let mut instance = String::new();
        if let Some(id) = resource.attributes.get(SERVICE_INSTANCE_ID)? {
            id.append_as_string(&mut instance)?;
        }
        let mut promoted = BTreeMap::new();
        for attribute in resource.attributes.iter() {
            let attribute = attribute?;
            let key = attribute.key()?;
            if settings.promotes(key) {
                let mut value = String::new();
                attribute.value()?.append_as_string(&mut value)?;
                promoted.insert(settings.label_naming().name(key)?, value);
            }
        }
        Ok(Self { job, instance, promoted })
    }
}

/// Labels that a scope gives to all of its series when scopes are promoted; none for a scope without a name.
pub(super) struct ScopeLabels(BTreeMap<String, String>);

impl ScopeLabels {
    pub(super) fn new(group: &ScopeGroup<'_>, settings: &Settings) -> Result<Self, DecodeError> {
        let scope = group.scope()?;
        let mut labels = BTreeMap::new();
        if scope.name()?.is_empty() {
            return Ok(Self(labels));
        }
        for attribute in scope.attributes.iter() {
            let attribute = attribute?;
            let mut value = String::new();
            attribute.value()?.append_as_string(&mut value)?;
            let name = format!("otel_scope_{}", attribute.key()?);
            labels.insert(settings.label_naming().name(&name)?, value);
        }
        labels.insert("otel_scope_name".to_owned(), scope.name()?.to_owned());
        labels.insert("otel_scope_version".to_owned(), scope.version()?.to_owned());
        labels.insert("otel_scope_schema_url".to_owned(), group.schema_url()?.to_owned());
        Ok(Self(labels))
    }

    pub(super) fn hash(&self, seed: u64) -> u128 {
        let mut text = Vec::new();
        for part in self.0.iter().flat_map(|(name, value)| [name, value]) {
            text.extend_from_slice(&(part.len() as u64).to_le_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        xxh3_128_with_seed(&text, seed)
    }
}

/// The labels that all series of a point share. Empty values stay until the label set is made: there they vanish.
pub(super) struct SeriesLabels {
    pairs: BTreeMap<String, String>,
    /// A sentence for each label that several attributes share.
    collisions: Vec<String>,
}

impl SeriesLabels {
    pub(super) fn of_point(
        attributes: &Attributes<'_>,
        settings: &Settings,
        resource: &ResourceLabels,
        scope: Option<&ScopeLabels>,
    ) -> Result<Self, DecodeError> {
        let mut labels = Self::of_attributes(attributes, settings, &[METRIC_NAME])?;
        for (name, value) in &resource.promoted {
            labels.set_if_empty(name, value);
        }
        labels.add_resource(settings, resource);
        for (name, value) in scope.into_iter().flat_map(|scope| &scope.0) {
            labels.set(name, value);
        }
        Ok(labels)
    }

    /// Attributes that are labels already; the resource's own are added where there is no such label yet, so that what a
    /// processor put there arrives.
    pub(super) fn verbatim(
        attributes: &Attributes<'_>,
        settings: &Settings,
        group: &ResourceGroup<'_>,
    ) -> Result<Self, DecodeError> {
        let mut labels = Self { pairs: BTreeMap::new(), collisions: Vec::new() };
        for attribute in attributes.iter() {
            let attribute = attribute?;
            let mut value = String::new();
            attribute.value()?.append_as_string(&mut value)?;
            labels.set(attribute.key()?, &value);
        }
        for attribute in group.resource()?.attributes.iter() {
            let attribute = attribute?;
            let mut value = String::new();
            attribute.value()?.append_as_string(&mut value)?;
            labels.set_if_empty(&settings.label_naming().name(attribute.key()?)?, &value);
        }
        for (name, value) in &settings.external_labels {
            labels.set_if_empty(name, value);
        }
        Ok(labels)
    }

    /// The sentences about labels that several attributes share, once.
    pub(super) fn take_collisions(&mut self) -> Vec<String> {
        std::mem::take(&mut self.collisions)
    }

    /// The labels of a resource's `target_info`; none if they would say no more than `job` and `instance` do, or if
    /// there is neither of these to join by.
    pub(super) fn of_target_info(
        group: &ResourceGroup<'_>,
        settings: &Settings,
        resource: &ResourceLabels,
    ) -> Result<Option<Self>, DecodeError> {
        let Resource { attributes, .. } = group.resource()?;
        let mut others = attributes.encoded().count();
        for key in IDENTIFYING {
            others -= attributes.get(key)?.is_some() as usize;
        }
        if others == 0 {
            return Ok(None);
        }
        let left_out = if settings.keep_identifying_resource_attributes { &[][..] } else { &IDENTIFYING };
        let mut labels = Self::of_attributes(&attributes, settings, left_out)?;
        labels.add_resource(settings, resource);
        let is_identified = ["job", "instance"].iter().any(|name| !labels.is_unset(name));
        Ok(is_identified.then_some(labels))
    }

    fn of_attributes(
        attributes: &Attributes<'_>,
        settings: &Settings,
        left_out: &[&str],
    ) -> Result<Self, DecodeError> {
        let mut pairs = Vec::new();
        for attribute in attributes.iter() {
            let attribute = attribute?;
            let key = attribute.key()?;
            if !left_out.contains(&key) {
                let mut value = String::new();
                attribute.value()?.append_as_string(&mut value)?;
                pairs.push((key, value));
            }
        }
        pairs.sort_by_key(|(key, _)| *key);
        let naming = settings.label_naming();
        let mut labels = BTreeMap::<String, String>::new();
        let mut collisions = Vec::new();
        for (key, value) in pairs {
            let name = if naming.utf8 { key.to_owned() } else { naming.name(key)? };
            let joined = labels.entry(name).or_default();
            if !joined.is_empty() && !naming.utf8 {
                collisions.push(format!(
                    "attribute {key:?} collides with another one after name sanitization, values are joined with ';'"
                ));
                joined.push(';');
            }
            if naming.utf8 {
                // The same key again: upstream's builder keeps one of them, the last.
                joined.clear();
            }
            joined.push_str(&value);
        }
        let pairs = labels;
        Ok(Self { pairs, collisions })
    }

    fn add_resource(&mut self, settings: &Settings, resource: &ResourceLabels) {
        for (name, value) in [("job", &resource.job), ("instance", &resource.instance)] {
            if !value.is_empty() {
                self.set(name, value);
            }
        }
        for (name, value) in &settings.external_labels {
            self.set_if_empty(name, value);
        }
    }

    fn is_unset(&self, name: &str) -> bool {
        self.pairs.get(name).is_none_or(String::is_empty)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.pairs.insert(name.to_owned(), value.to_owned());
    }

    fn set_if_empty(&mut self, name: &str, value: &str) {
        if self.is_unset(name) {
            self.set(name, value);
        }
    }

    /// The label set with this name; `suffix` is added to it.
    pub(super) fn with_name(&self, family: &str, suffix: &str) -> Labels {
        self.with(family, suffix, None)
    }

    fn with(&self, family: &str, suffix: &str, extra: Option<(&str, &str)>) -> Labels {
        let name = [family, suffix].concat();
        let last = [(METRIC_NAME, name.as_str())].into_iter().chain(extra);
        Labels::from_pairs(self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(last))
    }

    /// Refuses points whose label sets would be too large together.
    fn check_size(&self, family: &str, series: usize) -> Result<(), DecodeError> {
        // Room for `__name__`, `_bucket`, `le` and the bound.
        const NAMES_BYTES: usize = 40;
        let text = self.pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let bytes = (text + family.len() + NAMES_BYTES).saturating_mul(series);
        if bytes > POINT_LABELS_BYTES_MAX {
            return Err(DecodeError::invalid(format!(
                "{series} series of one point need {bytes} bytes of labels, {POINT_LABELS_BYTES_MAX} are allowed"
            )));
        }
        Ok(())
    }

    /// The run of a histogram point; an error if its bounds do not ascend, which would name a series twice.
    pub(super) fn of_histogram(
        &self,
        family: &str,
        point: &HistogramPoint<'_>,
    ) -> Result<Vec<Labels>, DecodeError> {
        let mut series = Vec::new();
        let mut below = f64::NEG_INFINITY;
        let buckets = point.explicit_bounds.len().min(point.bucket_counts.len());
        self.check_size(family, buckets + 3)?;
        for (index, bound) in point.explicit_bounds.iter().take(buckets).enumerate() {
            if bound.is_nan() || (index > 0 && bound <= below) {
                return Err(DecodeError::invalid(format!(
                    "explicit bound {bound} comes after {below}, bounds must ascend"
                )));
            }
            below = bound;
            if bound != f64::INFINITY {
                series.push(self.with(family, "_bucket", Some(("le", &number(bound)))));
            }
        }
        series.push(self.with(family, "_bucket", Some(("le", "+Inf"))));
        if point.sum.is_some() {
            series.push(self.with_name(family, "_sum"));
        }
        series.push(self.with_name(family, "_count"));
        Ok(series)
    }

    /// The run of a summary point; an error if a quantile comes twice.
    pub(super) fn of_summary(
        &self,
        family: &str,
        point: &SummaryPoint<'_>,
    ) -> Result<Vec<Labels>, DecodeError> {
        let mut quantiles = Vec::new();
        self.check_size(family, point.quantile_values().encoded().count() + 2)?;
        for pair in point.quantile_values() {
            quantiles.push(number(pair?.quantile));
        }
        let mut sorted: Vec<&String> = quantiles.iter().collect();
        sorted.sort_unstable();
        if let Some([twice, _]) = sorted.array_windows().find(|[first, second]| first == second) {
            return Err(DecodeError::invalid(format!("quantile {twice} comes twice")));
        }
        let mut series: Vec<_> =
            quantiles.iter().map(|text| self.with(family, "", Some(("quantile", text)))).collect();
        series.push(self.with_name(family, "_sum"));
        series.push(self.with_name(family, "_count"));
        Ok(series)
    }
}

/// A float as Go's `strconv.FormatFloat(value, 'f', -1, 64)` writes it: shortest digits, never an exponent.
fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => value.to_string(),
    }
}
