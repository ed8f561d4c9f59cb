use std::collections::{BTreeMap, BTreeSet};

use wire::protobuf::{put_bytes_field, put_message};
use xxhash_rust::xxh64::xxh64;

use super::{Hashrings, glob, series_hash};

fn series(labels: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in labels {
        put_message(&mut out, 1, |out| {
            put_bytes_field(out, 1, name.as_bytes());
            put_bytes_field(out, 2, value.as_bytes());
        });
    }
    out
}

fn picked(rings: &Hashrings, tenant: &str, hash: u64, replica: usize) -> String {
    rings.ring_of(tenant).expect("a ring").member(hash, replica).expect("a member").address.clone()
}

#[test]
fn a_series_hashes_over_tenant_and_labels_as_they_came() {
    let mut scratch = Vec::new();
    let hash = series_hash("t", &series(&[("b", "2"), ("a", "1")]), &mut scratch).expect("sound");
    assert_eq!(hash, xxh64(b"t\xffb\xff2\xffa\xff1\xff", 0));
    let other = series_hash("t", &series(&[("a", "1"), ("b", "2")]), &mut scratch).expect("sound");
    assert_ne!(hash, other, "the order of the labels is part of it");
}

#[test]
fn hashmod_counts_on_from_the_remainder_over_sorted_addresses() {
    let file = br#"[{"endpoints": ["node-3", {"address": "node-1"}, "node-2"]}]"#;
    let rings = Hashrings::parse(file, 3).expect("a file");
    for (hash, replica, want) in [
        (0, 0, "node-1"),
        (0, 1, "node-2"),
        (5, 0, "node-3"),
        (5, 1, "node-1"),
        (u64::MAX, 0, "node-1"),
        // The sum wraps around to 0 before the remainder is taken.
        (u64::MAX, 1, "node-1"),
    ] {
        assert_eq!(picked(&rings, "any", hash, replica), want, "{hash} {replica}");
    }
    let few = rings.ring_of("any").expect("a ring").member(0, 3).expect_err("there are three");
    assert_eq!(few.to_string(), "insufficient nodes; have 3, want 4");
}

#[test]
fn ketama_walks_on_from_the_first_section_behind_the_hash() {
    let file = br#"[{"endpoints": ["node-1", "node-2", "node-3"], "algorithm": "ketama"}]"#;
    let rings = Hashrings::parse(file, 2).expect("a file");
    // The ring as its definition has it, made the long way round.
    let mut sections: BTreeMap<u64, String> = BTreeMap::new();
    for node in ["node-1", "node-2", "node-3"] {
        for number in 1..=1000 {
            sections.insert(xxh64(format!("{node}:{number}").as_bytes(), 0), node.to_owned());
        }
    }
    let mut shares: BTreeMap<String, usize> = BTreeMap::new();
    for probe in 0..10_000_u64 {
        let hash = xxh64(&probe.to_be_bytes(), 7);
        let walk = sections.range(hash..).chain(sections.iter()).map(|(_, node)| node);
        let mut want: Vec<&String> = Vec::new();
        for node in walk {
            if !want.contains(&node) {
                want.push(node);
            }
        }
        for (replica, want) in want.into_iter().take(2).enumerate() {
            assert_eq!(picked(&rings, "any", hash, replica), *want);
        }
        *shares.entry(picked(&rings, "any", hash, 0)).or_default() += 1;
    }
    assert!(shares.values().all(|share| *share > 2500), "{shares:?}");
}

#[test]
fn zones_get_a_replica_each_before_one_gets_two() {
    let file = br#"[{"algorithm": "ketama", "endpoints": [{"address": "a1", "az": "a"}, {"address": "a2", "az": "a"},
        {"address": "b1", "az": "b"}, {"address": "b2", "az": "b"}, {"address": "c1", "az": "c"}, {"address": "c2", "az": "c"}]}]"#;
    for replicas in [2, 3, 4, 6] {
        let rings = Hashrings::parse(file, replicas).expect("a file");
        for probe in 0..500_u64 {
            let hash = xxh64(&probe.to_be_bytes(), 0);
            let found: BTreeSet<String> = (0..replicas).map(|n| picked(&rings, "t", hash, n)).collect();
            assert_eq!(found.len(), replicas, "different members");
            let zones: BTreeMap<char, usize> = found.iter().fold(BTreeMap::new(), |mut zones, address| {
                *zones.entry(address.chars().next().expect("a letter")).or_default() += 1;
                zones
            });
            assert_eq!(zones.len(), replicas.min(3), "{found:?}");
            assert!(
                zones.values().max() <= zones.values().min().map(|least| least + 1).as_ref(),
                "{zones:?}"
            );
        }
    }
}

#[test]
fn the_first_ring_that_takes_a_tenant_has_it() {
    let file = br#"[{"tenants": ["a", "b"], "endpoints": ["one"]},
        {"tenants": ["team-*", "x?[0-9]"], "tenant_matcher_type": "glob", "endpoints": ["two"]},
        {"hashring": "rest", "endpoints": ["three"]}]"#;
    let rings = Hashrings::parse(file, 1).expect("a file");
    for (tenant, want) in
        [("a", "one"), ("team-", "two"), ("team-7", "two"), ("xy5", "two"), ("xyz", "three"), ("c", "three")]
    {
        assert_eq!(picked(&rings, tenant, 0, 0), want, "{tenant}");
    }
    assert_eq!(rings.addresses(), BTreeSet::from(["one", "two", "three"]));
    let only = Hashrings::parse(br#"[{"tenants": ["a"], "endpoints": ["one"]}]"#, 1).expect("a file");
    // Not the sender's fault: one that is told so would drop the data for good.
    assert_eq!(only.ring_of("b").expect_err("none").kind(), model::ErrorKind::Internal);
}

#[test]
fn globs_are_those_of_go() {
    for (pattern, text, want) in [
        ("*", "anything", true),
        ("*", "a/b", false),
        ("a*c", "abbc", true),
        ("a?c", "ac", false),
        ("[a-c]x", "bx", true),
        ("[^a-c]x", "bx", false),
        ("\\*", "*", true),
        ("[", "[", false),
        ("", "", true),
    ] {
        assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), want, "{pattern} {text}");
    }
}

#[test]
fn files_that_cannot_be_followed_are_refused_by_what_is_wrong() {
    for (file, want) in [
        ("{}", "invalid type: map"),
        ("[]", "it has no ring"),
        (r#"[{"endpoints": []}]"#, "a ring has no endpoints"),
        (r#"[{"endpoints": [{"az": "a"}]}]"#, "want an address, or a map"),
        (r#"[{"endpoints": [""]}]"#, "endpoint address must be set"),
        (
            r#"[{"endpoints": ["a"], "algorithm": "ketama"}]"#,
            "a ketama ring of 1 endpoints, at least 2 are needed",
        ),
        (r#"[{"endpoints": ["a"], "algorithm": "maglev"}]"#, "have hashmod, ketama"),
        (r#"[{"endpoints": [{"address": "a", "az": "z"}]}]"#, "knows no az"),
        (r#"[{"endpoints": ["a"], "shuffle_sharding_config": {"shard_size": 2}}]"#, "not supported"),
        (r#"[{"endpoints": ["a"], "external_labels": {"a": "b"}}]"#, "not supported"),
        (r#"[{"endpoints": ["a"], "tenant_matcher_type": "regex"}]"#, "have exact, glob"),
    ] {
        let error = Hashrings::parse(file.as_bytes(), 2).expect_err(file).to_string();
        assert!(error.contains(want), "{file}: {error}");
    }
}
