use tonic::Code;

use super::{Compression, MessageReader, put_message};

const ALL: [Compression; 4] = [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Snappy];

#[test]
fn messages_come_back_whatever_their_compression_and_however_they_are_cut() {
    let messages: [Vec<u8>; 4] = [Vec::new(), b"short".to_vec(), vec![7; 100_000], (0..=255).collect()];
    for compression in ALL {
        let mut body = Vec::new();
        for message in &messages {
            put_message(&mut body, message, compression).expect("fits");
        }
        for cut in [1, 3, 5, 1000, usize::MAX] {
            let mut reader = MessageReader::new(compression, 1 << 20);
            let mut found = Vec::new();
            for piece in body.chunks(cut.min(body.len())) {
                reader.push(piece);
                while let Some(message) = reader.next_message().expect("sound") {
                    found.push(message.to_vec());
                }
            }
            assert_eq!(found, messages, "{compression:?} cut at {cut}");
            assert!(reader.is_empty());
        }
    }
}

#[test]
fn a_message_is_refused_before_it_is_larger_than_the_cap() {
    for compression in ALL {
        let mut body = Vec::new();
        put_message(&mut body, &vec![0; 10_000], compression).expect("fits");
        let mut reader = MessageReader::new(compression, 9_999);
        reader.push(&body);
        let status = reader.next_message().expect_err("too large");
        assert_eq!(status.code(), Code::ResourceExhausted, "{compression:?}");
    }
    // A length alone is enough: nothing is reserved for what it announces.
    let mut reader = MessageReader::new(Compression::None, 1000);
    reader.push(&[0, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(reader.next_message().expect_err("too large").code(), Code::ResourceExhausted);
}

#[test]
fn snappy_is_the_framing_format() {
    let mut body = Vec::new();
    put_message(&mut body, &[b'a'; 1000], Compression::Snappy).expect("fits");
    // google/snappy framing_format.txt: every stream begins with this chunk.
    assert_eq!(&body[5..15], b"\xff\x06\x00\x00sNaPpY");
}

#[test]
fn damaged_messages_are_errors() {
    for (compression, bytes) in [
        (Compression::None, &[1, 0, 0, 0, 1, 9][..]),
        (Compression::None, &[2, 0, 0, 0, 1, 9]),
        (Compression::Gzip, &[1, 0, 0, 0, 3, 1, 2, 3]),
        (Compression::Zstd, &[1, 0, 0, 0, 3, 1, 2, 3]),
        (Compression::Snappy, &[1, 0, 0, 0, 3, 1, 2, 3]),
    ] {
        let mut reader = MessageReader::new(compression, 1000);
        reader.push(bytes);
        assert_eq!(reader.next_message().expect_err("damaged").code(), Code::Internal, "{compression:?}");
    }
}
