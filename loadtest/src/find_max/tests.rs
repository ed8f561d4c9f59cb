use super::{Bounds, PROBES_MAX};

/// Searches for a limit that is known; the rate found.
fn search(limit: f64, first: f64) -> Option<f64> {
    let mut bounds = Bounds::default();
    for _ in 0..PROBES_MAX {
        let Some(rate) = bounds.next(first, 0.05) else { break };
        bounds.learn(rate, rate <= limit, false);
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

/// (closed rate, was this side the limit of it, probes as rate, passed, own limit) and who ended the search.
#[test]
fn who_ended_the_search_is_known_from_the_lowest_rate_that_failed() {
    for (closed, is_closed_own, probes, is_own) in [
        (1000.0, false, &[(1040.0, false, true), (920.0, false, false), (800.0, true, false)][..], false),
        (1000.0, false, &[(800.0, true, false), (1040.0, false, true), (1200.0, false, false)], true),
        // A closed loop of this side does no more, so that what fails near it says nothing of the endpoint.
        (1000.0, true, &[(800.0, true, false), (1040.0, false, false)], true),
        (1000.0, true, &[(800.0, false, false), (480.0, true, false)], false),
        (1000.0, true, &[], true),
        (1000.0, false, &[], false),
    ] {
        let mut bounds = Bounds::default();
        probes.iter().for_each(|(rate, passed, own)| bounds.learn(*rate, *passed, *own));
        assert_eq!(bounds.is_generator_limit(closed, is_closed_own), is_own, "{probes:?}");
    }
}
