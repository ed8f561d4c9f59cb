use super::{ParseOptions, parse_expr, parse_selector, prettify};

fn check(query: &str, expected: &str) {
    let expr = parse_expr(query, ParseOptions::ALL).unwrap_or_else(|error| panic!("{query}: {error}"));
    assert_eq!(expr.to_string(), expected, "{query}");
    let again = parse_expr(expected, ParseOptions::ALL).unwrap_or_else(|error| panic!("{expected}: {error}"));
    assert_eq!(again.to_string(), expected, "printing {query} twice");
}

fn check_error(query: &str, options: ParseOptions, expected: &str) {
    match parse_expr(query, options) {
        Ok(expr) => panic!("{query} is taken as {expr}"),
        Err(error) => assert_eq!(error.to_string(), expected, "{query}"),
    }
}

#[test]
fn queries_print_in_canonical_form() {
    for (query, expected) in [
        ("1", "1"),
        ("0x1f + 1_000 + 017 + .5e1", "31 + 1000 + 15 + 5"),
        ("+Inf", "+Inf"),
        ("-nan", "NaN"),
        ("5m", "5m"),
        ("'a\\'b\"'", "\"a'b\\\"\""),
        ("`raw\\n`", "\"raw\\\\n\""),
        ("foo{b='2',a!=\"1\",}", "foo{a!=\"1\",b=\"2\"}"),
        ("{\"a.metric\", \"a.label\"=~'x'}", "{\"a.label\"=~\"x\",__name__=\"a.metric\"}"),
        ("foo # a comment\n[5m] offset 1w @ 1.5", "foo[5m] @ 1.500 offset 1w"),
        ("foo @ start() offset -5m", "foo @ start() offset -5m"),
        ("-a^b*c", "-a ^ b * c"),
        ("2^3^2", "2 ^ 3 ^ 2"),
        ("a or b and c unless d", "a or b and c unless d"),
        ("sum(foo)by(a,b)", "sum by (a, b) (foo)"),
        ("topk without(a)(3, foo)", "topk without (a) (3, foo)"),
        ("a / on(x,y) group_left(z) b", "a / on (x, y) group_left (z) b"),
        (
            "a == bool ignoring(x) fill_left(1) fill_right(-2) b",
            "a == bool ignoring (x) fill_left (1) fill_right (-2) b",
        ),
        ("rate(foo[5m:])[1h:1m]", "rate(foo[5m:])[1h:1m]"),
        ("foo[1m*2 + step()]", "foo[1m * 2 + step()]"),
        ("foo offset (1h/2)", "foo offset (1h / 2)"),
        ("foo[5m] anchored", "foo[5m] anchored"),
        ("sum + start + offset", "sum + start + offset"),
        ("a </ 5", "a </ 5"),
        ("\"a\\xc5z\u{e9}\"", "\"a\\xc5z\u{e9}\""),
    ] {
        check(query, expected);
    }
}

#[test]
fn long_queries_are_laid_out_over_lines() {
    let label = "a_label_that_makes_the_line_long_enough_to_be_split";
    let query =
        format!("sum by (x) (rate(first{{{label}=\"1\"}}[5m])) / on (x) (topk(3, second{{{label}=\"2\"}}))");
    let expr = parse_expr(&query, ParseOptions::ALL).expect("a valid query");
    let expected = format!(
        "  sum by (x) (rate(first{{{label}=\"1\"}}[5m]))\n/ on (x)\n  (topk(3, second{{{label}=\"2\"}}))"
    );
    assert_eq!(prettify(&expr), expected);
    let again = parse_expr(&expected, ParseOptions::ALL).expect("what is laid out is valid");
    assert_eq!(again.to_string(), query);
}

