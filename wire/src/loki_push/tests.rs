use model::Labels;

use super::{PushRequest, PushStream, decode_json, decode_proto, encode_proto, parse_labels};
use crate::protobuf::{put_bytes_field, put_message, put_varint_field};

/// A request as text: labels, then entries.
fn lines(request: &PushRequest) -> Vec<String> {
    let mut lines = Vec::new();
    for stream in &request.streams {
        lines.push(stream.labels.to_string());
        lines.extend(stream.entries.iter().map(|entry| {
            let metadata: Vec<_> = entry.metadata.map(|(name, value)| format!(" {name}={value}")).collect();
            format!("@{} {:?}{}", entry.timestamp_ns, entry.line, metadata.concat())
        }));
    }
    lines
}

/// One entry of a stream in protobuf.
fn put_entry(out: &mut Vec<u8>, seconds: i64, nanos: i32, line: &[u8], metadata: &[(&[u8], &[u8])]) {
    put_message(out, 2, |out| {
        put_message(out, 1, |out| {
            put_varint_field(out, 1, seconds as u64);
            put_varint_field(out, 2, nanos as i64 as u64);
        });
        put_bytes_field(out, 2, line);
        for (name, value) in metadata {
            put_message(out, 3, |out| {
                put_bytes_field(out, 1, name);
                put_bytes_field(out, 2, value);
            });
        }
    });
}

fn proto(labels: &str, entries: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        // The hash, which nobody needs, and the labels behind the entries: both are allowed.
        put_varint_field(out, 3, 7);
        entries(out);
        put_bytes_field(out, 1, labels.as_bytes());
    });
    out
}

#[test]
fn protobuf_streams_are_read() {
    let body = proto("{b='2', a=\"1\", empty=``}", |out| {
        put_entry(out, 1_700_000_000, 5, b"first", &[(b"trace_id", b"x"), (b"trace_id", b"y"), (b"e", b"")]);
        put_entry(out, -1, 999_999_999, b"", &[]);
        put_entry(out, 0, 0, b"bad \xff utf-8", &[(b"k", b"\xff")]);
    });
    let request = decode_proto(&body).unwrap();
    assert_eq!(
        lines(&request),
        [
            r#"{a="1", b="2"}"#,
            r#"@1700000000000000005 "first" trace_id=x trace_id=y e="#,
            r#"@-1 """#,
            "@0 \"bad \u{fffd} utf-8\" k= ",
        ]
    );
    assert_eq!(decode_proto(&encode_proto(&request)).unwrap(), request);
    let odd = PushStream { labels: Labels::from_pairs([("a", "\u{1}\"\\\n\t'é")]), ..PushStream::default() };
    let odd = PushRequest { streams: vec![odd] };
    assert_eq!(decode_proto(&encode_proto(&odd)).unwrap(), odd);
    assert_eq!(decode_proto(b"").unwrap(), PushRequest::default());
}

#[test]
fn damaged_protobuf_is_refused() {
    let whole = proto("{a=\"1\"}", |out| put_entry(out, 1, 2, b"line", &[(b"k", b"v")]));
    for len in 1..whole.len() {
        assert!(decode_proto(&whole[..len]).is_err(), "cut at {len}");
    }
    let far = proto("{a=\"1\"}", |out| put_entry(out, i64::MAX, 0, b"", &[]));
    assert_eq!(
        decode_proto(&far).unwrap_err().to_string(),
        "entry timestamp of 9223372036854775807 s does not fit 64 bits of nanoseconds"
    );
    for nanos in [-1, 1_000_000_000, -2_000_000_000] {
        let wrong = proto("{a=\"1\"}", |out| put_entry(out, 5, nanos, b"", &[]));
        let expected = format!("timestamp: {nanos} nanos not in range [0, 1e9)");
        assert_eq!(decode_proto(&wrong).unwrap_err().to_string(), expected);
    }
    let no_labels = decode_proto(&proto("", |_| {})).unwrap();
    assert_eq!(no_labels.streams, [PushStream::default()]);
}

