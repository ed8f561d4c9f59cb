//! Work over many series on all cores.
//!
//! Invariant PARALLEL-1: results stand in the order of their index, whatever the number of threads. Work that is ended
//! early leaves the results of the first indices, without a gap.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::context::Context;
use super::scratch::Scratch;
use crate::error::PromqlResult;

/// Most series that one thread takes at a time: enough to make the counter free, few enough to share evenly.
const MORSEL: usize = 32;

/// Calls `work` for 0..`count` and collects the results. `cells` is the number of values one call makes.
pub(crate) fn map<T: Send>(
    context: &Context,
    count: usize,
    cells: usize,
    work: impl Fn(usize, &mut Scratch) -> PromqlResult<T> + Sync,
) -> PromqlResult<Vec<T>> {
    map_until(context, count, cells, || false, work)
}

/// The same, but ends once `is_enough`: the results are those of the first indices then, one of them at least.
pub(crate) fn map_until<T: Send>(
    context: &Context,
    count: usize,
    cells: usize,
    is_enough: impl Fn() -> bool + Sync,
    work: impl Fn(usize, &mut Scratch) -> PromqlResult<T> + Sync,
) -> PromqlResult<Vec<T>> {
    let useful = (count.saturating_mul(cells) / context.cells_per_thread_min.max(1)).min(count);
    let threads = context.threads.min(useful).max(1);
    let morsel = count.div_ceil(threads * 4).clamp(1, MORSEL);
    if threads == 1 {
        let mut scratch = Scratch::default();
        return (0..count)
            .take_while(|index| *index == 0 || !is_enough())
            .map(|index| {
                if index % MORSEL == 0 {
                    context.check()?;
                }
                work(index, &mut scratch)
            })
            .collect();
    }
    let next = AtomicUsize::new(0);
    let run = || -> PromqlResult<Vec<(usize, Vec<T>)>> {
        let mut scratch = Scratch::default();
        let mut done = Vec::new();
        loop {
            let start = next.fetch_add(morsel, Ordering::Relaxed);
            if start >= count {
                return Ok(done);
            }
            context.check()?;
            let wanted = (start..(start + morsel).min(count)).take_while(|index| *index == 0 || !is_enough());
            let results: PromqlResult<Vec<T>> = wanted.map(|index| work(index, &mut scratch)).collect();
            let results = results?;
            if results.is_empty() {
                return Ok(done);
            }
            done.push((start, results));
        }
    };
    let parts: PromqlResult<Vec<_>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut parts = vec![run()];
        parts.extend(others.into_iter().map(|thread| match thread.join() {
            Ok(part) => part,
            Err(panic) => std::panic::resume_unwind(panic),
        }));
        parts.into_iter().collect()
    });
    let mut parts: Vec<(usize, Vec<T>)> = parts?.into_iter().flatten().collect();
    parts.sort_unstable_by_key(|(start, _)| *start);
    let mut all = Vec::with_capacity(parts.iter().map(|(_, results)| results.len()).sum());
    for (start, results) in parts {
        if start != all.len() {
            // The thread in front ended early.
            break;
        }
        all.extend(results);
    }
    Ok(all)
}
