//! Column values of log files and page signatures: any bytes decode or are refused; what decodes encodes to the same.
#![no_main]

use format::{
    ByteColumn, PageSignatures, decode_delta, decode_delta_length, decode_hybrid, decode_plain, encode_delta,
    encode_delta_length, encode_plain,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [low, high, width, data @ ..] = data else { return };
    let count = usize::from(u16::from_le_bytes([*low, *high]) & 0xfff);

    let mut values = Vec::new();
    if decode_delta(data, count, |value| values.push(value)).is_ok() {
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        encode_delta(values.iter().copied(), &mut bytes);
        decode_delta(&bytes, count, |value| again.push(value)).expect("just encoded");
        assert_eq!(values, again);
    }
    if let Ok((ends, text)) = decode_delta_length(data, count) {
        let column = ByteColumn { bytes: text.to_vec(), ends };
        let mut bytes = Vec::new();
        encode_delta_length(&column, &mut bytes);
        assert_eq!(decode_delta_length(&bytes, count), Ok((column.ends, text)));
    }
    if let Ok(column) = decode_plain(data, count) {
        let mut bytes = Vec::new();
        encode_plain(&column, &mut bytes);
        assert_eq!(bytes, data);
    }
    if let Ok(values) = decode_hybrid(data, u32::from(*width), count, 1 << 20) {
        assert!(values.len() == count && values.iter().all(|&value| value < 1 << 20));
    }
    if let Ok(signatures) = PageSignatures::decode(data, count) {
        signatures.rule_out("a needle", &mut vec![true; count]);
    }
});
