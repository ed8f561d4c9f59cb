//! How metrics are translated: the keys of the `otlp` section of prometheus.yml, and what its feature flags say about
//! delta temporality.

use crate::prometheus_names::{LabelNaming, Strategy};

/// How metrics are translated; keys, defaults and meaning are those of the `otlp` section of prometheus.yml.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How names are carried over.
    pub strategy: Strategy,
    /// Put before every metric name, with an `_`; empty for none.
    pub namespace: String,
    /// Added where a series has no such label.
    pub external_labels: Vec<(String, String)>,
    /// Resource attributes that become labels of every series of the resource.
    pub promote_resource_attributes: Vec<String>,
    /// All resource attributes become labels, but those of `ignore_resource_attributes`.
    pub promote_all_resource_attributes: bool,
    /// Exceptions of `promote_all_resource_attributes`.
    pub ignore_resource_attributes: Vec<String>,
    /// Keep `service.name`, `service.namespace` and `service.instance.id` as labels of `target_info`.
    pub keep_identifying_resource_attributes: bool,
    /// Add scope name, version, schema URL and attributes as `otel_scope_*` labels.
    pub promote_scope_metadata: bool,
    /// Put `key` before label names that start with a single `_`.
    pub label_name_underscore_sanitization: bool,
    /// Keep runs of `_` in label names.
    pub label_name_preserve_multiple_underscores: bool,
    /// Store histograms with explicit bounds as native ones with custom buckets.
    pub convert_histograms_to_nhcb: bool,
    /// Store points of delta temporality as they are, of unknown type; otherwise they are refused.
    pub allow_delta_temporality: bool,
    /// Write `target_info`.
    pub target_info: bool,
    /// The query engine's lookback, ms; `target_info` has a sample every half of it.
    pub lookback_delta_ms: i64,
    /// Seed of the series keys. A random one per process keeps senders from making colliding keys.
    pub key_seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            namespace: String::new(),
            external_labels: Vec::new(),
            promote_resource_attributes: Vec::new(),
            promote_all_resource_attributes: false,
            ignore_resource_attributes: Vec::new(),
            keep_identifying_resource_attributes: false,
            promote_scope_metadata: false,
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
            convert_histograms_to_nhcb: false,
            allow_delta_temporality: false,
            target_info: true,
            lookback_delta_ms: 5 * 60 * 1000,
            key_seed: 0,
        }
    }
}

impl Settings {
    pub(super) fn label_naming(&self) -> LabelNaming {
        LabelNaming {
            utf8: !self.strategy.escapes(),
            underscore_sanitization: self.label_name_underscore_sanitization,
            preserve_multiple_underscores: self.label_name_preserve_multiple_underscores,
        }
    }

    pub(super) fn promotes(&self, key: &str) -> bool {
        let listed = |list: &[String]| list.iter().any(|listed| listed == key);
        match self.promote_all_resource_attributes {
            true => !listed(&self.ignore_resource_attributes),
            false => listed(&self.promote_resource_attributes),
        }
    }
}
