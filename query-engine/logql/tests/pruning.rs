//! A search through the store's page signatures finds what a look at every line finds, for random texts, filters and
//! regular expressions.

use std::path::PathBuf;
use std::sync::Arc;

use logql::{Engine, EngineSettings, QueryParams, QueryResult};
use logstore::{LogStore, LogStoreSettings};
use model::{Direction, Labels, LogEntries, TenantId};
use proptest::prelude::*;
use regex::Regex;
use runtime::{ManualClock, MemoryBudget, SimulatedDisk, Tasks};
use storage_api::{LogAppender, LogBatch, StreamEntries};
use tokio_util::sync::CancellationToken;

const NOW: i64 = 1_795_255_200_000_000_000;

/// A store whose entries are in files of many small pages, and what its queries give.
struct Searched {
    store: Arc<LogStore>,
    engine: Engine,
    runtime: tokio::runtime::Runtime,
}

impl Searched {
    fn new(lines: &[String]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let store = runtime.block_on(async {
            let settings =
                LogStoreSettings { page_bytes: 256, page_signatures: true, ..LogStoreSettings::default() };
            let (disk, clock) = (Arc::new(SimulatedDisk::new(1)), Arc::new(ManualClock::at_ns(NOW)));
            let budget = MemoryBudget::new(u64::MAX);
            let store = LogStore::open(disk, PathBuf::from("/logs"), settings, &Tasks::new(), clock, budget);
            let store = store.expect("an empty store opens");
            let stream = |app: &str, parity: usize| {
                let mut entries = LogEntries::new();
                for (at, line) in lines.iter().enumerate().filter(|(at, _)| at % 2 == parity) {
                    entries.push(NOW - lines.len() as i64 + at as i64, line, []);
                }
                StreamEntries { labels: Labels::from_pairs([("app", app)]), entries }
            };
            let batch = LogBatch { streams: vec![stream("a", 0), stream("b", 1)] };
            store.append(&TenantId::default(), batch).await.expect("an append");
            store.flush().await.expect("a flush");
            store
        });
        let engine = Engine::new(EngineSettings { threads: 2, ..EngineSettings::default() });
        Self { store: Arc::new(store), engine, runtime }
    }

    /// Lines in time order, and how many pages the store offered for them.
    fn search(&self, query: &str) -> (Vec<String>, u64) {
        let params = QueryParams {
            start_ns: 0,
            end_ns: NOW + 1,
            step_ns: 1,
            limit: 5000,
            direction: Direction::Forward,
            interval_ns: 0,
        };
        let (tenant, cancel) = (TenantId::default(), CancellationToken::new());
        let run = self.engine.query_range(query, params, &tenant, self.store.clone(), &cancel);
        let output = self.runtime.block_on(run).unwrap_or_else(|error| panic!("{query}: {error}"));
        let QueryResult::Streams(streams) = output.result else { panic!("{query} gives streams") };
        (streams.entries.into_iter().map(|entry| entry.line).collect(), output.stats.pages_selected)
    }
}

/// A filter as text, and what it means.
#[derive(Clone, Debug)]
enum Filter {
    Contains(String),
    ContainsNot(String),
    Matches(String),
    MatchesNot(String),
    /// One of two texts.
    Either(String, String),
    /// `level=<text>` of a line such as `level=info msg`, after the logfmt parser.
    Level(String),
}

impl Filter {
    fn text(&self) -> String {
        match self {
            Self::Contains(text) => format!("|= {}", logql::syntax::quoted(text)),
            Self::ContainsNot(text) => format!("!= {}", logql::syntax::quoted(text)),
            Self::Matches(regex) => format!("|~ {}", logql::syntax::quoted(regex)),
            Self::MatchesNot(regex) => format!("!~ {}", logql::syntax::quoted(regex)),
            Self::Either(a, b) => format!("|= {} or {}", logql::syntax::quoted(a), logql::syntax::quoted(b)),
            Self::Level(level) => format!("| logfmt | level={}", logql::syntax::quoted(level)),
        }
    }

    fn keeps(&self, line: &str) -> bool {
        let regex = |text: &str| Regex::new(text).expect("a good expression");
        match self {
            Self::Contains(text) => line.contains(text.as_str()),
            Self::ContainsNot(text) => !line.contains(text.as_str()),
            Self::Matches(text) => regex(text).is_match(line),
            Self::MatchesNot(text) => !regex(text).is_match(line),
            Self::Either(a, b) => line.contains(a.as_str()) || line.contains(b.as_str()),
            Self::Level(level) => {
                line.strip_prefix("level=").is_some_and(|rest| rest.split(' ').next() == Some(level))
            }
        }
    }
}

