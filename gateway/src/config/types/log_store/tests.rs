use std::time::Duration;

use model::TenantId;

use super::LogStoreConfig;

fn read(text: serde_json::Value) -> Result<LogStoreConfig, String> {
    serde_json::from_value(text).map_err(|error| error.to_string())
}

#[test]
fn retention_is_read_as_loki_writes_it() {
    let config = read(serde_json::json!({
        "retention": "10d",
        "retention_stream": [{"selector": "{namespace=\"dev\"}", "priority": 1, "period": "24h"}],
        "overrides": {"a": {"retention_period": "2d"}, "b": {"retention_stream": [{"selector": "{app=~\"x.*\"}", "period": "0s"}]}},
    }));
    let rules = config.expect("a good config").retention_rules().expect("good tenants");
    let day = Duration::from_secs(86_400);
    assert_eq!(rules.period, 10 * day);
    assert_eq!((rules.streams[0].priority, rules.streams[0].period), (1, day));
    assert_eq!(rules.streams[0].matchers[0].name(), "namespace");
    let own = |name: &str| &rules.tenants[&TenantId::new(name).expect("a tenant")];
    assert_eq!(own("a").period, Some(2 * day));
    assert_eq!((own("b").period, own("b").streams.len()), (None, 1));
}

#[test]
fn what_is_no_selector_or_no_tenant_is_refused_by_name() {
    for selector in ["app", "{}", "{app=\"x\"} |= \"y\"", "{app=~\"(\"}"] {
        let rules = serde_json::json!({"retention_stream": [{"selector": selector, "period": "24h"}]});
        let error = read(rules).map(|_| ()).expect_err("no selector");
        assert!(error.contains("is no stream selector"), "{error}");
    }
    let config = read(serde_json::json!({"overrides": {"a/b": {}}})).expect("it parses");
    assert!(config.retention_rules().expect_err("no tenant").contains("storage::logs::overrides::a/b"));
}
