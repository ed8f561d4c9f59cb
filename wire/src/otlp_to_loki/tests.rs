use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::{Settings, Translated, Translator};

const NOW_NS: i64 = 1_800_000_000_000_000_000;

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn string(value: &str) -> AnyValue {
    any(Value::StringValue(value.into()))
}

fn kv(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.into(), value: Some(value), ..Default::default() }
}

fn attributes(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    pairs.iter().map(|(key, value)| kv(key, string(value))).collect()
}

fn record(body: &str) -> LogRecord {
    LogRecord { time_unix_nano: 7, severity_number: 9, body: Some(string(body)), ..Default::default() }
}

fn resource_logs(resource: Vec<KeyValue>, log_records: Vec<LogRecord>) -> ResourceLogs {
    ResourceLogs {
        resource: Some(Resource { attributes: resource, ..Default::default() }),
        scope_logs: vec![ScopeLogs { log_records, ..Default::default() }],
        ..Default::default()
    }
}

fn translate(translator: &mut Translator, resource_logs: Vec<ResourceLogs>) -> Translated {
    let request = ExportLogsServiceRequest { resource_logs };
    translator.translate(&request.encode_to_vec(), NOW_NS).unwrap()
}

/// Streams as text: a line for the labels, then one for each entry.
fn lines(translated: &Translated) -> Vec<String> {
    let mut lines = Vec::new();
    for (labels, entries) in &translated.streams {
        lines.push(labels.to_string());
        lines.extend(entries.iter().map(|entry| {
            let metadata: Vec<_> = entry.metadata.map(|(name, value)| format!("{name}={value}")).collect();
            format!("@{} {:?} {}", entry.timestamp_ns, entry.line, metadata.join(" "))
        }));
    }
    lines
}

fn check(resource: Vec<KeyValue>, record: LogRecord, expected: [&str; 2]) {
    let translated = translate(&mut Translator::default(), vec![resource_logs(resource, vec![record])]);
    assert_eq!(lines(&translated), expected);
    assert_eq!((translated.report.stored, translated.report.rejected.len()), (1, 0));
}

#[test]
fn resource_attributes_become_labels_or_metadata() {
    check(
        attributes(&[
            ("service.name", "shop"),
            ("host.name", "h-1"),
            ("k8s.namespace.name", "prod"),
            ("k8s.pod.uid", "u"),
            ("service.instance.id", ""),
        ]),
        record("hello"),
        [
            r#"{k8s_namespace_name="prod", service_name="shop"}"#,
            r#"@7 "hello" severity_number=9 host_name=h-1 k8s_pod_uid=u detected_level=info"#,
        ],
    );
}

