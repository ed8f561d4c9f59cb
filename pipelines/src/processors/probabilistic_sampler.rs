//! `probabilistic_sampler`: lets a share of traces or log records through, the same ones on every node.
//!
//! Modes `hash_seed`, `equalizing` and `proportional` and what they write into the trace state (`ot=rv:…;th:…`) or the log
//! attributes (`sampling.randomness`, `sampling.threshold`) are those of processor/probabilisticsamplerprocessor in the
//! collector's contrib repository and of the OpenTelemetry specification of consistent probability sampling: an item stays
//! when its 56 bits of randomness are not below a threshold. What goes is acknowledged.

mod decision;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{AppendReport, Signal};
use runtime::Tasks;
use serde::Deserialize;
use wire::DecodeError;
use wire::otlp::edit::{Fate, copy_fields, edit_records, put_key_value};
use wire::otlp::{AnyValue, LogRecord, Span, View, item_count};
use wire::protobuf::put_bytes_field;

use super::hand_on::refused;
use crate::off_thread::off_thread_if_large;
use crate::{
    Batch, ComponentConfig, ConfigError, Consumer, PipelineResult, Processor, ProcessorContext,
    ProcessorFactory, Stability,
};
use decision::{ALWAYS, Carried, NEVER, Sampler, threshold_of};

pub(crate) const FACTORY: ProcessorFactory = ProcessorFactory {
    kind: "probabilistic_sampler",
    signals: &[Signal::Traces, Signal::Logs],
    stability: Stability::Beta,
    create,
};

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Share that stays, in percent; 100 and more is all. Default 0: nothing stays.
    sampling_percentage: f32,
    /// Seed of the hash of `hash_seed`; layers with one seed keep the same traces. Default 0.
    hash_seed: u32,
    /// `hash_seed` (default), `equalizing` or `proportional`.
    mode: String,
    /// Whether items without randomness, or with contradictory marks, go. Default false: they stay.
    fail_closed: bool,
    /// Hex digits of a written threshold, 1 to 14. Default 4.
    sampling_precision: usize,
    /// Logs only: `traceID` (default) or `record`: where the randomness of `hash_seed` comes from.
    attribute_source: String,
    /// Logs only: the attribute that is hashed where there is no trace id.
    from_attribute: String,
    /// Logs only: an attribute with a percentage of its own.
    sampling_priority: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sampling_percentage: 0.0,
            hash_seed: 0,
            mode: String::new(),
            fail_closed: false,
            sampling_precision: 4,
            attribute_source: "traceID".to_owned(),
            from_attribute: String::new(),
            sampling_priority: String::new(),
        }
    }
}

impl Config {
    fn validate(&self) -> Result<(), String> {
        let percent = f64::from(self.sampling_percentage);
        let ratio = percent / 100.0;
        if !percent.is_finite() {
            return Err(format!("sampling rate is invalid: {percent}%"));
        }
        if ratio < 0.0 {
            return Err(format!("sampling rate is negative: {percent}%"));
        }
        if ratio != 0.0 && ratio < decision::RATIO_MIN {
            return Err(format!("sampling rate is too small: {percent}%"));
        }
        if !["", "traceID", "record"].contains(&self.attribute_source.as_str()) {
            return Err(format!(
                "invalid attribute source: {}. Expected: traceID or record",
                self.attribute_source
            ));
        }
        if !["", "hash_seed", "equalizing", "proportional"].contains(&self.mode.as_str()) {
            return Err(format!("unsupported sampler mode {:?}", self.mode));
        }
        match self.sampling_precision {
            0 => Err("invalid sampling precision: 0".to_owned()),
            1..=14 => Ok(()),
            more => Err(format!("sampling precision is too great, should be <= 14: {more}")),
        }
    }
}

fn create(
    config: &ComponentConfig<'_>,
    _signal: Signal,
    context: &ProcessorContext,
    next: Arc<dyn Consumer>,
) -> Result<Arc<dyn Processor>, ConfigError> {
    let config: Config = config.parse()?;
    config.validate().map_err(|message| ConfigError::at("", message))?;
    let sampler =
        Sampler::new(&config.mode, config.sampling_percentage, config.sampling_precision, config.hash_seed);
    let sampling = Arc::new(Sampling { sampler, config });
    Ok(Arc::new(ProbabilisticSampler { sampling, tasks: context.tasks.clone(), next }))
}

struct Sampling {
    sampler: Sampler,
    config: Config,
}

struct ProbabilisticSampler {
    sampling: Arc<Sampling>,
    tasks: Tasks,
    next: Arc<dyn Consumer>,
}

/// Fields of a span and of a log record.
const TRACE_STATE: u32 = 3;
const LOG_ATTRIBUTES: u32 = 6;

impl Sampling {
    /// What stays, and how many items that is.
    fn run(&self, batch: &Batch) -> Result<(Bytes, u64), DecodeError> {
        let payload = self.edit(batch)?;
        let items = item_count(batch.signal, &payload)?;
        Ok((payload, items))
    }

