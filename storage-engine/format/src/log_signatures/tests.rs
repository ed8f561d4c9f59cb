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
