use std::sync::Arc;

use model::{MatchOp, Matcher, TimeRange};

use super::{LocalSettings, LocalStore, chunks};
use crate::select::{Shard, StoreSelect};
use crate::testing::{Memory, labels, samples, xor};

fn store(memory: Memory, external: &[(&str, &str)]) -> LocalStore {
    let settings = LocalSettings {
        external_labels: labels(external),
        tenant_label: "tenant_id".to_owned(),
        component: "receive".to_owned(),
    };
    LocalStore::new(Arc::new(memory), settings)
}

fn select(matchers: &[(&str, MatchOp, &str)]) -> StoreSelect {
    let matcher = |(name, op, value): &(&str, MatchOp, &str)| Matcher::new(*name, *op, *value).expect("good");
    StoreSelect {
        range: TimeRange::ALL,
        matchers: matchers.iter().map(matcher).collect(),
        without: Vec::new(),
        shard: None,
        skip_chunks: false,
        limit: 0,
        resolution_ms: 0,
        aggregates: Vec::new(),
    }
}

const UP: &[(&str, MatchOp, &str)] = &[("__name__", MatchOp::Equal, "up")];

/// The series of pkg/store/acceptance_test.go, with its external label.
fn acceptance() -> LocalStore {
    let chunk = || vec![xor(&[(0, 1.0), (10, 2.0)])];
    let memory = Memory::default()
        .with(&[("__name__", "up"), ("bar", "barvalue1"), ("foo", "foovalue1")], chunk())
        .with(&[("__name__", "up"), ("foo", "foovalue1"), ("region", "inner")], chunk())
        .with(&[("__name__", "up"), ("bar", "barvalue2")], chunk());
    store(memory, &[("region", "eu-west")])
}

async fn shown(store: &LocalStore, select: &StoreSelect) -> Vec<String> {
    let found = store.select(select).await.expect("selects");
    found.iter().map(|series| series.labels.to_string()).collect()
}

#[tokio::test]
async fn series_come_in_the_order_of_what_is_shown() {
    let store = acceptance();
    let want = [
        r#"{__name__="up", bar="barvalue1", foo="foovalue1", region="eu-west"}"#,
        r#"{__name__="up", bar="barvalue2", region="eu-west"}"#,
        r#"{__name__="up", foo="foovalue1", region="eu-west"}"#,
    ];
    assert_eq!(shown(&store, &select(UP)).await, want);
    let labels_only = StoreSelect { skip_chunks: true, ..select(UP) };
    assert_eq!(shown(&store, &labels_only).await, want);
    let without = StoreSelect { without: vec!["bar".to_owned(), "region".to_owned()], ..select(UP) };
    let want =
        [r#"{__name__="up"}"#, r#"{__name__="up", foo="foovalue1"}"#, r#"{__name__="up", foo="foovalue1"}"#];
    assert_eq!(shown(&store, &without).await, want);
    assert_eq!(shown(&store, &StoreSelect { limit: 2, ..select(UP) }).await.len(), 2);
}

#[tokio::test]
async fn external_labels_decide_about_their_matchers() {
    let store = acceptance();
    for (region, op, count) in [
        ("eu-west", MatchOp::Equal, 3),
        ("eu-.*", MatchOp::Regex, 3),
        ("inner", MatchOp::Equal, 0),
        ("inner", MatchOp::NotEqual, 3),
        ("", MatchOp::Equal, 0),
    ] {
        let matchers = [UP[0], ("region", op, region)];
        assert_eq!(shown(&store, &select(&matchers)).await.len(), count, "region {op:?} {region:?}");
    }
    let alone = store.select(&select(&[("region", MatchOp::Equal, "eu-west")])).await;
    assert_eq!(
        alone.err().map(|error| error.to_string()).as_deref(),
        Some("no matchers specified (excluding external labels)")
    );
}

#[tokio::test]
async fn shards_part_the_series_between_them() {
    let store = acceptance();
    let all = shown(&store, &select(UP)).await;
    let mut parts = Vec::new();
    for shard_index in 0..3 {
        let info = crate::proto::ShardInfo {
            shard_index,
            total_shards: 3,
            by: true,
            labels: vec!["bar".to_owned(), "foo".to_owned()],
        };
        parts.extend(shown(&store, &StoreSelect { shard: Shard::new(&info), ..select(UP) }).await);
    }
    parts.sort_unstable();
    assert_eq!(parts, all);
}

#[tokio::test]
async fn labels_include_the_external_ones_where_something_matches() {
    let store = acceptance();
    let up = [Matcher::equal("__name__", "up")];
    let nothing = [Matcher::equal("__name__", "down")];
    let names = |matchers: &'static [&'static str]| matchers.to_vec();
    assert_eq!(
        store.label_names(TimeRange::ALL, &up, &[]).await.expect("reads"),
        names(&["__name__", "bar", "foo", "region"])
    );
    let without = ["region".to_owned(), "foo".to_owned()];
    assert_eq!(
        store.label_names(TimeRange::ALL, &up, &without).await.expect("reads"),
        names(&["__name__", "bar"])
    );
    assert_eq!(store.label_names(TimeRange::ALL, &nothing, &[]).await.expect("reads"), names(&[]));
    for (name, matchers, without, want) in [
        ("foo", &up[..], &[][..], &["foovalue1"][..]),
        ("region", &[], &[], &["eu-west"]),
        ("region", &up, &[], &["eu-west"]),
        ("region", &nothing, &[], &[]),
        ("region", &up, &without[..], &[]),
        ("bar", &up, &[], &["barvalue1", "barvalue2"]),
    ] {
        let found = store.label_values(name, TimeRange::ALL, matchers, without).await.expect("reads");
        assert_eq!(found, want, "{name} {matchers:?}");
    }
}

