use bytes::Bytes;
use runtime::MemoryBudget;
use wire::compression::{CompressionError, Encoding};

use super::{DecodeError, decode};

const MIB: usize = 1 << 20;
const COMPRESSED: [Encoding; 7] = [
    Encoding::Gzip,
    Encoding::Zstd,
    Encoding::Zlib,
    Encoding::RawDeflate,
    Encoding::Snappy,
    Encoding::SnappyFramed,
    Encoding::Lz4,
];

fn bomb(encoding: Encoding, bytes: usize) -> Bytes {
    encoding.encode(None, &vec![0; bytes]).into()
}

#[test]
fn what_is_held_afterwards_is_what_came_out() {
    for encoding in COMPRESSED {
        let budget = MemoryBudget::new(u64::MAX);
        let body = bomb(encoding, 3 * MIB);
        let mut held = budget.try_reserve(body.len() as u64).expect("no limit");
        let decoded = decode(encoding, &body, 4 * MIB, &mut held).expect("fits");
        assert_eq!((decoded.len(), held.bytes() as usize), (3 * MIB, 3 * MIB), "{encoding:?}");
    }
}

#[test]
fn a_body_that_grows_past_the_budget_is_refused_with_a_retry_hint() {
    for encoding in COMPRESSED {
        let budget = MemoryBudget::new(2 * MIB as u64);
        let body = bomb(encoding, 16 * MIB);
        let mut held = budget.try_reserve(body.len() as u64).expect("a small body");
        let refused = decode(encoding, &body, 64 * MIB, &mut held);
        let Err(DecodeError::NoMemory(error)) = refused else { panic!("{encoding:?}: {refused:?}") };
        assert!(error.kind().is_retryable() && error.retry_after().is_some(), "{encoding:?}");
        drop(held);
        assert_eq!(budget.reserved_bytes(), 0);
    }
}

#[test]
fn a_gzip_body_that_lies_about_its_size_gets_no_more_room_for_it() {
    let mut lies = bomb(Encoding::Gzip, 16 * MIB).to_vec();
    let size_at = lies.len() - 4;
    for claimed in [0, 1, u32::MAX] {
        lies[size_at..].copy_from_slice(&u32::to_le_bytes(claimed));
        let budget = MemoryBudget::new(2 * MIB as u64);
        let mut held = budget.try_reserve(lies.len() as u64).expect("a small body");
        let outcome = decode(Encoding::Gzip, &Bytes::from(lies.clone()), 64 * MIB, &mut held);
        assert!(outcome.is_err() && budget.reserved_bytes() <= 2 * MIB as u64, "{claimed}");
    }
}

#[test]
fn a_body_over_the_cap_is_too_large_whatever_the_budget() {
    for encoding in COMPRESSED {
        let budget = MemoryBudget::new(u64::MAX);
        let body = bomb(encoding, 2 * MIB);
        let mut held = budget.try_reserve(body.len() as u64).expect("no limit");
        let refused = decode(encoding, &body, MIB, &mut held);
        let wanted = CompressionError::TooLarge { cap_bytes: MIB };
        assert!(matches!(&refused, Err(DecodeError::Wrong(error)) if *error == wanted), "{refused:?}");
    }
}
