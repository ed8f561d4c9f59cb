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
        ("{loads: {}}", ["loads", "at least one"]),
        ("{load: {}}", ["load", "unknown"]),
        ("{loads: {a: {kind: otlp, endpoint: 'ftp://a'}}}", ["loads.a", "https"]),
    ] {
        let error = format!("{:#}", parse(text).expect_err(text));
        for part in parts {
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
