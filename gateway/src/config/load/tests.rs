use serde_json::{Value, json};

use super::super::tests::Fixed;
use super::load;

const SURROUNDINGS: Fixed = Fixed {
    env: &[("CONF", "a: {x: 9}")],
    files: &[
        ("/one.yaml", "a: {x: 1, y: [1, 2]}\nb: 1"),
        ("/two.yaml", "a: {y: [3]}\nb: null"),
        ("/empty.yaml", ""),
    ],
};

fn merged(sources: &[&str], sets: &[&str]) -> Result<Value, String> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    load(&owned(sources), &owned(sets), &SURROUNDINGS)
        .map(|loaded| loaded.root.to_json())
        .map_err(|fault| fault.to_string())
}

#[test]
fn later_sources_win_key_by_key_and_sets_come_last() {
    for (sources, sets, want) in [
        (&["/one.yaml"][..], &[][..], json!({"a": {"x": 1, "y": [1, 2]}, "b": 1})),
        (&["/one.yaml", "file:/two.yaml"], &[], json!({"a": {"x": 1, "y": [3]}, "b": null})),
        (&["/one.yaml", "env:CONF"], &[], json!({"a": {"x": 9, "y": [1, 2]}, "b": 1})),
        (&["/empty.yaml"], &["p.q=[1]"], json!({"p": {"q": [1]}})),
        (&["yaml:a::b::c: 1"], &["a.b.d={e: 2}"], json!({"a": {"b": {"c": 1, "d": {"e": 2}}}})),
        (&["yaml:{}"], &["a.b=x=y"], json!({"a": {"b": "x=y"}})),
        (&["yaml:{}"], &["a.b=", "a.c=null"], json!({"a": {"b": "", "c": null}})),
    ] {
        assert_eq!(merged(sources, sets), Ok(want), "{sources:?} {sets:?}");
    }
}

#[test]
fn sources_that_cannot_be_read_are_refused_by_name() {
    for (source, want) in [
        ("/nope.yaml", "unable to read the config file \"/nope.yaml\": no such file"),
        ("env:NOPE", "config source \"env:NOPE\": the environment variable NOPE is not set"),
        ("https://x", "config source \"https://x\": scheme \"https\" is not supported; have file, env, yaml"),
        ("yaml:a: b: c", "yaml::1:5: mapping values are not allowed in this context"),
    ] {
        assert_eq!(merged(&[source], &[]), Err(want.to_owned()));
    }
    assert!(merged(&[], &["a"]).expect_err("no equal sign").contains("missing equal sign"));
    assert!(merged(&[], &["a..b=1"]).expect_err("an empty key").contains("an empty key"));
}