#[test]
fn json_streams_are_read() {
    for (body, expected) in [
        (
            r#"{"streams":[{"stream":{"b":"2","a":"1","e":""},"values":[["5","line"],
                ["-6","esc \"\u00e9\n\"",{"k":"v","k":"w","z":"\t"}],null,["7","x",{},"more",{}]]}]}"#,
            &[r#"{a="1", b="2"}"#, r#"@5 "line""#, "@-6 \"esc \\\"é\\n\\\"\" k=v k=w z=\t", r#"@7 "x""#][..],
        ),
        (
            r#"{"other":[{}],"streams":[{"values":[["1","a"]],"stream":{"x":"y"},"more":1}, {"stream":{"q":"r"},"values":null}]}"#,
            &[r#"{x="y"}"#, r#"@1 "a""#, r#"{q="r"}"#],
        ),
        (r#"{"streams":[{"stream":{"q":"r"},"values":[["1"]]}]}"#, &[r#"{q="r"}"#, r#"@1 """#]),
        (r#"{"streams":[]}"#, &[]),
        ("{}", &[]),
        (r#"{"streams":null}"#, &[]),
    ] {
        assert_eq!(lines(&decode_json(body.as_bytes()).unwrap()), expected, "{body}");
    }
}

#[test]
fn bad_json_is_refused_with_where_it_is_and_what_is_there() {
    let in_values = |values: &str| format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":[{values}]}}]}}"#);
    for (body, expected) in [
        (
            in_values(r#"[5,"x"]"#),
            "json: streams[0].values[0][0]: got a number, expected a string at byte 43",
        ),
        (
            in_values(r#"["5",6]"#),
            "json: streams[0].values[0][1]: got a number, expected a string at byte 47",
        ),
        (
            in_values(r#"["5","x","y"]"#),
            "json: streams[0].values[0][2]: got a string, expected an object at byte 51",
        ),
        (
            in_values(r#"["5","x",{"k":6}]"#),
            "json: streams[0].values[0][2].k: got a number, expected a string at byte 56",
        ),
        (
            in_values(r#"["five","x"]"#),
            "json: streams[0].values[0][0]: a timestamp is no whole number of nanoseconds that fits 64 bits at byte 49",
        ),
        (
            in_values("[]"),
            "json: streams[0].values[0]: an entry has no elements, a timestamp and a line are needed at byte 44",
        ),
        (
            r#"{"streams":[{"stream":{"a":5},"values":[]}]}"#.to_owned(),
            "json: streams[0].stream.a: got a number, expected a string at byte 27",
        ),
        (
            in_values(r#"["5","x",null]"#),
            "json: streams[0].values[0][2]: got null, expected an object at byte 51",
        ),
        (
            r#"{"streams":[{"stream":{"a-b":"c"},"values":[]}]}"#.to_owned(),
            "couldn't parse labels: 1:3: parse error: unexpected character inside braces: '-'",
        ),
        (
            r#"{"streams":[{"stream":{"z":"\"}","a.b":"c"},"values":[]}]}"#.to_owned(),
            "couldn't parse labels: 1:3: parse error: unexpected character inside braces: '.'",
        ),
    ] {
        assert_eq!(decode_json(body.as_bytes()).unwrap_err().to_string(), expected, "{body}");
    }
    for body in
        ["", "[]", "{", r#"{"streams":[{]}"#, r#"{"streams":{}}"#, r#"{"streams":[]} x"#, "\u{feff}{}"]
    {
        assert!(decode_json(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn label_strings_are_promql_metrics() {
    for (text, expected) in [
        ("{}", &[][..]),
        (r#"{a="b"}"#, &[("a", "b")]),
        (" { a = 'b' ,\n\tc=`d\\n`, } ", &[("a", "b"), ("c", "d\\n")]),
        (r#"up{a="b"}"#, &[("__name__", "up"), ("a", "b")]),
        (r#"{a="",b="c"}"#, &[("b", "c")]),
        (
            r#"{a="\a\b\f\n\r\t\v\\\"\x41\101\u00e9\U0001F600'"}"#,
            &[("a", "\u{7}\u{8}\u{c}\n\r\t\u{b}\\\"AAé😀'")],
        ),
        (r#"{a='it\'s "x"'}"#, &[("a", "it's \"x\"")]),
        (r#"{a="\xc3\xa9"}"#, &[("a", "é")]),
    ] {
        assert_eq!(parse_labels(text).unwrap(), Labels::from_pairs(expected.iter().copied()), "{text}");
    }
}

#[test]
fn bad_label_strings_are_refused_with_their_position() {
    for (text, expected) in [
        ("{", "1:2: parse error: unexpected end of input, expected a label name or \"}\""),
        ("{a}", "1:3: parse error: unexpected '}', expected '='"),
        ("{a=b}", "1:4: parse error: unexpected 'b', expected a string"),
        (r#"{a="b" c="d"}"#, "1:8: parse error: unexpected 'c', expected '}'"),
        (r#"{a!="b"}"#, "1:3: parse error: unexpected '!', expected '='"),
        (r#"{a-b="c"}"#, "1:3: parse error: unexpected character inside braces: '-'"),
        (r#"{é="c"}"#, "1:2: parse error: unexpected character inside braces: 'é'"),
        (r#"{a="b"} x"#, "1:9: parse error: unexpected 'x', expected the end"),
        (r#"{a="b",a="c"}"#, "1:13: parse error: label a comes twice"),
        (r#"{a="b"#, "1:5: parse error: unterminated quoted string"),
        ("{a=\"b\nc\"}", "1:7: parse error: unterminated quoted string"),
        (r#"{a="\q"}"#, "1:6: parse error: unknown escape sequence"),
        (r#"{a="\xzz"}"#, "1:6: parse error: illegal character in escape sequence"),
        (r#"{a="\777"}"#, "1:6: parse error: illegal character in escape sequence"),
        (r#"{a="\ud800"}"#, "1:11: parse error: escape sequence is an invalid Unicode code point"),
        (r#"{a="\xff"}"#, "1:10: parse error: label value is not valid utf-8"),
        (r#"{"a"="b"}"#, "1:2: parse error: unexpected '\"', expected a label name or \"}\""),
    ] {
        let error = parse_labels(text).unwrap_err().to_string();
        assert_eq!(error, format!("couldn't parse labels: {expected}"), "{text}");
    }
}
