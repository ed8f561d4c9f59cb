use super::{Labels, LabelsBuilder};

#[test]
fn pairs_come_out_sorted_unique_and_without_empty_values() {
    let labels = Labels::from_pairs([("zone", "b"), ("__name__", "up"), ("zone", "a"), ("gone", "")]);
    assert_eq!(labels.iter().collect::<Vec<_>>(), [("__name__", "up"), ("zone", "a")]);
    assert_eq!(labels.metric_name(), Some("up"));
    assert_eq!(labels.get("gone"), None);
    assert_eq!(labels.to_string(), r#"{__name__="up", zone="a"}"#);
}

#[test]
fn order_compares_pair_by_pair_with_a_prefix_first() {
    let a = Labels::from_pairs([("a", "1")]);
    let ab = Labels::from_pairs([("a", "1"), ("b", "1")]);
    let a2 = Labels::from_pairs([("a", "2")]);
    // "a" + "11" and "a1" + "1" have equal text: only the boundaries tell them apart.
    let split = Labels::from_pairs([("a1", "1")]);
    assert!(Labels::empty() < a && a < ab && ab < a2 && a2 < split);
    assert_ne!(Labels::from_pairs([("a", "11")]), split);
}

#[test]
fn a_builder_from_labels_edits_them() {
    let labels = Labels::from_pairs([("a", "1"), ("b", "2")]);
    let mut builder = labels.to_builder();
    builder.remove("a").set("c", "3").set("b", "");
    assert_eq!(builder.build(), Labels::from_pairs([("c", "3")]));
    assert_eq!(LabelsBuilder::new().build(), Labels::empty());
    assert_eq!(labels.without(|name| name == "a"), Labels::from_pairs([("b", "2")]));
}

#[test]
fn sorted_pairs_are_taken_and_others_refused() {
    assert_eq!(
        Labels::try_from_sorted(&[("a", "1"), ("b", "2")]),
        Some(Labels::from_pairs([("b", "2"), ("a", "1")]))
    );
    for pairs in [[("b", "2"), ("a", "1")], [("a", "1"), ("a", "2")], [("a", "1"), ("b", "")]] {
        assert_eq!(Labels::try_from_sorted(&pairs), None);
    }
}
