//! Floats of the log that wait to be put into one shard, and their order by series: a counting sort, 16 bytes a sample.
//!
//! The samples of a series stay in the order in which they came. Series with native histograms do not wait, for what a
//! stale marker becomes depends on the sample in front of it.

/// Floats of one shard in the order of the log.
#[derive(Default)]
pub(super) struct Gathered {
    locals: Vec<u32>,
    samples: Vec<(i64, f64)>,
    /// Bits by series number: those with histograms.
    mixed: Vec<u64>,
}

impl Gathered {
    pub(super) fn len(&self) -> usize {
        self.locals.len()
    }

    #[inline]
    pub(super) fn push(&mut self, local: u32, time_ms: i64, value: f64) {
        self.locals.push(local);
        self.samples.push((time_ms, value));
    }

    /// Whether the series is one whose samples do not wait.
    #[inline]
    pub(super) fn is_mixed(&self, local: u32) -> bool {
        self.mixed.get(local as usize / 64).is_some_and(|bits| bits >> (local % 64) & 1 == 1)
    }

    /// Says that a series, which exists, has histograms.
    pub(super) fn mark_mixed(&mut self, local: u32) {
        let word = local as usize / 64;
        if self.mixed.len() <= word {
            self.mixed.resize(word + 1, 0);
        }
        self.mixed[word] |= 1 << (local % 64);
    }

    /// Takes everything out: calls `visit` with a series number and its samples. Numbers from `known` on, which no series
    /// has, come last and sample by sample, so that a wild number costs no memory.
    pub(super) fn drain_by_series(&mut self, known: u32, mut visit: impl FnMut(u32, &[(i64, f64)])) {
        // Where the samples of each series begin; while they are placed, where its next one goes.
        let mut next = vec![0u32; known as usize + 1];
        for &local in self.locals.iter().filter(|local| **local < known) {
            next[local as usize + 1] += 1;
        }
        let mut sum = 0;
        for place in &mut next {
            sum += *place;
            *place = sum;
        }
        let mut sorted = vec![(0i64, 0.0f64); sum as usize];
        for (&local, &sample) in self.locals.iter().zip(&self.samples) {
            match next.get_mut(local as usize) {
                Some(place) if local < known => {
                    sorted[*place as usize] = sample;
                    *place += 1;
                }
                _ => {}
            }
        }
        let mut start = 0;
        for (local, &end) in (0..known).zip(&next) {
            let samples = &sorted[start as usize..end as usize];
            if !samples.is_empty() {
                visit(local, samples);
            }
            start = end;
        }
        for (&local, sample) in self.locals.iter().zip(&self.samples).filter(|(local, _)| **local >= known) {
            visit(local, std::slice::from_ref(sample));
        }
        self.locals.clear();
        self.samples.clear();
    }
}

#[cfg(test)]
mod tests;
