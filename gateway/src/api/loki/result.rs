//! Query results in Loki's JSON (pkg/util/marshal, pkg/logqlmodel/stats).

use std::time::Duration;

use axum::body::Body;
use http::{Response, StatusCode};
use logql::{
    GroupedStreams, Grouping, MatrixSeries, QueryOutput, QueryResult, QueryStats, ResultEntry, Streams,
    VectorSample,
};
use model::Labels;
use runtime::Tasks;
use serde_json::{Value, json};

use super::params::LokiError;
use crate::api::answers::HeldBytes;
use crate::api::json::{self, Html};
use crate::api::streamed;

const CONTENT_TYPE: &str = "application/json; charset=UTF-8";
/// Up to so many entries are sorted into streams at once.
const SORTED_AT_ONCE_MAX: usize = 200;
/// The encoding flag that keeps the three kinds of labels apart.
pub(super) const CATEGORIZE_LABELS: &str = "categorize-labels";

/// The whole answer to a query; `queued` is the time that it waited before it ran.
pub(super) async fn answer(
    tasks: &Tasks,
    output: QueryOutput,
    categorize: bool,
    queued: Duration,
) -> Result<Response<Body>, LokiError> {
    let mut tail = br#","stats":"#.to_vec();
    tail.extend_from_slice(stats(&output.stats, queued).to_string().as_bytes());
    tail.extend_from_slice(b"}}\n");
    let mut head = br#"{"status":"success","#.to_vec();
    if !output.warnings.is_empty() {
        head.extend_from_slice(br#""warnings":"#);
        json::strings(&mut head, output.warnings.iter().map(String::as_str), Html::Escaped);
        head.push(b',');
    }
    head.extend_from_slice(br#""data":{"resultType":""#);
    let mut items = Items::new(tasks, output.result, categorize).await?;
    let held = HeldBytes(items.held_bytes());
    head.extend_from_slice(items.result_type().as_bytes());
    head.push(b'"');
    if categorize && matches!(items, Items::Streams(..)) {
        head.extend_from_slice(br#","encodingFlags":["categorize-labels"]"#);
    }
    head.extend_from_slice(br#","result":"#);
    let mut head = Some(head);
    let mut answer = streamed(StatusCode::OK, CONTENT_TYPE, move |out| {
        if let Some(head) = head.take() {
            out.extend_from_slice(&head);
            items.open(out);
        }
        if items.next(out) {
            return true;
        }
        out.extend_from_slice(&tail);
        false
    });
    answer.extensions_mut().insert(held);
    Ok(answer)
}

/// The entries of an answer stream by stream. Many of them are sorted off the async threads.
pub(super) async fn grouped(
    tasks: &Tasks,
    streams: Streams,
    grouping: Grouping,
) -> Result<GroupedStreams, LokiError> {
    if streams.entries.len() <= SORTED_AT_ONCE_MAX {
        return Ok(streams.grouped(grouping));
    }
    let sorting = tasks.spawn_blocking("loki answer", move || streams.grouped(grouping));
    sorting.await.map_err(|error| LokiError {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        message: format!("the lines of the answer could not be sorted: {error}"),
    })
}

fn grouping(categorize: bool) -> Grouping {
    if categorize { Grouping::StreamLabels } else { Grouping::AllLabels }
}

/// A frame of `tail`: streams, and streams of which entries were left out with the time of the first, ns
/// (pkg/util/marshal WriteTailResponseJSON).
pub(super) fn tail_frame(streams: Streams, dropped: &[(Labels, i64)], categorize: bool) -> Vec<u8> {
    let mut out = br#"{"streams":["#.to_vec();
    let mut lines = Lines::new(streams.grouped(grouping(categorize)));
    while lines.next(&mut out) {}
    out.push(b']');
    if !dropped.is_empty() {
        out.extend_from_slice(br#","dropped_entries":["#);
        let mut first = true;
        for (labels, timestamp_ns) in dropped {
            comma(&mut out, &mut first);
            out.extend_from_slice(br#"{"timestamp":""#);
            json::integer(&mut out, *timestamp_ns);
            out.extend_from_slice(br#"","labels":"#);
            json::labels(&mut out, labels, Html::Escaped);
            out.push(b'}');
        }
        out.push(b']');
    }
    if categorize {
        out.extend_from_slice(br#","encodingFlags":["categorize-labels"]"#);
    }
    out.push(b'}');
    out
}

/// Streams of lines, and how far they are written.
struct Lines {
    streams: GroupedStreams,
    stream: usize,
    /// Entries of it that are written.
    written: usize,
}

impl Lines {
    fn new(streams: GroupedStreams) -> Self {
        Self { streams, stream: 0, written: 0 }
    }

    /// Writes one more entry with what stands around it; `false` when there is none.
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        if self.stream == self.streams.len() {
            return false;
        }
        if self.written == 0 {
            out.extend_from_slice(if self.stream == 0 { br#"{"stream":"# } else { br#",{"stream":"# });
            json::pairs(out, self.streams.labels(self.stream), Html::Escaped);
            out.extend_from_slice(br#","values":["#);
        } else {
            out.push(b',');
        }
        let entries = self.streams.entries(self.stream);
        let categorize = self.streams.grouping() == Grouping::StreamLabels;
        entry_value(out, &entries[self.written], categorize);
        self.written += 1;
        if self.written == entries.len() {
            out.extend_from_slice(b"]}");
            (self.stream, self.written) = (self.stream + 1, 0);
        }
        true
    }
}

/// What of a result is still to be written; the flag tells that nothing was written yet.
enum Items {
    Streams(Lines),
    Matrix(std::vec::IntoIter<MatrixSeries>, bool),
    Vector(std::vec::IntoIter<VectorSample>, bool),
    Scalar(i64, f64),
}

impl Items {
    async fn new(tasks: &Tasks, result: QueryResult, categorize: bool) -> Result<Self, LokiError> {
        Ok(match result {
            QueryResult::Streams(streams) => {
                Self::Streams(Lines::new(grouped(tasks, streams, grouping(categorize)).await?))
            }
            QueryResult::Matrix(series) => Self::Matrix(series.into_iter(), true),
            QueryResult::Vector(samples) => Self::Vector(samples.into_iter(), true),
            QueryResult::Scalar { timestamp_ms, value } => Self::Scalar(timestamp_ms, value),
        })
    }

    fn result_type(&self) -> &'static str {
        match self {
            Self::Streams(..) => "streams",
            Self::Matrix(..) => "matrix",
            Self::Vector(..) => "vector",
            Self::Scalar(..) => "scalar",
        }
    }

    /// About what it takes in memory.
    fn held_bytes(&self) -> u64 {
        let bytes: usize = match self {
            Self::Streams(lines) => lines.streams.held_bytes(),
            Self::Matrix(series, _) => {
                let own = |series: &MatrixSeries| series.labels.text_bytes() + size_of_val(&*series.points);
                series.as_slice().iter().map(own).sum()
            }
            Self::Vector(samples, _) => {
                samples.as_slice().iter().map(|sample| sample.labels.text_bytes()).sum()
            }
            Self::Scalar(..) => 0,
        };
        bytes as u64
    }

    fn open(&self, out: &mut Vec<u8>) {
        if !matches!(self, Self::Scalar(..)) {
            out.push(b'[');
        }
    }

    /// Writes one more item; `false` when the result has been closed.
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        let wrote = match self {
            Self::Scalar(timestamp_ms, value) => {
                point(out, *timestamp_ms, *value);
                return false;
            }
            Self::Streams(lines) => lines.next(out).then_some(()),
            Self::Matrix(series, first) => series.next().map(|series| {
                comma(out, first);
                out.extend_from_slice(br#"{"metric":"#);
                json::labels(out, &series.labels, Html::Escaped);
                out.extend_from_slice(br#","values":["#);
                for (index, (timestamp_ms, value)) in series.points.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    point(out, *timestamp_ms, *value);
                }
                out.extend_from_slice(b"]}");
            }),
            Self::Vector(samples, first) => samples.next().map(|sample| {
                comma(out, first);
                out.extend_from_slice(br#"{"metric":"#);
                json::labels(out, &sample.labels, Html::Escaped);
                out.extend_from_slice(br#","value":"#);
                point(out, sample.timestamp_ms, sample.value);
                out.push(b'}');
            }),
        };
        if wrote.is_none() {
            out.push(b']');
        }
        wrote.is_some()
    }
}

fn comma(out: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(b',');
    }
}

fn point(out: &mut Vec<u8>, timestamp_ms: i64, value: f64) {
    out.push(b'[');
    json::short_timestamp(out, timestamp_ms);
    out.extend_from_slice(b",\"");
    json::plain_float(out, value);
    out.extend_from_slice(b"\"]");
}

fn entry_value(out: &mut Vec<u8>, entry: &ResultEntry, categorize: bool) {
    out.extend_from_slice(b"[\"");
    json::integer(out, entry.timestamp_ns);
    out.extend_from_slice(b"\",");
    json::string(out, &entry.line, Html::Escaped);
    if categorize {
        out.extend_from_slice(b",{");
        let kinds = [("structuredMetadata", &entry.structured_metadata), ("parsed", &entry.parsed)];
        let mut first = true;
        for (name, pairs) in kinds.into_iter().filter(|(_, pairs)| !pairs.is_empty()) {
            comma(out, &mut first);
            json::string(out, name, Html::Escaped);
            out.push(b':');
            json::pairs(out, pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())), Html::Escaped);
        }
        out.push(b'}');
    }
    out.push(b']');
}

/// The statistics block with every key of Loki's, since logcli prints and Grafana charts them; what has no meaning
/// here is 0.
pub(super) fn stats(stats: &QueryStats, queued: Duration) -> Value {
    let nothing = QueryStats::default();
    let cache = cache_stats();
    json!({
        "summary": {
            "bytesProcessedPerSecond": stats.bytes_per_second(),
            "linesProcessedPerSecond": stats.lines_per_second(),
            "totalBytesProcessed": stats.bytes_processed,
            "totalLinesProcessed": stats.lines_processed,
            "execTime": stats.exec_time.as_secs_f64(),
            "queueTime": queued.as_secs_f64(),
            "subqueries": 0,
            "totalEntriesReturned": stats.entries_returned,
            "splits": 0,
            "shards": 0,
            "totalPostFilterLines": stats.lines_after_filters,
            "totalStructuredMetadataBytesProcessed": stats.metadata_bytes_processed,
        },
        "querier": { "store": store_stats(stats), "querierExecTime": stats.exec_time.as_secs_f64() },
        "ingester": {
            "totalReached": 0,
            "totalChunksMatched": 0,
            "totalBatches": 0,
            "totalLinesSent": 0,
            "store": store_stats(&nothing),
            "recvWaitTime": 0,
        },
        "cache": {
            "chunk": cache,
            "index": cache,
            "result": cache,
            "statsResult": cache,
            "volumeResult": cache,
            "seriesResult": cache,
            "labelResult": cache,
            "instantMetricResult": cache,
        },
        "index": {
            "totalChunks": stats.pages_selected,
            "postFilterChunks": stats.pages_read,
            "shardsDuration": 0,
            "usedBloomFilters": false,
            "totalStreams": 0,
            "chunkRefsLookupTime": 0,
            "bloomFilterTime": 0,
        },
    })
}

/// What was read. A page here is what a chunk is there.
fn store_stats(stats: &QueryStats) -> Value {
    json!({
        "totalChunksRef": stats.pages_read,
        "totalChunksDownloaded": stats.pages_read,
        "chunksDownloadTime": 0,
        "queryReferencedStructuredMetadata": stats.metadata_bytes_processed > 0,
        "queryUsedV2Engine": false,
        "chunk": {
            "headChunkBytes": 0,
            "headChunkLines": 0,
            "decompressedBytes": stats.bytes_processed,
            "decompressedLines": stats.lines_processed,
            "compressedBytes": 0,
            "totalDuplicates": 0,
            "postFilterLines": stats.lines_after_filters,
            "headChunkStructuredMetadataBytes": 0,
            "decompressedStructuredMetadataBytes": stats.metadata_bytes_processed,
        },
        "chunkRefsFetchTime": 0,
        "congestionControlLatency": 0,
        "pipelineWrapperFilteredLines": 0,
        "dataobj": {
            "prePredicateDecompressedRows": 0,
            "prePredicateDecompressedBytes": 0,
            "prePredicateDecompressedStructuredMetadataBytes": 0,
            "postPredicateRows": 0,
            "postPredicateDecompressedBytes": 0,
            "postPredicateStructuredMetadataBytes": 0,
            "postFilterRows": 0,
            "pagesScanned": 0,
            "pagesDownloaded": 0,
            "pagesDownloadedBytes": 0,
            "pageBatches": 0,
            "totalRowsAvailable": 0,
            "totalPageDownloadTime": 0,
        },
    })
}

/// A cache of Loki's, of which there is none here.
fn cache_stats() -> Value {
    json!({
        "entriesFound": 0,
        "entriesRequested": 0,
        "entriesStored": 0,
        "bytesReceived": 0,
        "bytesSent": 0,
        "requests": 0,
        "downloadTime": 0,
        "queryLengthServed": 0,
    })
}

#[cfg(test)]
mod tests;
