//! Chunks of all encodings but XOR: any bytes decode or are refused; native histograms that decode encode to chunks that
//! read back the same. The first byte chooses the encoding.
#![no_main]

use format::{ChunkHistogram, HistogramAppender, HistogramOffer, decode_chunk, histogram_chunk_header, read_histograms};
use libfuzzer_sys::fuzz_target;
use model::{FloatHistogram, IntegerHistogram, SampleColumns, TimeRange};

fn read<H: ChunkHistogram>(chunk: &[u8]) -> Option<Vec<(i64, H)>> {
    let mut found = Vec::new();
    read_histograms(chunk, |time, histogram| found.push((time, histogram))).ok()?;
    Some(found)
}

fn again<H: ChunkHistogram + std::fmt::Debug>(chunk: &[u8]) {
    let Some(found) = read::<H>(chunk) else { return };
    let Ok(header) = histogram_chunk_header(chunk) else { return };
    let (mut copy, mut appender): (Vec<u8>, Option<HistogramAppender<H>>) = (Vec::new(), None);
    for (time, histogram) in &found {
        match &mut appender {
            None => appender = Some(HistogramAppender::begin(&mut copy, *time, histogram, header)),
            // Only what a writer would have put into one chunk is compared.
            Some(appender) => match appender.offer(&mut copy, *time, histogram) {
                HistogramOffer::Appended | HistogramOffer::Recoded => {}
                HistogramOffer::NeedsNewChunk(_) => return,
            },
        }
    }
    if !found.is_empty() {
        let copied = read::<H>(&copy).expect("just encoded");
        assert_eq!(format!("{copied:?}"), format!("{found:?}"));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, chunk)) = data.split_first() else { return };
    let mut columns = SampleColumns::default();
    let _ = decode_chunk(2 + choice % 5, chunk, u16::MAX, TimeRange::ALL, &mut columns);
    assert!(columns.len() <= chunk.len() * 8);
    match choice % 5 {
        0 => again::<IntegerHistogram>(chunk),
        1 => again::<FloatHistogram>(chunk),
        _ => {}
    }
});
