use model::{MatchOp, Matcher, TimeRange};

use super::Seen;
use crate::proto::{InfoResponse, LabelSet, StoreInfo};
use crate::testing::labels;

fn seen(sets: &[&[(&str, &str)]]) -> Seen {
    Seen::of(&InfoResponse {
        label_sets: sets.iter().map(|set| LabelSet::of(&labels(set))).collect(),
        component_type: "sidecar".to_owned(),
        store: Some(StoreInfo { min_time: 100, max_time: 200, ..StoreInfo::default() }),
        ..InfoResponse::default()
    })
}

/// The rules of `LabelSetsMatch` and `storeMatches` in pkg/store/proxy.go.
#[test]
fn stores_are_left_out_that_cannot_have_what_is_asked_for() {
    let check = |sets: &[&[(&str, &str)]], (name, op, value): (&str, MatchOp, &str), want| {
        let matchers = [Matcher::new(name, op, value).expect("good")];
        let may = seen(sets).may_have(TimeRange::new(150, 160), &matchers);
        assert_eq!(may, want, "{sets:?} {matchers:?}");
    };
    check(&[], ("a", MatchOp::Equal, "1"), true);
    check(&[&[("a", "1")]], ("b", MatchOp::Equal, "1"), true);
    check(&[&[("a", "1")]], ("a", MatchOp::Equal, "1"), true);
    check(&[&[("a", "1")]], ("a", MatchOp::Equal, "2"), false);
    check(&[&[("a", "1")]], ("a", MatchOp::NotEqual, "1"), false);
    check(&[&[("a", "1")]], ("a", MatchOp::Regex, "1|2"), true);
    check(&[&[("a", "1")], &[("a", "2")]], ("a", MatchOp::Equal, "2"), true);
    check(&[&[("a", "1"), ("b", "2")]], ("b", MatchOp::NotRegex, "2"), false);
    for (min, max, want) in [(0, 99, false), (0, 100, true), (200, 300, true), (201, 300, false)] {
        assert_eq!(seen(&[]).may_have(TimeRange::new(min, max), &[]), want, "{min} to {max}");
    }
}

#[test]
fn an_endpoint_without_the_store_api_has_no_series() {
    let seen =
        Seen::of(&InfoResponse { component_type: "query-frontend".to_owned(), ..InfoResponse::default() });
    assert!(!seen.may_have(TimeRange::ALL, &[]));
    assert_eq!(seen.component, "unknown-store-api");
    assert!(Seen::everything().may_have(TimeRange::ALL, &[Matcher::equal("a", "1")]));
}

#[tokio::test]
async fn a_name_stands_for_every_address_it_has() {
    let tasks = runtime::Tasks::new();
    let clock: std::sync::Arc<dyn runtime::Clock> = std::sync::Arc::new(runtime::SystemClock);
    let settings = |address: &str| super::EndpointSettings {
        address: address.to_owned(),
        strict: true,
        ..super::EndpointSettings::default()
    };
    // An address is a name of itself, which asks no server; nothing listens there.
    let both = [settings("dns+127.0.0.1:1"), settings("127.0.0.1:2")];
    let set = super::EndpointSet::start(&both, clock.clone(), &tasks).expect("good settings");
    set.known().await;
    let mut addresses: Vec<String> = set.living().into_iter().map(|(one, _)| one.address.clone()).collect();
    addresses.sort();
    assert_eq!(addresses, ["127.0.0.1:1", "127.0.0.1:2"]);
    assert!(super::EndpointSet::start(&[settings("dns+host")], clock, &tasks).is_err(), "it has no port");
}

#[tokio::test]
async fn a_store_that_is_left_out_is_lacking_unless_nobody_asked_for_it() {
    let tasks = runtime::Tasks::new();
    let clock: std::sync::Arc<dyn runtime::Clock> = std::sync::Arc::new(runtime::SystemClock);
    let one = super::EndpointSettings { address: "127.0.0.1:1".to_owned(), ..Default::default() };
    let set = super::EndpointSet::start(&[one], clock.clone(), &tasks).expect("good settings");
    set.known().await;
    assert!(set.living().is_empty());
    assert!(set.lacks(TimeRange::ALL, &[], |_| true), "nobody knows what it has");
    assert!(!set.lacks(TimeRange::ALL, &[], |address| address != "127.0.0.1:1"));
    let none = super::EndpointSet::start(&[], clock, &tasks).expect("good settings");
    assert!(!none.lacks(TimeRange::ALL, &[], |_| true));
}
