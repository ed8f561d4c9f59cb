use bytes::Bytes;
use model::{Labels, TimeRange};
use prost::Message;

use super::{AggrChunk, Aggregate, BATCH_SERIES, RawChunk, Received, SERIES, put_batch, put_series, read};

/// The messages as pkg/store/storepb/types.proto has them, for an independent view.
mod upstream {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Chunk {
        #[prost(int32, tag = "1")]
        pub(super) kind: i32,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) data: Vec<u8>,
        #[prost(uint64, tag = "3")]
        pub(super) hash: u64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct AggrChunk {
        #[prost(int64, tag = "1")]
        pub(super) min_time: i64,
        #[prost(int64, tag = "2")]
        pub(super) max_time: i64,
        #[prost(message, optional, tag = "3")]
        pub(super) raw: Option<Chunk>,
        #[prost(message, optional, tag = "4")]
        pub(super) count: Option<Chunk>,
        #[prost(message, optional, tag = "8")]
        pub(super) counter: Option<Chunk>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Series {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<crate::proto::Label>,
        #[prost(message, repeated, tag = "2")]
        pub(super) chunks: Vec<AggrChunk>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Batch {
        #[prost(message, repeated, tag = "1")]
        pub(super) series: Vec<Series>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Response {
        #[prost(message, optional, tag = "1")]
        pub(super) series: Option<Series>,
        #[prost(string, optional, tag = "2")]
        pub(super) warning: Option<String>,
        #[prost(message, optional, tag = "4")]
        pub(super) batch: Option<Batch>,
    }
}

fn labels() -> Labels {
    Labels::from_pairs([("__name__", "up"), ("job", "a")])
}

fn chunk(encoding: u8, data: &'static [u8]) -> AggrChunk {
    let raw = Some(RawChunk { encoding, data: Bytes::from_static(data) });
    AggrChunk { range: TimeRange::new(-5, 1_700_000_000_000), raw, aggregates: None }
}

#[test]
fn written_series_are_what_the_proto_files_say() {
    let chunks = [chunk(1, b"xor"), chunk(3, b"")];
    let mut message = Vec::new();
    put_series(&mut message, SERIES, &labels(), &chunks);
    let response = upstream::Response::decode(&message[..]).expect("a message");
    let series = response.series.expect("a series");
    assert_eq!(crate::proto::LabelSet { labels: series.labels.clone() }.to_labels(), labels());
    let first = series.chunks[0].raw.clone().expect("raw");
    assert_eq!((series.chunks[0].min_time, series.chunks[0].max_time), (-5, 1_700_000_000_000));
    assert_eq!((first.kind, first.data.as_slice()), (0, &b"xor"[..]));
    assert_eq!(series.chunks[1].raw.clone().expect("raw").kind, 2);
    // xxhash64 of nothing with seed 0, as its specification has it.
    assert_eq!(series.chunks[1].raw.clone().expect("raw").hash, 0xef46_db37_51d8_e999);

    let mut series = Vec::new();
    put_series(&mut series, BATCH_SERIES, &labels(), &[]);
    put_series(&mut series, BATCH_SERIES, &labels(), &chunks);
    let mut message = Vec::new();
    put_batch(&mut message, &series);
    let batch = upstream::Response::decode(&message[..]).expect("a message").batch.expect("a batch");
    let counts: Vec<usize> = batch.series.iter().map(|series| series.chunks.len()).collect();
    assert_eq!(counts, [0, 2]);
}

#[test]
fn what_thanos_sends_is_read() {
    let raw = |kind, data: &[u8]| Some(upstream::Chunk { kind, data: data.to_vec(), hash: 0 });
    let aggregated = upstream::AggrChunk {
        min_time: 1,
        max_time: 2,
        raw: None,
        count: raw(0, b"count"),
        counter: raw(2, b"counter"),
    };
    // Labels out of order: a store should not, and a reader should not care.
    let label = |name: &str| crate::proto::Label { name: name.to_owned(), value: "v".to_owned() };
    let series = upstream::Series { labels: vec![label("b"), label("a")], chunks: vec![aggregated] };
    for response in [
        upstream::Response { series: Some(series.clone()), ..Default::default() },
        upstream::Response { batch: Some(upstream::Batch { series: vec![series] }), ..Default::default() },
    ] {
        let Received::Series(found) = read(&response.encode_to_vec().into()).expect("sound") else {
            panic!("series");
        };
        assert_eq!(found[0].labels, Labels::from_pairs([("a", "v"), ("b", "v")]));
        let chunk = &found[0].chunks[0];
        assert_eq!(chunk.range, TimeRange::new(1, 2));
        assert_eq!(chunk.get(Aggregate::Raw), None);
        assert_eq!(chunk.get(Aggregate::Count).map(|part| &part.data[..]), Some(&b"count"[..]));
        assert_eq!(chunk.get(Aggregate::Counter).map(|part| part.encoding), Some(3));
        assert_eq!(chunk.parts().count(), 2);
    }
    let warning = upstream::Response { warning: Some("gone".to_owned()), ..Default::default() };
    assert_eq!(read(&warning.encode_to_vec().into()), Ok(Received::Warning("gone".to_owned())));
    assert_eq!(read(&Bytes::new()), Ok(Received::Series(Vec::new())));
}

#[test]
fn bytes_that_are_no_series_are_errors() {
    let bad_kind = upstream::Series {
        labels: Vec::new(),
        chunks: vec![upstream::AggrChunk {
            raw: Some(upstream::Chunk { kind: 3, data: Vec::new(), hash: 0 }),
            ..Default::default()
        }],
    };
    let bad_kind = upstream::Response { series: Some(bad_kind), ..Default::default() }.encode_to_vec();
    for bytes in [&[0x0a, 0x05][..], &[0x0a, 0x02, 0x0a, 0x7f], &bad_kind] {
        assert!(read(&Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
    }
}
