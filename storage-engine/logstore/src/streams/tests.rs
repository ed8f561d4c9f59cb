use model::{Labels, MatchOp, Matcher};
use proptest::prelude::*;
use roaring::RoaringBitmap;

use super::StreamIndex;

#[test]
fn a_label_set_keeps_its_number() {
    let index = StreamIndex::default();
    let (a, b) = (Labels::from_pairs([("x", "1")]), Labels::from_pairs([("x", "2")]));
    assert_eq!(index.ids([&a, &b, &a].into_iter()), [0, 1, 0]);
    assert_eq!(index.ids([&b].into_iter()), [1]);
    assert_eq!((index.known(&a), index.known(&Labels::empty())), (Some(0), None));
}

#[test]
fn a_stream_is_forgotten_when_it_is_unused_and_was_not_asked_for_twice_in_a_row() {
    let index = StreamIndex::default();
    let (a, b) = (Labels::from_pairs([("x", "1")]), Labels::from_pairs([("x", "2"), ("y", "3")]));
    index.ids([&a, &b].into_iter());
    let used = RoaringBitmap::from_iter([0]);
    assert_eq!(index.forget_unused(&used), 0, "both were asked for just now");
    assert_eq!(index.forget_unused(&used), 1);
    assert_eq!((index.known(&a), index.known(&b)), (Some(0), None));
    assert_eq!(index.select(&[]), used);
    assert_eq!(index.select(&[Matcher::equal("y", "3")]), RoaringBitmap::new());
    assert_eq!(index.ids([&b].into_iter()), [2], "no number is given twice");
    assert_eq!(index.select(&[Matcher::equal("y", "3")]), RoaringBitmap::from_iter([2]));
}

proptest! {
    #[test]
    fn the_index_selects_what_matching_every_label_set_selects(
        sets in proptest::collection::vec(proptest::collection::vec(("[ab]", "[xyz]{1,2}"), 0..3), 1..12),
        matchers in proptest::collection::vec(("[abc]", 0usize..4, proptest::sample::select(vec!["", "x", "yz", "x.*", ".*", ".+", "x|zz", "(x|)", "[^y]+"])), 0..4),
    ) {
        let index = StreamIndex::default();
        let sets: Vec<Labels> = sets.iter().map(|pairs| Labels::from_pairs(pairs.iter().map(|(n, v)| (n, v)))).collect();
        index.ids(sets.iter());
        let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
        let matchers: Vec<Matcher> =
            matchers.iter().map(|(name, op, value)| Matcher::new(name, ops[*op], *value).expect("valid")).collect();
        let wanted = sets.iter().filter(|labels| matchers.iter().all(|matcher| matcher.matches_labels(labels)));
        let wanted = RoaringBitmap::from_iter(index.ids(wanted));
        prop_assert_eq!(index.select(&matchers), wanted);
    }
}
