//! `Query` and `QueryRange`: PromQL over what this process shows (pkg/api/query/grpc.go of Thanos). Queriers in distributed
//! mode and rulers ask it, so that aggregating happens beside the data.
//!
//! The text of the request counts; the plan that may come with it says the same. Answers carry external labels.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use model::{Labels, NativeHistogram, Sample, TenantId};
use promql::{QueryOptions, QueryOutput, QueryValue, SampleValue};
use tonic::Status;
use wire::protobuf::{begin_message, put_bytes_field, put_varint_field};
use wire::remote_write::{SeriesParts, put_series};

use super::StoreApiServer;
use crate::error::{ThanosError, ThanosResult};
use crate::fanout::{Fanout, FanoutOptions};
use crate::grpc::server::Pieces;
use crate::grpc::{Compression, put_message};
use crate::proto::{QueryRangeRequest, QueryRequest};
use crate::select;

/// Fields of a response.
const WARNINGS: u32 = 1;
const STATS: u32 = 3;
const BATCH: u32 = 4;
/// The tag of field 1 of a batch, and that of field 2 of a response: both are messages.
const IN_BATCH: u8 = 1 << 3 | 2;
const ALONE: u8 = 2 << 3 | 2;
/// Most series of a message, whatever is asked for, and bytes after which it is not filled up any more.
const BATCH_SERIES_MAX: usize = 4096;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What evaluates queries of others.
pub struct Queries {
    /// The engine.
    pub engine: promql::Engine,
    /// What it reads from.
    pub stores: Arc<Fanout>,
}

/// What both kinds of requests say beside their times.
struct Asked<'a> {
    timeout_s: i64,
    lookback_s: i64,
    resolution_s: i64,
    replica_labels: &'a [String],
    matchers: Vec<Vec<model::Matcher>>,
    dedup: bool,
    partial_response: bool,
    batch: i64,
}

impl StoreApiServer {
    pub(super) async fn query(
        &self,
        request: QueryRequest,
        compression: Compression,
    ) -> ThanosResult<Pieces> {
        let at_ms = request.time_seconds.saturating_mul(1000);
        let request = QueryRangeRequest::from(request);
        let asked = Asked::new(&request)?;
        let queries = self.queries()?;
        let querier = queries.stores.querier(asked.stores(&queries.stores));
        let output = queries.engine.instant(&request.query, at_ms, &querier, asked.options()).await;
        answer(output, querier.take_warnings(), &asked, compression)
    }

    pub(super) async fn query_range(
        &self,
        request: QueryRangeRequest,
        compression: Compression,
    ) -> ThanosResult<Pieces> {
        let asked = Asked::new(&request)?;
        let queries = self.queries()?;
        let querier = queries.stores.querier(asked.stores(&queries.stores));
        let ms = |seconds: i64| seconds.saturating_mul(1000);
        let (start, end) = (ms(request.start_time_seconds), ms(request.end_time_seconds));
        let step = ms(request.interval_seconds);
        let output = queries.engine.range(&request.query, start, end, step, &querier, asked.options()).await;
        answer(output, querier.take_warnings(), &asked, compression)
    }

    fn queries(&self) -> ThanosResult<&Queries> {
        let none = || ThanosError::new(model::ErrorKind::NotFound, "this store evaluates no queries");
        self.queries.as_ref().ok_or_else(none)
    }
}

impl<'a> Asked<'a> {
    fn new(request: &'a QueryRangeRequest) -> ThanosResult<Self> {
        if request.shard_info.as_ref().is_some_and(|info| info.total_shards > 0) {
            return Err(ThanosError::invalid("shard_info of queries is not supported by this version"));
        }
        let matchers = request.store_matchers.iter().map(|set| select::matchers(&set.matchers));
        Ok(Self {
            timeout_s: request.timeout_seconds,
            lookback_s: request.lookback_delta_seconds,
            resolution_s: request.max_resolution_seconds,
            replica_labels: &request.replica_labels,
            matchers: matchers.collect::<ThanosResult<_>>()?,
            dedup: request.enable_dedup,
            partial_response: request.enable_partial_response,
            batch: request.response_batch_size,
        })
    }

    fn stores(&self, stores: &Fanout) -> FanoutOptions {
        let defaults = stores.options();
        let replica_labels = match self.replica_labels.is_empty() {
            true => defaults.replica_labels,
            false => self.replica_labels.to_vec(),
        };
        FanoutOptions {
            dedup: self.dedup,
            replica_labels,
            partial_response: self.partial_response,
            max_resolution_ms: self.resolution_s.max(0).saturating_mul(1000),
            store_matchers: self.matchers.clone(),
            all_tenants: true,
        }
    }

