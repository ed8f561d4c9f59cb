//! `Info`: what is served, and which labels and times it has.

use model::{Labels, TimeRange};

use super::StoreApiServer;
use crate::error::ThanosResult;
use crate::proto::{Empty, InfoResponse, LabelSet, StoreInfo, TsdbInfo};

impl StoreApiServer {
    /// Fails until the bucket was listed: a querier takes a store that answers for one that is ready.
    pub(super) async fn info(&self) -> ThanosResult<InfoResponse> {
        let mut info = match &self.sources.local {
            Some(local) => local.info(),
            None => InfoResponse { component_type: "store".to_owned(), ..InfoResponse::default() },
        };
        if let Some(bucket) = &self.sources.bucket {
            add(&mut info, self.sources.local.is_some(), bucket.known().await.contents()?);
        }
        if self.sources.local.is_some() {
            info.metric_metadata = Some(Empty {});
            info.rules = Some(Empty {});
            info.targets = Some(Empty {});
        }
        info.query = self.queries.as_ref().map(|_| Empty {});
        Ok(info)
    }
}

/// Adds what a bucket has.
fn add(info: &mut InfoResponse, has_others: bool, contents: Vec<(Labels, TimeRange)>) {
    let store = info.store.get_or_insert_with(|| StoreInfo {
        min_time: i64::MAX,
        max_time: i64::MIN,
        supports_sharding: true,
        supports_without_replica_labels: true,
        tsdb_infos: Vec::new(),
    });
    // A label set without labels matches everything; beside others it would be ignored, so that none are named.
    let has_everything = has_others && info.label_sets.is_empty();
    let is_everything = has_everything || contents.iter().any(|(labels, _)| labels.is_empty());
    for (labels, range) in contents {
        store.min_time = store.min_time.min(range.min);
        store.max_time = store.max_time.max(range.max);
        if labels.is_empty() {
            continue;
        }
        let set = LabelSet::of(&labels);
        let (min_time, max_time) = (range.min, range.max);
        store.tsdb_infos.push(TsdbInfo { labels: Some(set.clone()), min_time, max_time });
        if !info.label_sets.contains(&set) {
            info.label_sets.push(set);
        }
    }
    if is_everything {
        info.label_sets.clear();
    }
}
