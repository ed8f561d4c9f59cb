//! Records of the metrics log: any bytes are walked or refused; samples that are walked encode to a record that reads
//! back the same.
#![no_main]

use format::head_record::{
    SampleEncoder, put_histogram, read_chunks, read_deletions, read_end, read_exemplars, read_histogram_items,
    read_metadata, read_sections, read_series,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = read_series(data, |item| assert!(item.labels.len() <= data.len()));
    let _ = read_metadata(data, |item| assert!(item.help.len() <= data.len()));
    let _ = read_exemplars(data, |item| assert!(item.labels.len() <= data.len()));
    let _ = read_chunks(data, |item| assert!(item.data.len() <= data.len()));
    let _ = read_deletions(data, |_| ());
    let _ = read_end(data).map(|numbers| assert!(numbers.len() <= data.len()));
    let _ = read_histogram_items(data, |place, histogram| {
        let (mut record, mut again) = (Vec::new(), Vec::new());
        put_histogram(&mut record, place, &histogram);
        read_histogram_items(&record, |place, histogram| put_histogram(&mut again, place, &histogram))
            .expect("just encoded");
        assert_eq!(record, again);
    });
    let _ = read_sections(data, |section| {
        let mut samples = Vec::new();
        if section.read(|local, time, value| samples.push((local, time, value.to_bits()))).is_err() {
            return;
        }
        let (mut encoder, mut record) = (SampleEncoder::default(), Vec::new());
        for &(local, time, value) in &samples {
            encoder.push(local, time, f64::from_bits(value));
        }
        encoder.finish(section.shard, &mut record);
        let mut again = Vec::new();
        read_sections(&record, |section| {
            section.read(|local, time, value| again.push((local, time, value.to_bits()))).expect("just encoded");
        })
        .expect("just encoded");
        assert_eq!(samples, again);
    });
});
