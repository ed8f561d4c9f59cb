//! Making an index. Series come in order and are kept in short form, about 80 bytes each, because symbols stand in
//! front of them in the file and are known only when the last has come.

use std::collections::HashMap;

use model::Labels;

use super::{ChunkMeta, HEADER, SERIES_ALIGN};
use crate::FormatError;
use crate::varint::{put_uvarint, put_varint, take_uvarint};

/// Alignment of postings lists.
const POSTINGS_ALIGN: u64 = 4;

/// Collects the series of a block and writes its index.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    symbols: HashMap<Box<str>, u32>,
    pairs: HashMap<(u32, u32), u32>,
    /// Series that each pair of label name and value has.
    pair_series: Vec<u32>,
    /// Per series: number of labels, their pairs, length of the chunk part, the chunk part as it will be in the file.
    series: Vec<u8>,
    series_count: u32,
    chunk_count: u64,
    last_labels: Option<Labels>,
    last_chunk: u64,
    scratch: Vec<u8>,
}

/// Bytes on their way out, with the place in the file.
struct Out<'a, E> {
    position: u64,
    buffer: Vec<u8>,
    write: &'a mut dyn FnMut(&[u8]) -> Result<(), E>,
}

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 256 << 10;

impl<E> Out<'_, E> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), E> {
        self.position += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), E> {
        (self.write)(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn pad(&mut self, align: u64) -> Result<(), E> {
        let padding = usize::try_from(self.position.next_multiple_of(align) - self.position);
        self.put(&[0; 16][..padding.expect("below 16")])
    }
}

impl IndexBuilder {
    /// Adds a series. Labels must ascend from call to call, chunks must be in time order without overlap, and their
    /// references must ascend over all calls.
    pub fn add_series(&mut self, labels: &Labels, chunks: &[ChunkMeta]) -> Result<(), FormatError> {
        let fault = |reason| FormatError::new("series for a block", reason);
        if self.last_labels.as_ref().is_some_and(|last| last >= labels) {
            return Err(fault("its labels are not behind those of the series before"));
        }
        for (index, chunk) in chunks.iter().enumerate() {
            let is_first = index == 0 && self.chunk_count == 0;
            if chunk.reference <= self.last_chunk && !is_first {
                return Err(fault("its chunks are not in the order of their places"));
            }
            if chunk.max_time < chunk.min_time || (index > 0 && chunk.min_time <= chunks[index - 1].max_time)
            {
                return Err(fault("its chunks overlap or end before they begin"));
            }
            self.last_chunk = chunk.reference;
            self.chunk_count += 1;
        }
        put_uvarint(&mut self.series, labels.len() as u64);
        for (name, value) in labels.iter() {
            let pair = self.pair(name, value);
            put_uvarint(&mut self.series, u64::from(pair));
            self.pair_series[pair as usize] += 1;
        }
        self.scratch.clear();
        put_chunks(&mut self.scratch, chunks);
        put_uvarint(&mut self.series, self.scratch.len() as u64);
        self.series.extend_from_slice(&self.scratch);
        self.series_count =
            self.series_count.checked_add(1).ok_or_else(|| fault("there are 2^32 before it"))?;
        self.last_labels = Some(labels.clone());
        Ok(())
    }

    /// Series so far.
    pub fn series_count(&self) -> u64 {
        u64::from(self.series_count)
    }

    /// Chunks so far.
    pub fn chunk_count(&self) -> u64 {
        self.chunk_count
    }

    /// Bytes of memory that the series so far take, about.
    pub fn memory_bytes(&self) -> usize {
        self.series.len() + self.symbols.len() * 64 + self.pair_series.len() * 24
    }

    fn pair(&mut self, name: &str, value: &str) -> u32 {
        let key = (self.symbol(name), self.symbol(value));
        let next = u32::try_from(self.pair_series.len()).expect("each pair takes a byte and more of memory");
        let pair = *self.pairs.entry(key).or_insert(next);
        if pair == next {
            self.pair_series.push(0);
        }
        pair
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if let Some(number) = self.symbols.get(text) {
            return *number;
        }
        let number = u32::try_from(self.symbols.len()).expect("each symbol takes a byte and more of memory");
        self.symbols.insert(text.into(), number);
        number
    }

    /// Writes the file through `write`, piece by piece from the front. Fails with `too_large` when it passes a limit
    /// of the format, which no store of this size reaches in a block.
    pub fn finish<E>(
        mut self,
        too_large: impl Fn(FormatError) -> E,
        write: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        let large = |reason| too_large(FormatError::new("index", reason));
        let mut out = Out { position: 0, buffer: Vec::with_capacity(BUFFER_BYTES), write };
        out.put(&HEADER)?;
        let symbols_at = out.position;
        // Prometheus has the name of the list of all series among them.
        self.symbol("");
        // Symbols in order, and the place of each that the series know by another number.
        let mut texts: Vec<(&str, u32)> =
            self.symbols.iter().map(|(text, number)| (&**text, *number)).collect();
        texts.sort_unstable();
        let mut rank = vec![0_u32; texts.len()];
        for (place, (_, number)) in (0_u32..).zip(&texts) {
            rank[*number as usize] = place;
        }
        put_symbols(&mut out, &texts)
            .and_then(|fits| if fits { Ok(()) } else { Err(large("its symbols pass 4 GiB")) })?;

        let mut pairs = vec![(0_u32, 0_u32); self.pair_series.len()];
        for ((name, value), pair) in &self.pairs {
            pairs[*pair as usize] = (rank[*name as usize], rank[*value as usize]);
        }
        let series_at = out.position;
        let mut lists = Lists::new(&self.pair_series, self.series_count);
        put_series(&mut out, &self.series, &pairs, &mut lists)
            .and_then(|fits| if fits { Ok(()) } else { Err(large("its series pass 64 GiB")) })?;

        let postings_at = out.position;
        let mut order: Vec<u32> = (0..u32::try_from(pairs.len()).expect("pairs have 32 bits")).collect();
        order.sort_unstable_by_key(|pair| pairs[*pair as usize]);
        let mut places = Vec::with_capacity(order.len() + 1);
        places.push(put_postings(&mut out, &lists.all)?);
        for pair in &order {
            places.push(put_postings(&mut out, lists.list(*pair))?);
        }
        let table_at = out.position;
        let entries = order.iter().map(|pair| {
            let (name, value) = pairs[*pair as usize];
            (texts[name as usize].0, texts[value as usize].0)
        });
        put_table(&mut out, std::iter::once(("", "")).chain(entries).zip(places))
            .and_then(|fits| if fits { Ok(()) } else { Err(large("its postings table passes 4 GiB")) })?;
        let mut toc = Vec::new();
        // Label indices and their table are no longer written: they begin where the next section does.
        for at in [symbols_at, series_at, postings_at, table_at, postings_at, table_at] {
            toc.extend_from_slice(&at.to_be_bytes());
        }
        let checksum = crc32c::crc32c(&toc);
        toc.extend_from_slice(&checksum.to_be_bytes());
        out.put(&toc)?;
        out.flush()?;
        Ok(out.position)
    }
}

/// The chunk part of a series.
fn put_chunks(out: &mut Vec<u8>, chunks: &[ChunkMeta]) {
    put_uvarint(out, chunks.len() as u64);
    let mut before: Option<ChunkMeta> = None;
    for chunk in chunks {
        match before {
            None => put_varint(out, chunk.min_time),
            Some(before) => put_uvarint(out, chunk.min_time.wrapping_sub(before.max_time).cast_unsigned()),
        }
        put_uvarint(out, chunk.max_time.wrapping_sub(chunk.min_time).cast_unsigned());
        match before {
            None => put_uvarint(out, chunk.reference),
            Some(before) => put_varint(out, chunk.reference.wrapping_sub(before.reference).cast_signed()),
        }
        before = Some(*chunk);
    }
}

/// Says whether the section fits its 32-bit length.
fn put_symbols<E>(out: &mut Out<'_, E>, texts: &[(&str, u32)]) -> Result<bool, E> {
    let text_bytes = |text: &str| uvarint_bytes(text.len() as u64) + text.len() as u64;
    let len = 4 + texts.iter().map(|(text, _)| text_bytes(text)).sum::<u64>();
    let Ok(len) = u32::try_from(len) else { return Ok(false) };
    out.put(&len.to_be_bytes())?;
    let count = u32::try_from(texts.len()).expect("each takes a byte of the length");
    let mut checksum = 0;
    let mut entry = count.to_be_bytes().to_vec();
    for (text, _) in texts {
        put_uvarint(&mut entry, text.len() as u64);
        entry.extend_from_slice(text.as_bytes());
        checksum = crc32c::crc32c_append(checksum, &entry);
        out.put(&entry)?;
        entry.clear();
    }
    checksum = crc32c::crc32c_append(checksum, &entry);
    out.put(&entry)?;
    out.put(&checksum.to_be_bytes())?;
    Ok(true)
}

fn uvarint_bytes(value: u64) -> u64 {
    u64::from((64 - value.leading_zeros()).div_ceil(7).max(1))
}

/// Postings of all pairs in one array, sorted by counting.
struct Lists {
    all: Vec<u32>,
    postings: Vec<u32>,
    /// Per pair: where its list begins, and how much of it is there.
    starts: Vec<usize>,
    filled: Vec<u32>,
}

impl Lists {
    fn new(pair_series: &[u32], series: u32) -> Self {
        let mut next = 0;
        let starts = pair_series.iter().map(|count| {
            let start = next;
            next += *count as usize;
            start
        });
        let starts: Vec<usize> = starts.collect();
        Self {
            all: Vec::with_capacity(series as usize),
            postings: vec![0; next],
            starts,
            filled: vec![0; pair_series.len()],
        }
    }

    fn add(&mut self, pair: u32, series: u32) {
        let pair = pair as usize;
        self.postings[self.starts[pair] + self.filled[pair] as usize] = series;
        self.filled[pair] += 1;
    }

    fn list(&self, pair: u32) -> &[u32] {
        let pair = pair as usize;
        &self.postings[self.starts[pair]..self.starts[pair] + self.filled[pair] as usize]
    }
}

/// Says whether all series are at places that 32 bits can name.
fn put_series<E>(
    out: &mut Out<'_, E>,
    mut series: &[u8],
    pairs: &[(u32, u32)],
    lists: &mut Lists,
) -> Result<bool, E> {
    let own = "the builder wrote it";
    let mut body = Vec::new();
    let mut frame = Vec::new();
    while !series.is_empty() {
        out.pad(SERIES_ALIGN)?;
        let Ok(number) = u32::try_from(out.position / SERIES_ALIGN) else { return Ok(false) };
        lists.all.push(number);
        body.clear();
        let labels = take_uvarint(&mut series).expect(own);
        put_uvarint(&mut body, labels);
        for _ in 0..labels {
            let pair = u32::try_from(take_uvarint(&mut series).expect(own)).expect(own);
            let (name, value) = pairs[pair as usize];
            put_uvarint(&mut body, u64::from(name));
            put_uvarint(&mut body, u64::from(value));
            lists.add(pair, number);
        }
        let chunks = usize::try_from(take_uvarint(&mut series).expect(own)).expect(own);
        body.extend_from_slice(&series[..chunks]);
        series = &series[chunks..];
        frame.clear();
        put_uvarint(&mut frame, body.len() as u64);
        out.put(&frame)?;
        out.put(&body)?;
        out.put(&crc32c::crc32c(&body).to_be_bytes())?;
    }
    Ok(true)
}

/// Writes a postings list; returns where it is.
fn put_postings<E>(out: &mut Out<'_, E>, series: &[u32]) -> Result<u64, E> {
    out.pad(POSTINGS_ALIGN)?;
    let at = out.position;
    let count = u32::try_from(series.len()).expect("series have 32 bits");
    let mut list = Vec::with_capacity(series.len() * 4 + 12);
    // 2^30 series would be 128 GiB of index, which is refused before.
    list.extend_from_slice(&(4 + count * 4).to_be_bytes());
    list.extend_from_slice(&count.to_be_bytes());
    series.iter().for_each(|number| list.extend_from_slice(&number.to_be_bytes()));
    let checksum = crc32c::crc32c(&list[4..]);
    list.extend_from_slice(&checksum.to_be_bytes());
    out.put(&list)?;
    Ok(at)
}

/// Says whether the table fits its 32-bit length.
fn put_table<'t, E>(
    out: &mut Out<'_, E>,
    entries: impl Iterator<Item = ((&'t str, &'t str), u64)>,
) -> Result<bool, E> {
    let mut table = vec![0; 4];
    let mut count = 0_u32;
    for ((name, value), at) in entries {
        put_uvarint(&mut table, 2);
        for text in [name, value] {
            put_uvarint(&mut table, text.len() as u64);
            table.extend_from_slice(text.as_bytes());
        }
        put_uvarint(&mut table, at);
        count += 1;
    }
    let Ok(len) = u32::try_from(table.len()) else { return Ok(false) };
    table[..4].copy_from_slice(&count.to_be_bytes());
    out.put(&len.to_be_bytes())?;
    out.put(&table)?;
    out.put(&crc32c::crc32c(&table).to_be_bytes())?;
    Ok(true)
}
