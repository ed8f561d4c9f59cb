use storage_api::SeriesRef;

use super::{SeriesCache, Walk};

fn found(walk: &mut Walk<'_>, key: u128) -> Option<Vec<u64>> {
    let mut run = None;
    let is_known = walk.with(key, |refs| run = Some(refs.iter().map(|series| series.0).collect()));
    assert_eq!(is_known, run.is_some());
    run
}

#[test]
fn a_run_comes_back_as_it_was_put_and_the_newest_holds() {
    let cache = SeriesCache::new(1000);
    let mut walk = cache.walk();
    walk.put(7, &[SeriesRef(1), SeriesRef(2), SeriesRef(3)]);
    assert_eq!(found(&mut walk, 7), Some(vec![1, 2, 3]));
    walk.put(7, &[SeriesRef(9)]);
    walk.put(5, &[]);
    assert_eq!((found(&mut walk, 7), found(&mut walk, 8)), (Some(vec![9]), None));
    assert_eq!(found(&mut cache.walk(), 5), Some(vec![]));
}

#[test]
fn whatever_the_order_a_key_has_its_own_run() {
    let cache = SeriesCache::new(10_000);
    let keys: Vec<u128> =
        (1..501).map(|key: u128| key.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).collect();
    let mut walk = cache.walk();
    for &key in &keys {
        walk.put(key, &[SeriesRef((key >> 64) as u64)]);
    }
    for step in [1, 7, 499, 3, 1] {
        let mut walk = cache.walk();
        for index in 0..500 {
            let key = keys[index * step % 500];
            assert_eq!(found(&mut walk, key), Some(vec![(key >> 64) as u64]), "step {step}, {index}");
        }
    }
}

#[test]
fn a_run_that_was_replaced_is_not_found_behind_its_neighbour() {
    let cache = SeriesCache::new(1000);
    let mut walk = cache.walk();
    walk.put(1, &[SeriesRef(10)]);
    walk.put(2, &[SeriesRef(20)]);
    // The store forgot the series and gave it another number.
    let mut other = cache.walk();
    other.put(2, &[SeriesRef(21)]);
    for _ in 0..2 {
        let mut walk = cache.walk();
        assert_eq!((found(&mut walk, 1), found(&mut walk, 2)), (Some(vec![10]), Some(vec![21])));
    }
}

#[test]
fn a_full_cache_forgets_what_is_not_looked_up_and_stays_bounded() {
    let cache = SeriesCache::new(10);
    for key in 0..10_000_u128 {
        let mut walk = cache.walk();
        walk.put(key, &[SeriesRef(key as u64)]);
        assert!(found(&mut walk, 0).is_some(), "a series in use is kept at key {key}");
    }
    let generations = cache.generations.read().clone();
    assert!(generations.young.len() <= 10 && generations.old.expect("there were many").len() <= 10);
    assert_eq!(found(&mut cache.walk(), 5000), None);
    assert_eq!(found(&mut cache.walk(), 9999), Some(vec![9999]));
}
