//! Leases between processes that race, stop and come back.

use std::sync::Arc;

use object_store::memory::InMemory;
use runtime::{Clock, ManualClock};
use tokio::runtime::Handle;

use super::Lease;
use crate::Bucket;

const MS: i64 = 1_000_000;

fn lease(bucket: &Bucket, clock: &Arc<ManualClock>, owner: &str) -> Lease {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    Lease::new(bucket.clone(), clock, "group", owner.to_owned(), 1000)
}

fn bucket() -> Bucket {
    Bucket::new(Arc::new(InMemory::new()), "memory", Handle::current())
}

#[tokio::test]
async fn a_lease_has_one_owner_until_it_ends_or_is_given_back() {
    let (bucket, clock) = (bucket(), Arc::new(ManualClock::at_ns(5000 * MS)));
    let (mut a, mut b) = (lease(&bucket, &clock, "a"), lease(&bucket, &clock, "b"));
    assert_eq!(a.take().await.expect("free"), None);
    let holder = b.take().await.expect("it can be looked at").expect("it is taken");
    assert_eq!((holder.owner.as_str(), holder.until_ms), ("a", 6000));
    clock.set_ns(5900 * MS);
    assert_eq!(a.take().await.expect("its own"), None, "the owner keeps it");
    clock.set_ns(6800 * MS);
    assert!(a.is_held() && b.take().await.expect("it can be looked at").is_some());
    clock.set_ns(7000 * MS);
    assert!(!a.is_held());
    assert_eq!(b.take().await.expect("it ended"), None);
    assert!(a.take().await.expect("it can be looked at").is_some());
    b.give_back().await.expect("it is its own");
    assert_eq!(a.take().await.expect("it was given back"), None);
    let kept = bucket.list(Some("tidegate/leases/group")).await.expect("it can be listed");
    assert!(kept.len() <= 2, "old generations go: {kept:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_all_who_race_for_a_lease_one_wins() {
    let clock = Arc::new(ManualClock::at_ns(5000 * MS));
    for round in 0..200 {
        let bucket = bucket();
        let runtime = runtime::Tasks::new();
        let racers: Vec<_> = (0..8)
            .map(|number| {
                let mut racer = lease(&bucket, &clock, &format!("racer-{number}"));
                runtime.spawn("racer", async move {
                    // That others were quicker twice in a row is an answer too.
                    racer.take().await.is_ok_and(|holder| holder.is_none())
                })
            })
            .collect();
        let mut winners = 0;
        for racer in racers {
            winners += usize::from(racer.await.expect("it does not panic"));
        }
        assert_eq!(winners, 1, "round {round}");
    }
}

#[tokio::test]
async fn who_slept_through_other_owners_does_not_get_an_old_generation() {
    let (bucket, clock) = (bucket(), Arc::new(ManualClock::at_ns(5000 * MS)));
    let mut a = lease(&bucket, &clock, "a");
    for _ in 0..5 {
        assert_eq!(a.take().await.expect("its own"), None);
    }
    // Generation 2 was followed and removed; who makes it anew is told that it is not the newest.
    let mut late = lease(&bucket, &clock, "late");
    assert!(late.create(2, 9000).await.expect("it is absent"));
    assert!(late.take().await.expect("it can be looked at").is_some());
    assert!(a.is_held());
}
