//! Thanos' messages as prost structs: pkg/store/storepb/{rpc,types}.proto, pkg/info/infopb/rpc.proto,
//! pkg/exemplars/exemplarspb/rpc.proto, pkg/status/statuspb/rpc.proto (v0.42, and what v0.43 added).
//!
//! Only requests and small answers are here. The frames of `Series`, which carry the data, are written and read in
//! `series_frame` without objects in between.

use std::collections::HashMap;

use prost::{Message, Oneof};

/// `thanos.Label`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Label {
    /// Its name.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// `thanos.ZLabelSet`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct LabelSet {
    /// Sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub(crate) labels: Vec<Label>,
}

/// `thanos.LabelMatcher`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct LabelMatcher {
    /// 0 `=`, 1 `!=`, 2 `=~`, 3 `!~`.
    #[prost(int32, tag = "1")]
    pub(crate) op: i32,
    /// The label.
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    /// Value or pattern.
    #[prost(string, tag = "3")]
    pub(crate) value: String,
}

/// Values of `partial_response_strategy`: go on without a store that fails.
pub(crate) const STRATEGY_WARN: i32 = 0;
/// Fail with the first store that fails.
pub(crate) const STRATEGY_ABORT: i32 = 1;

/// `thanos.SeriesRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SeriesRequest {
    /// First time, ms, included.
    #[prost(int64, tag = "1")]
    pub(crate) min_time: i64,
    /// Last time, ms, included.
    #[prost(int64, tag = "2")]
    pub(crate) max_time: i64,
    /// All must match.
    #[prost(message, repeated, tag = "3")]
    pub(crate) matchers: Vec<LabelMatcher>,
    /// Coarsest resolution that may be answered, ms; 0 is raw data.
    #[prost(int64, tag = "4")]
    pub(crate) max_resolution_window: i64,
    /// Which aggregates of downsampled data: `Aggregate` by number.
    #[prost(int32, repeated, tag = "5")]
    pub(crate) aggregates: Vec<i32>,
    /// Old form of the strategy abort.
    #[prost(bool, tag = "6")]
    pub(crate) partial_response_disabled: bool,
    /// [`STRATEGY_WARN`] or [`STRATEGY_ABORT`].
    #[prost(int32, tag = "7")]
    pub(crate) partial_response_strategy: i32,
    /// Labels only.
    #[prost(bool, tag = "8")]
    pub(crate) skip_chunks: bool,
    /// What surrounds the selector.
    #[prost(message, optional, tag = "12")]
    pub(crate) query_hints: Option<QueryHints>,
    /// A part of the series only.
    #[prost(message, optional, tag = "13")]
    pub(crate) shard_info: Option<ShardInfo>,
    /// Labels to leave out, with the order kept that the others give.
    #[prost(string, repeated, tag = "14")]
    pub(crate) without_replica_labels: Vec<String>,
    /// Most series; 0 is all.
    #[prost(int64, tag = "15")]
    pub(crate) limit: i64,
    /// Series of one message; 0 and 1 put each into its own.
    #[prost(int64, tag = "16")]
    pub(crate) response_batch_size: i64,
}

/// `thanos.QueryHints`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct QueryHints {
    /// Step of the query, ms.
    #[prost(int64, tag = "1")]
    pub(crate) step_millis: i64,
    /// Labels that are needed.
    #[prost(string, repeated, tag = "6")]
    pub(crate) projection_labels: Vec<String>,
    /// Whether those are the needed ones, or the others.
    #[prost(bool, tag = "7")]
    pub(crate) projection_include: bool,
}

/// `thanos.ShardInfo`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ShardInfo {
    /// Which part, from 0.
    #[prost(int64, tag = "1")]
    pub(crate) shard_index: i64,
    /// Number of parts.
    #[prost(int64, tag = "2")]
    pub(crate) total_shards: i64,
    /// Whether `labels` decide, or all others.
    #[prost(bool, tag = "3")]
    pub(crate) by: bool,
    /// Names.
    #[prost(string, repeated, tag = "4")]
    pub(crate) labels: Vec<String>,
}

