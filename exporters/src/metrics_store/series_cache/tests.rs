use storage_api::SeriesRef;

use super::{Run, SHARDS, SeriesCache};

fn found(cache: &SeriesCache, key: u128) -> Option<Vec<u64>> {
    let mut run = None;
    let is_known = cache.with(key, |refs| run = Some(refs.iter().map(|series| series.0).collect()));
    assert_eq!(is_known, run.is_some());
    run
}

#[test]
fn a_run_comes_back_as_it_was_put_and_the_newest_holds() {
    let cache = SeriesCache::new(1000);
    cache.put(7, Run::from_slice(&[SeriesRef(1), SeriesRef(2), SeriesRef(3)]));
    assert_eq!(found(&cache, 7), Some(vec![1, 2, 3]));
    cache.put(7, Run::from_slice(&[SeriesRef(9)]));
    assert_eq!((found(&cache, 7), found(&cache, 8)), (Some(vec![9]), None));
}

#[test]
fn a_full_cache_forgets_what_is_not_looked_up_and_stays_bounded() {
    // One shard: keys below 2^120. Ten references in each generation.
    let cache = SeriesCache::new(10 * SHARDS);
    for key in 0..10_000_u128 {
        cache.put(key, Run::from_slice(&[SeriesRef(key as u64)]));
        assert!(found(&cache, 0).is_some(), "a series in use is kept at key {key}");
    }
    let shard = cache.shards[0].lock();
    assert!(shard.young.len() + shard.old.len() <= 20);
    drop(shard);
    assert_eq!(found(&cache, 5000), None);
    assert_eq!(found(&cache, 9999), Some(vec![9999]));
}
