//! `storage.metrics`: the metrics store.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::Durability;
use crate::duration;

/// `storage.metrics`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsStoreConfig {
    /// When a write is acknowledged. Default `group`.
    pub durability: Durability,
    /// Time that a block straight from memory spans; memory holds one and a half of them. From 1s to 24d. Default 2h.
    #[serde(deserialize_with = "duration::deserialize")]
    pub block_duration: Duration,
    /// Blocks that end this long before the newest one are removed. Default 15d; 0s keeps everything.
    #[serde(deserialize_with = "duration::deserialize")]
    pub retention: Duration,
    /// Bytes of one tenant, as a number or with a unit (`512MB`, `10GB`; 1KB is 1024 bytes), beyond which its oldest
    /// blocks are removed. Default 0: no limit.
    #[serde(deserialize_with = "bytes")]
    pub retention_size: u64,
    /// How much older than the newest sample of its tenant a late sample may be. Default 30m; 0s takes none.
    #[serde(deserialize_with = "duration::deserialize")]
    pub out_of_order_window: Duration,
    /// Series that one tenant may have in memory. Default 2000000.
    pub series_max: u64,
    /// Tenants that may have data; what comes for one more is refused until one of them has none left. Default 1000.
    pub tenants_max: usize,
    /// Exemplars that are kept of one tenant, the newest. Default 100000; 0 for none.
    pub exemplars_max: usize,
}

impl Default for MetricsStoreConfig {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            block_duration: Duration::from_secs(2 * 3600),
            retention: Duration::from_secs(15 * 86_400),
            retention_size: 0,
            out_of_order_window: Duration::from_secs(30 * 60),
            series_max: 2_000_000,
            tenants_max: 1000,
            exemplars_max: 100_000,
        }
    }
}

/// Units of sizes with their powers of 1024, as in Prometheus' flags (`units.Base2Bytes`).
const UNITS: [(&str, u32); 7] = [("B", 0), ("KB", 1), ("MB", 2), ("GB", 3), ("TB", 4), ("PB", 5), ("EB", 6)];

/// Reads a size.
pub(super) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Number(u64),
        Text(String),
    }
    match Size::deserialize(deserializer)? {
        Size::Number(bytes) => Ok(bytes),
        Size::Text(text) => parse_bytes(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "invalid size {text:?}, want a whole number, with a unit of B, KB, MB, GB, TB, PB, EB, e.g. 10GB"
            ))
        }),
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = &text[digits..];
    if unit.is_empty() {
        return Some(number);
    }
    let (_, power) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(1024_u64.checked_pow(*power)?)
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn sizes_take_prometheus_units() {
        for (text, want) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("3B", Some(3)),
            ("2KB", Some(2048)),
            ("10GB", Some(10 << 30)),
            ("15EB", Some(15 << 60)),
            ("16EB", None),
            ("1.5GB", None),
            ("GB", None),
            ("1gb", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(parse_bytes(text), want, "{text:?}");
        }
    }
}
