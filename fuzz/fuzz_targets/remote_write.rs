//! Remote write requests: the views on any bytes, and a round trip of what they read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::Labels;
use wire::DecodeError;
use wire::remote_write::{WriteRequest, put_metadata, put_series};

fuzz_target!(|data: &[u8]| {
    let _ = round_trip(data);
});

fn round_trip(data: &[u8]) -> Result<(), DecodeError> {
    let mut written = Vec::new();
    let mut all = Vec::new();
    for series in WriteRequest::new(data).series() {
        let series = series?;
        series.others()?;
        let labels = series.labels().collect::<Result<Vec<_>, _>>()?;
        let labels = Labels::from_pairs(labels);
        let samples = series.samples().collect::<Result<Vec<_>, _>>()?;
        put_series(&mut written, &labels, samples.iter().copied());
        all.push((labels, samples));
    }
    for metadata in WriteRequest::new(data).metadata() {
        let (family, metadata) = metadata?;
        put_metadata(&mut written, family, &metadata);
    }
    for (series, (labels, samples)) in WriteRequest::new(&written).series().zip(&all) {
        let series = series.expect("our own protobuf");
        let read = series.labels().collect::<Result<Vec<_>, _>>().expect("our own protobuf");
        assert_eq!(&Labels::from_pairs(read), labels);
        for (read, sample) in series.samples().zip(samples) {
            let read = read.expect("our own protobuf");
            assert_eq!(read.timestamp_ms, sample.timestamp_ms);
            assert_eq!(read.value.to_bits(), sample.value.to_bits());
        }
    }
    Ok(())
}
