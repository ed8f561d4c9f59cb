//! Reading the parts of an index. Each function takes the bytes of one part, checks them, and never reads past them.

use bytes::Bytes;

use super::{ChunkMeta, HEADER, INDEX_HEADER_BYTES, INDEX_TOC_BYTES};
use crate::FormatError;
use crate::varint::{take_uvarint, take_varint};

fn fault(reason: &'static str) -> FormatError {
    FormatError::new("index", reason)
}

/// Whether `bytes` begin an index that can be read. Version 3 is read as 2, from which it does not differ here.
pub fn check_index_header(bytes: &[u8]) -> Result<(), FormatError> {
    let header = bytes.first_chunk::<INDEX_HEADER_BYTES>().ok_or_else(|| fault("it has no header"))?;
    if header[..4] != HEADER[..4] {
        return Err(fault("it does not begin with BAAAD700"));
    }
    match header[4] {
        2 | 3 => Ok(()),
        1 => Err(fault("its version is 1, which only test releases of Prometheus 2.0 wrote")),
        _ => Err(fault("its version is none of 2 and 3")),
    }
}

/// Where the sections are. They begin in the order of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexToc {
    /// Symbols.
    pub symbols: u64,
    /// Series; they end where label indices or, without those, postings begin.
    pub series: u64,
    /// End of the series.
    pub series_end: u64,
    /// Postings lists.
    pub postings: u64,
    /// The table of postings lists.
    pub postings_table: u64,
    /// Bytes of the file without the table of contents.
    pub end: u64,
}

impl IndexToc {
    /// Reads the last [`INDEX_TOC_BYTES`] of a file of `file_bytes`.
    pub fn decode(bytes: &[u8], file_bytes: u64) -> Result<Self, FormatError> {
        let toc =
            bytes.first_chunk::<INDEX_TOC_BYTES>().ok_or_else(|| fault("it has no table of contents"))?;
        let (offsets, checksum) = toc.split_last_chunk::<4>().expect("it has more than four bytes");
        if crc32c::crc32c(offsets) != u32::from_be_bytes(*checksum) {
            return Err(fault("the checksum of its table of contents is wrong"));
        }
        let at = |field: usize| {
            let bytes = offsets[field * 8..].first_chunk().expect("six fields of eight bytes");
            u64::from_be_bytes(*bytes)
        };
        let [symbols, series, label_indices, postings, table] = [at(0), at(1), at(2), at(4), at(5)];
        let end = file_bytes
            .checked_sub(INDEX_TOC_BYTES as u64)
            .ok_or_else(|| fault("it is shorter than its table of contents"))?;
        let series_end = if label_indices == 0 { postings } else { label_indices };
        let order = [INDEX_HEADER_BYTES as u64, symbols, series, series_end, postings, table, end];
        if !order.is_sorted() {
            return Err(fault("its sections are not in order"));
        }
        Ok(Self { symbols, series, series_end, postings, postings_table: table, end })
    }
}

/// Bytes of a section that begins with its 32-bit length: length, content and checksum.
pub fn section_bytes(front: &[u8]) -> Result<u64, FormatError> {
    let len = front.first_chunk().ok_or_else(|| fault("it ends inside the length of a section"))?;
    Ok(4 + u64::from(u32::from_be_bytes(*len)) + 4)
}

/// The content of such a section, checked.
fn section(bytes: &[u8]) -> Result<&[u8], FormatError> {
    let total = usize::try_from(section_bytes(bytes)?).unwrap_or(usize::MAX);
    let section = bytes.get(4..total).ok_or_else(|| fault("a section is longer than the file"))?;
    let (content, checksum) = section.split_last_chunk::<4>().expect("the total includes them");
    if crc32c::crc32c(content) != u32::from_be_bytes(*checksum) {
        return Err(fault("the checksum of a section is wrong"));
    }
    Ok(content)
}

/// The content's leading count and the rest.
fn counted(content: &[u8]) -> Result<(usize, &[u8]), FormatError> {
    let (count, rest) =
        content.split_first_chunk::<4>().ok_or_else(|| fault("a section is too short for its count"))?;
    Ok((u32::from_be_bytes(*count) as usize, rest))
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let len = usize::try_from(take_uvarint(bytes)?).ok()?;
    let text = std::str::from_utf8(bytes.get(..len)?).ok()?;
    *bytes = &bytes[len..];
    Some(text)
}

/// All texts of an index, by number.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    content: Bytes,
    /// Where each text's length is in `content`.
    starts: Box<[u32]>,
}

impl Symbols {
    /// Reads the section.
    pub fn decode(bytes: &Bytes) -> Result<Self, FormatError> {
        let content = bytes.slice_ref(section(bytes)?);
        let (count, mut rest) = counted(&content)?;
        if count > rest.len() {
            return Err(fault("it counts more symbols than it has bytes of them"));
        }
        let mut starts = Vec::with_capacity(count);
        let mut last = None;
        for _ in 0..count {
            starts.push(u32::try_from(content.len() - rest.len()).expect("the length has 32 bits"));
            let text = take_text(&mut rest).ok_or_else(|| fault("a symbol is no text inside the section"))?;
            if last >= Some(text) {
                return Err(fault("its symbols are not in order"));
            }
            last = Some(text);
        }
        Ok(Self { starts: starts.into(), content: content.clone() })
    }

    /// The text with this number.
    pub fn get(&self, number: u32) -> Option<&str> {
        let mut rest = &self.content[*self.starts.get(number as usize)? as usize..];
        Some(take_text(&mut rest).expect("it was read when the section was"))
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.content.len() + self.starts.len() * 4
    }
}

