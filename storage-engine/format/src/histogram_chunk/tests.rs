//! Chunks have the bytes that Prometheus writes for the same histograms, and read back; anything else is refused.

use std::sync::Arc;

use model::{
    BucketSpan, Buckets, CounterResetHint, FloatHistogram, IntegerBuckets, IntegerHistogram, SampleColumns,
    TimeRange, is_stale_nan, stale_nan,
};
use proptest::prelude::*;

use super::{ChunkHistogram, HistogramAppender, HistogramOffer, histogram_chunk_header, read_histograms};
use crate::{ENCODING_FLOAT_HISTOGRAM, ENCODING_HISTOGRAM, chunk_samples, decode_chunk};

/// Histograms and the chunks that Prometheus 3.15 made of them (chunkenc's appenders, driven as the head does): one
/// line a sample in the order of the parser below, `cut` where the head began a chunk of itself, then the chunks.
const GOLDEN: &str = include_str!("../../testdata/histogram_chunks.txt");

trait Golden: ChunkHistogram + Clone + std::fmt::Debug + PartialEq {
    fn parse(fields: &[&str]) -> Self;
}

fn float(hex: &str) -> f64 {
    f64::from_bits(u64::from_str_radix(hex, 16).expect("hexadecimal bits"))
}

fn list<T>(field: &str, parse: impl Fn(&str) -> T) -> Vec<T> {
    let (_, inside) = field.trim_end_matches(']').split_once('[').expect("a list");
    inside.split(',').filter(|item| !item.is_empty()).map(parse).collect()
}

fn spans(field: &str) -> Vec<BucketSpan> {
    list(field, |item| {
        let (offset, length) = item.split_once(':').expect("offset:length");
        BucketSpan { offset: number(offset), length: number(length) }
    })
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("a number")
}

fn hint(field: &str) -> CounterResetHint {
    use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
    [Unknown, Reset, NotReset, Gauge][number::<usize>(field)]
}

fn bounds(field: &str) -> Option<Arc<[f64]>> {
    Some(list(field, float).into()).filter(|bounds: &Arc<[f64]>| !bounds.is_empty())
}

impl Golden for IntegerHistogram {
    fn parse(fields: &[&str]) -> Self {
        Self {
            counter_reset_hint: hint(fields[0]),
            schema: number(fields[1]),
            zero_threshold: float(fields[2]),
            zero_count: number(fields[3]),
            count: number(fields[4]),
            sum: float(fields[5]),
            positive: IntegerBuckets { spans: spans(fields[6]), deltas: list(fields[7], number) },
            negative: IntegerBuckets { spans: spans(fields[8]), deltas: list(fields[9], number) },
            custom_values: bounds(fields[10]),
        }
    }
}

impl Golden for FloatHistogram {
    fn parse(fields: &[&str]) -> Self {
        Self {
            counter_reset_hint: hint(fields[0]),
            schema: number(fields[1]),
            zero_threshold: float(fields[2]),
            zero_count: float(fields[3]),
            count: float(fields[4]),
            sum: float(fields[5]),
            positive: Buckets { spans: spans(fields[6]), counts: list(fields[7], float) },
            negative: Buckets { spans: spans(fields[8]), counts: list(fields[9], float) },
            custom_values: bounds(fields[10]),
        }
    }
}

/// Appends as the head does: a histogram that cannot follow begins the next chunk.
struct Series<H: ChunkHistogram> {
    done: Vec<Vec<u8>>,
    open: Option<(HistogramAppender<H>, Vec<u8>)>,
    cut: bool,
}

impl<H: ChunkHistogram> Series<H> {
    fn new() -> Self {
        Self { done: Vec::new(), open: None, cut: false }
    }

