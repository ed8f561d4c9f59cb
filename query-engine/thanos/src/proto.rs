//! Thanos' messages as prost structs: pkg/store/storepb/{rpc,types}.proto, pkg/info/infopb/rpc.proto,
//! pkg/exemplars/exemplarspb/rpc.proto, pkg/status/statuspb/rpc.proto (v0.42, and what v0.43 added).
//!
//! Only requests and small answers are here. The frames of `Series`, which carry the data, are written and read in
//! `series_frame` without objects in between.

use std::collections::HashMap;

use prost::{Message, Oneof};

/// `thanos.Label`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Label {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `thanos.ZLabelSet`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LabelSet {
    /// Sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
}

/// `thanos.LabelMatcher`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LabelMatcher {
    /// 0 `=`, 1 `!=`, 2 `=~`, 3 `!~`.
    #[prost(int32, tag = "1")]
    pub op: i32,
    /// The label.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Value or pattern.
    #[prost(string, tag = "3")]
    pub value: String,
}

/// Values of `partial_response_strategy`: go on without a store that fails.
pub const STRATEGY_WARN: i32 = 0;
/// Fail with the first store that fails.
pub const STRATEGY_ABORT: i32 = 1;

/// `thanos.SeriesRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct SeriesRequest {
    /// First time, ms, included.
    #[prost(int64, tag = "1")]
    pub min_time: i64,
    /// Last time, ms, included.
    #[prost(int64, tag = "2")]
    pub max_time: i64,
    /// All must match.
    #[prost(message, repeated, tag = "3")]
    pub matchers: Vec<LabelMatcher>,
    /// Coarsest resolution that may be answered, ms; 0 is raw data.
    #[prost(int64, tag = "4")]
    pub max_resolution_window: i64,
    /// Which aggregates of downsampled data: `Aggregate` by number.
    #[prost(int32, repeated, tag = "5")]
    pub aggregates: Vec<i32>,
    /// Old form of the strategy abort.
    #[prost(bool, tag = "6")]
    pub partial_response_disabled: bool,
    /// [`STRATEGY_WARN`] or [`STRATEGY_ABORT`].
    #[prost(int32, tag = "7")]
    pub partial_response_strategy: i32,
    /// Labels only.
    #[prost(bool, tag = "8")]
    pub skip_chunks: bool,
    /// What surrounds the selector.
    #[prost(message, optional, tag = "12")]
    pub query_hints: Option<QueryHints>,
    /// A part of the series only.
    #[prost(message, optional, tag = "13")]
    pub shard_info: Option<ShardInfo>,
    /// Labels to leave out, with the order kept that the others give.
    #[prost(string, repeated, tag = "14")]
    pub without_replica_labels: Vec<String>,
    /// Most series; 0 is all.
    #[prost(int64, tag = "15")]
    pub limit: i64,
    /// Series of one message; 0 and 1 put each into its own.
    #[prost(int64, tag = "16")]
    pub response_batch_size: i64,
}

/// `thanos.QueryHints`.
#[derive(Clone, PartialEq, Message)]
pub struct QueryHints {
    /// Step of the query, ms.
    #[prost(int64, tag = "1")]
    pub step_millis: i64,
    /// Labels that are needed.
    #[prost(string, repeated, tag = "6")]
    pub projection_labels: Vec<String>,
    /// Whether those are the needed ones, or the others.
    #[prost(bool, tag = "7")]
    pub projection_include: bool,
}

/// `thanos.ShardInfo`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ShardInfo {
    /// Which part, from 0.
    #[prost(int64, tag = "1")]
    pub shard_index: i64,
    /// Number of parts.
    #[prost(int64, tag = "2")]
    pub total_shards: i64,
    /// Whether `labels` decide, or all others.
    #[prost(bool, tag = "3")]
    pub by: bool,
    /// Names.
    #[prost(string, repeated, tag = "4")]
    pub labels: Vec<String>,
}

/// `thanos.LabelNamesRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct LabelNamesRequest {
    /// Old form of the strategy abort.
    #[prost(bool, tag = "1")]
    pub partial_response_disabled: bool,
    /// [`STRATEGY_WARN`] or [`STRATEGY_ABORT`].
    #[prost(int32, tag = "2")]
    pub partial_response_strategy: i32,
    /// First time, ms.
    #[prost(int64, tag = "3")]
    pub start: i64,
    /// Last time, ms.
    #[prost(int64, tag = "4")]
    pub end: i64,
    /// All must match.
    #[prost(message, repeated, tag = "6")]
    pub matchers: Vec<LabelMatcher>,
    /// Names to leave out.
    #[prost(string, repeated, tag = "7")]
    pub without_replica_labels: Vec<String>,
    /// Most names; 0 is all.
    #[prost(int64, tag = "8")]
    pub limit: i64,
}

