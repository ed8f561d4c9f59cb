use std::sync::Arc;

use bytes::Bytes;
use model::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::{Value as Json, json};

use super::decision::threshold_of;
use crate::testing::{Destination, batch, processor_context};
use crate::{Batch, ComponentConfig, ComponentId, ConfigError, Consumer, Processor};

fn sampler(value: &Json, next: &Arc<Destination>) -> Result<Arc<dyn Processor>, ConfigError> {
    let id = ComponentId::parse("probabilistic_sampler").expect("an id");
    let next = Arc::clone(next) as Arc<dyn Consumer>;
    (super::FACTORY.create)(&ComponentConfig { id: &id, value }, Signal::Traces, &processor_context(), next)
}

/// Trace ids and states of the spans that stay.
async fn sampled(config: Json, spans: Vec<(u128, &str)>) -> Vec<(u128, String)> {
    let next = Destination::new();
    let items = spans.len() as u64;
    let span = |(id, state): (u128, &str)| Span {
        trace_id: id.to_be_bytes().to_vec(),
        trace_state: state.to_owned(),
        ..Span::default()
    };
    let scope = ScopeSpans { spans: spans.into_iter().map(span).collect(), ..ScopeSpans::default() };
    let group = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![group] };
    let sent =
        Batch { signal: Signal::Traces, payload: Bytes::from(request.encode_to_vec()), ..batch("", items) };
    let sampler = sampler(&config, &next).unwrap_or_else(|error| panic!("{config}: {error}"));
    assert_eq!(sampler.consume(sent).await.expect("taken").stored, items, "what goes is dealt with");
    let mut found = Vec::new();
    for batch in next.seen.lock().iter() {
        let request = ExportTraceServiceRequest::decode(batch.payload.clone()).expect("well-formed");
        for span in request.resource_spans.into_iter().flat_map(|g| g.scope_spans).flat_map(|s| s.spans) {
            found.push((u128::from_be_bytes(span.trace_id.try_into().expect("16 bytes")), span.trace_state));
        }
        assert_eq!(batch.items, found.len() as u64);
    }
    found
}

/// Thresholds out of the examples of the specification and of pkg/sampling.
#[test]
fn thresholds_have_the_digits_that_the_precision_asks_for() {
    for (ratio, precision, wanted) in [
        (1.0, 4, 0),
        (0.5, 4, 0x80_0000_0000_0000),
        (0.25, 4, 0xc0_0000_0000_0000),
        (1.0 / 3.0, 4, 0xaa_ab00_0000_0000),
        (0.01, 4, 0xfd_70a0_0000_0000),
    ] {
        assert_eq!(threshold_of(ratio, precision), Some(wanted), "{ratio}");
    }
    assert_eq!(threshold_of(1.5, 4), None);
}

#[tokio::test]
async fn consistent_modes_keep_the_traces_above_the_threshold_and_mark_them() {
    let (low, high) = (0x7f_ffff_ffff_ffff, 0x80_0000_0000_0000);
    let half = |mode: &str| json!({"mode": mode, "sampling_percentage": 50});
    let spans = || vec![(low, ""), (high, "a=b")];
    let wanted = [(high, "ot=th:8,a=b".to_owned())];
    assert_eq!(sampled(half("equalizing"), spans()).await, wanted);
    assert_eq!(sampled(half("proportional"), spans()).await, wanted);
    // Sampled at a half before: equalizing keeps it, proportional halves it.
    let before = || vec![(0x90_0000_0000_0000, "ot=th:8"), (0xf0_0000_0000_0000, "ot=th:8")];
    assert_eq!(sampled(half("equalizing"), before()).await.len(), 2);
    let quarter = [(0xf0_0000_0000_0000, "ot=th:c".to_owned())];
    assert_eq!(sampled(half("proportional"), before()).await, quarter);
    // The explicit randomness rules over the trace id.
    let explicit = vec![(low, "ot=rv:ffffffffffffff")];
    assert_eq!(sampled(half("equalizing"), explicit).await, [(low, "ot=rv:ffffffffffffff;th:8".to_owned())]);
}

#[tokio::test]
async fn the_hash_keeps_about_its_share_and_all_or_nothing_at_the_ends() {
    let spans = || (1..=2000_u128).map(|n| ((n << 64) | (n * 7919), "")).collect::<Vec<_>>();
    assert_eq!(sampled(json!({"sampling_percentage": 100}), spans()).await.len(), 2000);
    assert_eq!(sampled(json!({"sampling_percentage": 0}), spans()).await.len(), 0);
    let kept = sampled(json!({"sampling_percentage": 25, "hash_seed": 22}), spans()).await.len();
    assert!((400..600).contains(&kept), "{kept} of 2000");
}

#[test]
fn faulty_configs_are_refused() {
    let check = |config: Json, want: &str| {
        let error = sampler(&config, &Destination::new()).err().expect("a fault").to_string();
        assert!(error.contains(want), "{error}");
    };
    check(json!({"sampling_percentage": -1}), "sampling rate is negative");
    check(json!({"mode": "dice"}), "unsupported sampler mode");
    check(json!({"sampling_precision": 0}), "invalid sampling precision: 0");
    check(json!({"sampling_precision": 15}), "should be <= 14");
    check(json!({"attribute_source": "x"}), "invalid attribute source");
}
