//! Files put together by hand.

use super::{HEADER, PrometheusHeadChunk, read_prometheus_head_chunks};

fn chunk(series: u64, min_ms: i64, max_ms: i64, encoding: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = series.to_be_bytes().to_vec();
    bytes.extend_from_slice(&min_ms.to_be_bytes());
    bytes.extend_from_slice(&max_ms.to_be_bytes());
    bytes.push(encoding);
    bytes.push(u8::try_from(data.len()).expect("short"));
    bytes.extend_from_slice(data);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

#[test]
fn chunks_are_read_up_to_the_zeros_that_end_a_file() {
    let mut file = HEADER.to_vec();
    file.extend(chunk(3, -5, 70, 1, b"xor"));
    file.extend(chunk(4, 0, 9, 0x82, b"late"));
    let end = file.len();
    file.resize(end + 500, 0);
    let mut found = Vec::new();
    read_prometheus_head_chunks(
        &file,
        |PrometheusHeadChunk { series, min_ms, max_ms, encoding, is_out_of_order, data }| {
            found.push((series, min_ms, max_ms, encoding, is_out_of_order, data.to_vec()));
        },
    )
    .expect("is sound");
    assert_eq!(found, [(3, -5, 70, 1, false, b"xor".to_vec()), (4, 0, 9, 2, true, b"late".to_vec())]);
    for empty in [&[][..], &[0; 4096][..], &HEADER[..]] {
        assert_eq!(read_prometheus_head_chunks(empty, |_| panic!("there is none")), Ok(()));
    }
}

#[test]
fn a_damaged_file_is_an_error_behind_what_is_sound() {
    let mut file = HEADER.to_vec();
    file.extend(chunk(3, 1, 7, 1, b"xor"));
    let sound = file.len();
    file.extend(chunk(4, 1, 7, 1, b"more"));
    for at in sound..file.len() {
        let mut flipped = file.clone();
        flipped[at] ^= 4;
        let mut count = 0;
        assert!(read_prometheus_head_chunks(&flipped, |_| count += 1).is_err(), "byte {at}");
        assert_eq!(count, 1, "byte {at}");
    }
    let mut other = file.clone();
    other[4] = 2;
    assert!(read_prometheus_head_chunks(&other, |_| {}).is_err());
    // Eight bytes of a reference of which the first seven are zero: up to there it may be the end of the file.
    for len in sound + 8..file.len() {
        assert!(read_prometheus_head_chunks(&file[..len], |_| {}).is_err(), "{len} bytes");
    }
}
