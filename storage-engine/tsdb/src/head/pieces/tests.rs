//! Chains hold what an appender writes into an array, and pieces that are given back are used again.

use format::XorAppender;
use proptest::prelude::*;

use super::{Chain, PAGE, PIECE_BYTES, Pieces};

fn bytes(chain: &Chain, pieces: &Pieces, samples: u16) -> Vec<u8> {
    let mut out = b"before".to_vec();
    chain.copy_to(pieces, samples, &mut out);
    assert_eq!(&out[..6], b"before");
    out.split_off(6)
}

proptest! {
    #[test]
    fn a_chain_has_the_bytes_that_an_array_would_have(
        samples in prop::collection::vec((1i64..100_000, prop::sample::select(vec![0, 1, 2, 3])), 1..240),
        others in 1usize..4,
    ) {
        let mut pieces = Pieces::new();
        let mut chains = vec![(Chain::default(), XorAppender::EMPTY); others];
        let (mut expected, mut appender) = (Vec::new(), XorAppender::EMPTY);
        let mut time = 0;
        for (step, kind) in &samples {
            time += step;
            let value = match kind {
                0 => 1.0,
                1 => time as f64,
                2 => f64::from_bits((time as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                _ => -0.5,
            };
            appender.append(&mut expected, time, value);
            for (chain, appender) in &mut chains {
                chain.append(&mut pieces, appender, time, value);
            }
        }
        for (chain, appender) in &chains {
            prop_assert_eq!(chain.len(), expected.len());
            prop_assert_eq!(&bytes(chain, &pieces, appender.samples()), &expected);
        }
    }
}

#[test]
fn pieces_are_used_again_and_a_page_without_any_gives_its_memory_back() {
    let mut pieces = Pieces::new();
    let text: Vec<u8> = (0..=255).cycle().take(10 * PIECE_BYTES).collect();
    let mut chains = vec![Chain::default(); 3 * PAGE / 10];
    chains.iter_mut().for_each(|chain| chain.extend(&mut pieces, &text));
    assert_eq!(pieces.pages.len(), 3);
    chains.iter_mut().step_by(2).for_each(|chain| chain.clear(&mut pieces));
    for chain in chains.iter_mut().step_by(2) {
        assert!(chain.is_empty());
        chain.extend(&mut pieces, &text);
    }
    assert_eq!(pieces.pages.len(), 3, "what was given back is taken again");
    // The header's two bytes are the number of samples.
    assert!(chains.iter().all(|chain| bytes(chain, &pieces, 1) == text));
    chains.iter_mut().for_each(|chain| chain.clear(&mut pieces));
    let held: usize = pieces.pages.iter().map(|page| page.pieces.len()).sum();
    assert!(held <= PAGE, "{held} pieces are held for nobody");
    let mut one = Chain::default();
    one.extend(&mut pieces, b"abc");
    assert_eq!((bytes(&one, &pieces, 24930), one.memory_bytes()), (b"abc".to_vec(), 64));
}
