//! Fields as Loki's `detected_fields` shows them.

use model::Labels;

use super::{DetectedField, FieldType};
use crate::output::{ResultEntry, Streams};

fn entry(line: &str, metadata: &[(&str, &str)]) -> ResultEntry {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    ResultEntry {
        timestamp_ns: 0,
        line: line.to_owned(),
        stream: Labels::from_pairs([("app", "x")]),
        structured_metadata: metadata.iter().map(own).collect(),
        parsed: Vec::new(),
    }
}

fn detect_fields(streams: &Streams, limit: usize) -> Vec<DetectedField> {
    super::detect_fields(streams, limit, &|| true).expect("nobody ends it")
}

fn detect_values(streams: &Streams, name: &str, limit: usize) -> Vec<String> {
    super::detect_values(streams, name, limit, &|| true).expect("nobody ends it")
}

fn field(label: &str, field_type: FieldType, cardinality: usize, parsers: &[&'static str]) -> DetectedField {
    DetectedField {
        label: label.to_owned(),
        field_type,
        cardinality,
        parsers: parsers.to_vec(),
        json_path: Vec::new(),
    }
}

#[test]
fn logfmt_lines_give_typed_fields() {
    let streams = Streams {
        entries: vec![
            entry("level=info n=1 dur=5ms size=3KB ok=true ratio=0.5 mixed=1", &[("trace_id", "ab")]),
            entry("level=warn n=2 dur=1m5s size=1MiB ok=false ratio=2 mixed=a", &[("trace_id", "ab")]),
        ],
    };
    let fields = detect_fields(&streams, 100);
    assert_eq!(
        fields,
        [
            field("dur", FieldType::Duration, 2, &["logfmt"]),
            field("level", FieldType::String, 2, &["logfmt"]),
            field("mixed", FieldType::String, 2, &["logfmt"]),
            field("n", FieldType::Int, 2, &["logfmt"]),
            field("ok", FieldType::Boolean, 2, &["logfmt"]),
            field("ratio", FieldType::Float, 2, &["logfmt"]),
            field("size", FieldType::Bytes, 2, &["logfmt"]),
            field("trace_id", FieldType::String, 1, &[]),
        ]
    );
    assert_eq!(detect_values(&streams, "level", 10), ["info", "warn"]);
    assert_eq!(detect_values(&streams, "level", 1), ["info"]);
    assert_eq!(detect_fields(&streams, 2).len(), 2);
}

#[test]
fn json_lines_give_the_path_to_each_field() {
    let line = r#"{"user":{"id":7,"full name":"b"},"app":"inner","tags":[1]}"#;
    let fields = detect_fields(&Streams { entries: vec![entry(line, &[])] }, 100);
    let with_path = |label: &str, field_type, path: &[&str]| DetectedField {
        json_path: path.iter().map(|key| (*key).to_owned()).collect(),
        ..field(label, field_type, 1, &["json"])
    };
    assert_eq!(
        fields,
        [
            with_path("app_extracted", FieldType::String, &["app"]),
            with_path("user_full_name", FieldType::String, &["user", "full name"]),
            with_path("user_id", FieldType::Int, &["user", "id"]),
        ]
    );
}

#[test]
fn plain_lines_have_what_the_query_found() {
    let mut plain = entry("{half", &[]);
    plain.parsed = vec![("n".to_owned(), "5".to_owned()), ("__error__".to_owned(), "x".to_owned())];
    // As logfmt the line is one key without a value, which is no field and no error either.
    let fields = detect_fields(&Streams { entries: vec![plain] }, 100);
    assert_eq!(fields, []);
}

/// A walk for each field would be 400 million members.
#[test]
fn a_line_is_walked_once_however_many_fields_it_has() {
    let members: Vec<String> = (0..20_000).map(|n| format!(r#""k{n}":{{"v w":{n}}}"#)).collect();
    let line = format!("{{{}}}", members.join(","));
    let fields = detect_fields(&Streams { entries: vec![entry(&line, &[]), entry(&line, &[])] }, 30_000);
    assert_eq!(fields.len(), 20_000);
    for field in &fields {
        let key = field.label.strip_suffix("_v_w").expect("the name of the inner member");
        assert_eq!(field.json_path, [key, "v w"]);
    }
}

#[test]
fn a_member_named_as_one_that_clashes_has_its_own_path() {
    let line = r#"{"n":1,"n_extracted":2,"app":3}"#;
    let fields = detect_fields(&Streams { entries: vec![entry(line, &[])] }, 100);
    let paths: Vec<(&str, &str)> =
        fields.iter().map(|field| (field.label.as_str(), field.json_path[0].as_str())).collect();
    assert_eq!(paths, [("app_extracted", "app"), ("n", "n"), ("n_extracted", "n_extracted")]);
}

#[test]
fn work_ends_when_nobody_waits_for_it() {
    let streams = Streams { entries: vec![entry("a=1", &[]), entry("b=2", &[])] };
    let asked = std::cell::Cell::new(0);
    let once = || asked.replace(asked.get() + 1) == 0;
    assert_eq!(super::detect_fields(&streams, 100, &once), None);
    asked.set(0);
    assert_eq!(super::detect_values(&streams, "b", 100, &once), None);
}
