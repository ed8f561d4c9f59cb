//! Which entries are refused, and what their sender is told.
//!
//! Order, names of reasons and texts are Loki's (pkg/distributor/validator.go, pkg/validation/validate.go), so that
//! clients and dashboards that know them work on.

use std::time::Duration;

use model::{AppendReport, Labels, LogEntries, TenantId};
use storage_api::StreamEntries;

use crate::retention::RetentionRules;
use crate::settings::LogLimits;
use crate::utc::shown_utc;

/// Label that Loki adds to every stream and does not count.
const SERVICE_NAME: &str = "service_name";
/// Metadata that is added to entries, by Loki after their limits were looked at.
const DETECTED_LEVEL: &str = "detected_level";

/// Limits at one moment.
pub(crate) struct LimitCheck<'a> {
    limits: &'a LogLimits,
    retention: &'a RetentionRules,
    tenant: &'a TenantId,
    now_ns: i64,
    /// Entries before it are past the retention of the stream that is looked at.
    oldest_ns: i64,
    newest_ns: i64,
}

impl<'a> LimitCheck<'a> {
    pub(crate) fn new(
        limits: &'a LogLimits,
        retention: &'a RetentionRules,
        tenant: &'a TenantId,
        now_ns: i64,
    ) -> Self {
        let ns = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self {
            limits,
            retention,
            tenant,
            now_ns,
            oldest_ns: now_ns.saturating_sub(retention.of_tenant_ns(tenant)),
            newest_ns: now_ns.saturating_add(ns(limits.creation_grace)),
        }
    }

    /// The entries that may be stored; the others are counted in `report`.
    pub(crate) fn check(
        &mut self,
        stream: StreamEntries,
        report: &mut AppendReport,
    ) -> Option<StreamEntries> {
        let StreamEntries { labels, entries } = stream;
        if self.retention.has_streams(self.tenant) {
            self.oldest_ns = self.now_ns.saturating_sub(self.retention.of_stream_ns(self.tenant, &labels));
        }
        if let Some((reason, message)) = self.refuse_stream(&labels) {
            report.reject(reason, entries.len() as u64, || message);
            return None;
        }
        let refused = |index: usize| self.refuse_entry(&entries, index);
        let Some(first) = (0..entries.len()).find(|&index| refused(index).is_some()) else {
            return (!entries.is_empty()).then_some(StreamEntries { labels, entries });
        };
        let mut kept = LogEntries::new();
        kept.extend_from(&entries, 0..first);
        for index in first..entries.len() {
            match refused(index) {
                None => kept.extend_from(&entries, index..index + 1),
                Some(reason) => report.reject(reason, 1, || self.message(reason, &labels, &entries, index)),
            }
        }
        (!kept.is_empty()).then_some(StreamEntries { labels, entries: kept })
    }

    fn refuse_stream(&self, labels: &Labels) -> Option<(&'static str, String)> {
        let limits = self.limits;
        if labels.is_empty() {
            let message = "error at least one label pair is required per stream".to_owned();
            return Some(("missing_labels", message));
        }
        let names = labels.iter().filter(|(name, _)| *name != SERVICE_NAME).count();
        if names > limits.label_names_max {
            let message = format!(
                "entry for stream '{labels}' has {names} label names; limit {}",
                limits.label_names_max
            );
            return Some(("max_label_names_per_series", message));
        }
        for (name, value) in labels.iter() {
            if name.len() > limits.label_name_bytes_max {
                return Some((
                    "label_name_too_long",
                    format!("stream '{labels}' has label name too long: '{name}'"),
                ));
            }
            if value.len() > limits.label_value_bytes_max {
                return Some((
                    "label_value_too_long",
                    format!("stream '{labels}' has label value too long: '{value}'"),
                ));
            }
        }
        None
    }

    fn refuse_entry(&self, entries: &LogEntries, index: usize) -> Option<&'static str> {
        let timestamp_ns = entries.timestamps_ns()[index];
        if timestamp_ns < self.oldest_ns {
            return Some("greater_than_max_sample_age");
        }
        if timestamp_ns > self.newest_ns {
            return Some("too_far_in_future");
        }
        if entries.line(index).len() > self.limits.line_bytes_max {
            return Some("line_too_long");
        }
        let (bytes_max, pairs_max) = (self.limits.metadata_bytes_max, self.limits.metadata_pairs_max);
        if entries.metadata_bytes(index) <= bytes_max && entries.metadata(index).len() <= pairs_max {
            return None;
        }
        let (pairs, bytes) = self.counted_metadata(entries, index);
        if bytes > bytes_max {
            return Some("structured_metadata_too_large");
        }
        (pairs > pairs_max).then_some("structured_metadata_too_many")
    }

    /// Pairs and bytes of an entry's metadata, without a level that may have been added. One that is larger than all may
    /// be was sent.
    fn counted_metadata(&self, entries: &LogEntries, index: usize) -> (usize, usize) {
        let (mut pairs, mut bytes) = (entries.metadata(index).len(), entries.metadata_bytes(index));
        let added = entries.metadata(index).into_iter().find(|(name, value)| {
            *name == DETECTED_LEVEL && name.len() + value.len() <= self.limits.metadata_bytes_max
        });
        if let Some((name, value)) = added {
            pairs -= 1;
            bytes -= name.len() + value.len();
        }
        (pairs, bytes)
    }

    fn message(&self, reason: &'static str, labels: &Labels, entries: &LogEntries, index: usize) -> String {
        let limits = self.limits;
        let entry = entries.get(index);
        let (pairs, bytes) = self.counted_metadata(entries, index);
        let at = shown_utc(entry.timestamp_ns);
        match reason {
            "greater_than_max_sample_age" => format!(
                "entry for stream '{labels}' has timestamp too old: {at}, oldest acceptable timestamp is: {}",
                shown_utc(self.oldest_ns)
            ),
            "too_far_in_future" => format!("entry for stream '{labels}' has timestamp too new: {at}"),
            "line_too_long" => format!(
                "max entry size '{}' bytes exceeded for stream '{labels}' while adding an entry with length '{}' bytes",
                limits.line_bytes_max,
                entry.line.len()
            ),
            "structured_metadata_too_large" => format!(
                "stream '{labels}' has structured metadata too large: '{bytes}' bytes, limit: '{}' bytes. Please see \
                 `limits_config.max_structured_metadata_size` or contact your Loki administrator to increase it",
                limits.metadata_bytes_max
            ),
            _ => format!(
                "stream '{labels}' has too many structured metadata labels: '{pairs}', limit: '{}'. Please see \
                 `limits_config.max_structured_metadata_entries_count` or contact your Loki administrator to increase it",
                limits.metadata_pairs_max
            ),
        }
    }
}

#[cfg(test)]
mod tests;
