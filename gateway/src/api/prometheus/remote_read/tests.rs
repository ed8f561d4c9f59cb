use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use model::{Labels, MatchOp, Matcher, SampleColumns, TimeRange};
use storage_api::{EncodedChunk, Series, SeriesChunks, StorageResult};
use wire::remote_read::SamplesWriter;

use super::{Samples, Slot, shown, stored};
use crate::api::answers::WaitingAnswers;

/// Three samples.
struct Three;

impl SeriesChunks for Three {
    fn decode(&self, _: TimeRange, out: &mut SampleColumns) -> StorageResult<()> {
        out.timestamps_ms.extend([1, 2, 3]);
        out.values.extend([1.0, 2.0, 3.0]);
        Ok(())
    }

    fn encoded(&self) -> StorageResult<Vec<EncodedChunk>> {
        Ok(Vec::new())
    }
}

fn found() -> Vec<Series> {
    vec![Series { labels: Labels::from_pairs([("__name__", "up")]), chunks: Arc::new(Three) }]
}

fn samples(answers: &WaitingAnswers) -> Samples {
    let room = answers.hold(0).expect("nothing waits");
    Samples { writer: SamplesWriter::default(), left: 7, room }
}

#[tokio::test]
async fn the_limit_of_samples_holds_for_all_queries_of_a_request_together() {
    let (answers, range) = (WaitingAnswers::default(), TimeRange::new(0, 10));
    let slot = Slot::of_a_test(Duration::from_secs(60));
    let mut samples = samples(&answers);
    samples.add(range, found(), &slot).expect("three of seven");
    samples.add(range, found(), &slot).expect("six of seven");
    let (status, _) = samples.add(range, found(), &slot).expect_err("nine of seven");
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_answer_is_given_up_when_its_time_is_over_or_no_room_is_left() {
    let (answers, range) = (WaitingAnswers::default(), TimeRange::new(0, 10));
    let slot = Slot::of_a_test(Duration::ZERO);
    let late = samples(&answers).add(range, found(), &slot).expect_err("the time is over");
    assert_eq!(late.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(late.1.contains("timed out"), "{}", late.1);

    let _other = answers.hold(1 << 30).expect("alone");
    let slot = Slot::of_a_test(Duration::from_secs(60));
    let room = answers.hold(0).expect("nothing is no more");
    let mut samples = Samples { writer: SamplesWriter::default(), left: 7, room };
    let full = samples.add(range, found(), &slot).expect_err("another answer has all the room");
    assert_eq!(full.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn external_labels_are_added_and_matchers_for_them_ask_for_series_without_them() {
    // From the rules of storage/remote/read_handler.go.
    let external = Labels::from_pairs([("cluster", "a"), ("replica", "0")]);
    let shown = |pairs: &[(&str, &str)]| shown(&Labels::from_pairs(pairs.iter().copied()), &external);
    assert_eq!(
        shown(&[("__name__", "up"), ("job", "x")]),
        Labels::from_pairs([("__name__", "up"), ("cluster", "a"), ("job", "x"), ("replica", "0")])
    );
    assert_eq!(shown(&[("cluster", "own")]), Labels::from_pairs([("cluster", "own"), ("replica", "0")]));
    for (name, op, value, want) in [
        ("cluster", MatchOp::Equal, "a", ""),
        ("cluster", MatchOp::Equal, "b", "b"),
        ("cluster", MatchOp::NotEqual, "a", "a"),
        ("cluster", MatchOp::Regex, "a", "a"),
        ("job", MatchOp::Equal, "a", "a"),
    ] {
        let matcher = Matcher::new(name, op, value).expect("a sound pattern");
        let found = stored(vec![matcher], &external);
        assert_eq!(
            (found[0].name(), found[0].op(), found[0].value()),
            (name, op, want),
            "{name} {op:?} {value}"
        );
    }
}