/// `thanos.LabelNamesRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LabelNamesRequest {
    /// Old form of the strategy abort.
    #[prost(bool, tag = "1")]
    pub(crate) partial_response_disabled: bool,
    /// [`STRATEGY_WARN`] or [`STRATEGY_ABORT`].
    #[prost(int32, tag = "2")]
    pub(crate) partial_response_strategy: i32,
    /// First time, ms.
    #[prost(int64, tag = "3")]
    pub(crate) start: i64,
    /// Last time, ms.
    #[prost(int64, tag = "4")]
    pub(crate) end: i64,
    /// All must match.
    #[prost(message, repeated, tag = "6")]
    pub(crate) matchers: Vec<LabelMatcher>,
    /// Names to leave out.
    #[prost(string, repeated, tag = "7")]
    pub(crate) without_replica_labels: Vec<String>,
    /// Most names; 0 is all.
    #[prost(int64, tag = "8")]
    pub(crate) limit: i64,
}

/// `thanos.LabelNamesResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LabelNamesResponse {
    /// Sorted.
    #[prost(string, repeated, tag = "1")]
    pub(crate) names: Vec<String>,
    /// What went wrong under the strategy warn.
    #[prost(string, repeated, tag = "2")]
    pub(crate) warnings: Vec<String>,
}

/// `thanos.LabelValuesRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LabelValuesRequest {
    /// Whose values.
    #[prost(string, tag = "1")]
    pub(crate) label: String,
    /// Old form of the strategy abort.
    #[prost(bool, tag = "2")]
    pub(crate) partial_response_disabled: bool,
    /// [`STRATEGY_WARN`] or [`STRATEGY_ABORT`].
    #[prost(int32, tag = "3")]
    pub(crate) partial_response_strategy: i32,
    /// First time, ms.
    #[prost(int64, tag = "4")]
    pub(crate) start: i64,
    /// Last time, ms.
    #[prost(int64, tag = "5")]
    pub(crate) end: i64,
    /// All must match.
    #[prost(message, repeated, tag = "7")]
    pub(crate) matchers: Vec<LabelMatcher>,
    /// Labels to leave out.
    #[prost(string, repeated, tag = "8")]
    pub(crate) without_replica_labels: Vec<String>,
    /// Most values; 0 is all.
    #[prost(int64, tag = "9")]
    pub(crate) limit: i64,
}

/// `thanos.LabelValuesResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LabelValuesResponse {
    /// Sorted.
    #[prost(string, repeated, tag = "1")]
    pub(crate) values: Vec<String>,
    /// What went wrong under the strategy warn.
    #[prost(string, repeated, tag = "2")]
    pub(crate) warnings: Vec<String>,
}

/// `thanos.info.InfoRequest`, which says nothing.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct InfoRequest {}

/// `thanos.info.InfoResponse`: a part that is there is an API that is served.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct InfoResponse {
    /// External labels; none match everything.
    #[prost(message, repeated, tag = "1")]
    pub(crate) label_sets: Vec<LabelSet>,
    /// `sidecar`, `rule`, `store`, `receive`, `query`.
    #[prost(string, tag = "2")]
    pub(crate) component_type: String,
    /// StoreAPI.
    #[prost(message, optional, tag = "3")]
    pub(crate) store: Option<StoreInfo>,
    /// Rules.
    #[prost(message, optional, tag = "4")]
    pub(crate) rules: Option<Empty>,
    /// Metadata.
    #[prost(message, optional, tag = "5")]
    pub(crate) metric_metadata: Option<Empty>,
    /// Targets.
    #[prost(message, optional, tag = "6")]
    pub(crate) targets: Option<Empty>,
    /// Exemplars.
    #[prost(message, optional, tag = "7")]
    pub(crate) exemplars: Option<ExemplarsInfo>,
    /// Queries.
    #[prost(message, optional, tag = "8")]
    pub(crate) query: Option<Empty>,
    /// Figures of TSDBs.
    #[prost(message, optional, tag = "9")]
    pub(crate) status: Option<Empty>,
}

