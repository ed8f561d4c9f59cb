//! What a StoreAPI request selects, and the rules that every store applies to it: external labels, replica labels,
//! shards (pkg/store/tsdb.go, pkg/store/proxy.go, pkg/store/storepb/shard_info.go).

use model::{Labels, MatchOp, Matcher, TimeRange, go_regex};
use xxhash_rust::xxh64::xxh64;

use crate::error::{ThanosError, ThanosResult};
use crate::proto::{self, LabelMatcher};
use crate::series_frame::Aggregate;

/// What a `Series` request asks for.
#[derive(Clone, Debug)]
pub(crate) struct StoreSelect {
    /// Milliseconds, both ends included.
    pub(crate) range: TimeRange,
    /// All must match.
    pub(crate) matchers: Vec<Matcher>,
    /// Labels to leave out.
    pub(crate) without: Vec<String>,
    /// A part of the series only.
    pub(crate) shard: Option<Shard>,
    /// Labels only.
    pub(crate) skip_chunks: bool,
    /// Most series; 0 is all.
    pub(crate) limit: usize,
    /// Coarsest resolution of downsampled data, ms; 0 is raw data only.
    pub(crate) resolution_ms: i64,
    /// What is wanted of downsampled data.
    pub(crate) aggregates: Vec<Aggregate>,
}

impl StoreSelect {
    /// Checks a request.
    pub(crate) fn from_request(request: &proto::SeriesRequest) -> ThanosResult<Self> {
        Ok(Self {
            range: TimeRange::new(request.min_time, request.max_time),
            matchers: matchers(&request.matchers)?,
            without: request.without_replica_labels.clone(),
            shard: request.shard_info.as_ref().and_then(Shard::new),
            skip_chunks: request.skip_chunks,
            limit: usize::try_from(request.limit).unwrap_or(0),
            resolution_ms: request.max_resolution_window,
            aggregates: aggregates(&request.aggregates),
        })
    }
}

/// The aggregates of these numbers.
pub(crate) fn aggregates(numbers: &[i32]) -> Vec<Aggregate> {
    numbers.iter().copied().filter_map(Aggregate::from_number).collect()
}

/// Checks matchers; patterns are Go's.
pub(crate) fn matchers(messages: &[LabelMatcher]) -> ThanosResult<Vec<Matcher>> {
    messages.iter().map(matcher).collect()
}

fn matcher(message: &LabelMatcher) -> ThanosResult<Matcher> {
    let op = match message.op {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        other => {
            return Err(ThanosError::invalid(format!(
                "matcher of type {other}, allowed are 0 (=), 1 (!=), 2 (=~), 3 (!~)"
            )));
        }
    };
    let value = match op {
        MatchOp::Regex | MatchOp::NotRegex => go_regex::translate(&message.value),
        _ => message.value.clone(),
    };
    Matcher::new(&message.name, op, value).map_err(|error| ThanosError::invalid(error.to_string()))
}

/// Matchers as messages.
pub(crate) fn to_messages(matchers: &[Matcher]) -> Vec<LabelMatcher> {
    let message = |matcher: &Matcher| LabelMatcher {
        op: match matcher.op() {
            MatchOp::Equal => 0,
            MatchOp::NotEqual => 1,
            MatchOp::Regex => 2,
            MatchOp::NotRegex => 3,
        },
        name: matcher.name().to_owned(),
        value: matcher.value().to_owned(),
    };
    matchers.iter().map(message).collect()
}

/// The matchers that are left for series when those on external labels are answered; `None` when one of these says no.
pub(crate) fn without_external(matchers: &[Matcher], external: &Labels) -> Option<Vec<Matcher>> {
    let mut left = Vec::with_capacity(matchers.len());
    for matcher in matchers {
        match external.get(matcher.name()) {
            None => left.push(matcher.clone()),
            Some(value) if matcher.matches(value) => {}
            Some(_) => return None,
        }
    }
    Some(left)
}

/// As [`without_external`], where a request that asks for external labels alone is refused.
pub(crate) fn for_series(matchers: &[Matcher], external: &Labels) -> ThanosResult<Option<Vec<Matcher>>> {
    match without_external(matchers, external) {
        Some(left) if left.is_empty() => {
            Err(ThanosError::invalid("no matchers specified (excluding external labels)"))
        }
        left => Ok(left),
    }
}

/// The labels that a store shows: those of the series without `without`, and over them the external ones.
pub(crate) fn shown(labels: &Labels, external: &Labels, without: &[String]) -> Labels {
    let dropped = |name: &str| without.iter().any(|other| other == name);
    if external.is_empty() && !labels.iter().any(|(name, _)| dropped(name)) {
        return labels.clone();
    }
    let own = labels.iter().filter(|(name, _)| !dropped(name) && external.get(name).is_none());
    let mut pairs: Vec<(&str, &str)> = own.collect();
    pairs.extend(external.iter().filter(|(name, _)| !dropped(name)));
    pairs.sort_unstable();
    Labels::from_sorted(pairs.into_iter())
}

/// One part of all series, by a hash of some of their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    index: u64,
    total: u64,
    by: bool,
    labels: Vec<String>,
}

impl Shard {
    /// The part that a request asks for; `None` when it asks for all.
    pub(crate) fn new(info: &proto::ShardInfo) -> Option<Self> {
        let total = u64::try_from(info.total_shards).ok().filter(|total| *total > 0)?;
        // A negative index is no part: as in Go, where the conversion makes it a number that is never reached.
        let index = info.shard_index.cast_unsigned();
        Some(Self { index, total, by: info.by, labels: info.labels.clone() })
    }

    /// Whether a series belongs to the part. `scratch` is used and left in any state.
    pub(crate) fn contains(&self, labels: &Labels, scratch: &mut Vec<u8>) -> bool {
        scratch.clear();
        for (name, value) in labels.iter() {
            if self.labels.iter().any(|other| other == name) == self.by {
                scratch.extend_from_slice(name.as_bytes());
                scratch.push(0xff);
                scratch.extend_from_slice(value.as_bytes());
                scratch.push(0xff);
            }
        }
        xxh64(scratch, 0) % self.total == self.index
    }
}

#[cfg(test)]
mod tests;
