//! Compensated summation, step by step as Prometheus does it (util/kahansum).

/// A sum and what rounding took from it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Kahan {
    pub(crate) sum: f64,
    pub(crate) compensation: f64,
}

impl Kahan {
    pub(crate) fn new(sum: f64) -> Self {
        Self { sum, compensation: 0.0 }
    }

    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        (self.sum, self.compensation) = add(value, self.sum, self.compensation);
    }

    /// The best value of the sum.
    pub(crate) fn value(self) -> f64 {
        self.sum + self.compensation
    }
}

/// Adds `value` to a sum with its compensation.
#[inline]
pub(crate) fn add(value: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + value;
    if total.is_infinite() {
        (total, 0.0)
    } else if sum.abs() >= value.abs() {
        (total, compensation + ((sum - total) + value))
    } else {
        (total, compensation + ((value - total) + sum))
    }
}

/// A mean that switches to the incremental form when the sum would overflow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mean {
    sum: Kahan,
    count: f64,
    mean: Option<Kahan>,
}

impl Mean {
    pub(crate) fn new(first: f64) -> Self {
        Self { sum: Kahan::new(first), count: 1.0, mean: None }
    }

    /// Goes on from a sum of `count` values.
    pub(crate) fn resume(sum: f64, compensation: f64, count: f64) -> Self {
        Self { sum: Kahan { sum, compensation }, count, mean: None }
    }

    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.mean.is_none() {
            let mut next = self.sum;
            next.add(value);
            if next.sum.is_infinite() {
                let before = self.count - 1.0;
                self.mean =
                    Some(Kahan { sum: self.sum.sum / before, compensation: self.sum.compensation / before });
            } else {
                self.sum = next;
                return;
            }
        }
        if let Some(mean) = &mut self.mean {
            let share = (self.count - 1.0) / self.count;
            (mean.sum, mean.compensation) =
                add(value / self.count, share * mean.sum, share * mean.compensation);
        }
    }

    pub(crate) fn value(&self) -> f64 {
        match self.mean {
            Some(mean) => mean.value(),
            None => self.sum.sum / self.count + self.sum.compensation / self.count,
        }
    }
}
