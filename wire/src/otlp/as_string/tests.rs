use crate::otlp::{AnyValue, View};
use crate::protobuf::{put_bytes_field, put_double_field, put_message, put_varint_field};

fn check(fill: impl FnOnce(&mut Vec<u8>), want: &str) {
    let mut encoded = Vec::new();
    fill(&mut encoded);
    let mut text = String::from(">");
    let value = AnyValue::parse(&encoded).expect("well-formed");
    value.append_as_string(&mut text).expect("well-formed");
    assert_eq!(text, format!(">{want}"));
}

fn double(value: f64) -> impl FnOnce(&mut Vec<u8>) {
    move |out| put_double_field(out, 4, value)
}

fn entry(out: &mut Vec<u8>, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    put_message(out, 1, |out| {
        put_bytes_field(out, 1, key.as_bytes());
        put_message(out, 2, value);
    });
}

#[test]
fn scalars_are_written_in_gos_notation() {
    check(|_| {}, "");
    check(|out| put_bytes_field(out, 1, b"<plain> \"text\""), "<plain> \"text\"");
    check(|out| put_varint_field(out, 2, 1), "true");
    check(|out| put_varint_field(out, 3, -7_i64 as u64), "-7");
    check(|out| put_bytes_field(out, 7, &[1, 2, 255]), "AQL/");
    check(double(1.0), "1");
    check(double(-0.5), "-0.5");
    check(double(1e20), "100000000000000000000");
    check(double(1e21), "1e+21");
    check(double(1.5e300), "1.5e+300");
    check(double(0.000001), "0.000001");
    check(double(1e-7), "1e-7");
    check(double(f64::NAN), "NaN");
    check(double(f64::INFINITY), "Infinity");
    check(double(f64::NEG_INFINITY), "-Infinity");
}

#[test]
fn lists_and_maps_are_compact_json_with_sorted_keys() {
    check(
        |out| {
            put_message(out, 6, |out| {
                entry(out, "b", |out| put_varint_field(out, 3, 2));
                entry(out, "a", |out| put_bytes_field(out, 1, "<&>\n\u{1}é\u{2028}".as_bytes()));
                entry(out, "b", |out| {
                    put_message(out, 5, |out| {
                        put_message(out, 1, |_| {});
                        put_message(out, 1, |out| put_bytes_field(out, 7, b"x"));
                    });
                });
            });
        },
        "{\"a\":\"<&>\\n\\u0001é\\u2028\",\"b\":[null,\"eA==\"]}",
    );
    check(|out| put_message(out, 6, |_| {}), "{}");
}

#[test]
fn a_float_that_json_cannot_hold_empties_the_text() {
    check(|out| put_message(out, 5, |out| put_message(out, 1, double(f64::INFINITY))), "");
}