    fn edit(&self, batch: &Batch) -> Result<Bytes, DecodeError> {
        edit_records(&batch.payload, |_, record, out| match batch.signal {
            Signal::Traces => self.span(record, out),
            Signal::Logs => self.log(record, out),
            Signal::Metrics => Ok(Fate::Kept),
        })
    }

    fn span(&self, span: &[u8], out: &mut Vec<u8>) -> Result<Fate, DecodeError> {
        let view = Span::parse(span)?;
        let state = view.trace_state()?;
        let mut carried = Carried::of_trace_state(state);
        let mut threshold = self.sampler.decide(&mut carried, view.trace_id, None, self.config.fail_closed);
        match priority(view.attributes.get("sampling.priority")?) {
            Some(0.0) => threshold = NEVER,
            Some(value) if value > 0.0 => threshold = ALWAYS,
            _ => {}
        }
        if !carried.stays(threshold) {
            return Ok(Fate::Removed);
        }
        carried.raise(threshold);
        match carried.trace_state(state) {
            Some(new) if new != state => {
                copy_fields(span, out, |number| number != TRACE_STATE)?;
                put_bytes_field(out, TRACE_STATE, new.as_bytes());
                Ok(Fate::Replaced)
            }
            _ => Ok(Fate::Kept),
        }
    }

    fn log(&self, record: &[u8], out: &mut Vec<u8>) -> Result<Fate, DecodeError> {
        let view = LogRecord::parse(record)?;
        let text = |key: &str| {
            let value = view.attributes.get(key)?;
            Ok::<_, DecodeError>(match value {
                Some(AnyValue::String(text)) => text,
                _ => "",
            })
        };
        let mut carried = Carried::of_attributes(text("sampling.threshold")?, text("sampling.randomness")?);
        let by_trace = self.config.attribute_source != "record" || !self.sampler.is_hashing();
        let trace_id = if by_trace { view.trace_id } else { &[] };
        let attribute = match self.config.from_attribute.as_str() {
            "" => None,
            key => hashed(view.attributes.get(key)?)?,
        };
        let fail_closed = self.config.fail_closed;
        let mut threshold = self.sampler.decide(&mut carried, trace_id, attribute.as_deref(), fail_closed);
        if !self.config.sampling_priority.is_empty() {
            let percent = match view.attributes.get(&self.config.sampling_priority)? {
                Some(AnyValue::Int(int)) => int as f64,
                Some(AnyValue::Double(double)) => double,
                _ => 0.0,
            };
            let own = threshold_of(percent / 100.0, self.config.sampling_precision);
            threshold = own.filter(|_| percent != 0.0).unwrap_or(threshold);
        }
        if !carried.stays(threshold) {
            return Ok(Fate::Removed);
        }
        carried.raise(threshold);
        let Some(marks) = carried.attributes() else { return Ok(Fate::Kept) };
        // The marks are put anew; what carries another name stays as it is.
        let mut fields = wire::protobuf::Fields::new(record);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            let end = fields.offset();
            let is_mark = field.number == LOG_ATTRIBUTES && {
                let key = wire::otlp::KeyValue::parse(field.bytes()?)?.key_bytes();
                key == b"sampling.threshold" || key == b"sampling.randomness"
            };
            if !is_mark {
                out.extend_from_slice(&record[start..end]);
            }
            start = end;
        }
        for (key, value) in marks {
            let mut encoded = Vec::new();
            put_bytes_field(&mut encoded, 1, value.as_bytes());
            put_key_value(out, LOG_ATTRIBUTES, key, &encoded);
        }
        Ok(Fate::Replaced)
    }
}

/// A span's `sampling.priority`, whatever its type.
fn priority(value: Option<AnyValue<'_>>) -> Option<f64> {
    match value? {
        AnyValue::Int(int) => Some(int as f64),
        AnyValue::Double(double) => Some(double),
        AnyValue::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// The bytes of an attribute that are hashed; nothing for an empty one.
fn hashed(value: Option<AnyValue<'_>>) -> Result<Option<Vec<u8>>, DecodeError> {
    let bytes = match value {
        None => return Ok(None),
        Some(AnyValue::Bytes(bytes)) => bytes.to_vec(),
        Some(value) => {
            let mut text = String::new();
            value.append_as_string(&mut text)?;
            text.into_bytes()
        }
    };
    Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
}

impl Consumer for ProbabilisticSampler {
    fn consume(&self, mut batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        let (sampling, sampled) = (Arc::clone(&self.sampling), batch.clone());
        let run = move || {
            let run = sampling.run(&sampled);
            run.map_err(|error| refused("probabilistic_sampler", error.kind(), &error))
        };
        Box::pin(async move {
            let bytes = batch.payload.len();
            let (payload, items) =
                off_thread_if_large(&self.tasks, bytes, "probabilistic_sampler processor", run).await?;
            let mut report = AppendReport { stored: batch.items.saturating_sub(items), rejected: Vec::new() };
            if items > 0 {
                batch.payload = payload;
                batch.items = items;
                report.merge(self.next.consume(batch).await?);
            }
            Ok(report)
        })
    }
}

impl Processor for ProbabilisticSampler {}

#[cfg(test)]
mod tests;
