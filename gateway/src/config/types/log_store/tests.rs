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
    assert!(config.retention_rules().expect_err("no tenant").contains("\"a/b\" contains '/'"));
}

#[test]
fn limits_have_lokis_names_and_a_tenant_changes_single_ones() {
    let config = read(serde_json::json!({
        "limits": {"ingestion_rate_mb": 4, "ingestion_burst_size_mb": 6.5, "max_line_size": "1KB", "creation_grace_period": "1m"},
        "overrides": {"a": {"limits": {"max_line_size": 7, "max_global_streams_per_user": 5000}}},
    }));
    let (all, own) = config.expect("a good config").limits().expect("good tenants");
    assert_eq!((all.ingest_bytes_per_second, all.ingest_burst_bytes), (4_194_304.0, 6_815_744.0));
    assert_eq!((all.line_bytes_max, all.creation_grace), (1024, Duration::from_secs(60)));
    assert_eq!((all.label_names_max, all.metadata_bytes_max, all.metadata_pairs_max), (15, 65_536, 128));
    let a = &own[&TenantId::new("a").expect("a tenant")];
    assert_eq!((a.line_bytes_max, a.streams_max, a.ingest_burst_bytes), (7, 5000, 6_815_744.0));
    for (limits, wants) in [
        (serde_json::json!({"ingestion_rate_mb": 0}), "0 MB are not possible"),
        (serde_json::json!({"max_line_size": "1GB"}), "at most 4194304 are"),
        (serde_json::json!({"max_streams": 1}), "unknown field `max_streams`"),
    ] {
        let error = read(serde_json::json!({"limits": limits})).map(|_| ()).expect_err("not possible");
        assert!(error.contains(wants), "{error}");
    }
}

#[test]
fn limits_of_0_are_none_where_loki_has_none_then() {
    let config = read(serde_json::json!({
        "limits": {
            "max_line_size": 0, "max_structured_metadata_size": "0", "max_structured_metadata_entries_count": 0,
            "max_global_streams_per_user": 0, "max_label_names_per_series": 0,
        },
        "overrides": {"a": {"limits": {"max_line_size": 7}}},
    }));
    let (all, own) = config.expect("a good config").limits().expect("good tenants");
    assert_eq!((all.line_bytes_max, all.metadata_bytes_max), (4_194_304, 4_194_304));
    assert_eq!((all.metadata_pairs_max, all.streams_max, all.label_names_max), (usize::MAX, usize::MAX, 0));
    let a = &own[&TenantId::new("a").expect("a tenant")];
    assert_eq!((a.line_bytes_max, a.metadata_bytes_max), (7, 4_194_304));
}
