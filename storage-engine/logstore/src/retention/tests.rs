use std::time::Duration;

use model::{Labels, Matcher, TenantId};

use super::{RetentionRules, StreamRetention, TenantRetention};

const HOUR_NS: i64 = 3_600_000_000_000;

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

fn rule(app: &str, priority: i32, period: u64) -> StreamRetention {
    StreamRetention { matchers: vec![Matcher::equal("app", app)], priority, period: hours(period) }
}

#[test]
fn the_rule_that_holds_is_the_tenants_then_the_most_important_then_the_shortest() {
    let tenant = |name: &str| TenantId::new(name).expect("a tenant");
    let of_a = TenantRetention { period: Some(hours(200)), streams: vec![rule("web", 1, 48)] };
    let rules = RetentionRules {
        period: hours(100),
        streams: vec![
            rule("web", 5, 24),
            rule("api", 1, 72),
            rule("api", 1, 36),
            rule("api", 0, 12),
            rule("keep", 1, 0),
        ],
        tenants: [(tenant("a"), of_a)].into(),
    };
    let check = |name: &str, app: &str, expected: i64| {
        let found = rules.of_stream_ns(&tenant(name), &Labels::from_pairs([("app", app)]));
        assert_eq!(found, expected, "{name} {app}");
    };
    check("a", "web", 48 * HOUR_NS);
    check("b", "web", 24 * HOUR_NS);
    check("a", "api", 36 * HOUR_NS);
    check("b", "other", 100 * HOUR_NS);
    check("a", "other", 200 * HOUR_NS);
    check("b", "keep", i64::MAX);
    assert_eq!(rules.shortest_ns(&tenant("b")), 12 * HOUR_NS);
    assert!(!RetentionRules::uniform(hours(1)).has_streams(&tenant("a")));
}
