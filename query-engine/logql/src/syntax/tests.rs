use super::{Expr, MetricKind, Span, StageKind, parse, parse_selector};

/// The canonical form of a query.
fn canonical(query: &str) -> String {
    parse(query).unwrap_or_else(|error| panic!("{query}: {error}")).to_string()
}

#[test]
fn queries_print_in_loki_s_canonical_form_and_parse_back_to_it() {
    for (query, expected) in [
        (r#"{app="x"}"#, r#"{app="x"}"#),
        (r#"{ app = "x" , b!~"c" }|="a"!="b"|~`c\d`"#, r#"{app="x", b!~"c"} |= "a" != "b" |~ "c\\d""#),
        (r#"({app="x"})"#, r#"{app="x"}"#),
        (r#"{app="x"} |= "a" or "b" or ip("1.2.3.4")"#, r#"{app="x"} |= "a" or "b" or ip("1.2.3.4")"#),
        (r#"{app="x"} != "a" or "b""#, r#"{app="x"} != "a" != "b""#),
        (r#"{app="x"} |> "<_> a" !> "b""#, r#"{app="x"} |> "<_> a" !> "b""#),
        (r#"{app="x"} | json a="b.c[0]", d"#, r#"{app="x"} | json a="b.c[0]",d="d""#),
        (r#"{app="x"}|logfmt --strict --keep-empty a"#, r#"{app="x"} | logfmt --strict --keep-empty a="a""#),
        (r#"{app="x"} | a>=5 or b<1KB and c!=2m"#, r#"{app="x"} | ( a>=5 or ( b<1.0kB , c!=2m0s ) )"#),
        (r#"{app="x"} | a=1, b="y" or c=2"#, r#"{app="x"} | ( a==1 , ( b="y" or c==2 ) )"#),
        (r#"{app="x"} | (a=1 or b=2) and c=3"#, r#"{app="x"} | ( ( a==1 or b==2 ) , c==3 )"#),
        (
            r#"{app="x"} | addr=ip("::1") | x!=ip("10.0.0.0/8")"#,
            r#"{app="x"} | addr=ip("::1") | x!=ip("10.0.0.0/8")"#,
        ),
        (r#"{app="x"} | drop a, b="c" | keep d"#, r#"{app="x"} | drop a,b="c" | keep d"#),
        (
            r#"{app="x"} | line_format "{{.a}}" | label_format a=b,c="{{.d}}" | decolorize | unpack"#,
            r#"{app="x"} | line_format "{{.a}}" | label_format a=b,c="{{.d}}" | decolorize | unpack"#,
        ),
        (r#"rate({app="x"}[5m])"#, r#"rate({app="x"}[5m])"#),
        (r#"rate({app="x"}[5m] |= "a")"#, r#"rate({app="x"} |= "a"[5m])"#),
        (r#"rate(({app="x"} |= "a")[90s] offset 1h)"#, r#"rate({app="x"} |= "a"[1m30s] offset 1h0m0s)"#),
        (r#"count_over_time({app="x"}[1d] offset -5m)"#, r#"count_over_time({app="x"}[1d] offset -5m0s)"#),
        (
            r#"sum without(a) (avg_over_time({app="x"} | unwrap duration(d) | d > 5 [1m]) by (b))"#,
            r#"sum without (a)(avg_over_time({app="x"} | unwrap duration(d) | d>5[1m]) by (b))"#,
        ),
        (r#"topk(3, rate({app="x"}[1m])) by (a)"#, r#"topk by (a)(3,rate({app="x"}[1m]))"#),
        (r#"SUM(Rate({app="x"}[1m]))"#, r#"sum(rate({app="x"}[1m]))"#),
        (
            r#"quantile_over_time(0.99, {app="x"} | json | unwrap ms [1m])"#,
            r#"quantile_over_time(0.99,{app="x"} | json | unwrap ms[1m])"#,
        ),
        ("1 + 2 * 3 ^ 2 ^ 0", "7"),
        ("-2 ^ 2", "4"),
        ("vector(1) + vector(1)", "(vector(1.000000) + vector(1.000000))"),
        (
            r#"rate({a="b"}[1m]) / on(x) group_left(y) rate({a="b"}[1m]) > bool 1"#,
            r#"((rate({a="b"}[1m]) / on (x) group_left (y) rate({a="b"}[1m])) > bool 1)"#,
        ),
        (
            r#"label_replace(rate({a="b"}[1m]), "d", "$1", "s", "(.*)")"#,
            r#"label_replace(rate({a="b"}[1m]),"d","$1","s","(.*)")"#,
        ),
        ("{app=\"x\"} # a comment\n |= \"a\"", r#"{app="x"} |= "a""#),
        (r#"{app="x"} | rate="5" | bytes > 1MB"#, r#"{app="x"} | rate="5" | bytes>1.0MB"#),
    ] {
        let printed = canonical(query);
        assert_eq!(printed, expected, "{query}");
        assert_eq!(canonical(&printed), printed, "the canonical form of {query} is stable");
    }
}

#[test]
fn errors_carry_loki_s_texts_and_places() {
    for (query, expected) in [
        (r#"{foo="bar"#, "parse error at line 1, col 6: literal not terminated"),
        (r#"{foo="bar""#, "parse error at line 1, col 11: syntax error: unexpected $end, expecting } or ,"),
        (
            r#"{foo="bar"} |~"#,
            "parse error at line 1, col 15: syntax error: unexpected $end, expecting STRING or ip",
        ),
        (r#"{foo="bar"} "foo""#, "parse error at line 1, col 13: syntax error: unexpected STRING"),
        (r#"{foo="bar"} foo"#, "parse error at line 1, col 13: syntax error: unexpected IDENTIFIER"),
        ("{", "parse error at line 1, col 2: syntax error: unexpected $end, expecting IDENTIFIER or }"),
        ("", "parse error : syntax error: unexpected $end"),
        (r#"unk({ foo = "bar" }[5m])"#, "parse error at line 1, col 1: syntax error: unexpected IDENTIFIER"),
        (
            r#"rate({ foo = "bar" }[5minutes])"#,
            "parse error at line 0, col 21: unknown unit \"minutes\" in duration \"5minutes\"",
        ),
        (r#"rate({ foo = "bar" }[5)"#, "parse error at line 0, col 21: missing closing ']' in duration"),
        (r#"min({ foo = "bar" }[5m])"#, "parse error at line 0, col 20: syntax error: unexpected RANGE"),
        (r#"stddev({ foo = "bar" })"#, "parse error at line 1, col 23: syntax error: unexpected )"),
        (
            r#"count without (rate({namespace="apps"}[15s]))"#,
            "parse error at line 1, col 16: syntax error: unexpected RATE, expecting IDENTIFIER or )",
        ),
        (
            r#"bottomk(he,count_over_time({ foo = "bar" }[5h]))"#,
            "parse error at line 1, col 9: syntax error: unexpected IDENTIFIER",
        ),
        (
            "vector(abc)",
            "parse error at line 1, col 8: syntax error: unexpected IDENTIFIER, expecting NUMBER",
        ),
        (
            r#"{ foo = "bar" }|logfmt|addr>=ip("1.2.3.4")"#,
            "parse error at line 1, col 30: syntax error: unexpected ip",
        ),
        (
            r#"label_replace(rate({ foo = "bar" }[5m]),"")"#,
            "parse error at line 1, col 43: syntax error: unexpected ), expecting ,",
        ),
        (
            r#"quantile_over_time(foo,{namespace="tns"} | unwrap latency [5m])"#,
            "parse error at line 1, col 20: syntax error: unexpected IDENTIFIER, expecting NUMBER or { or (",
        ),
        (
            r#"topk(count_over_time({ foo = "bar" }[5h]))"#,
            "parse error : parameter required for operation topk",
        ),
        (
            r#"bottomk(1.2,count_over_time({ foo = "bar" }[5h]))"#,
            "parse error : invalid parameter bottomk(1.2,",
        ),
        (
            r#"sum(3 ,count_over_time({ foo = "bar" }[5h]))"#,
            "parse error : unsupported parameter for operation sum(3,",
        ),
        (
            r#"absent_over_time({ foo = "bar" }[5h]) by (foo)"#,
            "parse error : grouping not allowed for absent_over_time aggregation",
        ),
        (
            r#"sum_over_time({app="foo"} | json [5m])"#,
            "parse error : invalid aggregation sum_over_time without unwrap",
        ),
        (
            r#"count_over_time({app="foo"} | unwrap foo [5m])"#,
            "parse error : invalid aggregation count_over_time with unwrap",
        ),
        (
            r#"{foo="bar"} + {foo="bar"}"#,
            "parse error : unexpected type for left leg of binary operation (+): *syntax.MatchersExpr",
        ),
        (
            r#"1 unless sum(count_over_time({foo="bar"}[5m]))"#,
            "parse error : unexpected literal for left leg of logical/set binary operation (unless): 1.000000",
        ),
        ("bool 1 > 1", "parse error at line 1, col 1: syntax error: unexpected bool"),
        (
            r#"{foo!="bar"}"#,
            "parse error : queries require at least one regexp or equality matcher that does not have an \
             empty-compatible value. For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will",
        ),
        (
            r#"1 + count_over_time({app=~".*"}[5m])"#,
            "parse error : queries require at least one regexp or equality matcher that does not have an \
             empty-compatible value. For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will",
        ),
        (r#"{foo="bar"} | unwrap x"#, "parse error at line 1, col 15: syntax error: unexpected unwrap"),
        (
            r#"{app="x"} | a=1 or"#,
            "parse error at line 1, col 19: syntax error: unexpected $end, expecting IDENTIFIER or (",
        ),
        (
            r#"count_over_time({app="x"}[1m],5)"#,
            "parse error at line 1, col 30: syntax error: unexpected ,, expecting )",
        ),
        (
            r#"{app="x"} | regexp "(?P<a>.)(?P<a>.)""#,
            "parse error : invalid regexp parser: duplicate extracted label name 'a'",
        ),
        (r#"{app=~"("}"#, "parse error : error parsing regexp: missing closing ): `(`"),
    ] {
        let error = parse(query).expect_err(query);
        assert_eq!(error.to_string(), expected, "{query}");
    }
}

#[test]
fn every_node_knows_its_place() {
    let query = r#"sum(rate({app="x"} |= "needle" | json [5m]))"#;
    let Expr::Metric(sum) = parse(query).expect("valid") else { panic!("a metric query") };
    assert_eq!(sum.span, Span { start: 0, end: query.len() });
    let MetricKind::Vector(vector) = sum.kind else { panic!("an aggregation") };
    assert_eq!(
        &query[vector.inner.span.start..vector.inner.span.end],
        r#"rate({app="x"} |= "needle" | json [5m])"#
    );
    let MetricKind::Range(range) = vector.inner.kind else { panic!("a range aggregation") };
    let log = range.range.log;
    let texts: Vec<&str> = log.stages.iter().map(|stage| &query[stage.span.start..stage.span.end]).collect();
    assert_eq!(texts, [r#"|= "needle""#, "| json"]);
    assert!(matches!(log.stages[1].kind, StageKind::Json(_)));
    let matcher = log.matchers[0].span;
    assert_eq!(&query[matcher.start..matcher.end], r#"app="x""#);
}

#[test]
fn no_query_overflows_the_stack() {
    let deep =
        |open: &str, close: &str, count: usize| format!("{}1{}", open.repeat(count), close.repeat(count));
    for query in [
        deep("(", ")", 60_000),
        deep("sum(", ")", 20_000),
        format!("{}1", "1^".repeat(60_000)),
        format!("vector(1){}", "+vector(1)".repeat(10_000)),
        format!(r#"{{a="b"}} | a=1{}"#, " and a=1".repeat(10_000)),
        format!(r#"{{a="b"}} | a=1{}"#, ",a=1".repeat(10_000)),
        format!(r#"{{a="b"}} | {}a=1"#, "(".repeat(60_000)),
    ] {
        assert!(parse(&query).is_err(), "{}…", &query[..40]);
    }
    assert!(parse(&format!("vector(1){}", "+vector(1)".repeat(200))).is_ok());
}

#[test]
fn selectors_of_label_routes_may_be_empty() {
    assert_eq!(parse_selector("{}").expect("everything"), []);
    assert_eq!(parse_selector(r#"{a="b"}"#).expect("valid"), [model::Matcher::equal("a", "b")]);
    assert!(parse_selector(r#"{a="b"} |= "c""#).is_err());
}

proptest::proptest! {
    #[test]
    fn any_text_gives_a_tree_or_an_error(text in "[a-z0-9{}()\\[\\]=~!|<>\"`,. \\\\#+*/%^-]{0,60}") {
        let _ = parse(&text);
    }
}

#[test]
fn long_queries_are_laid_out_in_lines() {
    let pretty = |query: &str| super::pretty(&parse(query).expect("a good query"));
    assert_eq!(pretty(r#"{app="a"}|="x"|json"#), r#"{app="a"} |= "x" | json"#);
    let long = r#"sum by (a) (rate({app="aaaaaaaaaaaaaaaaaaaaaaaaaaaa"} |= "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" | logfmt | level="error" | unwrap n | n>1 [5m] offset 1h)) / 2"#;
    // As Loki 3.7.8 answers.
    let want = r#"  sum by (a)(
    rate(
      {app="aaaaaaaaaaaaaaaaaaaaaaaaaaaa"}
        |= "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
        | logfmt
        | level="error"
        | unwrap n
        | n>1 [5m] offset 1h
    )
  )
/
  2"#;
    assert_eq!(pretty(long), want);
}

#[test]
fn variants_are_refused_with_loki_s_words() {
    for (query, expected) in [
        (
            r#"variants(count_over_time({a="b"}[5m]), rate({a="b"}[5m])) of ({a="b"}[5m])"#,
            "multi variant queries are disabled for this instance",
        ),
        (
            r#"variants(count_over_time({a="b"}[5m])) of ({a="b"})"#,
            "parse error at line 1, col 51: syntax error: unexpected )",
        ),
    ] {
        assert_eq!(parse(query).expect_err("is refused").to_string(), expected, "{query}");
    }
}
