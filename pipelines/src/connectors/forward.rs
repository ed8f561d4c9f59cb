//! `forward`: joins pipelines; what comes in goes out to every pipeline behind it.

use crate::connectors::{ConnectorFactory, SAME_SIGNAL};
use crate::{ComponentConfig, ConfigError, Stability};

pub(crate) const FACTORY: ConnectorFactory = ConnectorFactory {
    kind: "forward",
    pairs: SAME_SIGNAL,
    stability: Stability::Beta,
    check: |config, _| check(config),
    create: |config, _, outputs| check(config).map(|()| outputs.all()),
};

fn check(config: &ComponentConfig<'_>) -> Result<(), ConfigError> {
    let is_empty = config.value.is_null() || config.value.as_object().is_some_and(|map| map.is_empty());
    match is_empty {
        true => Ok(()),
        false => Err(ConfigError::at("", "forward has no settings, want an empty section")),
    }
}