/// A message whose presence says all.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Empty {}

/// `thanos.info.StoreInfo`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoreInfo {
    /// First time, ms.
    #[prost(int64, tag = "1")]
    pub(crate) min_time: i64,
    /// Last time, ms; the largest number for a store that is written to.
    #[prost(int64, tag = "2")]
    pub(crate) max_time: i64,
    /// Acts on `shard_info`.
    #[prost(bool, tag = "3")]
    pub(crate) supports_sharding: bool,
    /// Acts on `without_replica_labels`.
    #[prost(bool, tag = "5")]
    pub(crate) supports_without_replica_labels: bool,
    /// What is inside.
    #[prost(message, repeated, tag = "6")]
    pub(crate) tsdb_infos: Vec<TsdbInfo>,
}

/// `thanos.info.TSDBInfo`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TsdbInfo {
    /// External labels.
    #[prost(message, optional, tag = "1")]
    pub(crate) labels: Option<LabelSet>,
    /// First time, ms.
    #[prost(int64, tag = "2")]
    pub(crate) min_time: i64,
    /// Last time, ms.
    #[prost(int64, tag = "3")]
    pub(crate) max_time: i64,
}

/// `thanos.info.ExemplarsInfo`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ExemplarsInfo {
    /// First time, ms.
    #[prost(int64, tag = "1")]
    pub(crate) min_time: i64,
    /// Last time, ms.
    #[prost(int64, tag = "2")]
    pub(crate) max_time: i64,
}

/// `thanos.ExemplarsRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExemplarsRequest {
    /// PromQL whose selectors name the series.
    #[prost(string, tag = "1")]
    pub(crate) query: String,
    /// First time, ms.
    #[prost(int64, tag = "2")]
    pub(crate) start: i64,
    /// Last time, ms.
    #[prost(int64, tag = "3")]
    pub(crate) end: i64,
    /// [`STRATEGY_WARN`] or [`STRATEGY_ABORT`].
    #[prost(int32, tag = "4")]
    pub(crate) partial_response_strategy: i32,
}

/// `thanos.ExemplarsResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExemplarsResponse {
    /// What it carries.
    #[prost(oneof = "ExemplarsResult", tags = "1, 2")]
    pub(crate) result: Option<ExemplarsResult>,
}

/// What an [`ExemplarsResponse`] carries.
#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum ExemplarsResult {
    /// One series.
    #[prost(message, tag = "1")]
    Data(ExemplarData),
    /// What went wrong under the strategy warn.
    #[prost(string, tag = "2")]
    Warning(String),
}

/// `thanos.ExemplarData`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExemplarData {
    /// External labels included.
    #[prost(message, optional, tag = "1")]
    pub(crate) series_labels: Option<LabelSet>,
    /// In time order.
    #[prost(message, repeated, tag = "2")]
    pub(crate) exemplars: Vec<Exemplar>,
}

/// `thanos.Exemplar`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Exemplar {
    /// Its own labels.
    #[prost(message, optional, tag = "1")]
    pub(crate) labels: Option<LabelSet>,
    /// Value.
    #[prost(double, tag = "2")]
    pub(crate) value: f64,
    /// Time, ms.
    #[prost(int64, tag = "3")]
    pub(crate) timestamp_ms: i64,
}

/// `thanos.MetricMetadataRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetadataRequest {
    /// One metric; empty is all.
    #[prost(string, tag = "1")]
    pub(crate) metric: String,
    /// Most metrics; negative is all.
    #[prost(int32, tag = "2")]
    pub(crate) limit: i32,
}

/// `thanos.MetricMetadataResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetadataResponse {
    /// What is known.
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<Described>,
}

/// `thanos.MetricMetadata`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Described {
    /// By metric.
    #[prost(map = "string, message", tag = "1")]
    pub(crate) metadata: HashMap<String, MetadataEntries>,
}

