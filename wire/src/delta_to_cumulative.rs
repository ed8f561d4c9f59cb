//! OTLP metrics of delta temporality made cumulative: what each stream of points sent is added up, as the Collector's
//! `deltatocumulative` processor does it, which Prometheus' `otlp-deltatocumulative` embeds.
//!
//! A stream is known by the bytes of its resource, scope, metric and attributes. A point replaces the ones before it when
//! they cannot be added: other bounds, another threshold of zero. Points without a recorded value pass as they are, for
//! they end a series.
//!
//! - D2C-1: a point is added once. One of the time that its stream is at already is one that was sent again, and comes
//!   out with the sum of that time; an older one, or one that began before its stream, goes and is reported.
//! - D2C-2: memory is bounded. There are two generations, as full ones make room: the young one becomes the old one, and
//!   streams in use move over. A stream that was forgotten begins again at its next point, as a counter that was reset.

mod sums;

use bytes::Bytes;
use hashbrown::HashMap;
use model::AppendReport;
use xxhash_rust::xxh3::Xxh3;

use self::sums::{Added, Sum};
use crate::DecodeError;
use crate::otlp::edit::{
    Fate, Place, copy_fields, edit_children, edit_message, edit_records, is_point, singular,
};
use crate::otlp::{Attributes, ExponentialHistogramPoint, HistogramPoint, NumberPoint, View};
use crate::protobuf::{Fields, put_fixed64_field, put_varint_field};

/// `AGGREGATION_TEMPORALITY_DELTA` and `_CUMULATIVE`.
const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

/// Numbers of the fields of a metric that have a temporality, which is their field 2.
const SUM: u32 = 7;
const HISTOGRAM: u32 = 9;
const EXPONENTIAL: u32 = 10;

/// A point that is sent again has as many buckets as its stream, or fewer when it is exponential.
const RESENT_CELLS_RATIO: usize = 4;

/// The streams and what they add up to.
#[derive(Debug)]
pub struct DeltaStreams {
    young: HashMap<u128, Stream>,
    old: HashMap<u128, Stream>,
    /// Cells of `young`: one a stream and one a bucket.
    cells: usize,
    cells_max: usize,
    key_seed: u64,
}

#[derive(Debug)]
struct Stream {
    start_ns: u64,
    time_ns: u64,
    sum: Sum,
}

/// A point as far as a stream has to know it.
struct Point {
    start_ns: u64,
    time_ns: u64,
    sum: Sum,
}

/// What became of a point.
enum Outcome {
    /// It is the first of its stream and stays as it is.
    First,
    /// What it stands for now.
    Sum,
    /// It goes, for this reason.
    Refused(&'static str, &'static str),
}

impl DeltaStreams {
    /// Streams of up to `cells_max` cells in each of two generations: one for each stream and one for each bucket, of
    /// some 150 and 8 bytes. A random `key_seed` keeps senders from making streams that are taken for each other.
    pub fn new(cells_max: usize, key_seed: u64) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), cells: 0, cells_max, key_seed }
    }

    /// Makes the metrics of a request cumulative; `owner` is whose streams they are. A request without deltas comes back
    /// as it is. Points that go are in the report.
    pub fn convert(&mut self, owner: &str, payload: &Bytes) -> Result<(Bytes, AppendReport), DecodeError> {
        let mut report = AppendReport::default();
        let converted = edit_records(payload, |place, metric, out| {
            let Some(kind) = delta_field(metric)? else { return Ok(Fate::Kept) };
            let mut hash = Xxh3::with_seed(self.key_seed);
            hash_metric(&mut hash, owner, place, metric, kind)?;
            self.metric(kind, hash.digest128(), metric, out, &mut report)
        })?;
        Ok((converted, report))
    }

    fn metric(
        &mut self,
        kind: u32,
        key: u128,
        metric: &[u8],
        out: &mut Vec<u8>,
        report: &mut AppendReport,
    ) -> Result<Fate, DecodeError> {
        edit_message(
            metric,
            out,
            |number| number == kind,
            |_, data, out| {
                let fates = edit_children(data, out, is_point, |_, point, out| {
                    self.point(kind, key, point, out, report)
                })?;
                if fates.none_left() {
                    return Ok(Fate::Removed);
                }
                copy_fields(data, out, |number| !matches!(number, 1 | 2))?;
                put_varint_field(out, 2, CUMULATIVE);
                Ok(Fate::Replaced)
            },
        )
    }

    fn point(
        &mut self,
        kind: u32,
        metric: u128,
        bytes: &[u8],
        out: &mut Vec<u8>,
        report: &mut AppendReport,
    ) -> Result<Fate, DecodeError> {
        let Some((point, attributes)) = read_point(kind, bytes)? else { return Ok(Fate::Kept) };
        let mut hash = Xxh3::with_seed(self.key_seed);
        hash.update(&metric.to_le_bytes());
        hash_attributes(&mut hash, &attributes)?;
        let key = hash.digest128();
        let (outcome, stream) = self.add(key, point);
        match outcome {
            Outcome::First => Ok(Fate::Kept),
            Outcome::Sum => {
                copy_fields(bytes, out, |number| number != 2 && !stream.sum.fields().contains(&number))?;
                put_fixed64_field(out, 2, stream.start_ns);
                stream.sum.put(out);
                Ok(Fate::Replaced)
            }
            Outcome::Refused(reason, message) => {
                report.reject(reason, 1, || message.to_owned());
                Ok(Fate::Removed)
            }
        }
    }

    /// Adds a point to its stream.
    fn add(&mut self, key: u128, point: Point) -> (Outcome, &Stream) {
        if let Some(stream) = self.old.remove(&key).filter(|_| !self.young.contains_key(&key)) {
            self.make_room(stream.sum.cells());
            self.young.insert(key, stream);
        }
        let Point { start_ns, time_ns, sum } = point;
        if !self.young.contains_key(&key) {
            self.make_room(sum.cells());
            let stream = self.young.entry(key).or_insert(Stream { start_ns, time_ns, sum });
            return (Outcome::First, stream);
        }
        let stream = self.young.get_mut(&key).expect("looked at above");
        if start_ns < stream.start_ns {
            let message = "a delta began before its stream: several processes may send the same one";
            return (Outcome::Refused("delta_older_start", message), stream);
        }
        // A small point that would come out as a large sum was not sent again, and many would be a large request.
        let is_other = time_ns == stream.time_ns && stream.sum.cells() > RESENT_CELLS_RATIO * sum.cells();
        if time_ns < stream.time_ns || is_other {
            let message = "a delta is older than the one before it";
            return (Outcome::Refused("delta_out_of_order", message), stream);
        }
        if time_ns == stream.time_ns {
            return (Outcome::Sum, stream);
        }
        stream.time_ns = time_ns;
        let before = stream.sum.cells();
        let added = stream.sum.add(sum);
        self.cells = (self.cells + stream.sum.cells()).saturating_sub(before);
        match added {
            Added::Yes => (Outcome::Sum, stream),
            Added::Replaced => {
                stream.start_ns = start_ns;
                (Outcome::First, stream)
            }
        }
    }

    fn make_room(&mut self, cells: usize) {
        if self.cells + cells > self.cells_max && !self.young.is_empty() {
            self.old = std::mem::take(&mut self.young);
            self.cells = 0;
        }
        self.cells += cells;
    }
}

