//! An index has the bytes of the format, reads back, and damage is noticed.

use bytes::Bytes;
use model::Labels;

use super::{
    ChunkMeta, INDEX_TOC_BYTES, IndexBuilder, IndexToc, SERIES_ALIGN, Symbols, check_index_header,
    decode_postings, decode_series, walk_postings_table,
};
use crate::FormatError;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn chunk(min_time: i64, max_time: i64, reference: u64) -> ChunkMeta {
    ChunkMeta { min_time, max_time, reference }
}

fn built() -> Vec<u8> {
    let mut builder = IndexBuilder::default();
    let chunks = [chunk(1000, 2000, 8), chunk(2001, 3000, 20)];
    builder.add_series(&labels(&[("__name__", "a"), ("job", "x")]), &chunks).expect("in order");
    builder.add_series(&labels(&[("__name__", "b"), ("job", "x")]), &[chunk(-5, 5, 40)]).expect("in order");
    finished(builder)
}

fn finished(builder: IndexBuilder) -> Vec<u8> {
    let mut out = Vec::new();
    let mut write = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        Ok::<(), FormatError>(())
    };
    let len = builder.finish(|error| error, &mut write).expect("a Vec takes all that is written");
    assert_eq!(len, out.len() as u64);
    out
}

fn part(bytes: &[u8], at: u64) -> &[u8] {
    &bytes[usize::try_from(at).expect("small")..]
}

type Read = (Vec<(Vec<(String, String)>, Vec<ChunkMeta>)>, Vec<(String, String, Vec<u32>)>);

/// Everything in an index, read as a reader does.
fn read(bytes: &[u8]) -> Result<Read, FormatError> {
    check_index_header(bytes)?;
    let toc_at = bytes.len().saturating_sub(INDEX_TOC_BYTES);
    let toc = IndexToc::decode(&bytes[toc_at..], bytes.len() as u64)?;
    let symbols = Symbols::decode(&Bytes::copy_from_slice(part(bytes, toc.symbols)))?;
    let mut lists = Vec::new();
    walk_postings_table(part(bytes, toc.postings_table), |entry| {
        if entry.postings_at < toc.postings || entry.postings_at >= toc.postings_table {
            return Err(FormatError::new("test", "outside"));
        }
        let list = decode_postings(part(bytes, entry.postings_at))?;
        lists.push((entry.name.to_owned(), entry.value.to_owned(), list));
        Ok(())
    })?;
    let (mut series, mut pairs, mut chunks) = (Vec::new(), Vec::new(), Vec::new());
    for number in lists.first().map(|(.., list)| list.clone()).unwrap_or_default() {
        let at = u64::from(number) * SERIES_ALIGN;
        if at < toc.series || at >= toc.series_end {
            return Err(FormatError::new("test", "outside"));
        }
        decode_series(part(bytes, at), &mut pairs, &mut chunks)?;
        let text = |number| symbols.get(number).map(str::to_owned).ok_or(FormatError::new("test", "symbol"));
        let pairs: Result<Vec<_>, _> =
            pairs.iter().map(|(name, value)| Ok((text(*name)?, text(*value)?))).collect();
        series.push((pairs?, chunks.clone()));
    }
    Ok((series, lists))
}

#[test]
fn an_index_has_the_bytes_that_the_format_spells_out() {
    // Worked out by hand from tsdb/docs/format/index.md. Symbols: the empty text 0, __name__ 1, a 2, b 3, job 4, x 5.
    let bytes = built();
    let symbols = b"\x00\x00\x00\x06\x00\x08__name__\x01a\x01b\x03job\x01x";
    let mut expected = vec![0xba, 0xaa, 0xd7, 0x00, 2];
    expected.extend_from_slice(&24_u32.to_be_bytes());
    expected.extend_from_slice(symbols);
    expected.extend_from_slice(&crc32c::crc32c(symbols).to_be_bytes());
    let series_at = expected.len() as u64;
    expected.resize(48, 0);
    // Two labels, two chunks: from 1000 (zig-zag 2000) for 1000 at 8; 1 later for 999, 12 (zig-zag 24) further.
    let first = [2, 1, 2, 4, 5, 2, 0xd0, 0x0f, 0xe8, 0x07, 8, 1, 0xe7, 0x07, 24];
    expected.push(15);
    expected.extend_from_slice(&first);
    expected.extend_from_slice(&crc32c::crc32c(&first).to_be_bytes());
    expected.resize(80, 0);
    let second = [2, 1, 3, 4, 5, 1, 9, 10, 40];
    expected.push(9);
    expected.extend_from_slice(&second);
    expected.extend_from_slice(&crc32c::crc32c(&second).to_be_bytes());
    let postings_at = expected.len() as u64;
    let mut places = Vec::new();
    for list in [&[3_u32, 5][..], &[3], &[5], &[3, 5]] {
        expected.resize(expected.len().next_multiple_of(4), 0);
        places.push(u8::try_from(expected.len()).expect("small"));
        let mut content = u32::try_from(list.len()).expect("small").to_be_bytes().to_vec();
        list.iter().for_each(|number| content.extend_from_slice(&number.to_be_bytes()));
        expected.extend_from_slice(&u32::try_from(content.len()).expect("small").to_be_bytes());
        expected.extend_from_slice(&content);
        expected.extend_from_slice(&crc32c::crc32c(&content).to_be_bytes());
    }
    let table_at = expected.len() as u64;
    let mut table = 4_u32.to_be_bytes().to_vec();
    for ((name, value), place) in
        [("", ""), ("__name__", "a"), ("__name__", "b"), ("job", "x")].iter().zip(places)
    {
        table.push(2);
        for text in [name, value] {
            table.push(u8::try_from(text.len()).expect("small"));
            table.extend_from_slice(text.as_bytes());
        }
        // Places from 128 on take two bytes.
        if place >= 128 {
            table.extend_from_slice(&[place, 1]);
        } else {
            table.push(place);
        }
    }
    expected.extend_from_slice(&u32::try_from(table.len()).expect("small").to_be_bytes());
    expected.extend_from_slice(&table);
    expected.extend_from_slice(&crc32c::crc32c(&table).to_be_bytes());
    let mut toc = Vec::new();
    for at in [5, series_at, postings_at, table_at, postings_at, table_at] {
        toc.extend_from_slice(&at.to_be_bytes());
    }
    expected.extend_from_slice(&toc);
    expected.extend_from_slice(&crc32c::crc32c(&toc).to_be_bytes());
    assert_eq!(bytes, expected);
}

