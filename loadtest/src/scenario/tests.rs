use super::parse;
use crate::cli::{Load, Rate};

#[test]
fn a_load_has_the_options_of_its_subcommand() {
    let loads = parse(
        "defaults: {duration: 3s}
loads:
  ingest: {kind: otlp, signal: logs, rate: 500, threshold: ['p(99)<1s', errors<0.01], verify: true}
  ask: {kind: promql, query: [up, 'sum(up)'], duration: 4s}
",
    )
    .expect("valid");
    let [(ask, Load::Promql(queries)), (ingest, Load::Otlp(otlp))] = loads.as_slice() else {
        panic!("{loads:?}")
    };
    assert_eq!((ask.as_str(), ingest.as_str()), ("ask", "ingest"));
    assert_eq!(queries.query, ["up", "sum(up)"]);
    assert_eq!((queries.pace.duration.as_secs(), otlp.sending.pace.duration.as_secs()), (4, 3));
    assert_eq!(
        (otlp.sending.pace.rate, otlp.sending.pace.thresholds.len(), otlp.sending.proof.verify),
        (Some(Rate::Items(500.0)), 2, true)
    );
}

#[test]
fn a_default_goes_to_the_loads_that_know_it_and_say_nothing_else() {
    let loads = parse(
        "defaults: {verify: true, duration: 3s, rate: 7, query: up}
rate: 1000
loads:
  ask: {kind: promql}
  staged: {kind: otlp, stages: '5s:100'}
  write: {kind: remote-write, weight: 1}
",
    )
    .expect("valid");
    let [(_, ask), (_, staged), (_, write)] = loads.as_slice() else { panic!("{loads:?}") };
    assert!(ask.proof().is_none());
    assert_eq!((ask.rate(), ask.pace().duration.as_secs()), (Rate::Items(7.0), 3));
    assert!(staged.proof().expect("data").verify && write.proof().expect("data").verify);
    assert!(staged.pace().stages.is_some(), "which exclude a duration");
    assert_eq!(write.rate(), Rate::Items(1000.0), "its weight says how fast it is");
}

#[test]
fn weights_share_the_rate() {
    let loads = parse(
        "{rate: 1000, loads: {a: {kind: otlp, weight: 3}, b: {kind: loki-push, weight: 1}, c: {kind: logql, rate: 7}}}",
    )
    .expect("valid");
    let rates: Vec<_> = loads.iter().map(|(_, load)| load.rate()).collect();
    assert_eq!(rates, [Rate::Items(750.0), Rate::Items(250.0), Rate::Items(7.0)]);
}

#[test]
fn mistakes_name_the_load_and_the_key() {
    for (text, parts) in [
        ("{loads: {a: {kind: otlp, spead: 3}}}", ["loads.a", "--spead"]),
        ("{loads: {a: {signal: logs}}}", ["loads.a", "kind is missing"]),
        ("{loads: {a: {kind: otlp, weight: 0}}}", ["loads.a.weight", "above 0"]),
        ("{loads: {a: {kind: otlp, weight: 1}}}", ["weights", "set rate"]),
        ("{rate: 9, loads: {a: {kind: otlp, weight: 1, rate: 3}}}", ["loads.a", "a weight and rate;"]),
        (
            "{rate: 9, loads: {a: {kind: otlp, weight: 1, rate-per-connection: 3}}}",
            ["loads.a", "a weight and rate-per-connection;"],
        ),
        ("{defaults: {spead: 3}, loads: {a: {kind: otlp}}}", ["defaults.spead", "any load"]),
        ("{loads: {}}", ["loads", "at least one"]),
        ("{load: {}}", ["load", "unknown"]),
        ("{loads: {a: {kind: otlp, endpoint: 'ftp://a'}}}", ["loads.a", "https"]),
    ] {
        let error = format!("{:#}", parse(text).expect_err(text));
        for part in parts {
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(
            error.matches("unknown field").count(),
            usize::from(text == "{load: {}}"),
            "said once: {error}"
        );
    }
}