/// `thanos.LabelNamesResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct LabelNamesResponse {
    /// Sorted.
    #[prost(string, repeated, tag = "1")]
    pub names: Vec<String>,
    /// What went wrong under the strategy warn.
    #[prost(string, repeated, tag = "2")]
    pub warnings: Vec<String>,
}

/// `thanos.LabelValuesRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct LabelValuesRequest {
    /// Whose values.
    #[prost(string, tag = "1")]
    pub label: String,
    /// Old form of the strategy abort.
    #[prost(bool, tag = "2")]
    pub partial_response_disabled: bool,
    /// [`STRATEGY_WARN`] or [`STRATEGY_ABORT`].
    #[prost(int32, tag = "3")]
    pub partial_response_strategy: i32,
    /// First time, ms.
    #[prost(int64, tag = "4")]
    pub start: i64,
    /// Last time, ms.
    #[prost(int64, tag = "5")]
    pub end: i64,
    /// All must match.
    #[prost(message, repeated, tag = "7")]
    pub matchers: Vec<LabelMatcher>,
    /// Labels to leave out.
    #[prost(string, repeated, tag = "8")]
    pub without_replica_labels: Vec<String>,
    /// Most values; 0 is all.
    #[prost(int64, tag = "9")]
    pub limit: i64,
}

/// `thanos.LabelValuesResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct LabelValuesResponse {
    /// Sorted.
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
    /// What went wrong under the strategy warn.
    #[prost(string, repeated, tag = "2")]
    pub warnings: Vec<String>,
}

/// `thanos.info.InfoRequest`, which says nothing.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct InfoRequest {}

/// `thanos.info.InfoResponse`: a part that is there is an API that is served.
#[derive(Clone, PartialEq, Message)]
pub struct InfoResponse {
    /// External labels; none match everything.
    #[prost(message, repeated, tag = "1")]
    pub label_sets: Vec<LabelSet>,
    /// `sidecar`, `rule`, `store`, `receive`, `query`.
    #[prost(string, tag = "2")]
    pub component_type: String,
    /// StoreAPI.
    #[prost(message, optional, tag = "3")]
    pub store: Option<StoreInfo>,
    /// Rules.
    #[prost(message, optional, tag = "4")]
    pub rules: Option<Empty>,
    /// Metadata.
    #[prost(message, optional, tag = "5")]
    pub metric_metadata: Option<Empty>,
    /// Targets.
    #[prost(message, optional, tag = "6")]
    pub targets: Option<Empty>,
    /// Exemplars.
    #[prost(message, optional, tag = "7")]
    pub exemplars: Option<ExemplarsInfo>,
    /// Queries.
    #[prost(message, optional, tag = "8")]
    pub query: Option<Empty>,
    /// Figures of TSDBs.
    #[prost(message, optional, tag = "9")]
    pub status: Option<Empty>,
}

/// A message whose presence says all.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Empty {}

/// `thanos.info.StoreInfo`.
#[derive(Clone, PartialEq, Message)]
pub struct StoreInfo {
    /// First time, ms.
    #[prost(int64, tag = "1")]
    pub min_time: i64,
    /// Last time, ms; the largest number for a store that is written to.
    #[prost(int64, tag = "2")]
    pub max_time: i64,
    /// Acts on `shard_info`.
    #[prost(bool, tag = "3")]
    pub supports_sharding: bool,
    /// Acts on `without_replica_labels`.
    #[prost(bool, tag = "5")]
    pub supports_without_replica_labels: bool,
    /// What is inside.
    #[prost(message, repeated, tag = "6")]
    pub tsdb_infos: Vec<TsdbInfo>,
}

/// `thanos.info.TSDBInfo`.
#[derive(Clone, PartialEq, Message)]
pub struct TsdbInfo {
    /// External labels.
    #[prost(message, optional, tag = "1")]
    pub labels: Option<LabelSet>,
    /// First time, ms.
    #[prost(int64, tag = "2")]
    pub min_time: i64,
    /// Last time, ms.
    #[prost(int64, tag = "3")]
    pub max_time: i64,
}

/// `thanos.info.ExemplarsInfo`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ExemplarsInfo {
    /// First time, ms.
    #[prost(int64, tag = "1")]
    pub min_time: i64,
    /// Last time, ms.
    #[prost(int64, tag = "2")]
    pub max_time: i64,
}

