//! The newest exemplars of a tenant, in a ring: a new one takes the place of the oldest when there are enough.
//!
//! The rules are those of Prometheus (`validateExemplar` in tsdb/exemplar.go), but for a late exemplar, which is taken
//! as far back as late samples are. About 200 bytes each.

use std::collections::VecDeque;

use hashbrown::HashMap;
use model::{Exemplar, Labels, Matcher, TimeRange};
use rapidhash::fast::RandomState;
use storage_api::{SeriesExemplars, reject_reason};

use super::{Head, Place};

/// Most characters of all label names and values of an exemplar (`ExemplarMaxLabelSetLength`).
const LABEL_CHARS_MAX: usize = 128;

/// Exemplars of all series of a tenant.
pub(crate) struct Exemplars {
    capacity: usize,
    late_ms: i64,
    /// In the order in which they came.
    ring: VecDeque<Entry>,
    /// Per series: its labels, what it has in the ring and its newest.
    series: HashMap<Place, Known, RandomState>,
}

struct Entry {
    place: Place,
    exemplar: Exemplar,
}

struct Known {
    labels: Labels,
    count: usize,
    newest: Exemplar,
}

impl Head {
    /// Exemplars inside `range` of series that match all of at least one of `selectors`.
    pub(crate) fn exemplars(&self, selectors: &[Vec<Matcher>], range: TimeRange) -> Vec<SeriesExemplars> {
        let matches =
            |labels: &Labels| selectors.iter().any(|all| all.iter().all(|one| one.matches_labels(labels)));
        self.exemplars.lock().select(matches, range)
    }
}

impl Exemplars {
    /// An empty ring for at most `capacity` exemplars, 0 for none at all; one that is more than `late_ms` older than the
    /// newest of its series is refused.
    pub(crate) fn new(capacity: usize, late_ms: i64) -> Self {
        Self { capacity, late_ms, ring: VecDeque::new(), series: HashMap::default() }
    }

    /// Takes an exemplar; `labels` are those of its series. `Ok(false)` for one that is known or not wanted, an error
    /// with reason and text for one that is refused.
    pub(crate) fn offer(
        &mut self,
        place: Place,
        labels: impl FnOnce() -> Labels,
        exemplar: &Exemplar,
        time_max_ms: i64,
    ) -> Result<bool, (&'static str, String)> {
        let pairs = exemplar.labels.iter();
        let chars: usize = pairs.map(|(name, value)| name.chars().count() + value.chars().count()).sum();
        if chars > LABEL_CHARS_MAX {
            let text = format!(
                "the labels of an exemplar have {chars} characters, at most {LABEL_CHARS_MAX} are \
                                allowed"
            );
            return Err((reject_reason::EXEMPLAR_LABELS_TOO_LONG, text));
        }
        let time_ms = exemplar.timestamp_ms;
        if time_ms > time_max_ms {
            let text = format!(
                "the exemplar at {time_ms} ms is too far in the future, allowed is up to {time_max_ms} ms"
            );
            return Err((reject_reason::TOO_FAR_IN_FUTURE, text));
        }
        if self.capacity == 0 {
            return Ok(false);
        }
        if let Some(known) = self.series.get_mut(&place) {
            let newest = &known.newest;
            if newest == exemplar {
                return Ok(false);
            }
            let newest_ms = newest.timestamp_ms;
            if time_ms < newest_ms && time_ms <= newest_ms.saturating_sub(self.late_ms) {
                let text =
                    format!("the exemplar at {time_ms} ms is older than the newest one, at {newest_ms} ms");
                return Err((reject_reason::OUT_OF_ORDER, text));
            }
            // Only late ones and those of equal times are looked for: the others cannot be there.
            let is_known = |entry: &Entry| entry.place == place && entry.exemplar == *exemplar;
            if time_ms <= newest_ms && self.ring.iter().any(is_known) {
                return Ok(false);
            }
            known.count += 1;
            if time_ms >= newest_ms {
                known.newest = exemplar.clone();
            }
        } else {
            self.series.insert(place, Known { labels: labels(), count: 1, newest: exemplar.clone() });
        }
        if self.ring.len() >= self.capacity {
            self.drop_oldest();
        }
        self.ring.push_back(Entry { place, exemplar: exemplar.clone() });
        Ok(true)
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.ring.pop_front() else { return };
        if let Some(known) = self.series.get_mut(&oldest.place) {
            known.count -= 1;
            if known.count == 0 {
                self.series.remove(&oldest.place);
            }
        }
    }

    /// Exemplars inside `range` of the series whose labels `wanted` accepts, by labels and in time order.
    pub(crate) fn select(&self, wanted: impl Fn(&Labels) -> bool, range: TimeRange) -> Vec<SeriesExemplars> {
        let mut chosen: HashMap<Place, Vec<Exemplar>, RandomState> = HashMap::default();
        for (place, known) in &self.series {
            if wanted(&known.labels) {
                chosen.insert(*place, Vec::new());
            }
        }
        for Entry { place, exemplar } in &self.ring {
            if range.contains(exemplar.timestamp_ms)
                && let Some(found) = chosen.get_mut(place)
            {
                found.push(exemplar.clone());
            }
        }
        let with_labels = |(place, mut exemplars): (Place, Vec<Exemplar>)| {
            exemplars.sort_by_key(|exemplar| exemplar.timestamp_ms);
            let known = self.series.get(&place)?;
            (!exemplars.is_empty()).then(|| SeriesExemplars { labels: known.labels.clone(), exemplars })
        };
        let mut found: Vec<_> = chosen.into_iter().filter_map(with_labels).collect();
        found.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        // A series that was forgotten and came again is there twice.
        found.dedup_by(|later, kept| {
            let same = later.labels == kept.labels;
            if same {
                kept.exemplars.append(&mut later.exemplars);
                kept.exemplars.sort_by_key(|exemplar| exemplar.timestamp_ms);
            }
            same
        });
        found
    }

    /// Everything in the ring, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, &Exemplar)> {
        self.ring.iter().map(|entry| (entry.place, &entry.exemplar))
    }
}

#[cfg(test)]
mod tests;
