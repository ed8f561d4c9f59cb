use model::Labels;

use super::sort_key;

#[test]
fn streams_are_sorted_by_the_text_of_their_labels() {
    for pairs in [
        vec![],
        vec![("a", "b")],
        vec![("a", "b c"), ("d", "~")],
        vec![("a", "\"q\" \\")],
        vec![("a", "日本"), ("b", "\n")],
    ] {
        let labels = Labels::from_pairs(pairs);
        assert_eq!(sort_key(&labels), labels.to_string());
    }
}
