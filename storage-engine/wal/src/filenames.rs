//! Every name that the log puts into its folder.

/// `00000042.wal`: eight digits keep name order equal to number order for the first hundred million segments, and
/// the reader sorts by number anyway.
pub(crate) fn segment(number: u64) -> String {
    format!("{number:08}.wal")
}

/// `00000042.damaged`: bytes of that segment that no record could be read from, kept for a person to look at.
pub(crate) fn damaged(number: u64) -> String {
    format!("{number:08}.damaged")
}

/// The number of a segment's name, or `None` for any other name.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    let plain = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::{segment, segment_number};

    #[test]
    fn segment_names_read_back_and_others_do_not() {
        for number in [0, 1, 99_999_999, 100_000_000] {
            assert_eq!(segment_number(&segment(number)), Some(number));
        }
        for name in ["1.wal", "00000001.damaged", "0000000x.wal", "+0000001.wal", "00000001.wal.tmp"] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }
}