#[test]
fn a_missing_service_name_is_found_or_unknown() {
    for (resource, expected) in [
        (&[][..], r#"{service_name="unknown_service"}"#),
        (&[("host.name", "h")], r#"{service_name="unknown_service"}"#),
        (&[("service.name", "")], r#"{service_name="unknown_service"}"#),
        (&[("container.name", "c")], r#"{container_name="c", service_name="c"}"#),
        (
            &[("k8s.job.name", "j"), ("k8s.container.name", "c")],
            r#"{k8s_container_name="c", k8s_job_name="j", service_name="j"}"#,
        ),
        (
            &[("k8s.container.name", "c"), ("service.name", "s")],
            r#"{k8s_container_name="c", service_name="s"}"#,
        ),
    ] {
        let groups = vec![resource_logs(attributes(resource), vec![record("x")])];
        let translated = translate(&mut Translator::default(), groups);
        assert_eq!(lines(&translated)[0], expected);
    }
    let undiscovered = Settings { discover_service_name: vec![], ..Settings::default() };
    let translated =
        translate(&mut Translator::new(undiscovered), vec![resource_logs(vec![], vec![record("x")])]);
    assert_eq!(lines(&translated)[0], "{}");
}

#[test]
fn record_fields_become_metadata_in_lokis_order() {
    let mut full = record("text");
    full.attributes =
        attributes(&[("http.method", "GET"), ("event_name", "loses"), ("a__b--c", "x\u{fffd}y")]);
    full.observed_time_unix_nano = 1_700_000_000_000_000_001;
    full.severity_text = "Warning".into();
    full.dropped_attributes_count = 2;
    full.flags = 1;
    full.trace_id = (1..=16).collect();
    full.span_id = vec![0xab; 8];
    full.event_name = "wins".into();
    let mut group = resource_logs(attributes(&[("service.name", "s"), ("os.type", "linux")]), vec![full]);
    group.scope_logs[0].scope = Some(InstrumentationScope {
        name: "lib".into(),
        version: "1.0".into(),
        attributes: attributes(&[("scope.attr", "v")]),
        dropped_attributes_count: 3,
    });
    assert_eq!(
        lines(&translate(&mut Translator::default(), vec![group]))[1],
        "@7 \"text\" http_method=GET a_b_c=x y observed_timestamp=1700000000000000001 severity_number=9 \
         severity_text=Warning dropped_attributes_count=2 flags=1 \
         trace_id=0102030405060708090a0b0c0d0e0f10 span_id=abababababababab event_name=wins os_type=linux \
         scope_attr=v scope_name=lib scope_version=1.0 scope_dropped_attributes_count=3 detected_level=warn"
    );
}

#[test]
fn the_time_is_the_events_or_the_observation_or_now() {
    for (time, observed, expected) in [(5, 6, 5), (0, 6, 6), (0, 0, NOW_NS)] {
        let mut record = record("x");
        (record.time_unix_nano, record.observed_time_unix_nano) = (time, observed);
        let translated = translate(&mut Translator::default(), vec![resource_logs(vec![], vec![record])]);
        let entry = translated.streams[0].1.get(0);
        assert_eq!(entry.timestamp_ns, expected);
        assert_eq!(entry.metadata.clone().any(|(name, _)| name == "observed_timestamp"), time != 0);
    }
}

#[test]
fn values_of_every_type_have_a_text() {
    let nested = any(Value::KvlistValue(KeyValueList {
        values: vec![
            kv("b.c", string("1")),
            kv("d", any(Value::KvlistValue(KeyValueList { values: attributes(&[("e", "2")]) }))),
            kv("empty", any(Value::KvlistValue(KeyValueList::default()))),
        ],
    }));
    let list = any(Value::ArrayValue(ArrayValue { values: vec![string("x"), any(Value::IntValue(1))] }));
    let mut odd = record("x");
    odd.severity_number = 0;
    odd.attributes = vec![
        kv("map", nested.clone()),
        kv("list", list),
        kv("bytes", any(Value::BytesValue(vec![1, 2, 3]))),
        kv("int", any(Value::IntValue(-1))),
        kv("double", any(Value::DoubleValue(1e-7))),
        kv("bool", any(Value::BoolValue(false))),
        kv("none", AnyValue { value: None }),
        kv("9", string("digit")),
    ];
    odd.body = Some(nested);
    check(
        vec![],
        odd,
        [
            r#"{service_name="unknown_service"}"#,
            "@7 \"{\\\"b.c\\\":\\\"1\\\",\\\"d\\\":{\\\"e\\\":\\\"2\\\"},\\\"empty\\\":{}}\" map_b_c=1 map_d_e=2 \
             list=[\"x\",1] bytes=AQID int=-1 double=1e-7 bool=false none= key_9=digit detected_level=unknown",
        ],
    );
}

#[test]
fn records_are_grouped_by_stream() {
    let same = |host: &str| attributes(&[("service.name", "a"), ("host.name", host)]);
    let groups = vec![
        resource_logs(same("1"), vec![record("a1"), record("a2")]),
        resource_logs(attributes(&[("service.name", "b")]), vec![record("b1")]),
        resource_logs(same("2"), vec![record("a3")]),
        resource_logs(attributes(&[("service.name", "nothing")]), vec![]),
    ];
    let mut translator = Translator::default();
    for _ in 0..2 {
        assert_eq!(
            lines(&translate(&mut translator, groups.clone())),
            [
                r#"{service_name="a"}"#,
                r#"@7 "a1" severity_number=9 host_name=1 detected_level=info"#,
                r#"@7 "a2" severity_number=9 host_name=1 detected_level=info"#,
                r#"@7 "a3" severity_number=9 host_name=2 detected_level=info"#,
                r#"{service_name="b"}"#,
                r#"@7 "b1" severity_number=9 detected_level=info"#,
            ]
        );
    }
}

#[test]
fn hinted_attributes_are_labels_as_they_are() {
    check(
        attributes(&[
            ("odd__name", "1"),
            ("loki.resource.labels", "odd__name, service.name,absent"),
            ("service.name", "s"),
            ("host.name", "h"),
        ]),
        record("x"),
        [
            r#"{odd__name="1", service_name="s"}"#,
            r#"@7 "x" severity_number=9 host_name=h detected_level=info"#,
        ],
    );
}

#[test]
fn levels_come_from_labels_and_metadata_too() {
    let hinted = attributes(&[("level", "WARN"), ("loki.resource.labels", "level")]);
    check(
        hinted,
        record("an error"),
        [r#"{level="WARN"}"#, r#"@7 "an error" severity_number=9 detected_level=warn"#],
    );
    let mut detected = record("an error");
    detected.attributes = attributes(&[("detected_level", "ERR")]);
    check(
        vec![],
        detected,
        [r#"{service_name="unknown_service"}"#, r#"@7 "an error" detected_level=error severity_number=9"#],
    );
}

#[test]
fn a_bad_record_or_resource_does_not_take_the_others_with_it() {
    let mut bad = record("bad");
    bad.attributes = attributes(&[("...", "x")]);
    let groups = vec![
        resource_logs(attributes(&[("service.name", "a")]), vec![record("1"), bad, record("2")]),
        resource_logs(attributes(&[("___", "x")]), vec![record("3"), record("4")]),
        resource_logs(vec![], vec![record("5")]),
    ];
    let translated = translate(&mut Translator::default(), groups);
    assert_eq!(translated.streams.iter().map(|(_, entries)| entries.len()).collect::<Vec<_>>(), [2, 1]);
    let counts: Vec<_> = translated.report.rejected.iter().map(|r| (r.reason, r.count)).collect();
    assert_eq!((translated.report.stored, counts), (3, vec![("invalid_metadata", 1), ("invalid_labels", 2)]));
}

#[test]
fn metadata_that_repeats_does_not_make_a_bomb() {
    let resource = attributes(&[("service.name", "a"), ("big", &"x".repeat(1 << 20))]);
    let tiny = LogRecord { time_unix_nano: 1, ..Default::default() };
    let translated = translate(&mut Translator::default(), vec![resource_logs(resource, vec![tiny; 1000])]);
    let bytes: usize = translated.streams.iter().map(|(_, entries)| entries.text_bytes()).sum();
    assert!(bytes < 64 << 20, "{bytes}");
    assert_eq!(translated.report.stored + translated.report.rejected_count(), 1000);
    assert_eq!(translated.report.rejected[0].reason, "request_too_large");

    // Names of nested maps repeat the names above them.
    let mut nested = string("leaf");
    for _ in 0..60 {
        nested = any(Value::KvlistValue(KeyValueList { values: vec![kv(&"k".repeat(1000), nested)] }));
    }
    let mut deep = record("x");
    deep.attributes = vec![kv("a", nested)];
    let translated = translate(&mut Translator::default(), vec![resource_logs(vec![], vec![deep])]);
    assert_eq!(translated.report.rejected[0].reason, "invalid_metadata");
}

#[test]
fn cut_requests_are_errors_and_never_panic() {
    let mut full = record("text");
    full.attributes = attributes(&[("a", "b")]);
    let groups = vec![resource_logs(attributes(&[("service.name", "s"), ("os", "l")]), vec![full])];
    let whole = ExportLogsServiceRequest { resource_logs: groups }.encode_to_vec();
    for len in 1..whole.len() {
        let cut = Translator::default().translate(&whole[..len], NOW_NS);
        assert!(cut.is_err(), "cut at {len}");
    }
}

#[test]
fn a_record_comes_out_the_same_whatever_came_before_it() {
    let with = |attributes: Vec<KeyValue>, change: &dyn Fn(&mut LogRecord)| {
        let mut record = LogRecord { attributes, ..record("level=warn x") };
        change(&mut record);
        record
    };
    let two = || attributes(&[("http.method", "GET"), ("user.id", "7")]);
    let nested = KeyValueList { values: attributes(&[("id", "8")]) };
    let records = vec![
        with(two(), &|_| ()),
        with(attributes(&[("http.method", "P\u{fffd}T"), ("user.id", "")]), &|_| ()),
        with(two(), &|r| r.severity_number = 17),
        with(two(), &|r| r.severity_number = 0),
        with(two(), &|r| r.severity_text = "Notice".into()),
        with(two(), &|r| r.severity_text = "Error".into()),
        with(two(), &|r| r.trace_id = vec![0xa0; 16]),
        with(two(), &|r| r.event_name = "e".into()),
        with(attributes(&[("http.method", "GET"), ("level", "trace")]), &|_| ()),
        with(attributes(&[("http.method", "GET"), ("level", "own words")]), &|_| ()),
        with(attributes(&[("http.method", "GET"), ("level", "")]), &|_| ()),
        with(attributes(&[("detected_level", "Err")]), &|_| ()),
        with(vec![kv("http.method", string("GET")), kv("user", any(Value::KvlistValue(nested)))], &|_| ()),
        with(vec![kv("http.method", string("GET")), kv("user", any(Value::IntValue(-3)))], &|_| ()),
        with(attributes(&[("user.id", "1"), ("http.method", "GET")]), &|r| r.observed_time_unix_nano = 9),
        with(vec![], &|r| (r.flags, r.dropped_attributes_count) = (1, 2)),
    ];
    let resource = || attributes(&[("service.name", "s"), ("host.name", "h")]);
    let alone = |record: &LogRecord| {
        let translated =
            translate(&mut Translator::default(), vec![resource_logs(resource(), vec![record.clone()])]);
        lines(&translated)[1].clone()
    };
    let expected: Vec<String> = records.iter().map(alone).collect();
    let mut translator = Translator::default();
    for _ in 0..3 {
        let translated = translate(&mut translator, vec![resource_logs(resource(), records.clone())]);
        assert_eq!(lines(&translated)[1..], expected);
    }
}

#[test]
fn what_a_resource_gives_is_held_once() {
    let host = "x".repeat(1000);
    let resource = attributes(&[("service.name", "s"), ("host.name", &host)]);
    let records = (0..500).map(|at| LogRecord { time_unix_nano: at + 1, ..record("x") }).collect();
    let translated = translate(&mut Translator::default(), vec![resource_logs(resource, records)]);
    let entries = &translated.streams[0].1;
    assert!(entries.text_bytes() > 500 * 1000, "counted for each entry");
    assert!(entries.memory_bytes() < 64 << 10, "{} bytes", entries.memory_bytes());
    assert!(entries.iter().all(|entry| entry.metadata.clone().any(|pair| pair == ("host_name", &host))));
}
