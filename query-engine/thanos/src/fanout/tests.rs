use std::sync::atomic::{AtomicUsize, Ordering};

use model::Labels;

use super::{SELECT_BYTES_MAX, without_labels};
use crate::series_frame::StoreSeries;
use crate::stream::SeriesStream;
use crate::testing::{labels, raw};

fn series(pairs: &[(&str, &str)]) -> StoreSeries {
    StoreSeries { labels: labels(pairs), chunks: vec![raw(&[(1, 1.0)])] }
}

fn two_with_a_warning() -> SeriesStream {
    let all = vec![
        series(&[("a", "1"), ("replica", "x"), ("z", "2")]),
        series(&[("a", "1"), ("replica", "y"), ("z", "1")]),
    ];
    SeriesStream::ready_with("s".to_owned(), all, vec!["one".to_owned(), "two".to_owned()])
}

#[tokio::test]
async fn a_store_that_takes_no_labels_away_keeps_its_series_and_its_warnings() {
    let held = AtomicUsize::new(0);
    let mut stream = without_labels(two_with_a_warning(), &["replica".to_owned()], &held).await;
    let (mut found, mut warnings): (Vec<Labels>, Vec<String>) = (Vec::new(), Vec::new());
    loop {
        match stream.next().await {
            Ok(Some(series)) => found.push(series.labels),
            Ok(None) => break,
            Err(warning) => warnings.push(warning),
        }
    }
    assert_eq!(found, [labels(&[("a", "1"), ("z", "1")]), labels(&[("a", "1"), ("z", "2")])]);
    assert_eq!(warnings, ["one", "two"]);
    assert!(held.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn what_a_store_makes_us_hold_counts_against_the_selector() {
    let held = AtomicUsize::new(SELECT_BYTES_MAX);
    let mut stream = without_labels(two_with_a_warning(), &["replica".to_owned()], &held).await;
    assert!(stream.next().await.expect("the first").is_some());
    assert!(stream.next().await.expect("no more than that").is_none());
    assert!(held.load(Ordering::Relaxed) > SELECT_BYTES_MAX);
}
