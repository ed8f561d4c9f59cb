use super::*;

fn entry(id: u128, commit: u128) -> Option<LogWriter> {
    Some(LogWriter { id, flushed_generation: 3, commit })
}

#[test]
fn a_folder_knows_what_its_starts_wrote_and_takes_a_new_name_when_others_wrote_as_it() {
    let mut first = Writer::new();
    assert!(!first.claim(None));
    let (id, commit) = (first.id, first.commit(7));
    let mut copy = Writer::decode(&first.encode()).expect("readable");
    assert_eq!(copy, first);
    // Its next start, and one after that whose state did not come in.
    for _ in 0..2 {
        first = Writer::decode(&first.encode()).expect("readable");
        assert!(!first.claim(entry(id, commit)));
        assert_eq!(first.id, id);
        assert!(first.is_own(commit) && first.is_own(first.commit(1)));
    }
    let newest = first.commit(1);
    assert!(!first.claim(entry(id, newest)));
    assert!(!first.is_own(commit), "what was followed is of no use any more");
    // The copy has never seen what the other wrote since.
    assert!(!copy.is_own(newest));
    assert!(copy.claim(entry(id, newest)));
    assert_ne!(copy.id, id);
    assert!(copy.is_own(copy.commit(1)) && !copy.is_own(newest));
}

#[test]
fn a_name_without_claims_takes_what_is_there_for_its_own() {
    let id = Ulid::generate();
    let mut writer = Writer::decode(&id.to_string()).expect("readable");
    assert!(!writer.claim(entry(id.0, 5 << 64)));
    assert_eq!(writer.id, id.0);
    assert!(writer.is_own(5 << 64));
    for wrong in ["", "no name", "01ARZ3NDEKTSV4RRFFQ69G5FAV\nxyz"] {
        assert_eq!(Writer::decode(wrong), None, "{wrong:?}");
    }
}

#[test]
fn starts_that_fail_for_long_keep_what_is_there_and_stay_small() {
    let mut writer = Writer::new();
    assert!(!writer.claim(None));
    let (id, commit) = (writer.id, writer.commit(1));
    for _ in 0..2 * CLAIMS_MAX {
        assert!(!writer.claim(entry(id, commit)));
    }
    assert!(writer.is_own(commit));
    assert_eq!(writer.claims.len(), CLAIMS_MAX);
}
