//! Other encodings of the same request, as other writers make them.

use model::Signal;

use crate::otlp::schema::{self, Kind, Label, Message};
use crate::protobuf::{
    Fields, Value, put_bytes_field, put_fixed64_field, put_varint, put_varint_field, read_varint,
};

/// The request with the fields of every message in descending order of their numbers, as the Go pdata marshaller
/// writes them; elements of one field stay in order.
pub(in crate::otlp) fn descending(signal: Signal, bytes: &[u8]) -> Vec<u8> {
    rewritten(bytes, schema::request(signal), &|fields| {
        fields.sort_by_key(|(number, _)| std::cmp::Reverse(*number))
    })
}

/// The request with an unknown varint, string and group in every message, and packed scalars taken apart.
pub(in crate::otlp) fn unpacked_with_unknown_fields(signal: Signal, bytes: &[u8]) -> Vec<u8> {
    rewritten(bytes, schema::request(signal), &|fields| {
        fields.insert(0, (90, b"\xd0\x05\x01".to_vec()));
        fields.insert(fields.len() / 2, (1000, b"\xc2\x3e\x03\xff\xff\xff".to_vec()));
        fields.push((20, b"\xa3\x01\x08\x01\xa4\x01".to_vec()));
    })
}

type EncodedFields = Vec<(u32, Vec<u8>)>;

fn rewritten(bytes: &[u8], message: &'static Message, change: &dyn Fn(&mut EncodedFields)) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut walk = Fields::new(bytes);
    let mut start = 0;
    while let Some(field) = walk.next_field().expect("valid") {
        let known = message.field(field.number);
        let mut out = Vec::new();
        match (known.map(|known| (known.kind, known.label)), field.value) {
            (Some((Kind::Message(inner), _)), Value::Bytes(content)) => {
                put_bytes_field(&mut out, field.number, &rewritten(content, inner, change));
            }
            (Some((Kind::Fixed64 | Kind::Double, Label::Repeated)), Value::Bytes(_)) => {
                field.fixed64s(|word| put_fixed64_field(&mut out, field.number, word)).expect("valid");
            }
            (Some((Kind::Uint64, Label::Repeated)), Value::Bytes(mut packed)) => {
                // One by itself, the others packed: both forms of one field in one message.
                if !packed.is_empty() {
                    let first = read_varint(&mut packed).expect("valid");
                    put_varint_field(&mut out, field.number, first);
                    let mut rest = Vec::new();
                    while !packed.is_empty() {
                        put_varint(&mut rest, read_varint(&mut packed).expect("valid"));
                    }
                    put_bytes_field(&mut out, field.number, &rest);
                }
            }
            _ => out.extend_from_slice(&bytes[start..walk.offset()]),
        }
        fields.push((field.number, out));
        start = walk.offset();
    }
    change(&mut fields);
    fields.into_iter().flat_map(|(_, bytes)| bytes).collect()
}
