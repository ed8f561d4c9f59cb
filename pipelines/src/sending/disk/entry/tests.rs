use std::sync::Arc;

use bytes::Bytes;
use model::{Signal, TenantId};

use super::{EntryError, decode_queued, encode_queued};
use crate::{Batch, ClientMetadata};

fn batch() -> Batch {
    Batch {
        signal: Signal::Traces,
        tenant: TenantId::new("shop").expect("a tenant"),
        payload: Bytes::from_static(b"PAYLOAD"),
        items: 0x0102,
        client: Arc::new(ClientMetadata {
            address: Some("::1".to_owned()),
            metadata: vec![("team".to_owned(), "a".to_owned())],
        }),
        reservation: None,
    }
}

/// Version 1 byte by byte, as docs/formats/queue-v1.md has it.
const GOLDEN: &[u8] = b"\x01\x02\x02\x01\0\0\0\0\0\0\x04\0shop\x03\0::1\x01\0\x04\0team\x01\0aPAYLOAD";

#[test]
fn a_batch_is_written_as_version_1_and_read_back() {
    assert_eq!(encode_queued(&batch()), GOLDEN);
    let read = decode_queued(Bytes::from_static(GOLDEN)).expect("whole");
    let want = batch();
    assert_eq!(
        (read.signal, &read.tenant, &read.payload, read.items, &read.client),
        (want.signal, &want.tenant, &want.payload, want.items, &want.client)
    );
}

#[test]
fn a_record_that_is_cut_or_of_another_version_is_refused() {
    let head = GOLDEN.len() - b"PAYLOAD".len();
    for len in 0..head {
        assert_eq!(
            decode_queued(Bytes::from_static(&GOLDEN[..len])).err(),
            Some(EntryError::Malformed),
            "{len}"
        );
    }
    let mut newer = GOLDEN.to_vec();
    newer[0] = 2;
    assert_eq!(decode_queued(Bytes::from(newer)).err(), Some(EntryError::Version(2)));
    let mut strange = GOLDEN.to_vec();
    strange[1] = 9;
    assert_eq!(decode_queued(Bytes::from(strange)).err(), Some(EntryError::Malformed));
}
