//! Log records as rows.

use std::io::Write;

use parquet::data_type::ByteArray;
use pipelines::{Batch, PipelineResult};
use wire::DecodeError;
use wire::otlp::{LogRecord, resources};

use super::columns::{Int32s, Int64s, Maps, OptionalInt64s, OptionalTexts, Pairs, RowGroup, id, text, time};
use super::files::{Partitions, Rows};
use super::origin::{Origin, Origins};

/// The columns of `logs`.
#[derive(Default)]
pub(super) struct Records {
    time: Int64s,
    observed_time: OptionalInt64s,
    severity_number: Int32s,
    severity_text: OptionalTexts,
    body: OptionalTexts,
    event_name: OptionalTexts,
    trace_id: OptionalTexts,
    span_id: OptionalTexts,
    flags: Int64s,
    attributes: Maps,
    dropped_attributes_count: Int64s,
    origins: Origins,
}

impl Records {
    fn push(&mut self, time_ns: i64, record: &LogRecord<'_>, origin: &Origin) -> Result<(), DecodeError> {
        let mut body = String::new();
        record.body()?.append_as_string(&mut body)?;
        self.time.push(time_ns);
        self.observed_time.push(time(record.observed_time_unix_nano));
        self.severity_number.push(record.severity_number);
        self.severity_text.push(text(record.severity_text()?));
        self.body.push((!record.body_bytes().is_empty()).then(|| ByteArray::from(body.into_bytes())));
        self.event_name.push(text(record.event_name()?));
        self.trace_id.push(id(record.trace_id));
        self.span_id.push(id(record.span_id));
        self.flags.push(i64::from(record.flags));
        self.attributes.push(Pairs::read(&record.attributes)?);
        self.dropped_attributes_count.push(i64::from(record.dropped_attributes_count));
        self.origins.push(origin);
        Ok(())
    }
}

impl Rows for Records {
    const SCHEMA: &'static str = "message logs {
        required int64 time (TIMESTAMP(NANOS,true));
        optional int64 observed_time (TIMESTAMP(NANOS,true));
        required int32 severity_number;
        optional binary severity_text (STRING);
        optional binary body (STRING);
        optional binary event_name (STRING);
        optional binary trace_id (STRING);
        optional binary span_id (STRING);
        required int64 flags;
        required group attributes (MAP) {
            repeated group key_value { required binary key (STRING); required binary value (STRING); } }
        required int64 dropped_attributes_count;
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
                for record in scope_group.log_records() {
                    let record = record?;
                    let observed = time(record.observed_time_unix_nano);
                    let time_ns = time(record.time_unix_nano).or(observed).unwrap_or(now_ns);
                    partitions.at(time_ns, origin.weight)?.push(time_ns, &record, &origin)?;
                }
            }
        }
        Ok(())
    }

    fn write<W: Write + Send>(&self, group: &mut RowGroup<'_, '_, W>) -> parquet::errors::Result<()> {
        self.time.write(group)?;
        self.observed_time.write(group)?;
        self.severity_number.write(group)?;
        self.severity_text.write(group)?;
        self.body.write(group)?;
        self.event_name.write(group)?;
        self.trace_id.write(group)?;
        self.span_id.write(group)?;
        self.flags.write(group)?;
        self.attributes.write(group)?;
        self.dropped_attributes_count.write(group)?;
        self.origins.write(group)
    }
}
