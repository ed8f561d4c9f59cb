use super::{
    Field, Fields, GROUP_DEPTH_MAX, Value, begin_message, put_bytes_field, put_message, put_varint,
    read_varint, varint_len, zigzag_decode, zigzag_encode,
};

fn fields(bytes: &[u8]) -> Result<Vec<Field<'_>>, String> {
    Fields::new(bytes).map(|field| field.map_err(|error| error.to_string())).collect()
}

#[test]
fn the_examples_of_the_encoding_specification_read_as_documented() {
    // protobuf.dev/programming-guides/encoding: `a: 150`, `b: "testing"`, packed `e: [3, 270, 86942]`.
    assert_eq!(fields(&[0x08, 0x96, 0x01]).expect("valid"), [Field { number: 1, value: Value::Varint(150) }]);
    assert_eq!(
        fields(b"\x12\x07testing").expect("valid"),
        [Field { number: 2, value: Value::Bytes(b"testing") }]
    );
    let packed = fields(&[0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05]).expect("valid");
    let mut elements = Vec::new();
    packed[0].varints(|element| elements.push(element)).expect("valid");
    assert_eq!((packed[0].number, elements), (6, vec![3, 270, 86942]));
}

#[test]
fn fixed_width_fields_and_groups_are_read() {
    let bytes = [
        0x09, 1, 0, 0, 0, 0, 0, 0, 0x80, // 1: fixed64
        0x15, 0xff, 0, 0, 0, // 2: fixed32
        0x1b, 0x08, 5, 0x1c, // 3: group { 1: 5 }
        0x20, 1, // 4: varint
    ];
    assert_eq!(
        fields(&bytes).expect("valid"),
        [
            Field { number: 1, value: Value::Fixed64(0x8000_0000_0000_0001) },
            Field { number: 2, value: Value::Fixed32(255) },
            Field { number: 3, value: Value::Group(&[0x08, 5]) },
            Field { number: 4, value: Value::Varint(1) },
        ]
    );
}

#[test]
fn malformed_bytes_are_errors_that_say_what_is_wrong() {
    let check = |bytes: &[u8], expected: &str| {
        let error = fields(bytes).expect_err("malformed");
        assert!(error.contains(expected), "{bytes:x?}: {error}");
    };
    check(&[0x0a, 5, b'a'], "length 5 runs past the end, 1 bytes are left");
    check(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "runs past the end");
    check(&[0x08], "varint runs past the end");
    check(&[0x08, 0x80], "varint runs past the end");
    check(
        &[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
        "more than 10 bytes or 64 bits",
    );
    check(
        &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        "more than 10 bytes or 64 bits",
    );
    check(&[0x09, 1, 2, 3], "fixed64 runs past the end");
    check(&[0x0d, 1, 2, 3], "fixed32 runs past the end");
    check(&[0x00, 0x00], "field number 0");
    check(&[0x0e], "wire type 6");
    check(&[0x0c], "wire type 4");
    check(&[0x0b, 0x08, 1], "group runs past the end");
    check(&[0x0b, 0x14], "wire type 4");
    check(&[0x0b; GROUP_DEPTH_MAX + 1], "groups nest deeper than 32");
    check(&vec![0x0b; 1 << 20], "groups nest deeper than 32");
}

#[test]
fn accessors_refuse_another_wire_type_by_field_and_name() {
    let field = Field { number: 7, value: Value::Varint(1) };
    assert_eq!(
        field.bytes().expect_err("varint").to_string(),
        "field 7: got wire type varint, expected length-delimited"
    );
    assert_eq!(
        Field { number: 2, value: Value::Bytes(b"ab\xff") }.str().expect_err("utf-8").to_string(),
        "field 2: string of 3 bytes is not valid utf-8 at byte 2"
    );
    assert!(Field { number: 2, value: Value::Bytes(b"1234567") }.fixed64s(|_| ()).is_err());
}

#[test]
fn varints_of_every_length_round_trip_with_the_announced_size() {
    for shift in 0..64 {
        for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(bytes.len(), varint_len(value), "{value}");
            let mut rest = bytes.as_slice();
            assert_eq!(read_varint(&mut rest), Ok(value));
            assert!(rest.is_empty());
        }
    }
    // An overlong zero, as writers that reserve room for a length make it.
    assert_eq!(read_varint(&mut [0x80, 0x80, 0x00].as_slice()), Ok(0));
}

#[test]
fn zigzag_follows_the_table_of_the_specification() {
    for (signed, encoded) in
        [(0, 0), (-1, 1), (1, 2), (-2, 3), (i64::MAX, u64::MAX - 1), (i64::MIN, u64::MAX)]
    {
        assert_eq!((zigzag_encode(signed), zigzag_decode(encoded)), (encoded, signed));
    }
}

#[test]
fn nested_messages_get_their_lengths_whatever_their_size() {
    for size in [0, 1, 127, 128, 129, 16_383, 16_384, 100_000] {
        let text = vec![b'x'; size];
        let mut out = vec![0xee];
        let outer = begin_message(&mut out, 1);
        put_message(&mut out, 2, |out| put_bytes_field(out, 3, &text));
        outer.end(&mut out);
        let outer = Fields::new(&out[1..]).next_field().expect("valid").expect("one");
        let middle = Fields::new(outer.bytes().expect("message")).next_field().expect("valid").expect("one");
        let inner = Fields::new(middle.bytes().expect("message")).next_field().expect("valid").expect("one");
        assert_eq!(
            (outer.number, middle.number, inner),
            (1, 2, Field { number: 3, value: Value::Bytes(&text) })
        );
    }
}
