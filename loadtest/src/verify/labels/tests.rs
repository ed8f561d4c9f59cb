use super::{Labels, fault};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn labels_are_all_that_was_sent_and_what_may_be_added() {
    let sent = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())];
    let fault = |found: &[&Labels]| fault(found, &sent, |name, value| name == "job" && value == "x");
    let right = labels(&[("a", "1"), ("b", "2")]);
    assert_eq!(fault(&[&right]), None);
    assert_eq!(fault(&[&labels(&[("a", "1")]), &labels(&[("b", "2"), ("job", "x")])]), None);
    let said = |pairs: &[(&str, &str)]| fault(&[&labels(pairs)]).unwrap_or_default();
    assert!(said(&[("a", "1")]).contains("no b"));
    assert!(said(&[("a", "1"), ("b", "3")]).contains("b=\"3\""));
    assert!(said(&[("a", "1"), ("b", "2"), ("job", "y")]).contains("job=\"y\""));
    assert!(said(&[("a", "1"), ("b", "2"), ("replica", "x")]).contains("replica"));
}
