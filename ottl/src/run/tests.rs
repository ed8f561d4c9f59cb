use std::sync::Arc;

use bytes::Bytes;
use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::{Conditions, Filter, Paths, Statements};
use crate::value::ELEMENTS_MAX;
use crate::{Around, Context, ErrorMode, RunError, Sender};

mod metrics;

/// 2023-11-14 22:13:20 UTC.
const NOW_NS: i64 = 1_700_000_000_000_000_000;

fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(Any::StringValue(value.to_owned())) }
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// One record with attributes of every plain type, a map and a body.
fn request() -> ExportLogsServiceRequest {
    let inner = KeyValueList {
        values: vec![pair("x", text("deep")), pair("n", AnyValue { value: Some(Any::IntValue(7)) })],
    };
    let record = LogRecord {
        time_unix_nano: NOW_NS as u64,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(text("user=42 path=/a/b")),
        attributes: vec![
            pair("s", text("Hello World")),
            pair("i", AnyValue { value: Some(Any::IntValue(41)) }),
            pair("d", AnyValue { value: Some(Any::DoubleValue(2.5)) }),
            pair("b", AnyValue { value: Some(Any::BoolValue(true)) }),
            pair("m", AnyValue { value: Some(Any::KvlistValue(inner)) }),
        ],
        trace_id: (0..16).collect(),
        ..LogRecord::default()
    };
    let scope = InstrumentationScope { name: "lib".to_owned(), ..InstrumentationScope::default() };
    let scope_logs = ScopeLogs { scope: Some(scope), log_records: vec![record], ..ScopeLogs::default() };
    let resource = Resource { attributes: vec![pair("service.name", text("web"))], ..Resource::default() };
    let group =
        ResourceLogs { resource: Some(resource), scope_logs: vec![scope_logs], schema_url: "u".to_owned() };
    ExportLogsServiceRequest { resource_logs: vec![group] }
}

fn quiet(_: &str, _: &RunError) {}

fn run(statement: &str) -> Result<ExportLogsServiceRequest, RunError> {
    run_on(&request(), statement)
}

fn run_on(request: &ExportLogsServiceRequest, statement: &str) -> Result<ExportLogsServiceRequest, RunError> {
    let texts = [statement.to_owned()];
    let program = Statements::new(Signal::Logs, Some(Context::Log), &texts, &[], ErrorMode::Propagate)
        .unwrap_or_else(|error| panic!("{error}"));
    let payload = Bytes::from(request.encode_to_vec());
    let outcome = program.run(Signal::Logs, &payload, NOW_NS, &quiet)?;
    Ok(ExportLogsServiceRequest::decode(outcome.payload).expect("well-formed"))
}

/// The attribute `out` after a statement, as text; maps and lists as their debug form.
fn out(statement: &str) -> String {
    let request = run(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    let attributes = &request.resource_logs[0].scope_logs[0].log_records[0].attributes;
    let found = attributes.iter().find(|pair| pair.key == "out").and_then(|pair| pair.value.clone());
    match found.and_then(|value| value.value) {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(int)) => int.to_string(),
        Some(Any::DoubleValue(double)) => format!("{double:?}"),
        Some(Any::BoolValue(flag)) => flag.to_string(),
        Some(Any::BytesValue(bytes)) => format!("{bytes:?}"),
        Some(Any::ArrayValue(array)) => {
            let texts = array.values.into_iter().map(|v| match v.value {
                Some(Any::StringValue(text)) => text,
                Some(Any::IntValue(int)) => int.to_string(),
                other => format!("{other:?}"),
            });
            texts.collect::<Vec<_>>().join("|")
        }
        Some(Any::KvlistValue(map)) => {
            let mut keys: Vec<String> = map.values.into_iter().map(|pair| pair.key).collect();
            keys.sort();
            format!("{{{}}}", keys.join(","))
        }
        None => "nothing".to_owned(),
        Some(other) => format!("{other:?}"),
    }
}