/// The field with the data of a metric, if its temporality is delta.
fn delta_field(metric: &[u8]) -> Result<Option<u32>, DecodeError> {
    for kind in [SUM, HISTOGRAM, EXPONENTIAL] {
        let mut temporality = 0;
        let mut fields = Fields::new(singular(metric, kind)?);
        while let Some(field) = fields.next_field()? {
            if field.number == 2 {
                temporality = field.varint()?;
            }
        }
        if temporality == DELTA {
            return Ok(Some(kind));
        }
    }
    Ok(None)
}

/// What tells the streams of a metric from those of others: owner, resource, scope, name, unit, type.
fn hash_metric(
    hash: &mut Xxh3,
    owner: &str,
    place: &Place<'_>,
    metric: &[u8],
    kind: u32,
) -> Result<(), DecodeError> {
    let (name, unit) = (singular(metric, 1)?, singular(metric, 3)?);
    for part in [owner.as_bytes(), place.resource, place.scope, name, unit] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut monotonic = 0;
    let mut fields = Fields::new(singular(metric, kind)?);
    while let Some(field) = fields.next_field()? {
        if field.number == 3 && kind == SUM {
            monotonic = field.varint()?;
        }
    }
    hash.update(&[kind as u8, u8::from(monotonic != 0)]);
    Ok(())
}

fn hash_attributes(hash: &mut Xxh3, attributes: &Attributes<'_>) -> Result<(), DecodeError> {
    for attribute in attributes.encoded() {
        let attribute = attribute?;
        hash.update(&(attribute.len() as u64).to_le_bytes());
        hash.update(attribute);
    }
    Ok(())
}

/// A point and its attributes; `None` when it has no recorded value.
fn read_point(kind: u32, bytes: &[u8]) -> Result<Option<(Point, Attributes<'_>)>, DecodeError> {
    let (start_ns, time_ns, attributes, sum) = match kind {
        SUM => {
            let point = NumberPoint::parse(bytes)?;
            let Some(value) = point.value.filter(|_| !point.has_no_recorded_value()) else { return Ok(None) };
            (point.start_time_unix_nano, point.time_unix_nano, point.attributes, Sum::of_number(value))
        }
        HISTOGRAM => {
            let point = HistogramPoint::parse(bytes)?;
            if point.has_no_recorded_value() {
                return Ok(None);
            }
            let sum = Sum::of_histogram(&point);
            (point.start_time_unix_nano, point.time_unix_nano, point.attributes, sum)
        }
        _ => {
            let point = ExponentialHistogramPoint::parse(bytes)?;
            if point.has_no_recorded_value() {
                return Ok(None);
            }
            let sum = Sum::of_exponential(&point)?;
            (point.start_time_unix_nano, point.time_unix_nano, point.attributes, sum)
        }
    };
    Ok(Some((Point { start_ns, time_ns, sum }, attributes)))
}

#[cfg(test)]
mod tests;
