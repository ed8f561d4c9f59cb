//! OTLP metrics to Prometheus samples: every point is given on or counted, a second time as the first. The first byte
//! chooses settings.
#![no_main]

use std::collections::HashMap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use model::{Exemplar, Labels, MetricMetadata, NativeHistogram, Signal};
use wire::otlp_to_prometheus::{Resolved, SampleSink, SeriesKey, SeriesResolver, Settings, Translator};
use wire::prometheus_names::Strategy;
use wire::{DecodeError, otlp};

fuzz_target!(|data: &[u8]| {
    let Some((choice, payload)) = data.split_first() else { return };
    let strategies = [
        Strategy::UnderscoreEscapingWithSuffixes,
        Strategy::UnderscoreEscapingWithoutSuffixes,
        Strategy::NoUtf8EscapingWithSuffixes,
        Strategy::NoTranslation,
    ];
    let settings = Settings {
        strategy: strategies[usize::from(choice % 4)],
        promote_all_resource_attributes: choice & 4 != 0,
        promote_scope_metadata: choice & 8 != 0,
        convert_histograms_to_nhcb: choice & 16 != 0,
        allow_delta_temporality: choice & 32 != 0,
        ..Settings::default()
    };
    let mut translator = Translator::new(settings);
    let _ = translator.translate(payload, &mut Table::default(), &mut Samples::default());

    let Ok(checked) = otlp::check(Signal::Metrics, Bytes::copy_from_slice(payload)) else { return };
    let mut table = Table::default();
    let mut first = Samples::default();
    let report = translator.translate(&checked.payload, &mut table, &mut first).expect("checked");
    assert_eq!(report.stored + report.rejected_count(), checked.items);
    let mut second = Samples::default();
    let again = translator.translate(&checked.payload, &mut table, &mut second);
    assert_eq!(again.as_ref(), Ok(&report));
    assert_eq!(first, second);
});

#[derive(Default)]
struct Table {
    runs: HashMap<SeriesKey, Vec<usize>>,
    series: usize,
}

impl SeriesResolver for Table {
    type Handle = usize;
    type Error = DecodeError;

    fn lookup(&mut self, key: SeriesKey) -> Option<&[usize]> {
        self.runs.get(&key).map(Vec::as_slice)
    }

    fn insert(&mut self, key: SeriesKey, series: &[Labels]) -> Result<Resolved<'_, usize>, DecodeError> {
        let first = self.series;
        self.series += series.len();
        assert!(series.iter().all(|labels| labels.metric_name().is_some()));
        Ok(Resolved::Handles(self.runs.entry(key).or_insert_with(|| (first..first + series.len()).collect())))
    }

    fn metadata(&mut self, family: &str, _: &MetricMetadata) {
        assert!(!family.is_empty());
    }
}

#[derive(Default, Debug, PartialEq)]
struct Samples(Vec<(usize, i64, u64)>);

impl SampleSink<usize> for Samples {
    fn point(&mut self, handles: &[usize], timestamp_ms: i64, values: &[f64]) {
        assert_eq!(handles.len(), values.len());
        self.0.extend(handles.iter().zip(values).map(|(handle, value)| (*handle, timestamp_ms, value.to_bits())));
    }

    fn histogram(&mut self, handle: usize, timestamp_ms: i64, histogram: NativeHistogram) {
        histogram.validate().expect("only sound histograms are given on");
        self.0.push((handle, timestamp_ms, histogram.sum().to_bits()));
    }

    fn exemplar(&mut self, handle: usize, exemplar: Exemplar) {
        self.0.push((handle, exemplar.timestamp_ms, exemplar.value.to_bits()));
    }

    fn target_info(&mut self, handle: usize, timestamp_ms: i64) {
        self.0.push((handle, timestamp_ms, 1.0f64.to_bits()));
    }
}