#[test]
fn series_and_postings_read_back() {
    let (series, lists) = read(&built()).expect("just built");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let first = vec![pair("__name__", "a"), pair("job", "x")];
    assert_eq!(series[0], (first, vec![chunk(1000, 2000, 8), chunk(2001, 3000, 20)]));
    assert_eq!(series[1].1, [chunk(-5, 5, 40)]);
    let lists: Vec<_> = lists.iter().map(|(name, value, list)| (&**name, &**value, &**list)).collect();
    let expected: [(&str, &str, &[u32]); 4] =
        [("", "", &[3, 5]), ("__name__", "a", &[3]), ("__name__", "b", &[5]), ("job", "x", &[3, 5])];
    assert_eq!(lists, expected);
    assert_eq!(
        read(&finished(IndexBuilder::default())),
        Ok((vec![], vec![(String::new(), String::new(), vec![])]))
    );
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed_or_means_nothing() {
    let bytes = built();
    let good = read(&bytes).expect("just built");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // Padding may be anything; of the header, version 3 is read as 2.
        assert!(read(&flipped).is_err() || read(&flipped).as_ref() == Ok(&good), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(read(&bytes[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn series_and_chunks_out_of_order_are_refused() {
    let (a, b) = (labels(&[("a", "1")]), labels(&[("b", "1")]));
    for (first, second, reason) in [
        ((&b, chunk(1, 2, 8)), (&a, chunk(1, 2, 9)), "not behind those of the series before"),
        ((&a, chunk(1, 2, 8)), (&a, chunk(1, 2, 9)), "not behind those of the series before"),
        ((&a, chunk(1, 2, 8)), (&b, chunk(1, 2, 8)), "not in the order of their places"),
        ((&a, chunk(1, 2, 8)), (&b, chunk(2, 1, 9)), "end before they begin"),
    ] {
        let mut builder = IndexBuilder::default();
        builder.add_series(first.0, &[first.1]).expect("the first");
        let error = builder.add_series(second.0, &[second.1]).expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}");
    }
    let overlapping = [chunk(1, 5, 8), chunk(5, 9, 20)];
    let error = IndexBuilder::default().add_series(&a, &overlapping).expect_err("they share a time");
    assert!(error.to_string().contains("overlap"), "{error}");
}

#[test]
fn counts_that_lie_are_refused_and_reserve_little() {
    let sealed = |content: &[u8]| {
        let mut bytes = u32::try_from(content.len()).expect("small").to_be_bytes().to_vec();
        bytes.extend_from_slice(content);
        bytes.extend_from_slice(&crc32c::crc32c(content).to_be_bytes());
        bytes
    };
    assert!(Symbols::decode(&sealed(&[0xff; 8]).into()).is_err());
    assert!(decode_postings(&sealed(&[0xff; 8])).is_err());
    assert!(walk_postings_table(&sealed(&[0xff; 8]), |_| Ok(())).is_err());
    let (mut pairs, mut chunks) = (Vec::new(), Vec::new());
    for body in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
        let mut bytes = vec![u8::try_from(body.len()).expect("small")];
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&crc32c::crc32c(body).to_be_bytes());
        assert!(decode_series(&bytes, &mut pairs, &mut chunks).is_err());
        assert!(pairs.capacity() + chunks.capacity() < 100);
    }
}
