//! The keys by which series that were seen before are found: hashes of the wire bytes that decide the labels.

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::{Request, SeriesKey};
use crate::DecodeError;
use crate::otlp::{Attributes, Metric};
use crate::prometheus_names::MetricKind;

impl<R, S> Request<'_, R, S> {
    #[inline]
    pub(super) fn hash(&self, bytes: &[u8]) -> u128 {
        xxh3_128_with_seed(bytes, self.settings.key_seed)
    }

    pub(super) fn metric_key(
        &mut self,
        metric: &Metric<'_>,
        kind: MetricKind,
        resource: u128,
        scope: u128,
    ) -> u128 {
        let key = &mut self.scratch.key;
        key.clear();
        key.extend_from_slice(&resource.to_le_bytes());
        key.extend_from_slice(&scope.to_le_bytes());
        key.push(kind as u8);
        key.extend_from_slice(&(metric.unit_bytes().len() as u64).to_le_bytes());
        key.extend_from_slice(metric.unit_bytes());
        key.extend_from_slice(metric.name_bytes());
        xxh3_128_with_seed(key, self.settings.key_seed)
    }

    #[inline]
    pub(super) fn point_key(&self, metric: u128, attributes: u128, bounds: u128, run: u64) -> SeriesKey {
        let mut parts = [0; 56];
        parts[..16].copy_from_slice(&metric.to_le_bytes());
        parts[16..32].copy_from_slice(&attributes.to_le_bytes());
        parts[32..48].copy_from_slice(&bounds.to_le_bytes());
        parts[48..].copy_from_slice(&run.to_le_bytes());
        SeriesKey(self.hash(&parts))
    }

    #[inline]
    pub(super) fn attributes_hash(&mut self, attributes: &Attributes<'_>) -> Result<u128, DecodeError> {
        if let Some(bytes) = attributes.contiguous_bytes() {
            return Ok(self.hash(bytes));
        }
        self.scratch.key.clear();
        for attribute in attributes.encoded() {
            let attribute = attribute?;
            self.scratch.key.extend_from_slice(&(attribute.len() as u64).to_le_bytes());
            self.scratch.key.extend_from_slice(attribute);
        }
        Ok(self.hash(&self.scratch.key))
    }
}
