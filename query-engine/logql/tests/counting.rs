//! What is counted from the store's rollups is what a look at every line counts, wherever entries lie and windows begin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use logql::{Engine, EngineSettings, QueryOutput, QueryParams, QueryResult};
use logstore::{LogStore, LogStoreSettings};
use model::{Direction, Labels, LogEntries, TenantId};
use proptest::prelude::*;
use runtime::{ManualClock, MemoryBudget, SimulatedDisk, Tasks};
use storage_api::{LogAppender, LogBatch, StreamEntries};
use tokio_util::sync::CancellationToken;

const NOW: i64 = 1_795_255_200_000_000_000;
const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
/// Entries lie from here on.
const BASE: i64 = NOW - 60 * MINUTE;

/// A line as the store keeps it, each once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    app: &'static str,
    time: i64,
    text: String,
    level: Option<&'static str>,
    trace: Option<&'static str>,
}

impl Line {
    fn label(&self, name: &str) -> Option<&str> {
        match name {
            "app" => Some(self.app),
            "detected_level" => self.level,
            "trace" => self.trace,
            _ => None,
        }
    }
}

struct Machine {
    store: Arc<LogStore>,
    engine: Engine,
    runtime: tokio::runtime::Runtime,
}

impl Machine {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let store = runtime.block_on(async {
            let settings = LogStoreSettings { page_bytes: 256, ..LogStoreSettings::default() };
            let (disk, clock) = (Arc::new(SimulatedDisk::new(1)), Arc::new(ManualClock::at_ns(NOW)));
            let budget = MemoryBudget::new(u64::MAX);
            let store = LogStore::open(disk, PathBuf::from("/logs"), settings, &Tasks::new(), clock, budget);
            store.expect("an empty store opens")
        });
        let engine = Engine::new(EngineSettings { threads: 2, ..EngineSettings::default() });
        Self { store: Arc::new(store), engine, runtime }
    }

    fn append(&self, lines: &[Line]) {
        let stream = |line: &Line| {
            let mut entries = LogEntries::new();
            let metadata = [("detected_level", line.level), ("trace", line.trace)];
            let present = metadata.iter().filter_map(|(name, value)| value.map(|value| (*name, value)));
            entries.push(line.time, &line.text, present);
            StreamEntries { labels: Labels::from_pairs([("app", line.app)]), entries }
        };
        let batch = LogBatch { streams: lines.iter().map(stream).collect() };
        self.runtime.block_on(self.store.append(&TenantId::default(), batch)).expect("an append");
    }

    fn flush(&self) {
        self.runtime.block_on(self.store.flush()).expect("a flush");
    }

    fn query(&self, query: &str, start_ns: i64, end_ns: i64, step_ns: i64) -> QueryOutput {
        let direction = Direction::Forward;
        let params = QueryParams { start_ns, end_ns, step_ns, limit: 1, direction, interval_ns: 0 };
        let (tenant, cancel) = (TenantId::default(), CancellationToken::new());
        let run = self.engine.query_range(query, params, &tenant, self.store.clone(), &cancel);
        self.runtime.block_on(run).unwrap_or_else(|error| panic!("{query}: {error}"))
    }
}

/// Labels and the values of steps, by milliseconds.
type Answer = BTreeMap<Vec<(String, String)>, Vec<(i64, f64)>>;

