//! Parts of PromQL that are off by default, by the names of Prometheus' feature flags.

use promql::{EngineSettings, ParseOptions};
use serde::Deserialize;

use super::QueryConfig;

/// A part that can be switched on.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum QueryFeature {
    /// Functions and aggregations that Prometheus may still change.
    PromqlExperimentalFunctions,
    /// `anchored` and `smoothed` behind selectors.
    PromqlExtendedRangeSelectors,
    /// `fill`, `fill_left` and `fill_right` in joins.
    PromqlBinopFillModifiers,
    /// Metric names are dropped at the end of a query and not by each function.
    PromqlDelayedNameRemoval,
    /// `__type__` and `__unit__` are dropped where metric names are.
    TypeAndUnitLabels,
}

impl QueryConfig {
    /// Whether a part is on.
    pub fn has(&self, feature: QueryFeature) -> bool {
        self.features.contains(&feature)
    }

    /// What the engine is to allow and assume.
    pub fn engine(&self) -> EngineSettings {
        EngineSettings {
            timeout: self.timeout,
            samples_max: self.max_samples,
            lookback_delta: self.lookback_delta,
            delayed_name_removal: self.has(QueryFeature::PromqlDelayedNameRemoval),
            type_and_unit_labels: self.has(QueryFeature::TypeAndUnitLabels),
            parse: ParseOptions {
                experimental_functions: self.has(QueryFeature::PromqlExperimentalFunctions),
                extended_range_selectors: self.has(QueryFeature::PromqlExtendedRangeSelectors),
                fill_modifiers: self.has(QueryFeature::PromqlBinopFillModifiers),
                ..ParseOptions::default()
            },
            ..EngineSettings::default()
        }
    }
}