/// `thanos.MetricMetadataEntry`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetadataEntries {
    /// Each once.
    #[prost(message, repeated, tag = "2")]
    pub(crate) metas: Vec<Meta>,
}

/// `thanos.Meta`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Meta {
    /// `counter`, `gauge`, …
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    /// For people.
    #[prost(string, tag = "2")]
    pub(crate) help: String,
    /// Unit.
    #[prost(string, tag = "3")]
    pub(crate) unit: String,
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct HealthCheckRequest {
    /// Which service; empty is the server.
    #[prost(string, tag = "1")]
    pub(crate) service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct HealthCheckResponse {
    /// 1 is serving.
    #[prost(int32, tag = "1")]
    pub(crate) status: i32,
}

/// `thanos.StoreMatchers`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoreMatchers {
    /// All must match.
    #[prost(message, repeated, tag = "1")]
    pub(crate) matchers: Vec<LabelMatcher>,
}

/// `thanos.QueryRequest`; the plan and the engine are left out.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct QueryRequest {
    /// PromQL.
    #[prost(string, tag = "1")]
    pub(crate) query: String,
    /// Time, s.
    #[prost(int64, tag = "2")]
    pub(crate) time_seconds: i64,
    /// 0 is the server's own.
    #[prost(int64, tag = "3")]
    pub(crate) timeout_seconds: i64,
    /// Coarsest resolution, s.
    #[prost(int64, tag = "4")]
    pub(crate) max_resolution_seconds: i64,
    /// In place of the server's own.
    #[prost(string, repeated, tag = "5")]
    pub(crate) replica_labels: Vec<String>,
    /// Stores to ask.
    #[prost(message, repeated, tag = "6")]
    pub(crate) store_matchers: Vec<StoreMatchers>,
    /// Whether replicas become one.
    #[prost(bool, tag = "7")]
    pub(crate) enable_dedup: bool,
    /// Whether a store that fails is a warning only.
    #[prost(bool, tag = "8")]
    pub(crate) enable_partial_response: bool,
    /// A part of the series.
    #[prost(message, optional, tag = "11")]
    pub(crate) shard_info: Option<ShardInfo>,
    /// 0 is the server's own.
    #[prost(int64, tag = "12")]
    pub(crate) lookback_delta_seconds: i64,
    /// Series of a message; 0 and 1 are one.
    #[prost(int64, tag = "15")]
    pub(crate) response_batch_size: i64,
}

/// `thanos.QueryRangeRequest`; the plan and the engine are left out.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct QueryRangeRequest {
    /// PromQL.
    #[prost(string, tag = "1")]
    pub(crate) query: String,
    /// First time, s.
    #[prost(int64, tag = "2")]
    pub(crate) start_time_seconds: i64,
    /// Last time, s.
    #[prost(int64, tag = "3")]
    pub(crate) end_time_seconds: i64,
    /// Step, s.
    #[prost(int64, tag = "4")]
    pub(crate) interval_seconds: i64,
    /// 0 is the server's own.
    #[prost(int64, tag = "5")]
    pub(crate) timeout_seconds: i64,
    /// Coarsest resolution, s.
    #[prost(int64, tag = "6")]
    pub(crate) max_resolution_seconds: i64,
    /// In place of the server's own.
    #[prost(string, repeated, tag = "7")]
    pub(crate) replica_labels: Vec<String>,
    /// Stores to ask.
    #[prost(message, repeated, tag = "8")]
    pub(crate) store_matchers: Vec<StoreMatchers>,
    /// Whether replicas become one.
    #[prost(bool, tag = "9")]
    pub(crate) enable_dedup: bool,
    /// Whether a store that fails is a warning only.
    #[prost(bool, tag = "10")]
    pub(crate) enable_partial_response: bool,
    /// A part of the series.
    #[prost(message, optional, tag = "13")]
    pub(crate) shard_info: Option<ShardInfo>,
    /// 0 is the server's own.
    #[prost(int64, tag = "14")]
    pub(crate) lookback_delta_seconds: i64,
    /// Series of a message; 0 and 1 are one.
    #[prost(int64, tag = "17")]
    pub(crate) response_batch_size: i64,
}

