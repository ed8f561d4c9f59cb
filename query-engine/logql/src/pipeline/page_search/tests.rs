use model::LogEntries;
use proptest::prelude::*;

use super::LineSearch;
use crate::pipeline::line_filter::CompiledLineFilter;
use crate::syntax::{Expr, StageKind, parse};

/// The filters of `{a="b"} <filters>`.
fn filters(text: &str) -> Vec<CompiledLineFilter> {
    let Expr::Log(log) =
        parse(&format!("{{a=\"b\"}} {text}")).unwrap_or_else(|error| panic!("{text}: {error}"))
    else {
        panic!("{text} is a log query");
    };
    let compile = |kind: &StageKind| match kind {
        StageKind::LineFilter(filter) => CompiledLineFilter::compile(filter).expect("valid filter"),
        other => panic!("{other:?} is no line filter"),
    };
    log.stages.iter().map(|stage| compile(&stage.kind)).collect()
}

fn page(lines: &[String]) -> LogEntries {
    let mut entries = LogEntries::new();
    for (line, time) in lines.iter().zip(0..) {
        entries.push(time, line, []);
    }
    entries
}

#[test]
fn a_page_gives_the_lines_that_match() {
    let lines: Vec<String> = ["error: disk full", "", "ok", "ERROR again", "no err", "or", "5 errors"]
        .iter()
        .map(|line| (*line).to_owned())
        .collect();
    let entries = page(&lines);
    let check = |filter: &str, expected: &[u32]| {
        let mut found = Vec::new();
        LineSearch::new(filters(filter)).select(&entries, 0..entries.len(), &mut found);
        assert_eq!(found, expected, "{filter}");
    };
    check(r#"|= "error""#, &[0, 6]);
    check(r#"|= "" "#, &[0, 1, 2, 3, 4, 5, 6]);
    check(r#"!= "" "#, &[]);
    check(r#"!= "err""#, &[1, 2, 3, 5]);
    check(r#"!= "err" or "ok""#, &[1, 3, 5]);
    check(r#"|~ "(?i)error""#, &[0, 3, 6]);
    check(r#"|~ "(?i)DISK fu.l""#, &[0]);
    check(r#"|~ "(?i)or5""#, &[]);
    check(r#"!~ "(?i)error""#, &[1, 2, 4, 5]);
    check(r#"|= "err" != "disk""#, &[4, 6]);
    check(r#"|= "disk" or "again""#, &[0, 3]);
    check(r#"|> "<_> err""#, &[4]);
    check(r#"|> "<_> errors""#, &[6]);
    check(r#"!> "<_>error<_>""#, &[0, 1, 2, 3, 4, 5]);
    check(r#"|~ "^or$""#, &[5]);
    // Lines lie without separators: "or" + "5" must not give "or5".
    check(r#"|= "or5""#, &[]);
    check(r#"!= "or5""#, &[0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn only_certain_texts_are_given_to_the_store() {
    let check = |filter: &str, expected: &[&[&str]]| {
        assert_eq!(LineSearch::new(filters(filter)).contained_texts(), expected, "{filter}");
    };
    check(r#"|= "aBc""#, &[&["abc"]]);
    check(r#"|= "abc" |= "de" != "f""#, &[&["abc"], &["de"]]);
    check(r#"|= "abc" or "de""#, &[&["abc", "de"]]);
    check(r#"|= "abc" or """#, &[]);
    check(r#"|~ "abc.*[0-9]+xy""#, &[&["abc"], &["xy"]]);
    check(r#"|~ "abc|abd""#, &[&["abc", "abd"]]);
    check(r#"|~ "abc|.*""#, &[]);
    check(r#"|~ "(?i)aBc""#, &[&["abc"]]);
    // The long s and the Kelvin sign are spellings of s and k.
    check(r#"|~ "(?i)ask""#, &[&["ask", "as\u{212a}", "a\u{17f}k", "a\u{17f}\u{212a}"]]);
    check(r#"|~ "(?i)é""#, &[&["É", "é"]]);
    check(r#"|~ "(abc)?""#, &[]);
    check(r#"|> "<_> abc <_> de""#, &[&[" abc "], &[" de"]]);
    check(r#"|= """#, &[]);
    check(r#"|= ip("1.2.3.4")"#, &[]);
}

fn filter_text() -> impl Strategy<Value = String> {
    let text = "[abAB.]{0,3}";
    let regex = prop_oneof![
        "[ab.]{1,3}",
        "(?:\\(\\?i\\))?[ab]{1,2}\\.\\*[abAB]{1,2}",
        Just("a|bb|AB".to_owned()),
        Just("(ab|b)+A".to_owned()),
        Just("(?i)kAs".to_owned()),
        Just("(?i)baabab".to_owned()),
        Just("(?i)ab[ab]bab|BAAA".to_owned()),
        Just("^a.?b$".to_owned()),
        Just("[ab]b{2}".to_owned()),
        Just(".*".to_owned()),
    ];
    let quoted = |op: &'static str| move |text: String| format!("{op} {text:?}");
    prop_oneof![
        text.prop_map(quoted("|=")),
        text.prop_map(quoted("!=")),
        (text, text).prop_map(|(a, b)| format!("|= {a:?} or {b:?}")),
        (text, text).prop_map(|(a, b)| format!("!= {a:?} or {b:?}")),
        regex.clone().prop_map(quoted("|~")),
        regex.prop_map(quoted("!~")),
        Just("|> \"<_>a<_>\"".to_owned()),
        Just("!> \"<_>b\"".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// SEARCH-1, and LITERALS-1 with it: a page search equals a search line by line.
    #[test]
    fn a_page_search_equals_one_line_by_line(
        lines in prop::collection::vec("[abAB.\u{17f}\u{212a}\n]{0,6}|[abAB]{4,9}", 0..30),
        texts in prop::collection::vec(filter_text(), 1..4),
        cut in (0usize..30, 0usize..30),
    ) {
        let entries = page(&lines);
        let filters = filters(&texts.join(" "));
        let range = cut.0.min(lines.len())..cut.1.min(lines.len());
        let range = range.start..range.end.max(range.start);
        let brute: Vec<u32> = range
            .clone()
            .filter(|&line| filters.iter().all(|filter| filter.matches(&lines[line])))
            .map(|line| u32::try_from(line).expect("few lines"))
            .collect();
        let search = LineSearch::new(filters);
        let mut found = Vec::new();
        search.select(&entries, range, &mut found);
        prop_assert_eq!(&found, &brute);
        for line in found {
            let line = lines[line as usize].to_ascii_lowercase();
            for texts in search.contained_texts() {
                prop_assert!(texts.iter().any(|text| line.contains(text)), "{:?} in {:?}", texts, line);
            }
        }
    }
}
