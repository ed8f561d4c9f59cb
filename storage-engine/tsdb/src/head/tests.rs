//! What the log relies on.

use model::Labels;

use super::{Place, SHARDS, shard_of};
use storage_api::SeriesRef;

#[test]
fn label_sets_stay_in_the_shards_that_logs_name() {
    // A change here makes existing logs unreadable: their records name the shard.
    let shards: Vec<_> =
        (0..12).map(|i| shard_of(&Labels::from_pairs([("__name__", "up"), ("i", &i.to_string())]))).collect();
    assert_eq!(shards, SHARDS_OF_UP);
    let mut seen = [0; SHARDS as usize];
    for i in 0..8000 {
        seen[shard_of(&Labels::from_pairs([("i", i.to_string())])) as usize] += 1;
    }
    assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
}

const SHARDS_OF_UP: [u32; 12] = [7, 7, 1, 5, 7, 6, 2, 5, 0, 0, 3, 0];

#[test]
fn references_name_places_and_impossible_ones_none() {
    let place = Place { shard: 7, local: u32::MAX };
    assert_eq!(Place::of(place.to_ref()), Some(place));
    assert_eq!(Place::of(SeriesRef(u64::from(SHARDS) << 32)), None);
    assert_eq!(Place::of(SeriesRef(u64::MAX)), None);
}
