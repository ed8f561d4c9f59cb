use std::sync::Arc;

use model::Direction;

use super::store::Store;
use super::{QueryParams, SECOND, range, shown, whole};
use crate::{Grouping, QueryResult};

fn forward() -> QueryParams {
    QueryParams { direction: Direction::Forward, ..whole() }
}

/// Lines of an answer, in order.
async fn lines(store: &Arc<Store>, query: &str, params: QueryParams) -> Vec<String> {
    let output = range(store, query, params).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    let QueryResult::Streams(streams) = output.result else { panic!("{query} is a log query") };
    streams.entries.into_iter().map(|entry| entry.line).collect()
}

#[tokio::test]
async fn lines_come_newest_first_up_to_the_limit_and_without_the_end() {
    let store = Store::new()
        .stream("app=x,pod=1", &[(1, "a"), (3, "c"), (5, "e")])
        .stream("app=x,pod=2", &[(2, "b"), (4, "d"), (6, "f")])
        .stream("app=y", &[(3, "other")])
        .done();
    let query = r#"{app="x"}"#;
    assert_eq!(lines(&store, query, whole()).await, ["f", "e", "d", "c", "b", "a"]);
    assert_eq!(lines(&store, query, QueryParams { limit: 2, ..whole() }).await, ["f", "e"]);
    assert_eq!(lines(&store, query, QueryParams { limit: 2, ..forward() }).await, ["a", "b"]);
    let cut = QueryParams { start_ns: 2 * SECOND, end_ns: 5 * SECOND, ..forward() };
    assert_eq!(lines(&store, query, cut).await, ["b", "c", "d"]);
    let empty = QueryParams { start_ns: 3 * SECOND, end_ns: 3 * SECOND, ..forward() };
    assert_eq!(lines(&store, query, empty).await, [""; 0]);
}