/// Bytes that the series at the front of `bytes` takes: length, content, checksum. Needs the first ten bytes, or all
/// there are.
pub fn frame_bytes(bytes: &[u8]) -> Result<u64, FormatError> {
    let mut rest = bytes;
    let len = take_uvarint(&mut rest).ok_or_else(|| fault("the length of a series does not end"))?;
    Ok(((bytes.len() - rest.len()) as u64).saturating_add(len).saturating_add(4))
}

/// Reads a series from its place on: its labels as symbols into `labels`, its chunks into `chunks`.
pub fn decode_series(
    bytes: &[u8],
    labels: &mut Vec<(u32, u32)>,
    chunks: &mut Vec<ChunkMeta>,
) -> Result<(), FormatError> {
    labels.clear();
    chunks.clear();
    let total = usize::try_from(frame_bytes(bytes)?).unwrap_or(usize::MAX);
    let mut rest = bytes.get(..total).ok_or_else(|| fault("a series is longer than its section"))?;
    take_uvarint(&mut rest).expect("its length was read a moment ago");
    let (mut body, checksum) = rest.split_last_chunk::<4>().expect("the total includes them");
    if crc32c::crc32c(body) != u32::from_be_bytes(*checksum) {
        return Err(fault("the checksum of a series is wrong"));
    }
    let ends = || fault("a series ends inside its labels or chunks");
    let symbol = |body: &mut &[u8]| u32::try_from(take_uvarint(body).ok_or_else(ends)?).map_err(|_| ends());
    for _ in 0..count_of(&mut body, 2).ok_or_else(ends)? {
        labels.push((symbol(&mut body)?, symbol(&mut body)?));
    }
    let count = count_of(&mut body, 3).ok_or_else(ends)?;
    chunks.reserve(count);
    for index in 0..count {
        let chunk = take_chunk_meta(&mut body, chunks.last()).ok_or_else(ends)?;
        let follows = chunks.last().is_none_or(|before| before.max_time < chunk.min_time);
        if chunk.max_time < chunk.min_time || !follows {
            return Err(fault("the chunks of a series are not in the order of their times"));
        }
        debug_assert_eq!(index, chunks.len());
        chunks.push(chunk);
    }
    Ok(())
}

/// A count of things that take `bytes_each` bytes or more of what follows.
fn count_of(bytes: &mut &[u8], bytes_each: usize) -> Option<usize> {
    let count = usize::try_from(take_uvarint(bytes)?).ok()?;
    (count <= bytes.len() / bytes_each).then_some(count)
}

fn take_chunk_meta(bytes: &mut &[u8], before: Option<&ChunkMeta>) -> Option<ChunkMeta> {
    let min_time = match before {
        None => take_varint(bytes)?,
        Some(before) => before.max_time.checked_add_unsigned(take_uvarint(bytes)?)?,
    };
    let max_time = min_time.checked_add_unsigned(take_uvarint(bytes)?)?;
    let reference = match before {
        None => take_uvarint(bytes)?,
        Some(before) => before.reference.checked_add_signed(take_varint(bytes)?)?,
    };
    Some(ChunkMeta { min_time, max_time, reference })
}

/// Reads a postings list: numbers of series, ascending.
pub fn decode_postings(bytes: &[u8]) -> Result<Vec<u32>, FormatError> {
    let (count, numbers) = counted(section(bytes)?)?;
    if numbers.len() != count * 4 {
        return Err(fault("a postings list is not as long as it says"));
    }
    let (numbers, _) = numbers.as_chunks::<4>();
    let numbers: Vec<u32> = numbers.iter().map(|number| u32::from_be_bytes(*number)).collect();
    if !numbers.is_sorted_by(|left, right| left < right) {
        return Err(fault("a postings list is not in order"));
    }
    Ok(numbers)
}

/// An entry of the table of postings lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostingsEntry<'a> {
    /// Label name; empty in the entry of all series.
    pub name: &'a str,
    /// Label value.
    pub value: &'a str,
    /// Where the list is in the file.
    pub postings_at: u64,
    /// Where this entry is in the content of the table.
    pub entry_at: usize,
}

/// Takes name, value and place of the list from an entry of the table of postings lists.
pub fn take_postings_entry<'a>(bytes: &mut &'a [u8]) -> Option<(&'a str, &'a str, u64)> {
    if take_uvarint(bytes)? != 2 {
        return None;
    }
    Some((take_text(bytes)?, take_text(bytes)?, take_uvarint(bytes)?))
}

/// Checks the table of postings lists and calls `visit` with each entry, by name and value in order.
pub fn walk_postings_table<'a>(
    bytes: &'a [u8],
    mut visit: impl FnMut(PostingsEntry<'a>) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let content = section(bytes)?;
    let (count, mut rest) = counted(content)?;
    let mut last = None;
    for _ in 0..count {
        let entry_at = content.len() - rest.len();
        let cut = || fault("an entry of its postings table is cut or no pair");
        let (name, value, postings_at) = take_postings_entry(&mut rest).ok_or_else(cut)?;
        let entry = PostingsEntry { name, value, postings_at, entry_at };
        if last >= Some((entry.name, entry.value)) {
            return Err(fault("its postings table is not in order"));
        }
        last = Some((entry.name, entry.value));
        visit(entry)?;
    }
    if !rest.is_empty() {
        return Err(fault("its postings table has more bytes than entries"));
    }
    Ok(())
}