    fn append(&mut self, timestamp_ms: i64, histogram: &H) {
        let header = match (&mut self.open, std::mem::take(&mut self.cut)) {
            (Some((appender, chunk)), false) => match appender.offer(chunk, timestamp_ms, histogram) {
                HistogramOffer::Appended | HistogramOffer::Recoded => return,
                HistogramOffer::NeedsNewChunk(header) => header,
            },
            (open, _) => {
                HistogramAppender::first_header(open.as_ref().map(|(appender, _)| appender), histogram)
            }
        };
        let mut chunk = Vec::new();
        let appender = HistogramAppender::begin(&mut chunk, timestamp_ms, histogram, header);
        self.done.extend(self.open.replace((appender, chunk)).map(|(_, chunk)| chunk));
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        self.done.extend(self.open.map(|(_, chunk)| chunk));
        self.done
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Appends the histograms of a sequence and compares the chunks, then what is read from them.
fn check_sequence<H: Golden>(name: &str, lines: &[&str], encoding: u8) {
    let (mut series, mut expected, mut samples) = (Series::<H>::new(), Vec::new(), Vec::new());
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[0] {
            "sample" => {
                let (time, histogram) = (number(fields[1]), H::parse(&fields[2..]));
                series.append(time, &histogram);
                samples.push((time, histogram));
            }
            "cut" => series.cut = true,
            _ => expected.push(fields[1].to_owned()),
        }
    }
    let chunks = series.finish();
    assert_eq!(chunks.iter().map(|chunk| hex(chunk)).collect::<Vec<_>>(), expected, "{name}");
    check_values(name, &chunks, encoding, &samples);
    chunks.iter().for_each(|chunk| check_copy::<H>(name, chunk));
}

/// What a query reads is what was appended, whatever way the buckets are cut; hints come from the chunk alone.
fn check_values<H: Golden>(name: &str, chunks: &[Vec<u8>], encoding: u8, samples: &[(i64, H)]) {
    let mut columns = SampleColumns::default();
    let mut hints = Vec::new();
    for chunk in chunks {
        let before = columns.len();
        decode_chunk(encoding, chunk, u16::MAX, TimeRange::ALL, &mut columns).expect("just encoded");
        assert_eq!(columns.len() - before, usize::from(chunk_samples(encoding, chunk).expect("a header")));
        let is_gauge = histogram_chunk_header(chunk) == Ok(CounterResetHint::Gauge);
        hints.extend((before..columns.len()).map(|index| match index - before {
            _ if is_gauge => CounterResetHint::Gauge,
            0 => CounterResetHint::Unknown,
            _ => CounterResetHint::NotReset,
        }));
    }
    assert_eq!(columns.len(), samples.len(), "{name}");
    for (index, (time, histogram)) in samples.iter().enumerate() {
        let (position, read) = &columns.histograms[index];
        let mut wanted = histogram.clone().into_float();
        let mut read = FloatHistogram::clone(read);
        assert_eq!((*position, columns.timestamps_ms[index]), (index, *time), "{name}");
        if is_stale_nan(wanted.sum) {
            assert!(is_stale_nan(read.sum) && read.positive.counts.is_empty(), "{name}");
            continue;
        }
        assert_eq!(read.counter_reset_hint, hints[index], "{name} at {time}");
        wanted.compact();
        read.compact();
        assert!(read.equals(&wanted), "{name} at {time}: {read:?} is not {wanted:?}");
    }
}

/// Read as they were stored and appended again, histograms give the same bytes.
fn check_copy<H: Golden>(name: &str, chunk: &[u8]) {
    let (mut copy, mut appender) = (Vec::new(), None);
    let header = histogram_chunk_header(chunk).expect("a header");
    read_histograms::<H>(chunk, |time, histogram| match &mut appender {
        None => appender = Some(HistogramAppender::begin(&mut copy, time, &histogram, header)),
        Some(appender) => {
            let offer = appender.offer(&mut copy, time, &histogram);
            assert_eq!(offer, HistogramOffer::Appended, "{name}");
        }
    })
    .expect("just encoded");
    assert_eq!(hex(&copy), hex(chunk), "{name}");
}

#[test]
fn chunks_have_the_bytes_that_prometheus_writes() {
    let mut sequences = 0;
    for (index, sequence) in GOLDEN.split("sequence ").skip(1).enumerate() {
        let lines: Vec<&str> = sequence.lines().collect();
        let name = format!("sequence {index}, {}", lines[0]);
        match lines[0] {
            "integer" => check_sequence::<IntegerHistogram>(&name, &lines[1..], ENCODING_HISTOGRAM),
            _ => check_sequence::<FloatHistogram>(&name, &lines[1..], ENCODING_FLOAT_HISTOGRAM),
        }
        sequences += 1;
    }
    assert!(sequences >= 24);
}

fn small(count: u64, positive: &[(i32, i64)]) -> IntegerHistogram {
    let float = Buckets::from_pairs(positive.iter().map(|(index, count)| (*index, *count as f64)));
    let mut before = 0;
    let deltas = positive.iter().map(|(_, count)| count - std::mem::replace(&mut before, *count)).collect();
    let positive = IntegerBuckets { spans: float.spans, deltas };
    IntegerHistogram { count, sum: 1.0, positive, ..IntegerHistogram::default() }
}

#[test]
fn a_chunk_has_the_bits_that_the_format_spells_out() {
    // Worked out by hand from chunkenc/histogram.go: header, zero threshold 0, schema 0, one span of length 2 at 0, no
    // negative one, time 1, count 3, zero count 0, sum 1.0, buckets 1 and +1.
    let mut chunk = Vec::new();
    let histogram = small(3, &[(0, 1), (1, 2)]);
    let mut appender = HistogramAppender::begin(&mut chunk, 1, &histogram, CounterResetHint::Unknown);
    let bits = format!("00000000 0 10001 10010 0 0 10001 10011 0 {:064b} 10001 10001", 1.0_f64.to_bits());
    assert_eq!(hex(&chunk), hex(&[&[0, 1, 0], joined(&bits).as_slice()].concat()));
    // 10 ms later nothing changed: time's change of the delta 10, then count, zero count, sum and two buckets at 0.
    assert_eq!(appender.offer(&mut chunk, 11, &histogram), HistogramOffer::Appended);
    let bits = format!("{bits} 110001010 0 0 0 0 0");
    assert_eq!(hex(&chunk), hex(&[&[0, 2, 0], joined(&bits).as_slice()].concat()));
}

/// Joins groups of bits, written as text, to bytes.
fn joined(groups: &str) -> Vec<u8> {
    let mut digits: Vec<u8> = groups.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
    digits.resize(digits.len().next_multiple_of(8), 0);
    digits.chunks(8).map(|byte| byte.iter().fold(0, |acc, bit| acc << 1 | bit)).collect()
}

#[test]
fn resets_and_changes_of_layout_cut_as_the_table_says() {
    use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
    let base = small(5, &[(0, 2), (2, 3)]);
    let with = |change: fn(&mut IntegerHistogram)| {
        let mut changed = base.clone();
        changed.count = 9;
        change(&mut changed);
        changed
    };
    for (what, next, expected) in [
        ("the same", base.clone(), HistogramOffer::Appended),
        ("a bucket more", small(9, &[(0, 2), (1, 1), (2, 3)]), HistogramOffer::Recoded),
        ("stale", IntegerHistogram { sum: stale_nan(), ..Default::default() }, HistogramOffer::Appended),
        ("a bucket less", small(9, &[(0, 9)]), HistogramOffer::NeedsNewChunk(Reset)),
        ("a bucket fell", small(9, &[(0, 1), (2, 8)]), HistogramOffer::NeedsNewChunk(Reset)),
        ("the count fell", small(4, &[(0, 2), (2, 3)]), HistogramOffer::NeedsNewChunk(Reset)),
        ("told so", with(|h| h.counter_reset_hint = Reset), HistogramOffer::NeedsNewChunk(Reset)),
        ("a gauge", with(|h| h.counter_reset_hint = Gauge), HistogramOffer::NeedsNewChunk(Gauge)),
        ("another schema", with(|h| h.schema = 1), HistogramOffer::NeedsNewChunk(Unknown)),
        ("another zero", with(|h| h.zero_threshold = 0.5), HistogramOffer::NeedsNewChunk(Unknown)),
        ("known to go on", with(|h| h.counter_reset_hint = NotReset), HistogramOffer::Appended),
    ] {
        let mut chunk = Vec::new();
        let mut appender = HistogramAppender::begin(&mut chunk, 1, &base, Unknown);
        let before = chunk.clone();
        let offer = appender.offer(&mut chunk, 2, &next);
        assert_eq!(offer, expected, "{what}");
        if matches!(offer, HistogramOffer::NeedsNewChunk(_)) {
            assert_eq!(chunk, before, "{what}: a chunk that was refused is left alone");
        }
        let header = HistogramAppender::first_header(Some(&appender), &next);
        if let HistogramOffer::NeedsNewChunk(expected) = offer {
            assert_eq!(header, expected, "{what}");
        }
    }
}

#[test]
fn only_stale_markers_follow_a_stale_marker() {
    let mut chunk = Vec::new();
    let stale = IntegerHistogram { sum: stale_nan(), ..Default::default() };
    let mut appender =
        HistogramAppender::begin(&mut chunk, 1, &small(1, &[(0, 1)]), CounterResetHint::Unknown);
    assert_eq!(appender.offer(&mut chunk, 2, &stale), HistogramOffer::Appended);
    assert_eq!(appender.offer(&mut chunk, 3, &stale), HistogramOffer::Appended);
    let refused = HistogramOffer::NeedsNewChunk(CounterResetHint::Unknown);
    assert_eq!(appender.offer(&mut chunk, 4, &small(2, &[(0, 2)])), refused);
    assert!(is_stale_nan(appender.last().sum));
}

#[test]
fn histograms_that_do_not_change_are_shared() {
    let mut chunk = Vec::new();
    let histogram = small(1, &[(0, 1)]);
    let mut appender = HistogramAppender::begin(&mut chunk, 0, &histogram, CounterResetHint::Unknown);
    for time in 1..50 {
        appender.offer(&mut chunk, time, &histogram);
    }
    let mut columns = SampleColumns::default();
    decode_chunk(ENCODING_HISTOGRAM, &chunk, u16::MAX, TimeRange::new(10, 20), &mut columns)
        .expect("encoded");
    assert_eq!(columns.timestamps_ms, (10..=20).collect::<Vec<_>>());
    assert!(columns.histograms.iter().all(|(_, read)| Arc::ptr_eq(read, &columns.histograms[0].1)));
}

#[test]
fn layouts_that_lie_are_refused_and_reserve_little() {
    for bits in [
        // A span of 2^32 − 1 buckets; 2^50 spans; 2^50 custom bounds; schema 60.
        format!("00000000 0 10001 11111110{:056b} 0 0 0 0 0", u32::MAX),
        format!("00000000 0 11111110{:056b} 0", 1_u64 << 50),
        format!("00000000 1110 111001011 0 0 11111110{:056b}", 1_u64 << 50),
        "00000000 1110 000111100 0 0 0 0 0".to_owned(),
    ] {
        let chunk = [&[0xff, 0xff, 0], joined(&bits).as_slice()].concat();
        for encoding in [2, 3, 5, 6] {
            let mut columns = SampleColumns::default();
            let error = decode_chunk(encoding, &chunk, u16::MAX, TimeRange::ALL, &mut columns);
            assert!(error.is_err(), "{bits} as {encoding}");
            assert!(columns.timestamps_ms.capacity() < 100);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_without_panic(
        encoding in 0_u8..8,
        chunk in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut columns = SampleColumns::default();
        let _ = decode_chunk(encoding, &chunk, u16::MAX, TimeRange::ALL, &mut columns);
        prop_assert!(columns.len() <= chunk.len() * 8);
    }
}
