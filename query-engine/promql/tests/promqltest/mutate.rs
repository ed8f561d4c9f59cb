//! Wrong expectations, made from right ones: a runner that is worth something fails each of them.

use std::sync::Arc;

use model::{FloatHistogram, Labels};

use super::script::{Eval, Pattern};
use super::series::Item;

/// In which way an expectation is made wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Another first value.
    Value,
    /// A series that the answer has is not expected.
    MissingSeries,
    /// A series that the answer does not have is expected.
    ExtraSeries,
    /// Another annotation is expected, or one where none is.
    Annotation,
    /// An annotation is expected at another position.
    Position,
    /// An error is expected where there is none, or another one.
    Failure,
    /// The first two series of an ordered answer change places.
    Order,
}

impl Mutation {
    pub const ALL: [Self; 7] = [
        Self::Value,
        Self::MissingSeries,
        Self::ExtraSeries,
        Self::Annotation,
        Self::Position,
        Self::Failure,
        Self::Order,
    ];

    /// Makes the expectation wrong; false where there is nothing of this kind to make wrong.
    pub fn apply(self, eval: &mut Eval) -> bool {
        match self {
            Self::Failure => {
                let nothing = Pattern::Message("no error has this text".to_owned());
                eval.fail = Some(if eval.fail.is_some() { nothing } else { Pattern::Any });
                return true;
            }
            // What an evaluation that fails expects beside the failure is not looked at.
            _ if eval.fail.is_some() => return false,
            _ => {}
        }
        match self {
            Self::Value => value(eval),
            Self::MissingSeries => eval.series.pop().is_some(),
            Self::ExtraSeries => {
                let is_vector = eval.scalar.is_none() && eval.string.is_none();
                if is_vector {
                    eval.series.push((Labels::from_pairs([("mutated", "yes")]), vec![Item::Float(1.0)]));
                }
                is_vector
            }
            Self::Annotation => {
                for pattern in eval.warns.iter_mut().chain(&mut eval.infos) {
                    *pattern = Pattern::Message("no annotation has this text".to_owned());
                }
                if eval.warns.is_empty() {
                    eval.warns.push(Pattern::Message("no annotation has this text".to_owned()));
                }
                true
            }
            Self::Position => eval.warns.iter_mut().chain(&mut eval.infos).any(move_position),
            Self::Order => {
                let can = eval.is_ordered && eval.series.len() > 1;
                if can {
                    eval.series.swap(0, 1);
                }
                can
            }
            Self::Failure => unreachable!("handled before"),
        }
    }
}

fn value(eval: &mut Eval) -> bool {
    if let Some(scalar) = &mut eval.scalar {
        *scalar = other(*scalar);
        return true;
    }
    if let Some(text) = &mut eval.string {
        text.push('x');
        return true;
    }
    let items = eval.series.iter_mut().flat_map(|(_, items)| items);
    match items.into_iter().find(|item| !matches!(item, Item::Omitted)) {
        Some(Item::Float(value)) => *value = other(*value),
        Some(Item::Histogram { histogram, .. }) => {
            let count = other(histogram.count);
            *histogram = Arc::new(FloatHistogram { count, ..(**histogram).clone() });
        }
        _ => return false,
    }
    true
}

/// A number that is another one by any measure.
fn other(value: f64) -> f64 {
    match value {
        0.0 => 1.0,
        value if value.is_finite() => value * 3.0,
        _ => 42.0,
    }
}

/// `… (1:5)` becomes `… (1:6)`.
fn move_position(pattern: &mut Pattern) -> bool {
    let Pattern::Message(text) = pattern else { return false };
    let Some(stem) = text.strip_suffix(')') else { return false };
    let Some(digit) = stem.chars().last().and_then(|c| c.to_digit(10)) else { return false };
    *text = format!("{}{})", &stem[..stem.len() - 1], (digit + 1) % 10);
    true
}