#[tokio::test]
async fn reading_ends_once_the_newest_lines_are_certain() {
    let mut store = Store::new();
    for page in 0..50 {
        store = store.stream("app=x", &[(10 * page, "old"), (10 * page + 5, "new")]);
    }
    let store = store.done();
    assert_eq!(
        lines(&store, r#"{app="x"}"#, QueryParams { limit: 3, ..whole() }).await,
        ["new", "old", "new"]
    );
    // Two pages hold the answer; each of the two threads may have begun one more.
    assert!(store.pages_read() <= 4, "{} pages were read", store.pages_read());
}

#[tokio::test]
async fn an_entry_in_two_pages_comes_once() {
    let store = Store::new()
        .stream("app=x", &[(1, "a"), (2, "b"), (2, "b2"), (3, "c")])
        .stream("app=x", &[(2, "b"), (3, "c"), (3, "c2"), (4, "d")])
        .page("app=x", &[(3, "c", &[("k", "v")])])
        .stream("app=y", &[(2, "b")])
        .done();
    assert_eq!(
        lines(&store, r#"{app=~"x|y"}"#, forward()).await,
        ["a", "b", "b2", "b", "c", "c2", "c", "d"],
        "same time with another line, other metadata or in another stream stays"
    );
    for limit in 1..8 {
        let params = QueryParams { limit, ..whole() };
        let expected: Vec<&str> = ["d", "c", "c2", "c", "b", "b2", "b", "a"][..limit as usize].to_vec();
        assert_eq!(lines(&store, r#"{app=~"x|y"}"#, params).await, expected, "limit {limit}");
    }
}

#[tokio::test]
async fn paging_by_the_last_timestamp_sees_equal_times_in_one_order() {
    let named = |tag: &str| (0..20).map(|n| format!("{tag}{n}")).collect::<Vec<_>>();
    let (a, b) = (named("a"), named("b"));
    let at_seven = |lines: &'static [String]| lines.iter().map(|line| (7, line.as_str())).collect::<Vec<_>>();
    let (a, b) = (at_seven(a.leak()), at_seven(b.leak()));
    let store = Store::new().stream("app=x,s=1", &a).stream("app=x,s=2", &b).done();
    let all = lines(&store, r#"{app="x"}"#, whole()).await;
    for limit in [1, 5, 17, 39] {
        let part = lines(&store, r#"{app="x"}"#, QueryParams { limit, ..whole() }).await;
        assert_eq!(part, all[..limit as usize]);
    }
}

#[tokio::test]
async fn an_interval_thins_the_merged_lines() {
    let store = Store::new()
        .stream("app=x,s=1", &[(1, "1"), (3, "3"), (10, "10"), (11, "11")])
        .stream("app=x,s=2", &[(2, "2"), (6, "6"), (15, "15")])
        .done();
    let params = QueryParams { interval_ns: 5 * SECOND, ..forward() };
    assert_eq!(lines(&store, r#"{app="x"}"#, params).await, ["1", "6", "11"]);
    let params = QueryParams { interval_ns: 5 * SECOND, ..whole() };
    assert_eq!(lines(&store, r#"{app="x"}"#, params).await, ["15", "10", "3"]);
    let params = QueryParams { interval_ns: 5 * SECOND, limit: 2, ..forward() };
    assert_eq!(lines(&store, r#"{app="x"}"#, params).await, ["1", "6"]);
}

#[tokio::test]
async fn the_three_kinds_of_labels_stay_apart() {
    let store = Store::new()
        .page(
            "app=x,level=info",
            &[(1, r#"{"app":"inner","trace":"t1","user":{"id":7}}"#, &[("trace", "abc")])],
        )
        .done();
    let output = range(&store, r#"{app="x"} | json"#, whole()).await.expect("runs");
    let QueryResult::Streams(streams) = output.result else { panic!("a log query") };
    let entry = &streams.entries[0];
    assert_eq!(entry.stream.to_string(), r#"{app="x", level="info"}"#);
    let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    };
    assert_eq!(entry.structured_metadata, own(&[("trace", "abc")]));
    assert_eq!(entry.parsed, own(&[("app_extracted", "inner"), ("trace_extracted", "t1"), ("user_id", "7")]));
    assert_eq!(
        streams.clone().grouped(Grouping::AllLabels).labels_text(0),
        r#"{app="x", app_extracted="inner", level="info", trace="abc", trace_extracted="t1", user_id="7"}"#
    );
    assert_eq!(streams.grouped(Grouping::StreamLabels).labels_text(0), r#"{app="x", level="info"}"#);
}

#[tokio::test]
async fn json_expressions_tell_what_is_cut_off_inside_of_them() {
    let object = "Value looks like object, but can't find closing '}' symbol";
    let string = "Value is string, but can't find closing '\"' symbol";
    let array = "Value is array, but can't find closing ']' symbol";
    // Details and labels are those of a Loki 3.7.8.
    for (line, expression, details, label) in [
        (r#"{"a":"x","user":{"id":1"#, r#"u="user""#, object, ""),
        (r#"{"a":"x","user":{"id":1"#, r#"u="user.id""#, "", "1"),
        (r#"{"a":"x","user":{"id":"u"#, r#"u="user.id""#, string, ""),
        (r#"{"a":"x","user":{"id":[1,{"k":2"#, r#"u="user.id""#, array, ""),
        (r#"{"a":"x","user":[1,2"#, r#"u="user[1]""#, "", "2"),
        (r#"{"a":"x","user":12"#, r#"u="user""#, "", "12"),
        (r#"{"a":"x","user":tr"#, r#"u="user""#, "Unknown value type", ""),
        (r#"{"a":"x","user":"#, r#"u="user""#, "Malformed JSON error", ""),
        (r#"{"a":"x","user""#, r#"u="user""#, "", ""),
        (r#""user":1"#, r#"u="user""#, "Malformed JSON error", ""),
        (r#"["user""#, r#"u="user""#, "", ""),
    ] {
        let store = Store::new().stream("app=x", &[(1, line)]).done();
        let query = format!(r#"{{app="x"}} | json {expression} | drop app, __error__"#);
        let output = range(&store, &query, whole()).await.expect("runs");
        let QueryResult::Streams(streams) = output.result else { panic!("a log query") };
        let labels = streams.entries[0].all_labels();
        let got = (labels.get("__error_details__").unwrap_or(""), labels.get("u").unwrap_or(""));
        assert_eq!(got, (details, label), "{line} {expression}");
    }
}

#[tokio::test]
async fn stages_change_lines_and_labels_as_in_loki() {
    let json = r#"{"status":500,"dur":"1.5s","size":"2KB","ok":true,"none":null,"list":[1],"a b":"c","n":{"9x":"y"}}"#;
    let logfmt = r#"status=404 dur=20ms msg="a \"b\" c" empty= bare novalue=x=y"#;
    let store = Store::new()
        .stream("app=json", &[(1, json)])
        .stream("app=logfmt", &[(1, logfmt)])
        .stream("app=text", &[(1, "GET /a 10.0.0.7 took 5ms"), (2, "not { json")])
        .done();
    for (query, expected) in [
        (
            r#"{app="json"} | json"#,
            vec![r#"{a_b="c", app="json", dur="1.5s", n_9x="y", ok="true", size="2KB", status="500"}"#],
        ),
        (
            r#"{app="json"} | json s="status", first="list[0]", x="n[\"9x\"]", gone="zzz" | keep s, first, x"#,
            vec![r#"{first="1", s="500", x="y"}"#],
        ),
        (
            r#"{app="json"} | json | status >= 500 | dur > 1s and size <= 2KB | keep status"#,
            vec![r#"{status="500"}"#],
        ),
        (r#"{app="json"} | json | status > 500"#, vec![]),
        (r#"{app="json"} | json | missing > 1"#, vec![]),
        (r#"{app="json"} | json | missing="" | keep ok"#, vec![r#"{ok="true"}"#]),
        (
            r#"{app="json"} | json | dur > 5 | keep dur"#,
            vec![
                r#"{__error__="LabelFilterErr", __error_details__="strconv.ParseFloat: parsing \"1.5s\": invalid syntax", dur="1.5s"}"#,
            ],
        ),
        (r#"{app="logfmt"} | logfmt"#, vec![r#"{app="logfmt", dur="20ms", msg="a \"b\" c", status="404"}"#]),
        (r#"{app="logfmt"} | logfmt s="status", m="msg" | keep s, m"#, vec![r#"{m="a \"b\" c", s="404"}"#]),
        (
            r#"{app="logfmt"} | logfmt --strict | keep status"#,
            vec![
                r#"{__error__="LogfmtParserErr", __error_details__="logfmt syntax error at pos 58 : unexpected '='", status="404"}"#,
            ],
        ),
        (
            r#"{app="text"} |= "GET" | pattern "<method> <path> <_> took <dur>" | drop app"#,
            vec![r#"{dur="5ms", method="GET", path="/a"}"#],
        ),
        (r#"{app="text"} |= "GET" | regexp "took (?P<n>\\d+)" | drop app"#, vec![r#"{n="5"}"#]),
        (r#"{app="text"} |= ip("10.0.0.0/8") | drop app"#, vec!["{}"]),
        (r#"{app="text"} != ip("10.0.0.0/8") | drop app"#, vec!["{}"]),
        (
            r#"{app="text"} | json | __error__ != "" | drop __error_details__, app"#,
            vec![r#"{__error__="JSONParserErr"}"#, r#"{__error__="JSONParserErr"}"#],
        ),
        (r#"{app="text"} | json | __error__ = """#, vec![]),
        (r#"{app="text"} |= "GET" | json | drop __error__, __error_details__"#, vec![r#"{app="text"}"#]),
    ] {
        let output = range(&store, query, whole()).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        let labels: Vec<String> = shown(&output.result)
            .iter()
            .map(|line| {
                let start = line.find('{').expect("labels");
                let entry_labels = &line[start..];
                entry_labels[..=entry_labels.find("} ").expect("labels end")].to_owned()
            })
            .collect();
        assert_eq!(labels, expected, "{query}");
    }
}

#[tokio::test]
async fn unpack_restores_the_packed_line() {
    let store = Store::new().stream("app=x", &[(1, r#"{"pod":"p1","_entry":"the \"line\""}"#)]).done();
    let output = range(&store, r#"{app="x"} | unpack |= "the""#, whole()).await.expect("runs");
    assert_eq!(shown(&output.result), [r#"1000000000 {app="x", pod="p1"} the "line""#]);
}

#[tokio::test]
async fn formats_change_lines_and_labels() {
    let store = Store::new()
        .page("app=x", &[(1, "a=1 b=two", &[("trace", "t")])])
        .stream("app=ansi", &[(1, "\u{1b}[31mred\u{1b}[0m plain")])
        .done();
    for (query, expected) in [
        (
            r#"{app="x"} | logfmt | line_format "{{.a}}-{{.b}}-{{.trace}}-{{.none}}""#,
            r#"1000000000 {a="1", app="x", b="two", trace="t"} 1-two-t-"#,
        ),
        (
            r#"{app="x"} | logfmt | label_format c=a, d="{{.a}}{{.c}}", e="{{.d}}{{__line__}}""#,
            r#"1000000000 {app="x", b="two", c="1", d="1", e="a=1 b=two", trace="t"} a=1 b=two"#,
        ),
        (
            r#"{app="x"} | logfmt | line_format "{{div 1 .none}}""#,
            r#"1000000000 {__error__="TemplateFormatErr", __error_details__="template: line:1:2: executing \"line\" at <div 1 .none>: error calling div: runtime error: integer divide by zero", a="1", app="x", b="two", trace="t"} a=1 b=two"#,
        ),
        (r#"{app="x"} | line_format "x" |= "x" | drop trace"#, r#"1000000000 {app="x"} x"#),
        (r#"{app="ansi"} | decolorize"#, r#"1000000000 {app="ansi"} red plain"#),
        (r#"{app="x"} | label_format app="y", trace="z""#, r#"1000000000 {app="y", trace="z"} a=1 b=two"#),
    ] {
        let output = range(&store, query, whole()).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(shown(&output.result), [expected], "{query}");
    }
    for (query, expected) in [
        (
            r#"{app="x"} | line_format "{{.a""#,
            r#"parse error : stage '| line_format "{{.a"' : invalid line template: template: line:1: unclosed action"#,
        ),
        (
            r#"{app="x"} | label_format a="1", a=b"#,
            r#"parse error : stage '| label_format a="1",a=b' : multiple label name 'a' not allowed in a single format operation"#,
        ),
        (
            r#"{app="x"} | label_format __error__=a"#,
            "parse error : stage '| label_format __error__=a' : __error__ cannot be formatted",
        ),
    ] {
        let error = range(&store, query, whole()).await.expect_err(query);
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_label_changed_after_parsing_is_filtered_by_its_new_value() {
    let store = Store::new()
        .stream(
            "app=x",
            &[(1, r#"{"level":"error","n":1}"#), (2, r#"{"level":"info","n":2}"#), (3, r#"{"level":"#)],
        )
        .stream("app=y", &[(4, "level=error n=1 level=info"), (5, "level=info")])
        .done();
    for (query, expected) in [
        (r#"{app="x"} | json | level="error""#, 1),
        (r#"{app="x"} | json | level!="error""#, 2),
        (r#"{app="x"} | json | n>1 and level="info""#, 1),
        (r#"{app="x"} | json | n>1 or level="error""#, 2),
        (r#"{app="x"} | json | label_format level="error" | level="error""#, 3),
        (r#"{app="x"} | json | drop level | level="error""#, 0),
        (r#"{app="x"} | level="error" | json"#, 0),
        (r#"{app="y"} | logfmt | level="error""#, 1),
        (r#"{app="y"} | logfmt level | level="info""#, 2),
    ] {
        let found = lines(&store, query, whole()).await;
        assert_eq!(found.len(), expected, "{query}: {found:?}");
    }
}

#[tokio::test]
async fn a_line_with_thousands_of_members_parses_in_time() {
    let members: Vec<String> = (0..20_000).map(|n| format!("\"key{n}\":{n}")).collect();
    let line: &str = format!("{{{}}}", members.join(",")).leak();
    let store = Store::new().stream("app=x", &[(1, line)]).done();
    let started = std::time::Instant::now();
    let output = range(&store, r#"{app="x"} | json | keep key7, key19999"#, whole()).await.expect("runs");
    let QueryResult::Streams(streams) = output.result else { panic!("a log query") };
    assert_eq!(streams.entries[0].all_labels().to_string(), r#"{key19999="19999", key7="7"}"#);
    // Quadratic work would take minutes in a test build.
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

/// Stream, second and line of each entry of an answer.
fn entries_of(store: &Arc<Store>, params: QueryParams) -> Vec<(String, i64, String)> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
    let output = runtime.block_on(range(store, r#"{app="x"}"#, params)).expect("runs");
    let QueryResult::Streams(streams) = output.result else { panic!("a log query") };
    let entry = |e: crate::ResultEntry| (e.stream.to_string(), e.timestamp_ns / SECOND, e.line);
    streams.entries.into_iter().map(entry).collect()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    /// SCAN-1, and the order that paging clients rely on: whatever the pages, each entry comes once, in time order,
    /// and a smaller limit gives the start of the same answer.
    #[test]
    fn any_layout_of_pages_gives_one_answer(
        pages in proptest::collection::vec(proptest::collection::vec((1i64..6, 0usize..4), 1..8), 1..6),
        limit in 1u32..12,
        backward: bool,
    ) {
        let mut store = Store::new();
        let mut distinct = std::collections::BTreeSet::new();
        for (index, page) in pages.iter().enumerate() {
            let stream = index % 2;
            let mut page = page.clone();
            page.sort_unstable();
            page.dedup();
            let lines: Vec<(i64, &str)> = page.iter().map(|(second, line)| (*second, ["a", "b", "c", "d"][*line])).collect();
            distinct.extend(lines.iter().map(|(second, line)| (stream, *second, *line)));
            store = store.stream(&format!("app=x,s={stream}"), &lines);
        }
        let store = store.done();
        let direction = if backward { Direction::Backward } else { Direction::Forward };
        let all = entries_of(&store, QueryParams { direction, ..whole() });
        proptest::prop_assert_eq!(all.len(), distinct.len());
        let times: Vec<i64> = all.iter().map(|(_, second, _)| *second).collect();
        let ordered = times.is_sorted_by(|a, b| if backward { a >= b } else { a <= b });
        proptest::prop_assert!(ordered);
        let part = entries_of(&store, QueryParams { direction, limit, ..whole() });
        proptest::prop_assert_eq!(&part[..], &all[..all.len().min(limit as usize)]);
    }
}
