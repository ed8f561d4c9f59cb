//! Integers of few bits, as histogram chunks have them (tsdb/chunkenc/varbit.go): a run of ones says how many bits
//! follow. Signed ranges are −(2^(n−1)−1) ..= 2^(n−1), one step off two's complement.

use crate::bits::{BitReader, OutOfBits, write_bits};

/// Bits that follow `1…10` with as many ones as the index, from one on. Eight ones without a zero: 64 bits.
const WIDTHS: [u32; 7] = [3, 6, 9, 12, 18, 25, 56];

/// Appends a signed integer.
pub(crate) fn write_varbit_int(out: &mut Vec<u8>, free: &mut u8, value: i64) {
    let fits = |width: u32| -((1 << (width - 1)) - 1) <= value && value <= 1 << (width - 1);
    write(out, free, value.cast_unsigned(), fits);
}

/// Appends an unsigned integer.
pub(crate) fn write_varbit_uint(out: &mut Vec<u8>, free: &mut u8, value: u64) {
    write(out, free, value, |width| value < 1 << width);
}

#[inline]
fn write(out: &mut Vec<u8>, free: &mut u8, value: u64, fits: impl Fn(u32) -> bool) {
    if value == 0 {
        return write_bits(out, free, 0, 1);
    }
    let Some(index) = WIDTHS.iter().position(|&width| fits(width)) else {
        write_bits(out, free, 0xff, 8);
        return write_bits(out, free, value, 64);
    };
    let (width, ones) = (WIDTHS[index], u32::try_from(index + 1).expect("seven classes"));
    let prefix = (1 << (ones + 1)) - 2;
    write_bits(out, free, prefix << width | value & ((1 << width) - 1), ones + 1 + width);
}

/// Takes a signed integer.
#[inline]
pub(crate) fn read_varbit_int(bits: &mut BitReader<'_>) -> Result<i64, OutOfBits> {
    let (raw, width) = read(bits)?;
    let raw = raw.cast_signed();
    Ok(if width < 64 && width > 0 && raw > 1 << (width - 1) { raw - (1 << width) } else { raw })
}

/// Takes an unsigned integer.
#[inline]
pub(crate) fn read_varbit_uint(bits: &mut BitReader<'_>) -> Result<u64, OutOfBits> {
    Ok(read(bits)?.0)
}

/// The bits and how many they are.
#[inline]
fn read(bits: &mut BitReader<'_>) -> Result<(u64, u32), OutOfBits> {
    let head = u8::try_from(bits.peek(8)).expect("eight bits");
    match head.leading_ones() {
        0 => bits.skip(1).map(|()| (0, 0)),
        8 => {
            bits.skip(8)?;
            Ok((bits.read(64)?, 64))
        }
        ones => {
            bits.skip(ones + 1)?;
            let width = WIDTHS[ones as usize - 1];
            Ok((bits.read(width)?, width))
        }
    }
}

/// Takes an LEB128 integer whose bytes lie anywhere between the bits.
pub(crate) fn read_uvarint(bits: &mut BitReader<'_>) -> Result<u64, OutOfBits> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bits.read(8)?;
        value |= (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(OutOfBits)
}

#[cfg(test)]
mod tests {
    use super::{read_varbit_int, read_varbit_uint, write_varbit_int, write_varbit_uint};
    use crate::bits::BitReader;

    /// The bits of one value, as text.
    fn written(write: impl FnOnce(&mut Vec<u8>, &mut u8)) -> String {
        let (mut out, mut free) = (Vec::new(), 0);
        write(&mut out, &mut free);
        let all: String = out.iter().map(|byte| format!("{byte:08b}")).collect();
        all[..all.len() - usize::from(free)].to_owned()
    }

    #[test]
    fn each_class_ends_where_the_format_says() {
        // Worked out by hand from chunkenc/varbit.go.
        for (value, expected) in [
            (0, "0".to_owned()),
            (1, "10001".to_owned()),
            (4, "10100".to_owned()),
            (-3, "10101".to_owned()),
            (5, "110000101".to_owned()),
            (-4, "110111100".to_owned()),
            (32, "110100000".to_owned()),
            (33, "1110000100001".to_owned()),
            (256, "1110100000000".to_owned()),
            (-256, "11110111100000000".to_owned()),
            (2048, "11110100000000000".to_owned()),
            (2049, format!("111110{:018b}", 2049)),
            (131_073, format!("1111110{:025b}", 131_073)),
            (16_777_217, format!("11111110{:056b}", 16_777_217)),
            (i64::MIN, format!("11111111{:064b}", 1_u64 << 63)),
        ] {
            assert_eq!(written(|out, free| write_varbit_int(out, free, value)), expected, "{value}");
        }
        for (value, expected) in [
            (0, "0".to_owned()),
            (7, "10111".to_owned()),
            (8, "110001000".to_owned()),
            (33_554_431, format!("1111110{}", "1".repeat(25))),
            (33_554_432, format!("11111110{:056b}", 33_554_432)),
            (u64::MAX, "1".repeat(72)),
        ] {
            assert_eq!(written(|out, free| write_varbit_uint(out, free, value)), expected, "{value}");
        }
    }

    #[test]
    fn values_around_each_power_of_two_read_back() {
        let (mut out, mut free, mut values) = (Vec::new(), 0, Vec::new());
        for shift in 0..64 {
            for value in [(1_u64 << shift).wrapping_sub(1), 1 << shift, (1 << shift) + 1] {
                values.push(value);
                write_varbit_uint(&mut out, &mut free, value);
                write_varbit_int(&mut out, &mut free, value.cast_signed());
                write_varbit_int(&mut out, &mut free, value.cast_signed().wrapping_neg());
            }
        }
        let mut bits = BitReader::new(&out);
        for value in values {
            assert_eq!(read_varbit_uint(&mut bits), Ok(value));
            assert_eq!(read_varbit_int(&mut bits), Ok(value.cast_signed()));
            assert_eq!(read_varbit_int(&mut bits), Ok(value.cast_signed().wrapping_neg()));
        }
    }
}
