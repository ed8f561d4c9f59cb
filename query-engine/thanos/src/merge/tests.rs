use std::convert::Infallible;

use super::merge;
use crate::series_frame::{AggrChunk, StoreSeries};
use crate::stream::SeriesStream;
use crate::testing::{labels, raw};

fn series(name: &str, chunks: &[&AggrChunk]) -> StoreSeries {
    StoreSeries {
        labels: labels(&[("__name__", name)]),
        chunks: chunks.iter().map(|chunk| (*chunk).clone()).collect(),
    }
}

async fn merged(sources: Vec<Vec<StoreSeries>>) -> Vec<(String, Vec<(i64, i64)>)> {
    let streams = sources.into_iter().map(|source| SeriesStream::ready("store".to_owned(), source)).collect();
    let all =
        merge(streams, |_| Ok::<(), Infallible>(()), |_| Ok(())).await.unwrap_or_else(|never| match never {});
    let shown = |series: StoreSeries| {
        let ranges = series.chunks.iter().map(|chunk| (chunk.range.min, chunk.range.max)).collect();
        (series.labels.metric_name().expect("a name").to_owned(), ranges)
    };
    all.into_iter().map(shown).collect()
}

#[tokio::test]
async fn series_of_all_stores_come_once_and_in_order() {
    let (early, late) = (raw(&[(1, 1.0), (5, 1.0)]), raw(&[(6, 1.0), (9, 1.0)]));
    let other = raw(&[(1, 2.0), (5, 2.0)]);
    let found = merged(vec![
        vec![series("a", &[&late]), series("c", &[&early])],
        vec![],
        // One series in two messages, and a chunk that another store has as well.
        vec![series("a", &[&early, &late]), series("a", &[&other]), series("b", &[&early])],
    ])
    .await;
    let want = [
        ("a".to_owned(), vec![(1, 5), (1, 5), (6, 9)]),
        ("b".to_owned(), vec![(1, 5)]),
        ("c".to_owned(), vec![(1, 5)]),
    ];
    assert_eq!(found, want);
}

#[tokio::test]
async fn a_store_that_breaks_the_order_does_not_split_series() {
    let chunk = raw(&[(1, 1.0), (5, 1.0)]);
    let next = raw(&[(6, 1.0)]);
    let found = merged(vec![
        vec![series("b", &[&chunk]), series("a", &[&next])],
        vec![series("a", &[&chunk]), series("b", &[&next])],
    ])
    .await;
    assert_eq!(found, [("a".to_owned(), vec![(1, 5), (6, 6)]), ("b".to_owned(), vec![(1, 5), (6, 6)])]);
}

#[tokio::test]
async fn a_merge_ends_when_it_took_too_much() {
    let chunk = raw(&[(1, 1.0), (5, 1.0)]);
    let source = ["a", "b", "c"].map(|name| series(name, &[&chunk])).to_vec();
    let streams = vec![SeriesStream::ready("store".to_owned(), source)];
    let mut count = 0;
    let took = |bytes: usize| {
        assert!(bytes > 20, "labels and chunks have some bytes");
        count += 1;
        if count > 2 { Err("too much") } else { Ok(()) }
    };
    assert_eq!(merge(streams, |_| Ok(()), took).await, Err("too much"));
}
