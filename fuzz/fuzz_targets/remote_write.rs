//! Remote write requests of both versions: the reader on any bytes, a round trip of what it reads, and the translation to
//! OTLP. The first byte chooses the version.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{Exemplar, Labels, NativeHistogram, Sample};
use wire::DecodeError;
use wire::remote_write::{Request, RequestWriter, Series, SeriesParts, Version, put_series, read_histogram};

type Parts = (Labels, Vec<Sample>, Vec<(i64, NativeHistogram)>, Vec<Exemplar>);

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let version = Version::ALL[usize::from(choice % 2)];
    let Ok(parts) = read(version, data) else { return };
    let (mut first, mut second) = (Vec::new(), RequestWriter::default());
    for (labels, samples, histograms, exemplars) in &parts {
        let parts = SeriesParts { samples, histograms, exemplars };
        put_series(&mut first, labels, parts);
        second.put_series(labels, parts, None);
    }
    let shown = format!("{parts:?}");
    assert_eq!(format!("{:?}", read(Version::V1, &first).expect("our own protobuf")), shown);
    assert_eq!(format!("{:?}", read(Version::V2, &second.finish()).expect("our own protobuf")), shown);
});

fn read(version: Version, data: &[u8]) -> Result<Vec<Parts>, DecodeError> {
    let request = Request::new(version, data, 0)?;
    let mut series = Series::default();
    let mut all = Vec::new();
    for encoded in request.series() {
        request.read(encoded?, &mut series)?;
        request.key(&mut series)?;
        let _ = request.series_metadata(&series);
        let labels = request.labels(&series)?;
        let samples = series.samples.iter().map(|sample| sample.sample).collect();
        let mut histograms = Vec::new();
        for bytes in &series.histograms {
            let timed = read_histogram(bytes)?;
            if let Ok(histogram) = timed.histogram {
                histograms.push((timed.timestamp_ms, histogram));
            }
        }
        let exemplars =
            series.exemplars.iter().map(|bytes| request.exemplar(bytes)).collect::<Result<_, _>>()?;
        all.push((labels, samples, histograms, exemplars));
    }
    for metadata in request.metadata() {
        metadata?;
    }
    Ok(all)
}
