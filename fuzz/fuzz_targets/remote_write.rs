//! Remote write requests of both versions: the reader on any bytes, a round trip of what it reads, and the walk into a
//! store, which gives or refuses every point that a request holds. The first byte chooses the version.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use model::{Exemplar, Labels, MetricMetadata, NativeHistogram, Sample};
use wire::DecodeError;
use wire::remote_write::{
    Refused, Request, RequestWriter, Series, SeriesParts, Taker, Version, contents, put_series,
    read_histogram, walk,
};

type Parts = (Labels, Vec<Sample>, Vec<(i64, NativeHistogram)>, Vec<Exemplar>);

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let version = Version::ALL[usize::from(choice % 2)];
    walk_and_count(version, data);
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

/// A store that takes everything and counts it.
#[derive(Default)]
struct Counting {
    known: HashSet<u128>,
    points: u64,
}

impl Taker for Counting {
    type Error = DecodeError;

    fn lookup(&mut self, key: u128, _: u32) -> bool {
        self.known.contains(&key)
    }

    fn insert(&mut self, key: u128, _: &Labels) -> Result<Option<Refused>, DecodeError> {
        self.known.insert(key);
        Ok(None)
    }

    fn metadata(&mut self, _: &str, _: &MetricMetadata) {}

    fn sample(&mut self, _: i64, _: f64) {
        self.points += 1;
    }

    fn histogram(&mut self, _: i64, _: NativeHistogram) {
        self.points += 1;
    }

    fn exemplar(&mut self, _: Exemplar) {}
}

fn walk_and_count(version: Version, data: &[u8]) {
    let mut store = Counting::default();
    let Ok(report) = walk(version, data, 0, &mut store) else { return };
    let held = contents(version, data).expect("it was walked").points();
    let refused = report.rejected.iter().map(|rejection| rejection.count).sum::<u64>();
    assert_eq!((report.stored, report.stored + refused), (store.points, held));
}
