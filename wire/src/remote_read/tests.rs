use std::sync::Arc;

use model::{FloatHistogram, Labels, MatchOp, Matcher, SampleColumns, TimeRange};

use super::{Chunk, Query, ReadRequest, ResponseType, SamplesWriter, put_frames};
use crate::protobuf::{Fields, put_bytes_field, put_message, put_varint_field};
use crate::remote_write::{Request, Series, Version};

fn request(accepted: &[u64], op: u64, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        put_varint_field(out, 1, 5);
        put_varint_field(out, 2, 9);
        put_message(out, 3, |out| {
            put_varint_field(out, 1, op);
            put_bytes_field(out, 2, b"job");
            put_bytes_field(out, 3, value.as_bytes());
        });
    });
    accepted.iter().for_each(|number| put_varint_field(&mut out, 2, *number));
    out
}

#[test]
fn requests_are_read_and_the_first_known_form_is_chosen() {
    let matcher = Matcher::new("job", MatchOp::NotRegex, "a|b").expect("a pattern");
    let read = ReadRequest::decode(&request(&[7, 1, 0], 3, "a|b")).expect("well-formed");
    let query = Query { range: TimeRange::new(5, 9), matchers: vec![matcher] };
    assert_eq!(read, ReadRequest { queries: vec![query], response_type: ResponseType::StreamedChunks });
    let form =
        |accepted: &[u64]| ReadRequest::decode(&request(accepted, 0, "a")).map(|read| read.response_type);
    assert_eq!(form(&[]), Ok(ResponseType::Samples));
    assert_eq!(form(&[0, 1]), Ok(ResponseType::Samples));
    assert!(form(&[7]).is_err());
    assert!(ReadRequest::decode(&request(&[], 4, "a")).is_err(), "no such matcher type");
    assert!(ReadRequest::decode(&request(&[], 2, "(")).is_err(), "no pattern");
    let whole = request(&[1], 3, "a|b");
    // Nothing, the query, and all of it are requests.
    assert_eq!((0..=whole.len()).filter(|len| ReadRequest::decode(&whole[..*len]).is_ok()).count(), 3);
    assert!(ReadRequest::decode(&request(&[], 0, "a").repeat(501)).is_err(), "too many queries");
}

#[test]
fn samples_are_results_of_time_series() {
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "x")]);
    let mut samples = SampleColumns::default();
    samples.push(1, 0.5);
    samples.push_histogram(2, Arc::new(FloatHistogram { count: 0.0, ..FloatHistogram::default() }));
    samples.push(3, f64::NAN);
    let mut writer = SamplesWriter::default();
    writer.put_series(&labels, &samples);
    writer.end_query();
    writer.end_query();
    let answer = writer.finish();
    let results: Vec<&[u8]> = Fields::new(&answer).map(|field| field.unwrap().bytes().unwrap()).collect();
    assert_eq!((results.len(), results[1].len()), (2, 0));
    // A result has the time series of a write request, under the same number.
    let request = Request::new(Version::V1, results[0], 0).unwrap();
    let mut series = Series::default();
    request.read(request.series().next().unwrap().unwrap(), &mut series).unwrap();
    assert_eq!(request.labels(&series).unwrap(), labels);
    let times: Vec<i64> = series.samples.iter().map(|sample| sample.sample.timestamp_ms).collect();
    assert_eq!((times.as_slice(), series.histograms.len()), ([1, 3].as_slice(), 1));
}

#[test]
fn frames_have_length_checksum_and_whole_chunks() {
    let labels = Labels::from_pairs([("a", "b")]);
    let data = [7_u8; 100];
    let chunk = |min| Chunk { range: TimeRange::new(min, min + 1), encoding: 1, data: &data };
    let mut out = Vec::new();
    put_frames(&mut out, 3, &labels, [chunk(0), chunk(2), chunk(4)], 150);
    let mut rest = out.as_slice();
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let len = crate::protobuf::read_varint(&mut rest).unwrap() as usize;
        let (sum, tail) = rest.split_first_chunk::<4>().unwrap();
        let (message, tail) = tail.split_at(len);
        assert_eq!(u32::from_be_bytes(*sum), crc32c::crc32c(message));
        rest = tail;
        let fields: Vec<_> = Fields::new(message).map(Result::unwrap).collect();
        assert_eq!(fields[1].varint(), Ok(3));
        let inside =
            Fields::new(fields[0].bytes().unwrap()).filter(|field| field.as_ref().unwrap().number == 2);
        chunks.push(inside.count());
    }
    assert_eq!(chunks, [2, 1]);
    let mut none = Vec::new();
    put_frames(&mut none, 0, &labels, [], 150);
    assert!(none.is_empty());
}