/// A query at one time, as one over a range without a step.
impl From<QueryRequest> for QueryRangeRequest {
    fn from(request: QueryRequest) -> Self {
        Self {
            query: request.query,
            start_time_seconds: request.time_seconds,
            end_time_seconds: request.time_seconds,
            interval_seconds: 0,
            timeout_seconds: request.timeout_seconds,
            max_resolution_seconds: request.max_resolution_seconds,
            replica_labels: request.replica_labels,
            store_matchers: request.store_matchers,
            enable_dedup: request.enable_dedup,
            enable_partial_response: request.enable_partial_response,
            shard_info: request.shard_info,
            lookback_delta_seconds: request.lookback_delta_seconds,
            response_batch_size: request.response_batch_size,
        }
    }
}

/// `thanos.TSDBStatisticsRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TsdbStatisticsRequest {
    /// Old form of a matcher on the tenant's label.
    #[prost(string, tag = "1")]
    pub(crate) tenant: String,
    /// Entries of each list.
    #[prost(int32, tag = "2")]
    pub(crate) limit: i32,
    /// On external labels.
    #[prost(message, repeated, tag = "4")]
    pub(crate) matchers: Vec<LabelMatcher>,
}

/// `thanos.TSDBStatisticsResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TsdbStatisticsResponse {
    /// Figures by tenant.
    #[prost(message, optional, tag = "1")]
    pub(crate) statistics: Option<TsdbStatistics>,
}

/// `thanos.TSDBStatistics`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TsdbStatistics {
    /// By tenant.
    #[prost(map = "string, message", tag = "1")]
    pub(crate) statistics: HashMap<String, TsdbStatisticsEntry>,
}

/// `thanos.TSDBStatisticsEntry`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TsdbStatisticsEntry {
    /// Of the head.
    #[prost(message, optional, tag = "1")]
    pub(crate) head: Option<HeadStatistics>,
    /// Metric names with the most series.
    #[prost(message, repeated, tag = "2")]
    pub(crate) series_by_metric_name: Vec<Statistic>,
    /// Label names with the most values.
    #[prost(message, repeated, tag = "3")]
    pub(crate) values_by_label_name: Vec<Statistic>,
    /// Label names with the most bytes.
    #[prost(message, repeated, tag = "4")]
    pub(crate) bytes_by_label_name: Vec<Statistic>,
    /// Pairs with the most series.
    #[prost(message, repeated, tag = "5")]
    pub(crate) series_by_label_pair: Vec<Statistic>,
}

/// `thanos.HeadStatistics`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct HeadStatistics {
    /// Series.
    #[prost(uint64, tag = "1")]
    pub(crate) series: u64,
    /// Distinct pairs of name and value.
    #[prost(int64, tag = "2")]
    pub(crate) label_pairs: i64,
    /// Chunks.
    #[prost(int64, tag = "3")]
    pub(crate) chunks: i64,
    /// Oldest sample, ms.
    #[prost(int64, tag = "4")]
    pub(crate) min_time: i64,
    /// Newest sample, ms.
    #[prost(int64, tag = "5")]
    pub(crate) max_time: i64,
}

/// `thanos.Statistic`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Statistic {
    /// What is counted.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// How many.
    #[prost(uint64, tag = "2")]
    pub(crate) value: u64,
}

impl LabelSet {
    /// A label set as a message.
    pub(crate) fn of(labels: &model::Labels) -> Self {
        let label = |(name, value): (&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
        Self { labels: labels.iter().map(label).collect() }
    }

    /// The label set of a message, whatever its order.
    pub(crate) fn to_labels(&self) -> model::Labels {
        model::Labels::from_pairs(self.labels.iter().map(|label| (&label.name, &label.value)))
    }
}
