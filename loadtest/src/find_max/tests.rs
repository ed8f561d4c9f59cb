use super::{Bounds, PROBES_MAX};

/// Searches for a limit that is known; the rate found.
fn search(limit: f64, first: f64) -> Option<f64> {
    let mut bounds = Bounds::default();
    for _ in 0..PROBES_MAX {
        let Some(rate) = bounds.next(first, 0.05) else { break };
        bounds.learn(rate, rate <= limit);
    }
    bounds.passed
}

#[test]
fn the_search_ends_close_below_the_limit_from_either_side() {
    for (limit, first) in [(10_000.0, 8000.0), (10_000.0, 30_000.0), (10_000.0, 1000.0), (37.0, 500.0)] {
        let found = search(limit, first).expect("found");
        assert!(found <= limit && found >= limit * 0.95, "{found} of {limit} from {first}");
    }
}

#[test]
fn an_endpoint_that_takes_nothing_ends_the_search() {
    assert_eq!(search(0.0, 1000.0), None);
}
