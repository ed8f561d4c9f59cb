//! Work over many series on all cores.
//!
//! Invariant PARALLEL-1: results stand in the order of their index, whatever the number of threads.

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
    let useful = (count.saturating_mul(cells) / context.cells_per_thread_min.max(1)).min(count);
    let threads = context.threads.min(useful).max(1);
    let morsel = count.div_ceil(threads * 4).clamp(1, MORSEL);
    if threads == 1 {
        let mut scratch = Scratch::default();
        return (0..count)
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
            let end = (start + morsel).min(count);
            let results: PromqlResult<Vec<T>> = (start..end).map(|i| work(i, &mut scratch)).collect();
            done.push((start, results?));
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
    Ok(parts.into_iter().flat_map(|(_, results)| results).collect())
}
