use super::{Hashrings, glob};

#[test]
fn the_first_ring_that_takes_a_tenant_is_its_ring() {
    let rings = r#"[
        {"hashring": "one", "tenants": ["a", "b"], "endpoints": ["one:1"]},
        {"hashring": "glob", "tenants": ["team-*"], "tenant_matcher_type": "glob", "endpoints": ["two:1"]},
        {"endpoints": [{"address": "three:1", "capnproto_address": "three:2"}]}
    ]"#;
    let rings = Hashrings::parse(rings, 1).expect("rings");
    for (tenant, want) in [("a", "one:1"), ("b", "one:1"), ("team-x", "two:1"), ("c", "three:1")] {
        assert_eq!(rings.members(tenant, 7, 1).expect("a member")[0].address, want, "{tenant}");
    }
    assert!(rings.members("a", 7, 2).is_err());
    let only = Hashrings::parse(r#"[{"tenants": ["a"], "endpoints": ["one:1"]}]"#, 1).expect("rings");
    assert!(only.members("b", 7, 1).is_err());
}

#[test]
fn rings_that_cannot_work_are_refused() {
    for (json, want) in [
        ("[]", "there is none"),
        ("{", "cannot be read"),
        (r#"[{"endpoints": []}]"#, "endpoint address must be set"),
        (r#"[{"endpoints": [""]}]"#, "endpoint address must be set"),
        (r#"[{"endpoints": ["a:1"], "algorithm": "ketama"}]"#, "1 endpoints for 2 replicas"),
        (r#"[{"endpoints": ["a:1"], "algorithm": "other"}]"#, "none of hashmod, ketama"),
        (r#"[{"endpoints": [{"address": "a:1", "az": "z"}]}]"#, "hashmod knows no az"),
        (r#"[{"endpoints": ["a:1"], "shuffle_sharding_config": {"shard_size": 1}}]"#, "not supported"),
        (r#"[{"endpoints": ["a:1"], "other": 1}]"#, "unknown field"),
    ] {
        let error = Hashrings::parse(json, 2).expect_err("refused").to_string();
        assert!(error.contains(want), "{json}: {error}");
    }
}

#[test]
fn globs_match_as_filepath_match() {
    for (pattern, text, want) in [
        ("*", "", true),
        ("team-*", "team-", true),
        ("team-*", "team", false),
        ("*-a", "x-a", true),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
    ] {
        assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), want, "{pattern} {text}");
    }
}