fn answer(output: QueryOutput) -> Answer {
    let QueryResult::Matrix(series) = output.result else {
        panic!("a metric query over a range gives a matrix")
    };
    let owned = |labels: &Labels| labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    series.into_iter().map(|series| (owned(&series.labels), series.points)).collect()
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    function: &'static str,
    /// The labels that are kept of `app`, `detected_level` and `trace`, and how that is written around the function.
    grouping: (&'static str, &'static [&'static str]),
    start: i64,
    step: i64,
    range: i64,
    offset: i64,
}

const STEPS: i64 = 9;
const GROUPINGS: [(&str, &[&str]); 7] = [
    ("", &["app", "detected_level", "trace"]),
    ("sum", &[]),
    ("sum by (app)", &["app"]),
    ("sum by (detected_level, not_there)", &["detected_level"]),
    ("sum by (app, detected_level)", &["app", "detected_level"]),
    ("sum by (app, trace)", &["app", "trace"]),
    ("sum without (app)", &["detected_level", "trace"]),
];

impl Asked {
    fn text(&self) -> String {
        let Self { function, range, offset, .. } = self;
        let offset = offset / SECOND;
        let inner = format!(r#"{function}({{app=~".+"}}[{}s] offset {offset}s)"#, range / SECOND);
        match self.grouping.0 {
            "" => inner,
            grouping => format!("{grouping} ({inner})"),
        }
    }

    /// From the definition: a look at each line for each step.
    fn expected(&self, lines: &BTreeSet<Line>) -> Answer {
        let mut answer = Answer::new();
        for time in (0..STEPS).map(|step| self.start + step * self.step) {
            let until = time - self.offset;
            let mut sums: BTreeMap<Vec<(String, String)>, (u64, usize)> = BTreeMap::new();
            for line in lines.iter().filter(|line| until - self.range < line.time && line.time <= until) {
                let kept =
                    self.grouping.1.iter().filter_map(|name| line.label(name).map(|value| (name, value)));
                let sum =
                    sums.entry(kept.map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect());
                let sum = sum.or_default();
                *sum = (sum.0 + 1, sum.1 + line.text.len());
            }
            for (labels, (count, bytes)) in sums {
                let seconds = (self.range / SECOND) as f64;
                let value = match self.function {
                    "count_over_time" => count as f64,
                    "rate" => count as f64 / seconds,
                    "bytes_over_time" => bytes as f64,
                    "bytes_rate" => bytes as f64 / seconds,
                    other => panic!("{other} has no definition here"),
                };
                answer.entry(labels).or_default().push((time / 1_000_000, value));
            }
        }
        answer
    }
}

/// Sums of rates are sums of quotients or quotients of sums: they may differ in the last digits.
fn same(left: &Answer, right: &Answer) -> bool {
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    left.len() == right.len()
        && left.iter().zip(right).all(|((labels, points), (other_labels, others))| {
            labels == other_labels
                && points.len() == others.len()
                && points.iter().zip(others).all(|(a, b)| a.0 == b.0 && close(a.1, b.1))
        })
}

fn line() -> impl Strategy<Value = Line> {
    // Edges of minutes on both sides, because they decide.
    let within = prop::sample::select(vec![0, 0, 1, 30 * SECOND, MINUTE - 1]);
    let app = prop::sample::select(vec!["a", "b", "c"]);
    let level = prop::sample::select(vec![None, Some("info"), Some("error")]);
    let trace = prop::sample::select(vec![None, None, None, None, None, Some("t")]);
    (app, 0..30i64, within, "[xyz]{1,40}", level, trace).prop_map(
        |(app, minute, within, text, level, trace)| Line {
            app,
            time: BASE + minute * MINUTE + within,
            text,
            level,
            // Streams without such metadata are counted by more questions.
            trace: trace.filter(|_| app == "c"),
        },
    )
}

fn asked() -> impl Strategy<Value = Asked> {
    let function = prop::sample::select(vec!["count_over_time", "rate", "bytes_over_time", "bytes_rate"]);
    let aligned = (0..20i64, 1..5i64, 1..8i64, -2..3i64).prop_map(|(start, step, range, offset)| {
        [start, step, range, offset].map(|minutes| minutes * MINUTE)
    });
    let shift = prop::sample::select(vec![
        [0i64; 4],
        [0; 4],
        [1, 0, 0, 0],
        [0, 30, 0, 0],
        [0, 0, 15, 0],
        [0, 0, 0, 7],
    ]);
    (function, prop::sample::select(GROUPINGS.to_vec()), aligned, shift).prop_map(
        |(function, grouping, aligned, shift)| {
            let at = |part: usize| aligned[part] + shift[part] * SECOND;
            Asked { function, grouping, start: BASE + at(0), step: at(1), range: at(2), offset: at(3) }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn counted_windows_are_what_a_look_at_every_line_gives(
        batches in prop::collection::vec((prop::collection::vec(line(), 1..40), any::<bool>()), 1..5),
        merges in any::<bool>(),
        questions in prop::collection::vec(asked(), 12),
    ) {
        let machine = Machine::new();
        let mut lines = BTreeSet::new();
        for (batch, flushes) in &batches {
            machine.append(batch);
            lines.extend(batch.iter().cloned());
            if *flushes {
                machine.flush();
            }
        }
        if merges {
            machine.runtime.block_on(machine.store.compact()).expect("a merge");
        }
        for asked in questions {
            let end = asked.start + (STEPS - 1) * asked.step;
            let got = answer(machine.query(&asked.text(), asked.start, end, asked.step));
            let expected = asked.expected(&lines);
            prop_assert!(same(&got, &expected), "{:?}\n got {:?}\nwant {:?}", asked, got, expected);
        }
    }
}

/// An entry each ten seconds in two streams, from `BASE` on.
fn steady(minutes: i64) -> Vec<Line> {
    let at = |index: i64, app| {
        let level = Some(if index % 6 == 0 { "error" } else { "info" });
        Line { app, time: BASE + index * 10 * SECOND, text: format!("line {index:06}"), level, trace: None }
    };
    (0..6 * minutes).flat_map(|index| ["a", "b"].map(|app| at(index, app))).collect()
}

#[test]
fn whole_flushed_minutes_are_counted_without_selecting_pages() {
    let machine = Machine::new();
    machine.append(&steady(40));
    machine.flush();
    let query = |text: &str, shift: i64| {
        machine.query(text, BASE + 10 * MINUTE + shift, BASE + 30 * MINUTE + shift, 5 * MINUTE)
    };
    for (text, series, value) in [
        (r#"sum by (app) (count_over_time({app=~"a|b"}[5m]))"#, 2, 30.0),
        (r#"sum by (detected_level) (count_over_time({app="a"}[5m] offset 2m))"#, 2, 5.0),
        (r#"sum(bytes_over_time({app="b"}[10m]))"#, 1, 60.0 * 11.0),
        (r#"sum(rate({app="b"}[1m]))"#, 1, 0.1),
    ] {
        let output = query(text, 0);
        let stats = output.stats.clone();
        assert_eq!((stats.pages_selected, stats.pages_read, stats.lines_processed), (0, 0, 0), "{text}");
        let answer = answer(output);
        assert_eq!(answer.len(), series, "{text}");
        let first = answer.values().next().expect("there are series");
        assert_eq!(first.iter().map(|point| point.1).collect::<Vec<_>>(), [value; 5], "{text}");
    }
    for (text, shift) in [
        (r#"sum(count_over_time({app=~"a|b"}[5m]))"#, SECOND),
        (r#"sum(count_over_time({app=~"a|b"}[90s]))"#, 0),
        (r#"sum(count_over_time({app=~"a|b"} |= "line" [5m]))"#, 0),
        (r#"count_over_time({app=~"a|b"}[5m])"#, 0),
    ] {
        assert!(query(text, shift).stats.pages_selected > 0, "{text} needs the lines");
    }
}

#[test]
fn quiet_minutes_at_the_ends_of_a_window_need_no_pages() {
    let machine = Machine::new();
    let quiet = |index: i64| Line { time: BASE + index * 7 * MINUTE, ..steady(1)[0].clone() };
    machine.append(&(0..8).map(quiet).collect::<Vec<_>>());
    machine.flush();
    for (minute, count) in [(18, Some(1.0)), (20, None), (45, Some(1.0))] {
        let time = BASE + minute * MINUTE;
        let output = machine.query(r#"sum(count_over_time({app="a"}[5m]))"#, time, time, MINUTE);

        assert_eq!(output.stats.pages_selected, 0, "{minute}");
        let expected = count.map(|count| (Vec::new(), vec![(time / 1_000_000, count)]));
        assert_eq!(answer(output), expected.into_iter().collect(), "{minute}");
    }
}

#[test]
fn only_minutes_that_are_not_counted_are_read() {
    let machine = Machine::new();
    let lines = steady(40);
    let (flushed, fresh) = lines.split_at(2 * 6 * 30);
    machine.append(flushed);
    machine.flush();
    machine.append(fresh);
    let text = r#"sum(count_over_time({app="a"}[40m]))"#;
    let output = machine.query(text, BASE + 40 * MINUTE, BASE + 40 * MINUTE, MINUTE);
    assert_eq!(output.stats.lines_processed, 6 * 10, "those in memory");
    assert_eq!(answer(output), Answer::from([(Vec::new(), vec![((BASE + 40 * MINUTE) / 1_000_000, 239.0)])]));
}
