//! Exemplars of OTLP points as Prometheus keeps them: trace and span id as hexadecimal labels, and the attributes that
//! the point leaves out, unless all of it would be longer than OpenMetrics allows.

use std::fmt::Write;

use model::{Exemplar, Labels};

use crate::DecodeError;
use crate::otlp::{self, Views};

/// Most characters that the labels of an exemplar may have together (OpenMetrics 1.0, "Exemplars").
const RUNES_MAX: usize = 128;

/// What became of the exemplars of a point.
#[derive(Default)]
pub(super) struct Exemplars {
    /// In wire order.
    pub(super) list: Vec<Exemplar>,
    /// Those that have no value.
    pub(super) without_value: u64,
}

/// The exemplars of a point at `time_ns`, which those without a time of their own take. The end
/// of a series has none, as upstream's store sees it.
#[inline]
pub(super) fn of_point(
    exemplars: Views<'_, otlp::Exemplar<'_>>,
    time_ns: u64,
    is_end: bool,
) -> Result<Exemplars, DecodeError> {
    let mut made = Exemplars::default();
    if is_end {
        return Ok(made);
    }
    for exemplar in exemplars {
        let exemplar = exemplar?;
        match exemplar.value {
            Some(value) => made.list.push(Exemplar {
                labels: labels(&exemplar)?,
                value: value.as_f64(),
                timestamp_ms: match exemplar.time_unix_nano {
                    0 => super::points::timestamp_ms(time_ns),
                    own_ns => super::points::timestamp_ms(own_ns),
                },
            }),
            None => made.without_value += 1,
        }
    }
    Ok(made)
}

fn labels(exemplar: &otlp::Exemplar<'_>) -> Result<Labels, DecodeError> {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for (name, id) in [("trace_id", exemplar.trace_id), ("span_id", exemplar.span_id)] {
        if id.iter().any(|byte| *byte != 0) {
            pairs.push((name, hex(id)));
        }
    }
    let ids = pairs.len();
    for attribute in exemplar.filtered_attributes.iter() {
        let attribute = attribute?;
        let mut value = String::new();
        attribute.value()?.append_as_string(&mut value)?;
        pairs.push((attribute.key()?, value));
    }
    let runes: usize = pairs.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
    if runes > RUNES_MAX {
        pairs.truncate(ids);
    }
    Ok(Labels::from_pairs(pairs))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
