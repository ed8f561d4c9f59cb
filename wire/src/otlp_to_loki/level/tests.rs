use model::Labels;

use super::{LevelField, LevelSource};

/// Expectations follow the rules of Loki's documentation and of pkg/distributor/field_detection.go.
fn check(labels: &[(&str, &str)], metadata: &[(&str, &str)], line: &str, expected: Option<&str>) {
    let label_level = super::of_labels(&Labels::from_pairs(labels.iter().copied()));
    let field = LevelField::of(metadata.iter().copied());
    // Each pair may be the entry's own or come from its resource.
    for own_count in 0..=metadata.len() {
        let (own, shared) = metadata.split_at(own_count);
        let names = own.iter().map(|(name, _)| *name);
        let source = LevelSource::new(label_level.as_deref(), &field, names, shared.iter().copied());
        let got = source.level(|position| own[position].1, line);
        assert_eq!(got, expected, "{labels:?} {own:?} {shared:?} {line:?}");
    }
}

#[test]
fn labels_beat_metadata_beats_the_severity_number_beats_the_line() {
    let number = ("severity_number", "17");
    check(&[("level", "WARN")], &[("level", "info"), number], "debug", Some("warn"));
    check(&[("Severity", "Error")], &[], "debug", Some("error"));
    check(&[("app", "x")], &[("severity_text", "Information"), number], "debug", Some("info"));
    check(&[], &[("a", "b"), number], "debug", Some("error"));
    check(&[], &[("a", "b")], "debug: x", Some("debug"));
    // The better field wins wherever it stands.
    check(&[], &[("lvl", "warn"), ("severity", "err"), ("LEVEL", "inf")], "", Some("info"));
    // Words that are not a level stay as they are, an empty one is none.
    check(&[], &[("severity_text", "NOTICE")], "error", Some("NOTICE"));
    check(&[], &[("level", "")], "error", None);
    // What has a level already gets no second one.
    check(&[("level", "warn")], &[("detected_level", "info")], "error", None);
}

#[test]
fn severity_numbers_are_levels() {
    for (number, expected) in [
        ("1", "trace"),
        ("4", "trace"),
        ("5", "debug"),
        ("8", "debug"),
        ("9", "info"),
        ("12", "info"),
        ("13", "warn"),
        ("16", "warn"),
        ("17", "error"),
        ("20", "error"),
        ("21", "fatal"),
        ("24", "fatal"),
        ("25", "unknown"),
        ("0", "unknown"),
        ("-1", "trace"),
        ("many", "info"),
        ("", "warn"),
    ] {
        check(&[], &[("severity_number", number)], "a warning", Some(expected));
    }
}

#[test]
fn lines_say_their_level() {
    for (line, expected) in [
        // Plain text: the first word that stands alone.
        ("", "unknown"),
        ("all is well", "unknown"),
        ("INFO all is well", "info"),
        ("[error] out of memory", "error"),
        ("2026-01-01 [Warning]: disk", "warn"),
        ("misc:error text", "unknown"),
        ("debug: text", "debug"),
        ("warn,error", "warn"),
        ("an error, then a warning", "error"),
        ("informed traces of errors", "unknown"),
        ("no information", "unknown"),
        ("(FATAL)", "fatal"),
        ("critical!", "critical"),
        ("x err", "error"),
        ("terror", "unknown"),
        ("trace", "trace"),
        ("\"error\"", "error"),
        // logfmt: the best field, keys in any case.
        ("level=info msg=ok", "info"),
        ("msg=ok LeVeL=dbg", "debug"),
        ("lvl=warn severity=error", "error"),
        ("msg=\"level=error\" level=\"trc\"", "trace"),
        ("level=\"warn", "warn"),
        ("a=b error", "error"),
        ("level=nope fatal", "fatal"),
        ("a=b c", "unknown"),
        ("==", "unknown"),
        // JSON: string fields on two levels, exact names.
        (r#"{"level":"ERR"}"#, "error"),
        (r#" { "a" : [1, {"level":"info"}], "b": -1.5e3, "log.level" : "wrn" } "#, "warn"),
        (r#"{"a":{"level":"info"},"level":"error"}"#, "info"),
        (r#"{"a":{"b":{"level":"info"}},"severity":"error"}"#, "error"),
        (r#"{"LEVEL":"critical","x":null}"#, "critical"),
        (r#"{"lEvEl":"x","msg":"an error here"}"#, "error"),
        (r#"{"level":30,"msg":"x"}"#, "unknown"),
        (r#"{"level":"odd","msg":"x"}"#, "unknown"),
        (r#"{"a":"quoted \" brace }","level":"info"}"#, "info"),
        (r#"{"a":tru,"level":"info"}"#, "info"),
        (r#"{broken level=info}"#, "info"),
        ("{}", "unknown"),
    ] {
        check(&[], &[], line, Some(expected));
    }
}
