//! Spans as rows.

use std::io::Write;

use pipelines::{Batch, PipelineResult};
use serde_json::json;
use wire::DecodeError;
use wire::otlp::{Span, resources};

use super::columns::{
    Int32s, Int64s, Maps, OptionalTexts, Pairs, RowGroup, Texts, count, id, json_list, object, text, time,
};
use super::files::{Partitions, Rows};
use super::origin::{Origin, Origins};

/// The columns of `traces`.
#[derive(Default)]
pub(super) struct Spans {
    start_time: Int64s,
    end_time: Int64s,
    trace_id: OptionalTexts,
    span_id: OptionalTexts,
    parent_span_id: OptionalTexts,
    trace_state: OptionalTexts,
    name: Texts,
    kind: Int32s,
    status_code: Int32s,
    status_message: OptionalTexts,
    flags: Int64s,
    attributes: Maps,
    dropped_attributes_count: Int64s,
    events: OptionalTexts,
    dropped_events_count: Int64s,
    links: OptionalTexts,
    dropped_links_count: Int64s,
    origins: Origins,
}

impl Spans {
    fn push(&mut self, start_ns: i64, span: &Span<'_>, origin: &Origin) -> Result<(), DecodeError> {
        let status = span.status()?;
        self.start_time.push(start_ns);
        self.end_time.push(count(span.end_time_unix_nano));
        self.trace_id.push(id(span.trace_id));
        self.span_id.push(id(span.span_id));
        self.parent_span_id.push(id(span.parent_span_id));
        self.trace_state.push(text(span.trace_state()?));
        self.name.push(span.name()?);
        self.kind.push(span.kind);
        self.status_code.push(status.code);
        self.status_message.push(text(status.message()?));
        self.flags.push(i64::from(span.flags));
        self.attributes.push(Pairs::read(&span.attributes)?);
        self.dropped_attributes_count.push(i64::from(span.dropped_attributes_count));
        self.events.push(events(span)?);
        self.dropped_events_count.push(i64::from(span.dropped_events_count));
        self.links.push(links(span)?);
        self.dropped_links_count.push(i64::from(span.dropped_links_count));
        self.origins.push(origin);
        Ok(())
    }
}

fn events(span: &Span<'_>) -> Result<Option<parquet::data_type::ByteArray>, DecodeError> {
    let mut list = Vec::new();
    for event in span.events() {
        let event = event?;
        list.push(json!({
            "time_unix_nano": event.time_unix_nano,
            "name": event.name()?,
            "attributes": object(&event.attributes)?,
            "dropped_attributes_count": event.dropped_attributes_count,
        }));
    }
    Ok(json_list(&list))
}

fn links(span: &Span<'_>) -> Result<Option<parquet::data_type::ByteArray>, DecodeError> {
    let hex = |bytes: &[u8]| id(bytes).map(|id| String::from_utf8_lossy(id.data()).into_owned());
    let mut list = Vec::new();
    for link in span.links() {
        let link = link?;
        list.push(json!({
            "trace_id": hex(link.trace_id),
            "span_id": hex(link.span_id),
            "trace_state": link.trace_state()?,
            "attributes": object(&link.attributes)?,
            "dropped_attributes_count": link.dropped_attributes_count,
            "flags": link.flags,
        }));
    }
    Ok(json_list(&list))
}

impl Rows for Spans {
    const SCHEMA: &'static str = "message traces {
        required int64 start_time (TIMESTAMP(NANOS,true));
        required int64 end_time (TIMESTAMP(NANOS,true));
        optional binary trace_id (STRING);
        optional binary span_id (STRING);
        optional binary parent_span_id (STRING);
        optional binary trace_state (STRING);
        required binary name (STRING);
        required int32 kind;
        required int32 status_code;
        optional binary status_message (STRING);
        required int64 flags;
        required group attributes (MAP) {
            repeated group key_value { required binary key (STRING); required binary value (STRING); } }
        required int64 dropped_attributes_count;
        optional binary events (JSON);
        required int64 dropped_events_count;
        optional binary links (JSON);
        required int64 dropped_links_count;
        required group resource_attributes (MAP) {
            repeated group key_value { required binary key (STRING); required binary value (STRING); } }
        required binary scope_name (STRING);
        required binary scope_version (STRING);
        required group scope_attributes (MAP) {
            repeated group key_value { required binary key (STRING); required binary value (STRING); } }
    }";

    fn fill(batch: &Batch, now_ns: i64, partitions: &mut Partitions<Self>) -> PipelineResult<()> {
        for group in resources(&batch.payload) {
            let group = group?;
            let resource = Pairs::read(&group.resource()?.attributes)?;
            for scope_group in group.scopes() {
                let scope_group = scope_group?;
                let origin = Origin::read(&resource, &scope_group.scope()?)?;
                for span in scope_group.spans() {
                    let span = span?;
                    let start_ns = time(span.start_time_unix_nano).unwrap_or(now_ns);
                    partitions.at(start_ns, origin.weight)?.push(start_ns, &span, &origin)?;
                }
            }
        }
        Ok(())
    }

    fn write<W: Write + Send>(&self, group: &mut RowGroup<'_, '_, W>) -> parquet::errors::Result<()> {
        self.start_time.write(group)?;
        self.end_time.write(group)?;
        self.trace_id.write(group)?;
        self.span_id.write(group)?;
        self.parent_span_id.write(group)?;
        self.trace_state.write(group)?;
        self.name.write(group)?;
        self.kind.write(group)?;
        self.status_code.write(group)?;
        self.status_message.write(group)?;
        self.flags.write(group)?;
        self.attributes.write(group)?;
        self.dropped_attributes_count.write(group)?;
        self.events.write(group)?;
        self.dropped_events_count.write(group)?;
        self.links.write(group)?;
        self.dropped_links_count.write(group)?;
        self.origins.write(group)
    }
}
