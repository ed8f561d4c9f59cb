//! `target_info`: the attributes of a resource as labels of a series of its own, for joins by `job` and `instance`.

use model::{Labels, MetricMetadata, MetricType};

use super::labels::{ResourceLabels, SeriesLabels};
use super::{
    NS_PER_MS, Request, Resolved, ResourceContext, SampleSink, SeriesKey, SeriesResolver, TARGET_INFO,
};
use crate::DecodeError;

impl<R: SeriesResolver, S: SampleSink<R::Handle>> Request<'_, R, S> {
    /// Writes `target_info` for the time that the points of a resource cover.
    pub(super) fn target_info(
        &mut self,
        resource: &mut ResourceContext<'_>,
        earliest_ns: i64,
        latest_ns: i64,
    ) -> Result<(), R::Error> {
        let key = self.point_key(resource.hash, self.hash(TARGET_INFO.as_bytes()), 0, 0);
        let known = self.resolver.lookup(key).map(|run| run.first().copied());
        let handle = match known {
            Some(handle) => handle,
            None => self.new_target_info(key, resource)?,
        };
        let Some(handle) = handle else { return Ok(()) };
        let interval_ns = (self.settings.lookback_delta_ms / 2).max(1).saturating_mul(NS_PER_MS);
        let gap_samples = (latest_ns.saturating_sub(earliest_ns) as usize).div_ceil(interval_ns as usize);
        if earliest_ns < latest_ns && gap_samples <= self.info_gap_samples_left {
            self.info_gap_samples_left -= gap_samples;
            for index in 0..gap_samples as i64 {
                self.target_info_sample(key, handle, earliest_ns + index * interval_ns);
            }
        }
        self.target_info_sample(key, handle, latest_ns);
        Ok(())
    }

    fn target_info_sample(&mut self, key: SeriesKey, handle: R::Handle, time_ns: i64) {
        let timestamp_ms = time_ns.div_euclid(NS_PER_MS);
        if self.info_sent.insert((key, timestamp_ms)) {
            self.sink.target_info(handle, timestamp_ms);
        }
    }

    #[cold]
    fn new_target_info(
        &mut self,
        key: SeriesKey,
        resource: &mut ResourceContext<'_>,
    ) -> Result<Option<R::Handle>, R::Error> {
        let error = match self.target_info_series(resource) {
            Ok(series) => match self.resolver.insert(key, series.as_slice())? {
                Resolved::Handles(run) => return Ok(run.first().copied()),
                Resolved::Refused { message, .. } => message,
            },
            Err(error) => error.to_string(),
        };
        self.report.reject("no_target_info", 0, || format!("target_info was not written: {error}"));
        Ok(None)
    }

    fn target_info_series(
        &mut self,
        resource: &mut ResourceContext<'_>,
    ) -> Result<Option<Labels>, DecodeError> {
        let resource_labels = resource
            .labels
            .get_or_insert_with(|| ResourceLabels::new(&resource.group, self.settings))
            .as_ref()
            .map_err(DecodeError::clone)?;
        let family = match self.settings.namespace.as_str() {
            "" => TARGET_INFO.to_owned(),
            namespace => format!("{namespace}_{TARGET_INFO}"),
        };
        let labels = SeriesLabels::of_target_info(&resource.group, self.settings, resource_labels)?;
        if labels.is_some() {
            let (metric_type, help, unit) = (MetricType::Gauge, "Target metadata".to_owned(), String::new());
            self.resolver.metadata(&family, &MetricMetadata { metric_type, help, unit });
        }
        Ok(labels.map(|labels| labels.with_name(&family, "")))
    }
}