#[test]
fn errors_have_the_texts_and_positions_of_prometheus() {
    for (query, expected) in [
        ("", "unknown position: parse error: no expression found in input"),
        ("# only a comment", "1:1: parse error: no expression found in input"),
        ("1 +", "1:4: parse error: unexpected end of input"),
        ("foo bar", "1:5: parse error: unexpected identifier \"bar\""),
        ("(1", "1:3: parse error: unclosed left parenthesis"),
        ("foo{a=1}", "1:7: parse error: unexpected character inside braces: '1'"),
        ("foo{a}", "1:6: parse error: unexpected \"}\" in label matching, expected label matching operator"),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("foo{__name__=\"bar\"}", "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\""),
        ("sum(foo", "1:8: parse error: unclosed left parenthesis"),
        ("sum some", "1:5: parse error: unexpected identifier \"some\" in aggregation"),
        (
            "rate(foo)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        ("rate()", "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 0"),
        ("nothing(1)", "1:1: parse error: unknown function with name \"nothing\""),
        ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("a\n  and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
        ("foo[5m] offset 1m offset 1m", "1:1: parse error: offset may not be set multiple times"),
        ("foo[", "1:5: parse error: unexpected end of input in duration expression"),
        ("foo[5m", "1:7: parse error: unclosed left bracket"),
        ("foo[0m]", "1:5: parse error: duration must be greater than 0"),
        ("foo[5x]", "1:5: parse error: bad number or duration syntax: \"5\""),
        ("foo[5y1hs]", "1:5: parse error: unknown unit \"hs\" in duration \"5y1hs\""),
        (
            "foo\n[1h:]\n+ \"a\"",
            "1:1: parse error: binary expression must contain only scalar and instant vector types",
        ),
        ("\"\\xq\"", "1:1: parse error: illegal character U+0071 'q' in escape sequence"),
        ("a or on(x) group_left b", "1:1: parse error: no grouping allowed for \"or\" operation"),
    ] {
        check_error(query, ParseOptions::ALL, expected);
    }
}

#[test]
fn errors_inside_aggregations_say_so_unless_something_nearer_does() {
    // What Prometheus 3.15 answers.
    for (query, expected) in [
        ("sum(1 +)", "1:8: parse error: unexpected \")\" in aggregation"),
        ("sum by (a) (foo bar)", "1:17: parse error: unexpected identifier \"bar\" in aggregation"),
        ("sum(rate(foo[5m]) foo)", "1:19: parse error: unexpected identifier \"foo\" in aggregation"),
        ("rate(sum(foo bar))", "1:14: parse error: unexpected identifier \"bar\" in aggregation"),
        ("abs(foo bar)", "1:9: parse error: unexpected identifier \"bar\""),
        ("1 + )", "1:6: parse error: unexpected right parenthesis ')'"),
        ("sum by (a) foo", "1:12: parse error: unexpected identifier \"foo\" in aggregation"),
        ("sum(foo) bar", "1:10: parse error: unexpected identifier \"bar\""),
        ("sum(foo{a=})", "1:11: parse error: unexpected \"}\" in label matching, expected string"),
        ("sum(foo @ )", "1:11: parse error: unexpected \")\" in @, expected timestamp"),
        (
            "sum(foo offset)",
            "1:15: parse error: unexpected \")\" in offset, expected number, duration, step(), or range()",
        ),
        ("sum(,)", "1:5: parse error: unexpected \",\" in aggregation"),
        ("sum(a,)", "1:6: parse error: trailing commas not allowed in function call args"),
        ("sum((foo)", "1:10: parse error: unclosed left parenthesis"),
        ("sum(foo) by (a", "1:15: parse error: unclosed left parenthesis"),
        ("sum(a + sum(b +))", "1:16: parse error: unexpected \")\" in aggregation"),
        ("sum{a=\"b\"} (", "1:12: parse error: unexpected \"(\""),
        ("group by (x) ((a) > on (b) group_left (c))", "1:42: parse error: unexpected \")\" in aggregation"),
    ] {
        check_error(query, ParseOptions::ALL, expected);
    }
}

#[test]
fn experimental_parts_are_refused_unless_enabled() {
    let default = ParseOptions::default();
    for (query, expected) in [
        ("info(foo)", "1:1: parse error: function \"info\" is not enabled"),
        (
            "limitk(2, foo)",
            "1:1: parse error: limitk() is experimental and must be enabled with \
             --enable-feature=promql-experimental-functions",
        ),
        ("foo[5m] smoothed", "1:1: parse error: smoothed modifier is experimental and not enabled"),
        ("a + fill(0) b", "1:1: parse error: binop fill modifiers are experimental and not enabled"),
    ] {
        check_error(query, default, expected);
        parse_expr(query, ParseOptions::ALL).unwrap_or_else(|error| panic!("{query}: {error}"));
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let deep = 10_000;
    let chain = vec!["a"; deep].join(" + ");
    for query in [
        "(".repeat(deep) + "1" + &")".repeat(deep),
        "-".repeat(deep) + "1",
        chain,
        "a".to_owned() + &"[1m:1m]".repeat(deep),
        "abs(".repeat(deep) + "a" + &")".repeat(deep),
        format!("a[{}1m{}]", "(".repeat(deep), ")".repeat(deep)),
        format!("a[{}]", vec!["1m"; deep].join("+")),
    ] {
        let error = parse_expr(&query, ParseOptions::ALL).expect_err("too deep");
        assert!(error.to_string().contains("nested too deeply"), "{error}");
    }
    let fits = vec!["a"; 200].join(" or ");
    assert!(parse_expr(&fits, ParseOptions::ALL).is_ok());
}

#[test]
fn selectors_are_parsed_alone() {
    let matchers = parse_selector("up{job=~\"a|b\",instance!=\"\"}").expect("a selector");
    let names: Vec<_> = matchers.iter().map(|m| m.to_string()).collect();
    assert_eq!(names, ["job=~\"a|b\"", "instance!=\"\"", "__name__=\"up\""]);
    for bad in ["1", "rate(up[5m])", "up[5m]", ""] {
        assert!(parse_selector(bad).is_err(), "{bad:?} is taken");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics_and_what_parses_prints_back(query in "[a-z0-9(){}\\[\\]\"'=~!<>+*/^%@:,. \\\\-]{0,60}") {
        if let Ok(expr) = parse_expr(&query, ParseOptions::ALL) {
            let printed = expr.to_string();
            let again = parse_expr(&printed, ParseOptions::ALL);
            proptest::prop_assert!(again.is_ok(), "{query:?} prints as {printed:?}");
            proptest::prop_assert_eq!(again.map(|e| e.to_string()).ok(), Some(printed));
        }
    }
}
