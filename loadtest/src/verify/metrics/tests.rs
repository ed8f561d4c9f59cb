use clap::Parser;

use super::series::Found;
use super::{Group, MetricsTemplate, Sent, Template, Verdict, windows};
use crate::cli::LoadCli;
use crate::ledger::Outcome;
use crate::payload::templates;
use crate::verify::labels::Labels;

/// Two counters, 0 and 1, whose values grow by 1 and 2.
fn template() -> MetricsTemplate {
    let arguments = ["remote-write", "--series=2", "--batch=2", "--connections=1", "--rate=1"];
    let load = LoadCli::try_parse_from(arguments).expect("valid").load;
    match templates(&load, 2, None, "run").remove(0).remove(0) {
        Template::Metrics(template) => template,
        _ => panic!("metrics"),
    }
}

/// A request a second from second 1 on.
fn sent(outcomes: &[Outcome]) -> Vec<Sent> {
    let sent = |(round, outcome): (usize, &Outcome)| Sent {
        template: 0,
        round: round as u64,
        time_ns: (round as i64 + 1) * 1_000_000_000,
        outcome: *outcome,
    };
    outcomes.iter().enumerate().map(sent).collect()
}

/// Labels, or samples.
type Pairs<'a> = &'a [(&'a str, &'a str)];
type Samples<'a> = &'a [(f64, &'a str)];

/// What a store has of series 1, a counter from 1 on by 2; series 0, a gauge, has all it should.
fn compare(outcomes: &[Outcome], found: &[(Pairs<'_>, Samples<'_>)]) -> Verdict {
    let template = template();
    let labels = |series: u32, name: &str, more: Pairs<'_>| {
        let mut labels: Labels = template.labels(series, 0).into_iter().collect();
        labels.insert("__name__", name);
        more.iter().for_each(|(name, value)| labels.insert(name, value));
        labels
    };
    let gauge = (0..outcomes.len()).map(|round| {
        let value = ((round as f64 * 13.0) % 64.0) * 0.25;
        (round as f64 + 1.0, value.to_string())
    });
    let mut all = vec![Found { metric: labels(0, "loadtest_queue_depth", &[]), values: gauge.collect() }];
    for (more, values) in found {
        let values = values.iter().map(|(time, value)| (*time, (*value).to_owned())).collect();
        all.push(Found { metric: labels(1, "loadtest_requests_total", more), values });
    }
    let group = Group { slices: vec![(&template, sent(outcomes))], window: (0, 100_000), missed: 0 };
    group.compare(all, &["cluster".to_owned()])
}

fn faults(verdict: &Verdict) -> (u64, u64, u64) {
    (verdict.lost, verdict.duplicated, verdict.wrong)
}

#[test]
fn every_kind_of_fault_is_counted_as_such() {
    let outcomes = [Outcome::Acked, Outcome::Acked, Outcome::Uncertain];
    for (values, expected) in [
        (&[(1.0, "1"), (2.0, "3"), (3.0, "5")][..], (0, 0, 0)),
        // What was not acknowledged may be there or not.
        (&[(1.0, "1"), (2.0, "3")], (0, 0, 0)),
        (&[(1.0, "1")], (1, 0, 0)),
        (&[(1.0, "1"), (2.0, "3"), (2.0, "3")], (0, 1, 0)),
        (&[(1.0, "1"), (2.0, "3.5")], (0, 0, 1)),
        (&[(1.0, "1"), (1.5, "1"), (2.0, "3")], (0, 0, 1)),
    ] {
        let verdict = compare(&outcomes, &[(&[], values)]);
        assert_eq!((verdict.checked, faults(&verdict)), (4, expected), "{values:?}: {verdict:?}");
    }
}

#[test]
fn labels_are_compared_copies_are_doubles_and_split_series_are_no_loss() {
    let outcomes = [Outcome::Acked, Outcome::Acked];
    let all: Samples<'_> = &[(1.0, "1"), (2.0, "3")];
    for (found, expected) in [
        (&[(&[][..], all)][..], (0, 0, 0)),
        (&[(&[("otel_scope_name", "loadtest"), ("cluster", "a")], all)], (0, 0, 0)),
        (&[(&[("replica", "a")], all)], (0, 0, 2)),
        (&[(&[("otel_scope_name", "other")], all)], (0, 0, 2)),
        (&[(&[("http_route", "/other")], all)], (0, 0, 2)),
        (&[(&[], all), (&[("replica", "a")], all)], (0, 2, 0)),
        (&[(&[("replica", "a")], all), (&[], all)], (0, 2, 0)),
        (&[(&[("cluster", "a")], &all[..1]), (&[("cluster", "b")], &all[1..])], (0, 0, 1)),
    ] {
        let verdict = compare(&outcomes, found);
        assert_eq!((verdict.checked, faults(&verdict)), (4, expected), "{found:?}: {verdict:?}");
    }
}

#[test]
fn a_request_taken_in_part_must_have_the_rest() {
    let partly = |rejected| [Outcome::Partly { rejected }, Outcome::Acked];
    let (none, second): (Samples<'_>, Samples<'_>) = (&[], &[(2.0, "3")]);
    let verdict = compare(&partly(1), &[(&[], second)]);
    assert_eq!(
        (verdict.checked, faults(&verdict)),
        (3, (0, 0, 0)),
        "one of two was refused and is not there"
    );
    let verdict = compare(&partly(0), &[(&[], second)]);
    assert_eq!((verdict.checked, faults(&verdict)), (4, (1, 0, 0)), "{verdict:?}");
    assert_eq!(faults(&compare(&partly(1), &[(&[], none)])), (1, 0, 0), "the acknowledged one is lost");
}

#[test]
fn a_long_run_is_read_in_windows_that_hold_every_request_once() {
    let template = template();
    let all = sent(&[Outcome::Acked; 10]);
    let groups = windows(vec![(&template, all)], (-1000, 60_000), 6);
    let bounds: Vec<_> = groups.iter().map(|group| group.window).collect();
    assert_eq!(bounds, [(-1000, 3000), (3000, 6000), (6000, 8000), (8000, 60_000)]);
    let counts: Vec<_> = groups.iter().map(|group| group.slices[0].1.len()).collect();
    assert_eq!(counts, [2, 3, 2, 3]);
}
