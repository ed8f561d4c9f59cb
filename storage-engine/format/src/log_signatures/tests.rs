use proptest::prelude::*;

use super::*;

fn signatures(pages: &[Vec<String>]) -> PageSignatures {
    let mut builder = SignatureBuilder::new();
    for lines in pages {
        builder.add_page(lines.concat().as_bytes(), lines.iter().map(String::len));
    }
    PageSignatures::decode(&builder.finish(), pages.len()).expect("own bytes")
}

fn kept(signatures: &PageSignatures, needle: &str, pages: usize) -> Vec<bool> {
    let mut kept = vec![true; pages];
    signatures.rule_out(needle, &mut kept);
    kept
}

#[test]
fn pages_without_the_needle_are_ruled_out() {
    let id = |page: u64, line: u64| {
        let seed = (page * 1000 + line).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("request {:016x} from Zürich took {}ms", seed ^ (seed >> 29), line % 7)
    };
    let pages: Vec<Vec<String>> = (0..64).map(|page| (0..60).map(|line| id(page, line)).collect()).collect();
    let signatures = signatures(&pages);
    let mut ruled_out = 0;
    for page in 0..64u64 {
        let line = id(page, 30);
        let found = kept(&signatures, &line[8..24].to_uppercase(), 64);
        assert!(found[page as usize], "the page that has it, whatever the case");
        ruled_out += found.iter().filter(|kept| !**kept).count();
    }
    assert!(ruled_out > 64 * 62, "an id leaves hardly another page: {ruled_out} of {} are out", 64 * 63);
    assert_eq!(kept(&signatures, "request", 64), [true; 64], "what all have rules nothing out");
    assert_eq!(kept(&signatures, "abc", 64), [true; 64], "too short");
    assert_eq!(kept(&signatures, "no such text", 64), [false; 64]);
}

#[test]
fn a_page_has_as_many_slots_as_its_grams_want() {
    let id = |seed: u64| {
        format!("{:032x}", u128::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
    };
    let ids: String = (1..3000).map(id).collect();
    let words = "the quick brown fox ".repeat(6000);
    let mut builder = SignatureBuilder::new();
    for text in [&words, &ids, &words, &ids, &String::new()] {
        builder.add_page(text.as_bytes(), std::iter::once(text.len()));
    }
    let bytes = builder.finish();
    // 20 grams, and most of the 65,536 that hexadecimal digits have: from one third to three fifths of the slots are set.
    assert_eq!(bytes[..7], [LAYOUT, 5, 6, 16, 6, 16, 6]);
    let signatures = PageSignatures::decode(&bytes, 5).expect("own bytes");
    assert_eq!(kept(&signatures, "QUICK", 5)[..4], [true, false, true, false]);
    assert_eq!(kept(&signatures, &ids[320..352], 5), [false, true, false, true, false]);
}

#[test]
fn the_layout_of_older_files_is_read() {
    // 256 slots, three pages; "abcd" has slot 232, "0123" slot 213: 0x61626364 and 0x30313233 times 0x9e3779b1, the
    // highest eight bits.
    let mut kinds = [0u8; 64];
    for (slot, kind) in [(232, 1), (213, sliced::MOST_PAGES)] {
        kinds[slot / 4] |= kind << (2 * (slot % 4));
    }
    let bytes = [&[8, 3][..], &kinds, &[0b101]].concat();
    let signatures = PageSignatures::decode(&bytes, 3).expect("sound");
    assert_eq!(kept(&signatures, "ABCD", 3), [true, false, true]);
    assert_eq!(kept(&signatures, "0123", 3), [true; 3]);
    assert_eq!(kept(&signatures, "cdef", 3), [false; 3]);
    assert!(PageSignatures::decode(&bytes, 9).is_err());
    assert!(PageSignatures::decode(&bytes[..66], 3).is_err());
}

proptest! {
    #[test]
    fn a_page_that_holds_the_needle_is_never_ruled_out(
        pages in proptest::collection::vec(proptest::collection::vec("[abAB \u{e9}]{0,12}|.{0,20}", 0..6), 1..20),
        needle in "[abAB \u{e9}]{1,7}",
    ) {
        let signatures = signatures(&pages);
        let held: Vec<&String> = pages.iter().flatten().filter(|line| line.len() > 5).collect();
        // Needles of lines that are there as well as any.
        let parts = held.iter().take(3).filter_map(|line| line.get(1..line.len() - 1)).map(str::to_owned);
        for needle in parts.chain([needle]) {
            for (lines, kept) in pages.iter().zip(kept(&signatures, &needle, pages.len())) {
                let folded = needle.to_ascii_lowercase();
                prop_assert!(kept || !lines.iter().any(|line| line.to_ascii_lowercase().contains(&folded)));
            }
        }
    }

    #[test]
    fn any_bytes_decode_or_fail_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), pages in 0usize..40) {
        if let Ok(signatures) = PageSignatures::decode(&bytes, pages) {
            kept(&signatures, "some needle", pages);
        }
    }
}
