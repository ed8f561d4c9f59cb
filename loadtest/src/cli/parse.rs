//! How values of options read.

use std::time::Duration;

use super::{Rate, Stages};
use crate::schedule::Stage;

/// The longest run that can be asked for.
const SECONDS_MAX: f64 = 366.0 * 86_400.0;

/// More than any machine sends, items a second.
const RATE_MAX: f64 = 1e12;

pub(crate) fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= RATE_MAX => Ok(Rate::Items(rate)),
        _ => Err(format!(
            "{text:?} is not a rate; want a number of items a second above 0, at most 1e12, or max"
        )),
    }
}

pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is not a duration; want a number with us, ms, s, m or h, such as 10s");
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(refuse)?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| refuse())?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(refuse()),
    };
    if seconds > SECONDS_MAX {
        return Err(format!("{text:?} is too long; at most a year"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| refuse())
}

/// A duration in which something is sent.
pub(crate) fn parse_length(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err(format!("{text:?} is no time at all; want more than 0s")),
        length => Ok(length),
    }
}

pub(crate) fn parse_stages(text: &str) -> Result<Stages, String> {
    let stages = text.split(',').map(|stage| {
        let (length, rate) =
            stage.trim().split_once(':').ok_or_else(|| format!("{stage:?} is not a stage; want 10s:5000"))?;
        let rate = match rate.parse::<f64>() {
            Ok(rate) if (0.0..=RATE_MAX).contains(&rate) => rate,
            _ => {
                return Err(format!("{rate:?} is not a rate; want a number of items a second, at most 1e12"));
            }
        };
        Ok(Stage { length: parse_duration(length)?, to: rate })
    });
    let stages: Vec<Stage> = stages.collect::<Result<_, String>>()?;
    if stages.iter().map(|stage| stage.length).sum::<Duration>().is_zero() {
        return Err(format!("{text:?} lasts no time"));
    }
    Ok(Stages(stages))
}

/// Addresses have a scheme; `host:port` alone means http.
pub(crate) fn parse_url(text: &str) -> Result<String, String> {
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    match full.parse::<http::Uri>() {
        Ok(uri) if uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https")) => Ok(full),
        _ => Err(format!("{text:?} is not an address; want http://host:port or https://host:port")),
    }
}

pub(crate) fn parse_header(text: &str) -> Result<(String, String), String> {
    let refuse = || format!("{text:?} is not a header; want name: value");
    let (name, value) = text.split_once(':').ok_or_else(refuse)?;
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    http::HeaderName::try_from(&name).map_err(|_| refuse())?;
    http::HeaderValue::try_from(value).map_err(|_| refuse())?;
    Ok((name, value.to_owned()))
}

#[cfg(test)]
mod tests;