/// Few characters, so that texts often occur and often share parts; some take several bytes or have two cases, `k` and
/// `s` three each: the Kelvin sign and the long s.
fn word() -> impl Strategy<Value = String> {
    "[abABkKsS\u{212a}\u{17f}éÉ1日_.]{1,12}"
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::collection::vec(word(), 1..5).prop_map(|words| words.join(" ")),
        1 => (word(), "(info|warn|error)").prop_map(|(word, level)| format!("level={level} {word}")),
        1 => "[0-9a-f]{24}",
        // What makes a page of its own, with many grams or few.
        1 => "[ -~]{200,400}",
        1 => "(a|ab| ){300}",
    ]
}

fn filter(lines: Vec<String>) -> impl Strategy<Value = Filter> {
    // Half of the texts are cut out of lines that are there.
    let piece = (prop::sample::select(lines), 0usize..24, 1usize..16).prop_map(|(line, skip, take)| {
        line.chars().skip(skip % line.chars().count().max(1)).take(take).collect::<String>()
    });
    let text = prop_oneof![piece, word()].boxed();
    let escaped = text.clone().prop_map(|text| regex::escape(&text)).boxed();
    let regex = prop_oneof![
        escaped.clone(),
        escaped.clone().prop_map(|text| format!("(?i){text}")),
        (escaped.clone(), escaped.clone()).prop_map(|(a, b)| format!("{a}|{b}")),
        (escaped.clone(), escaped.clone()).prop_map(|(a, b)| format!("{a}.*{b}")),
        (escaped.clone(), escaped.clone()).prop_map(|(a, b)| format!("(?:{a})?{b}")),
        (escaped.clone(), escaped.clone()).prop_map(|(a, b)| format!("{a}[ab1]+{b}")),
        (escaped.clone(), escaped.clone()).prop_map(|(a, b)| format!("(?i)(?:{a}|{b})[éb]?")),
        escaped.prop_map(|text| format!("^{text}|{text}$")),
    ]
    .boxed();
    prop_oneof![
        4 => text.clone().prop_map(Filter::Contains),
        1 => text.clone().prop_map(Filter::ContainsNot),
        2 => (text.clone(), text).prop_map(|(a, b)| Filter::Either(a, b)),
        4 => regex.clone().prop_map(Filter::Matches),
        1 => regex.prop_map(Filter::MatchesNot),
        1 => "(info|warn|error|debug)".prop_map(Filter::Level),
    ]
}

fn cases() -> impl Strategy<Value = (Vec<String>, Vec<Vec<Filter>>)> {
    prop::collection::vec(line(), 50..200).prop_flat_map(|lines| {
        let filters = prop::collection::vec(prop::collection::vec(filter(lines.clone()), 1..3), 8);
        (Just(lines), filters)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_pruned_search_finds_what_a_look_at_every_line_finds((lines, searches) in cases()) {
        let searched = Searched::new(&lines);
        for filters in searches {
            // A label filter changes no line, so that line filters behind it mean the same.
            let texts: Vec<String> = filters.iter().map(Filter::text).collect();
            let query = format!(r#"{{app=~".+"}} {}"#, texts.join(" "));
            let want: Vec<String> =
                lines.iter().filter(|line| filters.iter().all(|filter| filter.keeps(line))).cloned().collect();
            let (got, _) = searched.search(&query);
            prop_assert_eq!(got, want, "{}", query);
        }
    }
}

#[test]
fn pages_without_the_text_are_left_out() {
    let lines: Vec<String> =
        (0..2000).map(|at| format!("request {at:06} of {:032x}", at * 7919 + 13)).collect();
    let searched = Searched::new(&lines);
    let (_, all) = searched.search(r#"{app=~".+"}"#);
    let (found, offered) = searched.search(r#"{app=~".+"} |= "request 001234 of""#);
    assert_eq!(found, [lines[1234].clone()]);
    assert!(offered * 4 < all, "{offered} of {all} pages");
    let (found, offered) = searched.search(r#"{app=~".+"} |= "feedfacefeedface""#);
    assert!(found.is_empty());
    assert!(offered * 20 < all, "{offered} of {all} pages");
}