#[test]
fn converters_give_what_their_documentation_says() {
    for (expression, expected) in [
        ("attributes[\"i\"] + 1", "42"),
        ("(attributes[\"i\"] - 1) * 2 / 4.0", "20.0"),
        ("-attributes[\"d\"]", "-2.5"),
        ("Concat([attributes[\"s\"], attributes[\"i\"], true, nil], \"-\")", "Hello World-41-true-<nil>"),
        ("ConvertCase(\"helloWorldID\", \"snake\")", "hello_world_id"),
        ("ToCamelCase(\"some_http-thing\")", "SomeHttpThing"),
        ("ToUpperCase(attributes[\"s\"])", "HELLO WORLD"),
        ("Split(attributes[\"s\"], \" \")[1]", "World"),
        ("Substring(attributes[\"s\"], 0, 5)", "Hello"),
        ("Trim(\"xxaxx\", \"x\")", "a"),
        ("Len(attributes[\"m\"])", "2"),
        ("attributes[\"m\"][\"x\"]", "deep"),
        ("Keys(attributes[\"m\"])", "x|n"),
        ("Int(\"0123\")", "123"),
        ("Int(\"x\")", "nothing"),
        ("Double(\"1.5\")", "1.5"),
        ("String(attributes[\"m\"])", "{\"n\":7,\"x\":\"deep\"}"),
        ("IsMatch(body, \"^user=\\\\d+\")", "true"),
        ("IsString(attributes[\"i\"])", "false"),
        ("IsMap(attributes[\"m\"])", "true"),
        ("ExtractPatterns(body, \"user=(?P<id>\\\\d+)\")[\"id\"]", "42"),
        ("ParseKeyValue(body)[\"path\"]", "/a/b"),
        ("ParseJSON(\"{\\\"a\\\": [1, 2]}\")[\"a\"][1]", "2.0"),
        ("ParseCSV(\"1,\\\"a,b\\\"\", \"x,y\")[\"y\"]", "a,b"),
        ("ParseInt(\"0xff\", 0)", "255"),
        // Baseline values of the specification's own repository (TCP and UDP, seed 0).
        ("CommunityID(\"128.232.110.120\", 34855, \"66.35.250.204\", 80)", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        ("CommunityID(\"192.168.1.52\", 54585, \"8.8.8.8\", 53, \"UDP\")", "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
        ("SHA1(\"abc\")", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("MD5(\"abc\")", "900150983cd24fb0d6963f7d28e17f72"),
        ("SHA256(\"\")", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("FNV(\"hello\")", "-6615550055289275125"),
        ("Murmur3Hash(\"Hello World\")", "ce837619"),
        ("Murmur3Hash128(\"Hello World\")", "dbc2a0c1ab26631a27b4c09fcf1fe683"),
        ("Hex(255)", "00000000000000ff"),
        ("Base64Decode(\"aGVsbG8=\")", "hello"),
        ("FormatTime(time, \"%Y-%m-%d %H:%M:%S\")", "2023-11-14 22:13:20"),
        ("UnixSeconds(Time(\"2023-11-14T22:13:20+02:00\", \"%Y-%m-%dT%H:%M:%S%j\"))", "1699992800"),
        ("Hours(Duration(\"90m\"))", "1.5"),
        ("UnixMilli(Now() - Duration(\"1s\"))", "1699999999000"),
        ("Weekday(time)", "2"),
        (
            "Format(\"%05d|%.2f|%s\", [attributes[\"i\"], attributes[\"d\"], attributes[\"s\"]])",
            "00041|2.50|Hello World",
        ),
        ("Sort([3, 1, 2], \"desc\")", "3|2|1"),
        ("Index([\"a\", \"b\"], \"b\")", "1"),
        ("Coalesce([attributes[\"nope\"], \"x\"])", "x"),
        ("IsInCIDR(\"10.1.2.3\", [\"10.0.0.0/8\"])", "true"),
        ("IsValidLuhn(\"17893729974\")", "true"),
        ("URL(\"http://u:p@example.com:8080/a/b.html?q=1#f\")[\"url.domain\"]", "example.com"),
        ("URL(\"http://a/b c?q=1\")[\"url.original\"]", "http://a/b%20c?q=1"),
        ("URL(\"http://a/b%20c\")[\"url.path\"]", "/b c"),
        ("ParseSeverity(404, {\"warn\": [{\"range\": \"4xx\"}]})", "warn"),
        ("ToKeyValueString(attributes[\"m\"], sort_output=true)", "n=7 x=deep"),
        ("ParseXML(\"<a b='c'>t<d/></a>\")[\"attributes\"][\"b\"]", "c"),
        ("ParseXML(\"<a>t<d>u</d></a>\")[\"children\"][0][\"content\"]", "u"),
        ("ParseSimplifiedXML(\"<a><b>1</b><b>2</b><c x='y'>3</c></a>\")[\"a\"][\"b\"]", "1|2"),
        ("GetXML(\"<a><b>1</b><c><b>2</b></c></a>\", \"//b\")", "<b>1</b><b>2</b>"),
        ("GetXML(\"<a b='1 &amp; 2'/>\", \"/a/@b\")", "1 &amp; 2"),
        ("RemoveXML(\"<a b='1' c='2'><d/><!-- x --></a>\", \"//@* | //comment()\")", "<a><d></d></a>"),
        ("InsertXML(\"<a/><a/>\", \"/a\", \"<b/>\")", "<a><b></b></a><a><b></b></a>"),
        ("ConvertAttributesToElementsXML(\"<a f='x'><b/></a>\")", "<a><b></b><f>x</f></a>"),
        ("ConvertTextToElementsXML(\"<a>1<b/>2</a>\", element_name=\"t\")", "<a><t>1</t><b></b><t>2</t></a>"),
        ("ExtractGrokPatterns(body, \"user=%{NUMBER:id:int}\", true)[\"id\"]", "42"),
        ("ExtractGrokPatterns(\"10.0.0.1 x\", \"%{IP:client.ip}\", true)[\"client.ip\"]", "10.0.0.1"),
        ("ExtractGrokPatterns(\"a-7\", \"%{TAG:t}\", true, [\"TAG=\\\\w-%{INT}\"])[\"t\"]", "a-7"),
        (
            "ParseCLF(\"h - u [10/Oct/2000:13:55:36 -0700] \\\"GET /a HTTP/1.0\\\" 200 23\")[\"clf.status\"]",
            "200",
        ),
        ("ParseLEEF(\"LEEF:2.0|V|P|1|E|^|a=1^b=2\")[\"leef.attributes\"][\"b\"]", "2"),
        (
            "UnixSeconds(Time(\"2023-07-01 12:00:00\", \"%Y-%m-%d %H:%M:%S\", \"Europe/Berlin\"))",
            "1688205600",
        ),
        ("UnixSeconds(Time(\"2023-01-01 12:00:00 EST\", \"%Y-%m-%d %H:%M:%S %Z\", \"UTC\"))", "1672592400"),
        // Without a year that of the run, 2023; what would be weeks ahead is of 2022.
        ("UnixSeconds(Time(\"Nov 14 22:13:20\", \"%b %d %H:%M:%S\", \"UTC\"))", "1700000000"),
        ("UnixSeconds(Time(\"Dec 31 00:00:00\", \"%b %d %H:%M:%S\", \"UTC\"))", "1672444800"),
        ("trace_id.string", "000102030405060708090a0b0c0d0e0f"),
        ("resource.attributes[\"service.name\"]", "web"),
        ("scope.name", "lib"),
    ] {
        assert_eq!(out(&format!("set(attributes[\"out\"], {expression})")), expected, "{expression}");
    }
}

#[test]
fn editors_change_what_they_name_and_nothing_else() {
    let check = |statement: &str, edit: fn(&mut ExportLogsServiceRequest)| {
        let mut wanted = request();
        edit(&mut wanted);
        let mut got = run(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        for request in [&mut wanted, &mut got] {
            for record in &mut request.resource_logs[0].scope_logs[0].log_records {
                record.attributes.sort_by(|a, b| a.key.cmp(&b.key));
            }
        }
        assert_eq!(got, wanted, "{statement}");
    };
    fn record(request: &mut ExportLogsServiceRequest) -> &mut LogRecord {
        &mut request.resource_logs[0].scope_logs[0].log_records[0]
    }
    check("set(severity_number, SEVERITY_NUMBER_ERROR2)", |r| record(r).severity_number = 18);
    check("set(body, nil)", |_| ());
    check("set(body.string, \"b\")", |r| record(r).body = Some(text("b")));
    check("set(resource.attributes[\"a\"], \"b\")", |r| {
        let resource = r.resource_logs[0].resource.as_mut().expect("a resource");
        resource.attributes.push(pair("a", text("b")));
    });
    check("set(scope.version, \"2\") where scope.name == \"lib\"", |r| {
        r.resource_logs[0].scope_logs[0].scope.as_mut().expect("a scope").version = "2".to_owned();
    });
    check("delete_key(attributes, \"m\")", |r| record(r).attributes.retain(|pair| pair.key != "m"));
    check("keep_keys(attributes, [\"s\", \"zz\"])", |r| record(r).attributes.retain(|pair| pair.key == "s"));
    check("delete_matching_keys(attributes, \"^[a-d]$\")", |r| {
        record(r).attributes.retain(|pair| !["b", "d"].contains(&pair.key.as_str()));
    });
    check("truncate_all(attributes, 5)", |r| record(r).attributes[0].value = Some(text("Hello")));
    check("limit(attributes, 2, [\"m\"])", |r| {
        record(r).attributes.retain(|pair| ["s", "m"].contains(&pair.key.as_str()));
    });
    check("replace_pattern(body, \"user=(\\\\d+)\", \"id:$1\")", |r| {
        record(r).body = Some(text("id:42 path=/a/b"));
    });
    check("replace_match(severity_text, \"I*O\", \"info\")", |r| record(r).severity_text = "info".to_owned());
    check("replace_all_patterns(attributes, \"key\", \"^s$\", \"text\")", |r| {
        record(r).attributes[0].key = "text".to_owned();
    });
    check("flatten(attributes)", |r| {
        let record = record(r);
        record.attributes.retain(|pair| pair.key != "m");
        record.attributes.push(pair("m.x", text("deep")));
        record.attributes.push(pair("m.n", AnyValue { value: Some(Any::IntValue(7)) }));
    });
    check("merge_maps(attributes, {\"s\": \"new\", \"k\": \"v\"}, \"insert\")", |r| {
        record(r).attributes.push(pair("k", text("v")));
    });
    check(
        "set(attributes[\"s\"], \"never\") where attributes[\"i\"] > 100 or not IsMatch(body, \"user\")",
        |_| (),
    );
}

#[test]
fn a_text_of_delimiters_becomes_no_value_of_many_times_its_size() {
    let count = ELEMENTS_MAX + 2;
    let ones = |between: &str| vec!["1"; count].join(between);
    let pairs = vec!["a=1"; count].join(" ");
    let objects = format!("[{}]", vec!["{}"; count].join("\n,"));
    for (body, expression) in [
        (ones(","), "Split(body, \",\")"),
        (ones(","), "Split(body, \"\")"),
        (ones(","), "ParseCSV(body, \"a,b\")"),
        (ones(","), "ParseCSV(body, \"a,b\", mode=\"ignoreQuotes\")"),
        (ones(","), "ParseCSV(\"1,2\", body)"),
        (pairs, "ParseKeyValue(body)"),
        (format!("[{}]", ones(",")), "ParseJSON(body)"),
        ("[".repeat(count), "ParseJSON(body)"),
        (objects, "ParseJSON(body)"),
    ] {
        let mut request = request();
        request.resource_logs[0].scope_logs[0].log_records[0].body = Some(text(&body));
        let error = run_on(&request, &format!("set(attributes[\"out\"], {expression})"))
            .map(drop)
            .expect_err(expression);
        assert!(error.to_string().contains("would have more than 16777216 bytes"), "{expression}: {error}");
    }
    // Long texts with few elements are fine, also where they hold what would divide elements elsewhere.
    let long = format!("{{\"a\": \"{}\\\"\"}}", ",[{".repeat(count));
    let mut request = request();
    request.resource_logs[0].scope_logs[0].log_records[0].body = Some(text(&long));
    run_on(&request, "set(attributes[\"out\"], ParseJSON(body)[\"a\"])").map(drop).expect("one member");
}

#[test]
fn a_payload_that_no_statement_changes_is_not_copied() {
    let texts = ["set(body, \"x\") where severity_number > 20".to_owned()];
    let program = Statements::new(Signal::Logs, Some(Context::Log), &texts, &[], ErrorMode::Propagate)
        .expect("a good statement");
    let payload = Bytes::from(request().encode_to_vec());
    let outcome = program.run(Signal::Logs, &payload, NOW_NS, &quiet).expect("runs");
    assert!(!outcome.is_changed);
    assert_eq!(outcome.payload.as_ptr(), payload.as_ptr());
}

#[test]
fn errors_are_logged_or_refuse_the_payload_as_the_mode_says() {
    let texts = ["set(attributes[\"x\"], attributes[\"s\"] + 1)".to_owned(), "set(body, \"y\")".to_owned()];
    let payload = Bytes::from(request().encode_to_vec());
    let run = |mode: ErrorMode| {
        let heard = std::cell::RefCell::new(Vec::new());
        let program =
            Statements::new(Signal::Logs, Some(Context::Log), &texts, &[], mode).expect("good statements");
        let log = |text: &str, error: &RunError| heard.borrow_mut().push(format!("{text}: {error}"));
        let outcome = program.run(Signal::Logs, &payload, NOW_NS, &log);
        (outcome.map(|outcome| outcome.is_changed).map_err(|error| error.to_string()), heard.into_inner())
    };
    let wanted = "string must be int64, float64, time.Time or time.Duration";
    assert_eq!(run(ErrorMode::Ignore), (Ok(true), vec![format!("{}: {wanted}", texts[0])]));
    assert_eq!(run(ErrorMode::Silent), (Ok(true), Vec::new()));
    let refusal = format!("failed to execute statement: {}, {wanted}", texts[0]);
    assert_eq!(run(ErrorMode::Propagate), (Err(refusal), Vec::new()));
}

#[test]
fn the_context_is_told_from_the_paths() {
    let check = |signal: Signal, statement: &str, wanted: Result<Context, &str>| {
        let found = Statements::new(signal, None, &[statement.to_owned()], &[], ErrorMode::Ignore);
        match (found.map(|statements| statements.context()), wanted) {
            (Ok(context), Ok(wanted)) => assert_eq!(context, wanted, "{statement}"),
            (Err(error), Err(wanted)) => assert!(error.to_string().contains(wanted), "{statement}: {error}"),
            (found, wanted) => panic!("{statement}: {found:?}, wanted {wanted:?}"),
        }
    };
    check(Signal::Logs, "set(log.body, resource.attributes[\"a\"])", Ok(Context::Log));
    check(Signal::Logs, "set(resource.attributes[\"a\"], 1)", Ok(Context::Resource));
    check(Signal::Metrics, "set(metric.name, \"a\") where datapoint.count == 1", Ok(Context::DataPoint));
    check(Signal::Traces, "set(span.name, \"a\") where IsRootSpan()", Ok(Context::Span));
    check(Signal::Logs, "set(body, \"a\")", Err("unable to infer context"));
    check(Signal::Logs, "set(span.name, \"a\")", Err("is not a supported context"));
    check(
        Signal::Logs,
        "set(log.nope, \"a\")",
        Err("segment \"nope\" from path \"log.nope\" is not a valid path"),
    );
    check(Signal::Logs, "sett(log.body, \"a\")", Err("undefined function \"sett\", have Base64Decode,"));
    check(Signal::Logs, "set(log.body)", Err("incorrect number of arguments. Expected: 2 Received: 1"));
    check(
        Signal::Logs,
        "set(log.severity_number, NOPE)",
        Err("inferred context \"log\" does not support the enum symbol \"NOPE\""),
    );
    check(Signal::Logs, "set(log.severity_number[1], 2)", Err("does not support indexing"));
    check(Signal::Logs, "set(log.body, SHA256(1))", Err("expected string but got int64"));
    check(Signal::Logs, "set(log.body, IsMatch(log.body, \"(\"))", Err("is not a valid pattern"));
    check(
        Signal::Logs,
        "set(log.body, UserAgent(log.body))",
        Err("the function \"UserAgent\" is not supported: it knows browsers"),
    );
    check(
        Signal::Logs,
        "set(resource.attributes[\"a\"], otelcol.client.metadata[\"a\"][0])",
        Ok(Context::Resource),
    );
    check(Signal::Logs, "set(otelcol.client.addr, \"a\")", Err("is not a supported context"));
    for (path, segment) in [
        ("otelcol.client", "client"),
        ("otelcol.client.nope", "nope"),
        ("otelcol.client.addr[\"x\"]", "addr"),
        ("otelcol.client.metadata.x", "x"),
        ("otelcol.nope.addr", "nope"),
    ] {
        let want = format!("segment {segment:?} from path");
        check(Signal::Logs, &format!("set(log.body, {path})"), Err(&want));
    }
    for path in ["otelcol.client.auth.attributes[\"a\"]", "otelcol.grpc.metadata"] {
        let want = "is not supported: requests carry no such values here";
        check(Signal::Logs, &format!("set(log.body, {path})"), Err(want));
    }
    check(
        Signal::Metrics,
        "set(resource.cache[\"a\"], metric.name)",
        Err("is not allowed from the metric context"),
    );
}

/// Who sent the payloads of these tests.
#[derive(Debug)]
struct Shop(Vec<(String, String)>);

impl Sender for Shop {
    fn address(&self) -> Option<&str> {
        Some("10.0.0.7")
    }

    fn metadata(&self) -> &[(String, String)] {
        &self.0
    }
}

#[test]
fn who_sent_a_payload_is_known_to_statements_and_cannot_be_changed() {
    let pairs = [("x-team", "a"), ("x-other", "c"), ("X-Team", "b")];
    let metadata = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let around = Around { now_ns: NOW_NS, sender: Some(Arc::new(Shop(metadata))) };
    let body = |expression: &str, around: Around| {
        let texts = [format!("set(log.body, {expression})")];
        let program = Statements::new(Signal::Logs, None, &texts, &[], ErrorMode::Propagate);
        let payload = Bytes::from(request().encode_to_vec());
        let ran =
            program.unwrap_or_else(|error| panic!("{error}")).run(Signal::Logs, &payload, around, &quiet);
        let payload = ran.map_err(|error| error.to_string())?.payload;
        let request = ExportLogsServiceRequest::decode(payload).expect("well-formed");
        let record = request.resource_logs[0].scope_logs[0].log_records[0].clone();
        Ok::<_, String>(record.body.and_then(|body| body.value))
    };
    let told = |expression: &str| body(expression, around.clone());
    let text = |text: &str| Ok(Some(Any::StringValue(text.to_owned())));
    assert_eq!(told("otelcol.client.addr"), text("10.0.0.7"));
    assert_eq!(told("otelcol.client.metadata[\"X-TEAM\"][1]"), text("b"));
    assert_eq!(told("Len(otelcol.client.metadata[\"x-team\"])"), Ok(Some(Any::IntValue(2))));
    assert_eq!(told("Len(otelcol.client.metadata)"), Ok(Some(Any::IntValue(2))));
    let same = text("user=42 path=/a/b");
    assert_eq!(told("\"y\") where otelcol.client.metadata[\"x\"] != nil and IsString(log.body"), same);
    assert_eq!(body("\"y\") where otelcol.client.addr != nil and IsString(log.body", NOW_NS.into()), same);
    let refused = |expression: &str, want: &str| {
        let error = told(expression).expect_err("cannot be");
        assert!(error.contains(want), "{error}");
    };
    refused("otelcol.client.metadata[\"x-team\"][2]", "index 2 out of bounds");
    refused("otelcol.client.metadata[\"x-team\"][0][0]", "cannot index into string slice more than once");
    let texts = ["set(otelcol.client.metadata[\"a\"], log.body)".to_owned()];
    let program = Statements::new(Signal::Logs, None, &texts, &[], ErrorMode::Propagate).expect("a path");
    let error = program.run(Signal::Logs, &Bytes::from(request().encode_to_vec()), around, &quiet);
    let error = error.expect_err("read-only").to_string();
    assert!(error.contains("\"otelcol.client.metadata\" is read-only and cannot be modified"), "{error}");
}

#[test]
fn a_filter_drops_what_conditions_hold_for_and_the_groups_left_empty() {
    let filtered = |context: Context, condition: &str| {
        let conditions = Conditions::new(context, Paths::Own, &[condition.to_owned()], ErrorMode::Propagate);
        let filter = Filter::dropping(vec![conditions.unwrap_or_else(|error| panic!("{error}"))]);
        let payload = Bytes::from(request().encode_to_vec());
        filter.run(Signal::Logs, &payload, NOW_NS, &quiet).expect("runs")
    };
    assert!(filtered(Context::Log, "severity_number < SEVERITY_NUMBER_WARN").payload.is_empty());
    assert!(filtered(Context::Resource, "attributes[\"service.name\"] == \"web\"").payload.is_empty());
    assert!(!filtered(Context::Log, "attributes[\"i\"] == \"41\"").is_changed, "a number is not a text");
    assert!(!filtered(Context::Log, "attributes[\"nope\"] != nil").is_changed);
}

/// Runs statements over one record with this body; the payload, or why there is none.
fn run_all(statements: &[&str], body: String) -> Result<Bytes, RunError> {
    let texts: Vec<_> = statements.iter().map(|text| (*text).to_owned()).collect();
    let program = Statements::new(Signal::Logs, Some(Context::Log), &texts, &[], ErrorMode::Propagate)
        .unwrap_or_else(|error| panic!("{error}"));
    let mut request = request();
    request.resource_logs[0].scope_logs[0].log_records[0].body = Some(text(&body));
    let payload = Bytes::from(request.encode_to_vec());
    Ok(program.run(Signal::Logs, &payload, NOW_NS, &quiet)?.payload)
}

#[test]
fn a_map_of_a_hundred_thousand_keys_is_merged_flattened_and_compared_without_looking_at_each_for_each() {
    // 10^10 comparisons of keys would take minutes.
    let keys: Vec<String> = (0..100_000).map(|key| format!("\"k{key}\":{key}")).collect();
    let body = format!("{{{}}}", keys.join(","));
    let merge = r#"merge_maps(attributes, ParseJSON(body), "upsert")"#;
    let payload = run_all(
        &[
            merge,
            merge,
            r#"set(attributes["nested"], ParseJSON(body))"#,
            "flatten(attributes)",
            r#"set(attributes["same"], true) where ParseJSON(body) == ParseJSON(body)"#,
        ],
        body,
    );
    let request = ExportLogsServiceRequest::decode(payload.expect("runs")).expect("well-formed");
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    // Four plain attributes, two from the map `m`, and the keys twice.
    assert_eq!(record.attributes.len(), 4 + 2 + 2 * 100_000 + 1);
    let find = |key: &str| record.attributes.iter().find(|pair| pair.key == key).cloned();
    assert_eq!(find("k99999").and_then(|pair| pair.value), find("nested.k99999").and_then(|pair| pair.value));
    assert!(find("same").is_some());
}

#[test]
fn an_index_at_the_end_of_all_numbers_is_out_of_bounds() {
    let error = run("delete_index(attributes[\"s\"], 0)").expect_err("no list");
    assert!(!error.to_string().contains("bounds"), "{error}");
    let all = ["set(attributes[\"l\"], [1, 2])", "delete_index(attributes[\"l\"], 9223372036854775807)"];
    let error = run_all(&all, String::new()).expect_err("there are two");
    assert!(error.to_string().contains("startIndex 9223372036854775807 out of bounds"), "{error}");
}

#[test]
fn statements_that_grow_a_value_or_a_payload_without_end_are_refused() {
    let double = [r#"set(body, Concat([body, body], ""))"#; 30];
    let error = run_all(&double, "x".repeat(100)).expect_err("a hundred gigabytes");
    assert!(error.to_string().contains("16777216 bytes"), "{error}");
    let long = r#"replace_pattern(body, "x", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy")"#;
    let error = run_all(&[long], "x".repeat(1 << 20)).expect_err("40 MiB");
    assert!(error.to_string().contains("16777216 bytes"), "{error}");
    let copies: Vec<String> = (0..20).map(|copy| format!("\"k{copy}\":\"v\"")).collect();
    let body = format!("{{{},\"long\":\"{}\"}}", copies.join(","), "x".repeat(1 << 20));
    let all = [
        r#"merge_maps(attributes, ParseJSON(body), "upsert")"#,
        "replace_all_matches(attributes, \"v\", body)",
    ];
    let error = run_all(&all, body.clone()).expect_err("20 MiB");
    assert!(error.to_string().contains("16777216 bytes"), "{error}");
    let all = [all[0], "replace_all_patterns(attributes, \"value\", \"^v$\", body)"];
    let error = run_all(&all, body).expect_err("20 MiB");
    assert!(error.to_string().contains("16777216 bytes"), "{error}");
    let leaves: Vec<String> = (0..20).map(|leaf| format!("\"{leaf}\":{leaf}")).collect();
    let body = format!("{{\"{}\":{{{}}}}}", "x".repeat(1 << 20), leaves.join(","));
    let all = [all[0], "flatten(attributes)"];
    let error = run_all(&all, body).expect_err("20 MiB of keys");
    assert!(error.to_string().contains("16777216 bytes"), "{error}");
    let append = ["append(attributes[\"list\"], values=[body, body, body, body, body, body, body, body])"; 3];
    let error = run_all(&append, "x".repeat(1 << 20)).expect_err("24 MiB");
    assert!(error.to_string().contains("16777216 bytes"), "{error}");
    let copies: Vec<String> = (0..40).map(|copy| format!("set(attributes[\"c{copy}\"], body)")).collect();
    let copies: Vec<&str> = copies.iter().map(String::as_str).collect();
    let error = run_all(&copies, "x".repeat(5 << 20)).expect_err("more than 32 times");
    assert!(error.to_string().contains("the payload would grow beyond"), "{error}");
    assert!(run_all(&copies[..20], "x".repeat(5 << 20)).is_ok());
}
