//! What the ring keeps, refuses and gives back.

use model::{Exemplar, Labels, TimeRange};

use super::{Exemplars, Place};

fn exemplar(time_ms: i64, trace: &str) -> Exemplar {
    Exemplar { labels: Labels::from_pairs([("trace_id", trace)]), value: 1.0, timestamp_ms: time_ms }
}

fn labels(series: u32) -> Labels {
    Labels::from_pairs([("__name__", format!("m{series}"))])
}

fn place(series: u32) -> Place {
    Place { shard: 0, local: series }
}

fn found(ring: &Exemplars) -> Vec<(String, Vec<i64>)> {
    let all = ring.select(|_| true, TimeRange::ALL);
    all.into_iter()
        .map(|of| {
            let name = of.labels.metric_name().expect("named").to_owned();
            (name, of.exemplars.iter().map(|exemplar| exemplar.timestamp_ms).collect())
        })
        .collect()
}

#[test]
fn the_ring_keeps_the_newest_and_each_once() {
    let mut ring = Exemplars::new(3, 1000);
    let mut offer = |series, exemplar: &Exemplar| {
        ring.offer(place(series), || labels(series), exemplar, 10_000).map_err(|error| error.0)
    };
    assert_eq!(offer(1, &exemplar(5000, "a")), Ok(true));
    assert_eq!(offer(1, &exemplar(5000, "a")), Ok(false), "known");
    assert_eq!(offer(1, &exemplar(5000, "b")), Ok(true), "another bucket's");
    assert_eq!(offer(1, &exemplar(5000, "a")), Ok(false), "known, though not the newest");
    assert_eq!(offer(1, &exemplar(4500, "c")), Ok(true), "late, inside the window");
    assert_eq!(offer(1, &exemplar(4000, "d")), Err("out_of_order"));
    assert_eq!(offer(1, &exemplar(10_001, "e")), Err("too_far_in_future"));
    assert_eq!(offer(1, &exemplar(6000, &"x".repeat(121))), Err("exemplar_labels_too_long"));
    assert_eq!(found(&ring), [("m1".to_owned(), vec![4500, 5000, 5000])]);
    let mut offer =
        |series, exemplar: &Exemplar| ring.offer(place(series), || labels(series), exemplar, 10_000);
    assert_eq!(offer(0, &exemplar(1, "f")), Ok(true));
    assert_eq!(offer(2, &exemplar(1, "g")), Ok(true));
    assert_eq!(
        found(&ring),
        [("m0".to_owned(), vec![1]), ("m1".to_owned(), vec![4500]), ("m2".to_owned(), vec![1])]
    );
    let only = ring.select(|labels| labels.metric_name() == Some("m1"), TimeRange::new(4501, 9000));
    assert!(only.is_empty());
}

#[test]
fn a_ring_without_room_takes_nothing_and_refuses_nothing() {
    let mut ring = Exemplars::new(0, 1000);
    assert_eq!(ring.offer(place(1), || labels(1), &exemplar(1, "a"), 10), Ok(false));
    assert!(found(&ring).is_empty());
}
