//! Conditions on a result, `p(99)<200ms` or `lost==0`, as k6 writes them.

use std::str::FromStr;

use serde::Serialize;

use crate::cli::parse::parse_duration;

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Threshold {
    pub(crate) text: String,
    pub(crate) metric: Metric,
    comparison: Comparison,
    limit: f64,
}

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Metric {
    /// Milliseconds that this share of requests took at most, 0 to 1.
    Quantile(f64),
    Min,
    Mean,
    Max,
    /// Acknowledged items a second.
    Rate,
    /// Share of requests that were refused or not answered, 0 to 1.
    Errors,
    Rejected,
    Refused,
    Unanswered,
    Unsent,
    Lost,
    Duplicated,
    Wrong,
    Late,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
    Unequal,
}

/// What became of a condition.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Checked {
    pub(crate) threshold: String,
    /// Milliseconds, items a second, a share or a count; none if the run does not know it.
    pub(crate) value: Option<f64>,
    pub(crate) passed: bool,
}

impl Threshold {
    /// Compares; a value that the run does not know fails.
    pub(crate) fn check(&self, value: Option<f64>) -> Checked {
        let passed = value.is_some_and(|value| match self.comparison {
            Comparison::Below => value < self.limit,
            Comparison::AtMost => value <= self.limit,
            Comparison::Above => value > self.limit,
            Comparison::AtLeast => value >= self.limit,
            Comparison::Equal => value == self.limit,
            Comparison::Unequal => value != self.limit,
        });
        Checked { threshold: self.text.clone(), value, passed }
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const COMPARISONS: [(&str, Comparison); 6] = [
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<", Comparison::Below),
            (">", Comparison::Above),
        ];
        let refuse = |why: &str| format!("{text:?} is not a threshold: {why}");
        let at = text
            .find(['<', '>', '=', '!'])
            .ok_or_else(|| refuse("want a comparison, such as p(99)<200ms"))?;
        let (sign, comparison) = COMPARISONS
            .into_iter()
            .find(|(sign, _)| text[at..].starts_with(sign))
            .ok_or_else(|| refuse("want one of < <= > >= == !="))?;
        let metric = metric(text[..at].trim()).map_err(|why| refuse(&why))?;
        let limit = text[at + sign.len()..].trim();
        let is_time = matches!(metric, Metric::Quantile(_) | Metric::Min | Metric::Mean | Metric::Max);
        let limit = match limit.parse::<f64>() {
            Ok(limit) if limit.is_finite() => limit,
            _ if is_time => parse_duration(limit).map_err(|why| refuse(&why))?.as_secs_f64() * 1000.0,
            _ => return Err(refuse(&format!("{limit:?} is not a number"))),
        };
        Ok(Self { text: text.to_owned(), metric, comparison, limit })
    }
}

fn metric(name: &str) -> Result<Metric, String> {
    Ok(match name {
        "min" => Metric::Min,
        "mean" | "avg" => Metric::Mean,
        "max" => Metric::Max,
        "rate" => Metric::Rate,
        "errors" => Metric::Errors,
        "rejected" => Metric::Rejected,
        "refused" => Metric::Refused,
        "unanswered" => Metric::Unanswered,
        "unsent" => Metric::Unsent,
        "lost" => Metric::Lost,
        "duplicated" => Metric::Duplicated,
        "wrong" => Metric::Wrong,
        "late" => Metric::Late,
        _ => {
            let percent = name.strip_prefix("p(").and_then(|rest| rest.strip_suffix(')'));
            match percent.map(str::parse::<f64>) {
                Some(Ok(percent)) if (0.0..=100.0).contains(&percent) => Metric::Quantile(percent / 100.0),
                _ => {
                    return Err(format!(
                        "no figure is called {name:?}; have p(N), min, mean, max, rate, errors, rejected, refused, unanswered, unsent, lost, duplicated, wrong and late"
                    ));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests;