    fn options(&self) -> QueryOptions {
        let seconds = |seconds: i64| {
            u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
        };
        QueryOptions {
            tenant: TenantId::default(),
            timeout: seconds(self.timeout_s),
            lookback_delta: seconds(self.lookback_s),
            ..QueryOptions::default()
        }
    }
}

/// The messages of an answer: warnings, series, what it cost.
fn answer(
    output: promql::PromqlResult<QueryOutput>,
    missing: Vec<String>,
    asked: &Asked<'_>,
    compression: Compression,
) -> ThanosResult<Pieces> {
    let QueryOutput { value, mut warnings, stats, .. } =
        output.map_err(|error| ThanosError::new(error.kind(), error.to_string()))?;
    warnings.extend(missing);
    let mut out = Vec::new();
    let mut message = Vec::new();
    let mut put = |message: &mut Vec<u8>| {
        let written = put_message(&mut out, message, compression);
        message.clear();
        written.map_err(|status| ThanosError::from_status(&status))
    };
    if !warnings.is_empty() {
        put_bytes_field(&mut message, WARNINGS, warnings.join("; ").as_bytes());
        put(&mut message)?;
    }
    let batch = usize::try_from(asked.batch).unwrap_or(0).clamp(1, BATCH_SERIES_MAX);
    let (mut series, mut count) = (Vec::new(), 0);
    for one in all_series(value) {
        one.put(&mut series);
        count += 1;
        if count == batch || series.len() >= BATCH_BYTES_MAX {
            put_batch(&mut message, &mut series, batch);
            count = 0;
            put(&mut message)?;
        }
    }
    if count > 0 {
        put_batch(&mut message, &mut series, batch);
        put(&mut message)?;
    }
    let open = begin_message(&mut message, STATS);
    put_varint_field(&mut message, 1, stats.samples_read);
    put_varint_field(&mut message, 2, stats.peak_samples);
    open.end(&mut message);
    put(&mut message)?;
    Ok(stream::once(async move { Ok::<_, Status>(Bytes::from(out)) }).boxed())
}

/// Puts series into a message: several as a batch, one alone as a field of its own.
fn put_batch(message: &mut Vec<u8>, series: &mut Vec<u8>, batch: usize) {
    if batch == 1 {
        assert_eq!(series[0], IN_BATCH, "a series begins with its tag");
        message.push(ALONE);
        message.extend_from_slice(&series[1..]);
    } else {
        put_bytes_field(message, BATCH, series);
    }
    series.clear();
}

/// A series of an answer.
struct Answered {
    labels: Labels,
    samples: Vec<Sample>,
    histograms: Vec<(i64, NativeHistogram)>,
}

impl Answered {
    fn put(&self, out: &mut Vec<u8>) {
        let parts =
            SeriesParts { samples: &self.samples, histograms: &self.histograms, ..SeriesParts::default() };
        put_series(out, &self.labels, parts);
    }
}

fn all_series(value: QueryValue) -> Vec<Answered> {
    let alone =
        |labels: Labels, sample: Sample| Answered { labels, samples: vec![sample], histograms: Vec::new() };
    match value {
        QueryValue::Scalar(sample) => vec![alone(Labels::empty(), sample)],
        QueryValue::String { .. } => Vec::new(),
        QueryValue::Vector(samples) => {
            let one = |sample: promql::VectorSample| {
                let at = sample.timestamp_ms;
                match sample.value {
                    SampleValue::Float(value) => alone(sample.labels, Sample { timestamp_ms: at, value }),
                    SampleValue::Histogram(histogram) => Answered {
                        labels: sample.labels,
                        samples: Vec::new(),
                        histograms: vec![(at, NativeHistogram::Float(histogram))],
                    },
                }
            };
            samples.into_iter().map(one).collect()
        }
        QueryValue::Matrix(series) => {
            let one = |series: promql::MatrixSeries| Answered {
                labels: series.labels,
                samples: series.floats,
                histograms: series
                    .histograms
                    .into_iter()
                    .map(|(at, histogram)| (at, NativeHistogram::Float(histogram)))
                    .collect(),
            };
            series.into_iter().map(one).collect()
        }
    }
}
