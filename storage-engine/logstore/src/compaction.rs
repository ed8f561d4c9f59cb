//! Which data files become one: pure planning over what the manifest says.
//!
//! Files of one tenant and hour that are small are merged, so that a query opens few of them, duplicates that came
//! with a retry go, and a stream's rows lie together. An hour that is over is merged at once, the one that is being
//! written only when it has many files; a large file is not rewritten for a few small ones.

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

/// The positions of files to merge next, in the order of their times; `None` when there is nothing to do. A merge has
/// at most `text_bytes_max` bytes of lines and metadata, which is also about the size of a file.
pub(crate) fn plan(files: &[&LogManifestFile], now_ns: i64, text_bytes_max: u64) -> Option<Vec<usize>> {
    let hour = |file: &LogManifestFile| partition::hour_of(file.min_ns);
    let small = |file: &LogManifestFile| file.text_bytes < text_bytes_max / 4 * 3;
    let mut order: Vec<usize> = (0..files.len()).filter(|&at| small(files[at])).collect();
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
        let due = group.len() >= if is_over { 2 } else { OPEN_FILES_MAX };
        if due { plan_group(group, files, text_bytes_max) } else { None }
    })
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