#[tokio::test]
async fn tenants_are_told_apart_by_their_label() {
    let chunk = || vec![xor(&[(5, 1.0)])];
    let memory = Memory::default().with(&[("__name__", "up")], chunk()).with_tenant(
        "team-a",
        &[("__name__", "up")],
        vec![xor(&[(3, 1.0)])],
    );
    let store = store(memory, &[("cluster", "c")]);
    let want = [r#"{__name__="up", cluster="c"}"#, r#"{__name__="up", cluster="c", tenant_id="team-a"}"#];
    assert_eq!(shown(&store, &select(UP)).await, want);
    let one = [UP[0], ("tenant_id", MatchOp::Equal, "team-a")];
    assert_eq!(shown(&store, &select(&one)).await, want[1..]);
    let only = store.of_tenant(&model::TenantId::new("team-a").expect("a tenant"));
    assert_eq!(shown(&only, &select(UP)).await, want[1..]);
    let info = store.info();
    let sets: Vec<String> = info.label_sets.iter().map(|set| set.to_labels().to_string()).collect();
    assert_eq!(sets, [r#"{cluster="c"}"#, r#"{cluster="c", tenant_id="team-a"}"#]);
    let info = info.store.expect("a store");
    assert_eq!((info.min_time, info.max_time), (3, i64::MAX));
    assert!(info.supports_sharding && info.supports_without_replica_labels);
}

#[tokio::test]
async fn a_store_whose_series_carry_nothing_matches_everything() {
    let memory = Memory::default().with(&[("__name__", "up")], vec![xor(&[(5, 1.0)])]).with_tenant(
        "a",
        &[("__name__", "up")],
        vec![xor(&[(5, 1.0)])],
    );
    assert_eq!(store(memory, &[]).info().label_sets, []);
}

#[test]
fn overlapping_chunks_leave_as_one_row_of_chunks() {
    let memory = Memory::default().with(
        &[("__name__", "up")],
        vec![
            xor(&[(0, 0.0), (10, 1.0)]),
            xor(&[(20, 2.0), (40, 4.0)]),
            xor(&[(30, 3.0), (50, 5.0)]),
            xor(&[(60, 6.0)]),
        ],
    );
    let series = memory.series_of("up");
    let found = chunks(series.as_ref(), TimeRange::new(5, 60)).expect("reads");
    let found: Vec<_> = found.iter().map(|chunk| samples(chunk.encoding.number(), &chunk.data)).collect();
    assert_eq!(
        found,
        [vec![(0, 0.0), (10, 1.0)], vec![(20, 2.0), (30, 3.0), (40, 4.0), (50, 5.0)], vec![(60, 6.0)]]
    );
    let found = chunks(series.as_ref(), TimeRange::new(55, 59)).expect("reads");
    assert!(found.is_empty());
}
