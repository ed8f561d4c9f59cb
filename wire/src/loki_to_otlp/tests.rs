use model::{Labels, LogEntries};
use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};

use super::{Settings, translate, translate_proto};
use crate::loki_push::{PushRequest, PushStream, encode_proto};
use crate::otlp::{self, Checked};
use crate::otlp_to_loki;

type Entry = (i64, String, Vec<(String, String)>);

type Stream = (Vec<(String, String)>, Vec<Entry>);

fn push(streams: &[Stream]) -> PushRequest {
    let streams = streams.iter().map(|(labels, entries)| {
        let mut columns = LogEntries::new();
        for (timestamp_ns, line, metadata) in entries {
            let metadata = metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            columns.push(*timestamp_ns, line, metadata);
        }
        PushStream { labels: Labels::from_pairs(labels.iter().map(|(n, v)| (n, v))), entries: columns }
    });
    PushRequest { streams: streams.collect() }
}

fn there_and_back(request: &PushRequest, settings: &Settings) -> Vec<(Labels, LogEntries)> {
    let translated = translate(request, settings);
    let (direct, streams) = translate_proto(&encode_proto(request), settings).expect("well-formed");
    assert_eq!(
        (&direct.payload, &direct.report, streams),
        (&translated.payload, &translated.report, request.streams.len())
    );
    let payload = bytes::Bytes::from(translated.payload);
    let Checked { payload: checked, items, report } =
        otlp::check(model::Signal::Logs, payload.clone()).expect("well-formed");
    assert_eq!((checked, items, report.rejected.len()), (payload.clone(), translated.report.stored, 0));
    let settings = otlp_to_loki::Settings { discover_log_levels: false, ..Default::default() };
    let back = otlp_to_loki::Translator::new(settings).translate(&payload, 1).expect("well-formed");
    assert_eq!(back.report.stored, translated.report.stored);
    back.streams
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn streams_get_the_service_name_that_loki_finds() {
    for (labels, expected) in [
        (&[("app", "a")][..], r#"{app="a", service_name="a"}"#),
        (&[("job", "j"), ("container", "c")], r#"{container="c", job="j", service_name="c"}"#),
        (&[("service_name", "s"), ("app", "a")], r#"{app="a", service_name="s"}"#),
        (&[("zone", "z")], r#"{service_name="unknown_service", zone="z"}"#),
        (&[], r#"{service_name="unknown_service"}"#),
        (&[("__pattern__", "p"), ("app", "a")], r#"{__pattern__="p", app="a"}"#),
        // A name that OTLP would make an index label by another name.
        (&[("odd__x", "1"), ("_y", "2")], r#"{_y="2", odd__x="1", service_name="unknown_service"}"#),
    ] {
        let request = push(&[(pairs(labels), vec![(1, "x".to_owned(), vec![])])]);
        let streams = there_and_back(&request, &Settings::default());
        assert_eq!(streams[0].0.to_string(), expected);
    }
    let as_is = Settings { discover_service_name: vec![] };
    let request = push(&[(vec![], vec![(1, "x".to_owned(), vec![])])]);
    assert_eq!(there_and_back(&request, &as_is)[0].0, Labels::empty());
}

#[test]
fn an_entry_of_time_zero_is_refused_and_counted() {
    let request = push(&[(
        pairs(&[("app", "a")]),
        vec![(0, "zero".to_owned(), vec![]), (-5, "before 1970".to_owned(), vec![])],
    )]);
    let translated = translate(&request, &Settings::default());
    assert_eq!((translated.report.stored, translated.report.rejected_count()), (1, 1));
    let streams = there_and_back(&request, &Settings::default());
    assert_eq!(streams[0].1.timestamps_ns(), [-5]);
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    // Names as Loki leaves them: classic, single underscores, no digit in front.
    let name = "[a-zA-Z][a-zA-Z0-9]{0,5}(_[a-z0-9]{1,4}){0,2}";
    let name = name.prop_filter("its value is normalised", |name| name != "detected_level");
    let value = prop::string::string_regex("[^\u{fffd}]{0,12}").expect("a valid pattern");
    let metadata = prop::collection::vec((name, value), 0..4);
    let timestamp = any::<i64>().prop_filter("0 is refused", |timestamp| *timestamp != 0);
    prop::collection::vec((timestamp, any::<String>(), metadata), 1..5)
}

proptest! {
    #[test]
    fn a_push_comes_back_exactly(
        streams in prop::collection::vec(
            (prop::collection::vec(("[a-zA-Z_][a-zA-Z0-9_]{0,8}", ".{1,10}"), 1..5), entries()),
            1..4,
        )
    ) {
        let request = push(&streams);
        let settings = Settings { discover_service_name: vec![] };
        let back = there_and_back(&request, &settings);
        // Equal label sets become one stream.
        let mut expected: Vec<(Labels, LogEntries)> = Vec::new();
        for stream in &request.streams {
            let at = expected.iter().position(|(labels, _)| *labels == stream.labels).unwrap_or(expected.len());
            if at == expected.len() {
                expected.push((stream.labels.clone(), LogEntries::new()));
            }
            for entry in stream.entries.iter() {
                expected[at].1.push(entry.timestamp_ns, entry.line, entry.metadata);
            }
        }
        prop_assert_eq!(back, expected);
    }
}
