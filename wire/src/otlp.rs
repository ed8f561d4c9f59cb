//! OTLP payloads (`Export{Metrics,Logs,Trace}ServiceRequest`, opentelemetry-proto 1.x) without an object model.
//!
//! `check` proves a request well-formed once, at the door; after that everything works on the bytes: the views of
//! this module borrow from them, [`edit`], [`merge`] and [`split`] rewrite them, [`json`] translates them.
//!
//! - OTLP-1: a payload that travels in a pipeline came out of [`check`] or of a writer of this crate. Views still
//!   never panic on other bytes: they return errors.
//! - OTLP-2: nothing relies on field order. The Go pdata marshaller writes descending field numbers, so that the
//!   resource comes after its scopes (`pdata/internal/generated_proto_resourcemetrics.go`); repeated scalars come
//!   packed or not; of a singular field that occurs twice the last one counts, whole.
//! - OTLP-3: [`AnyValue`]s nest at most [`ANY_VALUE_DEPTH_MAX`] deep, here and in [`check`] and [`json`] alike.

mod as_string;
mod check;
pub mod edit;
pub mod json;
mod logs;
mod metrics;
mod partition;
mod response;
mod scalars;
mod schema;
mod split;
mod traces;
mod views;

pub use check::{Checked, check};
pub use logs::LogRecord;
pub use metrics::{
    Buckets, Exemplar, ExponentialHistogramPoint, HistogramPoint, Metric, MetricData, NumberPoint,
    NumberValue, QuantileValue, SummaryPoint, Temporality,
};
/// Which kind of data a payload holds.
pub use model::Signal;
pub use partition::{Part, split_by_resource, split_by_trace, split_logs_by_trace};
pub use response::{
    PartialSuccess, response_from_json, response_from_protobuf, response_to_json, response_to_protobuf,
};
pub use scalars::{Doubles, Fixed64s, Varints};
pub use split::{PartsRoom, item_count, merge, split, split_within};
pub use traces::{Span, SpanEvent, SpanLink, SpanStatus};
pub use views::{
    ANY_VALUE_DEPTH_MAX, AnyValue, ArrayIter, ArrayValue, Attributes, AttributesIter, EncodedMessages,
    KeyValue, Resource, Scope, View, Views,
};

use crate::DecodeError;
use crate::protobuf::{Fields, text};

/// The resources of a payload: `ResourceMetrics`, `ResourceLogs` or `ResourceSpans`, which have one shape.
pub fn resources(payload: &[u8]) -> Views<'_, ResourceGroup<'_>> {
    Views::new(payload, 1)
}

/// One `ResourceMetrics`, `ResourceLogs` or `ResourceSpans`.
#[derive(Clone, Copy, Debug)]
pub struct ResourceGroup<'a> {
    bytes: &'a [u8],
    resource: &'a [u8],
    schema_url: &'a [u8],
}

impl<'a> ResourceGroup<'a> {
    /// The encoded `Resource` message, empty when there is none: what caches by resource are keyed by.
    pub fn resource_bytes(&self) -> &'a [u8] {
        self.resource
    }

    /// The resource; one without attributes when there is none.
    pub fn resource(&self) -> Result<Resource<'a>, DecodeError> {
        Resource::parse(self.resource)
    }

    /// The schema URL of the resource, often empty.
    pub fn schema_url(&self) -> Result<&'a str, DecodeError> {
        text(self.schema_url)
    }

    /// The scopes inside.
    pub fn scopes(&self) -> Views<'a, ScopeGroup<'a>> {
        Views::new(self.bytes, 2)
    }
}

impl ResourceGroup<'_> {
    /// Bytes of the encoded message: what buffers for its items are sized by.
    pub fn encoded_len(&self) -> usize {
        self.bytes.len()
    }
}

impl<'a> View<'a> for ResourceGroup<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut group = Self { bytes, resource: &[], schema_url: &[] };
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => group.resource = field.bytes()?,
                3 => group.schema_url = field.bytes()?,
                _ => (),
            }
        }
        Ok(group)
    }
}

/// One `ScopeMetrics`, `ScopeLogs` or `ScopeSpans`.
#[derive(Clone, Copy, Debug)]
pub struct ScopeGroup<'a> {
    bytes: &'a [u8],
    scope: &'a [u8],
    schema_url: &'a [u8],
}

impl<'a> ScopeGroup<'a> {
    /// The encoded `InstrumentationScope` message, empty when there is none: what caches by scope are keyed by.
    pub fn scope_bytes(&self) -> &'a [u8] {
        self.scope
    }

    /// The scope; a nameless one when there is none.
    pub fn scope(&self) -> Result<Scope<'a>, DecodeError> {
        Scope::parse(self.scope)
    }

    /// The schema URL of the scope, often empty.
    pub fn schema_url(&self) -> Result<&'a str, DecodeError> {
        text(self.schema_url)
    }

    /// The metrics of a metrics payload.
    pub fn metrics(&self) -> Views<'a, Metric<'a>> {
        Views::new(self.bytes, 2)
    }

    /// The records of a logs payload.
    pub fn log_records(&self) -> Views<'a, LogRecord<'a>> {
        Views::new(self.bytes, 2)
    }

    /// The spans of a traces payload.
    pub fn spans(&self) -> Views<'a, Span<'a>> {
        Views::new(self.bytes, 2)
    }
}

impl<'a> View<'a> for ScopeGroup<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut group = Self { bytes, scope: &[], schema_url: &[] };
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => group.scope = field.bytes()?,
                3 => group.schema_url = field.bytes()?,
                _ => (),
            }
        }
        Ok(group)
    }
}

#[cfg(test)]
mod tests;
