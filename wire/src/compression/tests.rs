use std::io::Write;

use bytes::Bytes;

use super::{CompressionError, Encoding, decode, encode};

const ALL: [Encoding; 8] = [
    Encoding::Identity,
    Encoding::Gzip,
    Encoding::Zstd,
    Encoding::Zlib,
    Encoding::RawDeflate,
    Encoding::Snappy,
    Encoding::SnappyFramed,
    Encoding::Lz4,
];

/// Text that compresses about as telemetry does.
fn text(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + (state >> 24) as u8 % 16
        })
        .collect()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    writer.write_all(body).unwrap();
    writer.finish().unwrap()
}

#[test]
fn every_encoding_gives_back_what_it_was_given() {
    for len in [0, 1, 100, 5_000, 300_000] {
        let body = text(len);
        for encoding in ALL {
            let encoded = Bytes::from(encoding.encode(None, &body));
            let decoded =
                encoding.decode(&encoded, len).unwrap_or_else(|error| panic!("{encoding:?}: {error}"));
            assert_eq!(decoded, body, "{encoding:?} of {len} bytes");
        }
    }
}

#[test]
fn bodies_of_other_encoders_decode() {
    let body = text(70_000);
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(&body).unwrap();
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    raw.write_all(&body).unwrap();
    // A streaming zstd encoder does not write the content size.
    let mut zstd = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    zstd.write_all(&body).unwrap();
    for (encoding, encoded) in [
        (Encoding::Gzip, gzip(&body)),
        (Encoding::Zlib, zlib.finish().unwrap()),
        (Encoding::RawDeflate, raw.finish().unwrap()),
        (Encoding::Zstd, zstd.finish().unwrap()),
        // What is called snappy may be framed.
        (Encoding::Snappy, Encoding::SnappyFramed.encode(None, &body)),
    ] {
        assert_eq!(encoding.decode(&Bytes::from(encoded), 1 << 20).unwrap(), body, "{encoding:?}");
    }
}

#[test]
fn several_members_or_frames_are_joined() {
    for (encoding, encode) in [
        (Encoding::Gzip, gzip as fn(&[u8]) -> Vec<u8>),
        (Encoding::Zstd, |body| Encoding::Zstd.encode(None, body)),
        (Encoding::Lz4, |body| Encoding::Lz4.encode(None, body)),
        (Encoding::SnappyFramed, |body| Encoding::SnappyFramed.encode(None, body)),
    ] {
        for (first, second) in [(20_000, 10), (10, 20_000), (500, 500), (0, 7), (7, 0)] {
            let (first, second) = (text(first), text(second));
            let joined = Bytes::from([encode(&first), encode(&second)].concat());
            let plain = [first, second].concat();
            assert_eq!(encoding.decode(&joined, plain.len()).unwrap(), plain, "{encoding:?}");
            if !plain.is_empty() {
                let cap_bytes = plain.len() - 1;
                assert_eq!(
                    encoding.decode(&joined, cap_bytes),
                    Err(CompressionError::TooLarge { cap_bytes }),
                    "{encoding:?}"
                );
            }
        }
    }
}

#[test]
fn a_bomb_stops_at_the_cap() {
    let zeros = vec![0; 16 << 20];
    for encoding in ALL {
        let bomb = Bytes::from(encoding.encode(None, &zeros));
        for cap_bytes in [0, 1_000, 1 << 20, zeros.len() - 1] {
            assert_eq!(
                encoding.decode(&bomb, cap_bytes),
                Err(CompressionError::TooLarge { cap_bytes }),
                "{encoding:?}"
            );
        }
        assert_eq!(encoding.decode(&bomb, zeros.len()).unwrap().len(), zeros.len(), "{encoding:?}");
    }
}

#[test]
fn a_claimed_size_is_not_believed() {
    // A snappy block of three bytes that says it holds 512 MiB, a gzip member whose trailer says 64 MiB, a zstd
    // frame header that says 1 GiB.
    let mut lying_gzip = gzip(b"small");
    let at = lying_gzip.len() - 4;
    lying_gzip[at..].copy_from_slice(&(64u32 << 20).to_le_bytes());
    for (encoding, body) in [
        (Encoding::Snappy, b"\x80\x80\x80\x80\x02".to_vec()),
        (Encoding::Gzip, lying_gzip),
        (Encoding::Zstd, b"\x28\xb5\x2f\xfd\xa0\x00\x00\x00\x40\x01\x00\x00".to_vec()),
    ] {
        let error = encoding.decode(&Bytes::from(body), 20 << 20).unwrap_err();
        let expected = match encoding {
            Encoding::Zstd => matches!(error, CompressionError::TooLarge { .. }),
            _ => matches!(error, CompressionError::Corrupt { .. }),
        };
        assert!(expected, "{encoding:?}: {error}");
    }
}

#[test]
fn damaged_bodies_are_refused_at_every_length() {
    let body = text(2_000);
    for encoding in ALL.into_iter().filter(|encoding| *encoding != Encoding::Identity) {
        let encoded = encoding.encode(None, &body);
        // No bytes at all are no zstd frames at all.
        for len in 1..encoded.len() {
            let cut = Bytes::copy_from_slice(&encoded[..len]);
            // Framed formats may end at a chunk's border: then what comes out may be short, never wrong.
            if let Ok(decoded) = encoding.decode(&cut, 1 << 20) {
                assert!(body.starts_with(&decoded), "{encoding:?} cut at {len}");
                assert!(
                    matches!(encoding, Encoding::SnappyFramed | Encoding::Lz4),
                    "{encoding:?} cut at {len}"
                );
            }
        }
        let garbage = Bytes::from(text(100));
        assert!(encoding.decode(&garbage, 1 << 20).is_err(), "{encoding:?} took garbage");
    }
}

#[test]
fn names_are_those_of_the_collector() {
    let body = Bytes::from_static(b"the body");
    for name in
        ["", "identity", "gzip", "GZip", "zstd", "zlib", "deflate", "snappy", "x-snappy-framed", "lz4"]
    {
        let encoded = Bytes::from(encode(name, Some(1), &body).unwrap());
        assert_eq!(decode(name, &encoded, 100).unwrap(), body, "{name}");
    }
    // `deflate` is the zlib form, whose first byte says method 8 and a window of 32 KiB.
    assert_eq!(encode("deflate", None, b"x").unwrap()[0], 0x78);
    assert_eq!(
        decode("br", &body, 100).unwrap_err().to_string(),
        "unsupported content encoding \"br\", supported are identity, gzip, zstd, zlib, deflate, snappy, \
         x-snappy-framed, lz4"
    );
    assert_eq!(
        decode("", &body, 7).unwrap_err().to_string(),
        "decompressed body is larger than the allowed 7 bytes"
    );
}
