//! Requests with deltas: converted or refused, and never to more points than there were.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::delta_to_cumulative::DeltaStreams;
use wire::otlp::{Signal, item_count};

fuzz_target!(|data: &[u8]| {
    let payload = bytes::Bytes::copy_from_slice(data);
    let mut streams = DeltaStreams::new(1000, 1);
    for _ in 0..2 {
        if let (Ok((converted, _)), Ok(before)) =
            (streams.convert("tenant", &payload), item_count(Signal::Metrics, &payload))
        {
            assert!(item_count(Signal::Metrics, &converted).is_ok_and(|after| after <= before));
        }
    }
});
