//! The order in which gathered samples come out.

use super::Gathered;

#[test]
fn samples_come_out_by_series_in_the_order_of_the_log() {
    let mut gathered = Gathered::default();
    for (local, time_ms) in [(2, 10), (0, 10), (u32::MAX, 5), (2, 30), (0, 20), (2, 20), (4, 1)] {
        gathered.push(local, time_ms, 0.5);
    }
    let mut seen = Vec::new();
    gathered.drain_by_series(4, |local, samples| {
        seen.push((local, samples.iter().map(|(time_ms, _)| *time_ms).collect::<Vec<_>>()));
    });
    assert_eq!(
        seen,
        [(0, vec![10, 20]), (2, vec![10, 30, 20]), (u32::MAX, vec![5]), (4, vec![1])],
        "known series in order, then what no series has"
    );
    assert_eq!(gathered.len(), 0);
    gathered.drain_by_series(4, |_, _| panic!("everything was taken out"));
}

#[test]
fn series_with_histograms_are_told_apart() {
    let mut gathered = Gathered::default();
    assert!(!gathered.is_mixed(70));
    gathered.mark_mixed(70);
    assert!(gathered.is_mixed(70) && !gathered.is_mixed(6) && !gathered.is_mixed(71));
}
