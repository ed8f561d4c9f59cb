//! Where a series lies between 0 and 1, for `limit_ratio`.
//!
//! Prometheus hashes its in-memory form of the labels with xxhash64 (model/labels, string labels: each name and value
//! with its length in front); the same form and hash choose the same series here.

use model::Labels;

/// The position in `[0, 1]`.
pub(super) fn offset(labels: &Labels) -> f64 {
    let mut bytes = Vec::with_capacity(labels.text_bytes() + 2 * labels.len());
    for (name, value) in labels.iter() {
        for text in [name, value] {
            push_length(&mut bytes, text.len());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    xxhash_rust::xxh64::xxh64(&bytes, 0) as f64 / u64::MAX as f64
}

/// One byte up to 254, else 255 and three bytes, the lowest first.
fn push_length(bytes: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 255 => bytes.push(short),
        _ => bytes.extend_from_slice(&[255, length as u8, (length >> 8) as u8, (length >> 16) as u8]),
    }
}