/// `thanos.ExemplarsRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct ExemplarsRequest {
    /// PromQL whose selectors name the series.
    #[prost(string, tag = "1")]
    pub query: String,
    /// First time, ms.
    #[prost(int64, tag = "2")]
    pub start: i64,
    /// Last time, ms.
    #[prost(int64, tag = "3")]
    pub end: i64,
    /// [`STRATEGY_WARN`] or [`STRATEGY_ABORT`].
    #[prost(int32, tag = "4")]
    pub partial_response_strategy: i32,
}

/// `thanos.ExemplarsResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct ExemplarsResponse {
    /// What it carries.
    #[prost(oneof = "ExemplarsResult", tags = "1, 2")]
    pub result: Option<ExemplarsResult>,
}

/// What an [`ExemplarsResponse`] carries.
#[derive(Clone, PartialEq, Oneof)]
pub enum ExemplarsResult {
    /// One series.
    #[prost(message, tag = "1")]
    Data(ExemplarData),
    /// What went wrong under the strategy warn.
    #[prost(string, tag = "2")]
    Warning(String),
}

/// `thanos.ExemplarData`.
#[derive(Clone, PartialEq, Message)]
pub struct ExemplarData {
    /// External labels included.
    #[prost(message, optional, tag = "1")]
    pub series_labels: Option<LabelSet>,
    /// In time order.
    #[prost(message, repeated, tag = "2")]
    pub exemplars: Vec<Exemplar>,
}

/// `thanos.Exemplar`.
#[derive(Clone, PartialEq, Message)]
pub struct Exemplar {
    /// Its own labels.
    #[prost(message, optional, tag = "1")]
    pub labels: Option<LabelSet>,
    /// Value.
    #[prost(double, tag = "2")]
    pub value: f64,
    /// Time, ms.
    #[prost(int64, tag = "3")]
    pub timestamp_ms: i64,
}

/// `thanos.TSDBStatisticsRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct TsdbStatisticsRequest {
    /// Old form of a matcher on the tenant's label.
    #[prost(string, tag = "1")]
    pub tenant: String,
    /// Entries of each list.
    #[prost(int32, tag = "2")]
    pub limit: i32,
    /// On external labels.
    #[prost(message, repeated, tag = "4")]
    pub matchers: Vec<LabelMatcher>,
}

/// `thanos.TSDBStatisticsResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct TsdbStatisticsResponse {
    /// Figures by tenant.
    #[prost(message, optional, tag = "1")]
    pub statistics: Option<TsdbStatistics>,
}

/// `thanos.TSDBStatistics`.
#[derive(Clone, PartialEq, Message)]
pub struct TsdbStatistics {
    /// By tenant.
    #[prost(map = "string, message", tag = "1")]
    pub statistics: HashMap<String, TsdbStatisticsEntry>,
}

/// `thanos.TSDBStatisticsEntry`.
#[derive(Clone, PartialEq, Message)]
pub struct TsdbStatisticsEntry {
    /// Of the head.
    #[prost(message, optional, tag = "1")]
    pub head: Option<HeadStatistics>,
    /// Metric names with the most series.
    #[prost(message, repeated, tag = "2")]
    pub series_by_metric_name: Vec<Statistic>,
    /// Label names with the most values.
    #[prost(message, repeated, tag = "3")]
    pub values_by_label_name: Vec<Statistic>,
    /// Label names with the most bytes.
    #[prost(message, repeated, tag = "4")]
    pub bytes_by_label_name: Vec<Statistic>,
    /// Pairs with the most series.
    #[prost(message, repeated, tag = "5")]
    pub series_by_label_pair: Vec<Statistic>,
}

/// `thanos.HeadStatistics`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct HeadStatistics {
    /// Series.
    #[prost(uint64, tag = "1")]
    pub series: u64,
    /// Distinct pairs of name and value.
    #[prost(int64, tag = "2")]
    pub label_pairs: i64,
    /// Chunks.
    #[prost(int64, tag = "3")]
    pub chunks: i64,
    /// Oldest sample, ms.
    #[prost(int64, tag = "4")]
    pub min_time: i64,
    /// Newest sample, ms.
    #[prost(int64, tag = "5")]
    pub max_time: i64,
}

/// `thanos.Statistic`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Statistic {
    /// What is counted.
    #[prost(string, tag = "1")]
    pub name: String,
    /// How many.
    #[prost(uint64, tag = "2")]
    pub value: u64,
}

impl LabelSet {
    /// A label set as a message.
    pub fn of(labels: &model::Labels) -> Self {
        let label = |(name, value): (&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
        Self { labels: labels.iter().map(label).collect() }
    }

    /// The label set of a message, whatever its order.
    pub fn to_labels(&self) -> model::Labels {
        model::Labels::from_pairs(self.labels.iter().map(|label| (&label.name, &label.value)))
    }
}
