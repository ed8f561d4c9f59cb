//! The metrics store's settings from its section of the config.

use std::time::Duration;

use tsdb::TsdbSettings;

use crate::config::types::MetricsStoreConfig;

/// What the store is opened with.
pub(super) fn settings(config: &MetricsStoreConfig) -> TsdbSettings {
    let mut settings = TsdbSettings {
        block_duration_ms: ms(config.block_duration),
        retention_ms: Some(ms(config.retention)).filter(|retention| *retention > 0),
        retention_bytes: Some(config.retention_size).filter(|bytes| *bytes > 0),
        out_of_order_window_ms: ms(config.out_of_order_window),
        series_max: config.series_max,
        tenants_max: config.tenants_max,
        exemplars_max: config.exemplars_max,
        ..TsdbSettings::default()
    };
    settings.wal.durability = super::durability(config.durability);
    settings
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
