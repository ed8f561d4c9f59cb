use serde_json::json;

use super::parse;

#[test]
fn scalars_have_the_types_that_go_yaml_gives_them() {
    for (yaml, want) in [
        ("", json!(null)),
        ("~", json!(null)),
        ("yes", json!("yes")),
        ("true", json!(true)),
        ("'true'", json!("true")),
        ("12", json!(12)),
        ("-12", json!(-12)),
        ("014", json!(12)),
        ("0x1F", json!(31)),
        ("0b101", json!(5)),
        ("0o17", json!(15)),
        ("1_000", json!(1000)),
        ("1.50", json!(1.5)),
        (".5", json!(0.5)),
        ("1e3", json!(1000.0)),
        ("089", json!(89.0)),
        ("1.2.3", json!("1.2.3")),
        ("200ms", json!("200ms")),
        ("18446744073709551615", json!(u64::MAX)),
        ("!!str 12", json!("12")),
        ("{a: [1, {b: c}]}", json!({"a": [1, {"b": "c"}]})),
        ("a: &x {k: 1}\nb: *x", json!({"a": {"k": 1}, "b": {"k": 1}})),
        (
            "base: &b {k: 1, l: 2}\nt: {<<: *b, k: 3}",
            json!({"base": {"k": 1, "l": 2}, "t": {"k": 3, "l": 2}}),
        ),
        ("1: a", json!({"1": "a"})),
    ] {
        assert_eq!(parse("t", yaml).map(|node| node.to_json()), Ok(want), "{yaml}");
    }
}

#[test]
fn hostile_documents_are_refused_without_growth() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    let mut ladder = String::from("a0: &a0 [x]\n");
    for level in 1..200 {
        let below = format!("*a{}", level - 1);
        if level < 12 {
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [below.as_str(); 10].join(", ")));
        }
        ladder.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    for yaml in [
        &deep,
        &bomb,
        &ladder,
        "a: &x [*x]",
        "a: *nope",
        "!!python/object x",
        "a: b\n---\nc: d",
        "a: [",
        "? [a]\n: b",
    ] {
        assert!(parse("t", yaml).is_err(), "{}", &yaml[..yaml.len().min(60)]);
    }
}
