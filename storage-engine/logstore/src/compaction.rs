//! Which data files become one: pure planning over what the manifest says.
//!
//! Files of one tenant and hour that are small are merged, so that a query opens few of them, duplicates that came
//! with a retry go, and a stream's rows lie together. An hour that is over is merged at once, the one that is being
//! written only when it has many files; a large file is not rewritten for a few small ones. One that a busy sender filled
//! in one go is not rewritten at all: where it has its time for itself a merge could only join it with its neighbours,
//! at the cost of writing everything twice (a third of the CPU of taking it in).

use format::LogManifestFile;

use crate::partition::{self, HOUR_NS};

/// How long after its end an hour counts as over: senders are late by less.
const HOUR_GRACE_NS: i64 = 600_000_000_000;
/// Small files of an hour that is being written at which they are merged all the same.
const OPEN_FILES_MAX: usize = 32;
/// So many files are merged whatever their sizes.
const FILES_ENOUGH: usize = 8;
/// With fewer, the largest may be this many times as large as all others together.
const LARGEST_RATIO_MAX: u64 = 4;

/// Text of a file that stays as it is when it has its time for itself, given that of a whole one, bytes. Those are
/// written as they will be kept.
pub(crate) fn kept_text_bytes(text_bytes_max: u64) -> u64 {
    text_bytes_max / 4
}

/// The positions of files to merge next, in the order of their times; `None` when there is nothing to do. A merge has
/// at most `text_bytes_max` bytes of lines and metadata, which is also about the size of a file.
pub(crate) fn plan(files: &[&LogManifestFile], now_ns: i64, text_bytes_max: u64) -> Option<Vec<usize>> {
    let hour = |file: &LogManifestFile| partition::hour_of(file.min_ns);
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_unstable_by_key(|&at| {
        let file = files[at];
        (&file.tenant, hour(file), file.min_ns, &file.path)
    });
    let same_group = |left: &usize, right: &usize| {
        let (left, right) = (files[*left], files[*right]);
        left.tenant == right.tenant && hour(left) == hour(right)
    };
    order.chunk_by(same_group).find_map(|group| {
        let ends_ns = hour(files[group[0]]).saturating_add(1).saturating_mul(HOUR_NS);
        let is_over = ends_ns.saturating_add(HOUR_GRACE_NS) <= now_ns;
        let stretches = stretches(group, files, text_bytes_max);
        let small: usize = stretches.iter().map(Vec::len).sum();
        let due = small >= if is_over { 2 } else { OPEN_FILES_MAX };
        let mut stretches = stretches.iter().filter(|_| due);
        stretches.find_map(|stretch| plan_group(stretch, files, text_bytes_max))
    })
}

/// The files of an hour that may be merged: each list lies between two that have their time for themselves, since what is
/// merged across such a one would take that from it.
fn stretches(group: &[usize], files: &[&LogManifestFile], text_bytes_max: u64) -> Vec<Vec<usize>> {
    let mut stretches = vec![Vec::new()];
    let mut covered_to = i64::MIN;
    for (number, &at) in group.iter().enumerate() {
        let file = files[at];
        let next_ns = group.get(number + 1).map_or(i64::MAX, |&next| files[next].min_ns);
        let shared_ns = covered_to
            .saturating_sub(file.min_ns)
            .max(0)
            .saturating_add(file.max_ns.saturating_sub(next_ns).max(0));
        let is_alone = shared_ns <= file.max_ns.saturating_sub(file.min_ns) / 2;
        covered_to = covered_to.max(file.max_ns);
        let is_whole = file.text_bytes >= text_bytes_max / 4 * 3;
        if is_alone && file.text_bytes >= kept_text_bytes(text_bytes_max) {
            stretches.push(Vec::new());
        } else if !is_whole {
            stretches.last_mut().expect("there is one from the start").push(at);
        }
    }
    stretches
}

fn plan_group(group: &[usize], files: &[&LogManifestFile], text_bytes_max: u64) -> Option<Vec<usize>> {
    (0..group.len()).find_map(|start| {
        let (mut sum, mut largest) = (0u64, 0u64);
        let together = group[start..].iter().take_while(|&&at| {
            let bytes = files[at].text_bytes;
            let fits = sum.saturating_add(bytes) <= text_bytes_max;
            if fits {
                sum += bytes;
                largest = largest.max(bytes);
            }
            fits
        });
        let count = together.count();
        let worth = count >= FILES_ENOUGH || (sum - largest).saturating_mul(LARGEST_RATIO_MAX) >= largest;
        (count >= 2 && worth).then(|| group[start..start + count].to_vec())
    })
}

#[cfg(test)]
mod tests;
