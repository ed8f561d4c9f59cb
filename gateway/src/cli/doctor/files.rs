//! The files that a config names: whether they can be read, hold what they are there for, and for how long a certificate
//! is valid. Found by their keys, wherever in the config these are.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde_json::{Map, Value};

use super::{Finding, Grade};

/// Keys of certificates.
const CERTIFICATES: [&str; 3] = ["cert_file", "ca_file", "client_ca_file"];
/// Keys of other files that are read.
const OTHERS: [&str; 6] =
    ["username_file", "password_file", "hashrings_file", "filename", "htpasswd", "key_file"];
/// Largest file that is looked at, bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// A certificate that ends sooner is worth a warning, days.
const DAYS_LEFT_MIN: i64 = 14;

/// Looks at every file that a config names.
pub(super) fn look(config: &Value, provider: &Arc<CryptoProvider>, now: DateTime<Utc>) -> Vec<Finding> {
    let mut findings = Vec::new();
    walk(config, &mut Vec::new(), &mut |path, section| {
        for (key, value) in section {
            let file = match (key.as_str(), value) {
                ("htpasswd", Value::Object(inner)) => inner.get("file").and_then(Value::as_str),
                (_, Value::String(file)) => Some(file.as_str()),
                _ => None,
            };
            let is_named = CERTIFICATES.contains(&key.as_str()) || OTHERS.contains(&key.as_str());
            if let Some(file) = file.filter(|file| is_named && !file.is_empty()) {
                let (grade, text) = match look_at(key, file, section, provider, now) {
                    Ok(found) => found,
                    Err(fault) => (Grade::Failure, fault),
                };
                findings.push(Finding::new(path_of(path, key), grade, format!("{file}: {text}")));
            }
        }
    });
    findings
}

fn walk<'v>(
    value: &'v Value,
    path: &mut Vec<&'v str>,
    each: &mut impl FnMut(&[&'v str], &'v Map<String, Value>),
) {
    match value {
        Value::Object(section) => {
            each(path, section);
            for (key, inner) in section {
                path.push(key);
                walk(inner, path, each);
                path.pop();
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| walk(inner, path, each)),
        _ => {}
    }
}

fn path_of(path: &[&str], key: &str) -> String {
    path.iter().copied().chain([key]).collect::<Vec<_>>().join("::")
}

/// What is there to say about a file; an error is what makes it useless.
fn look_at(
    key: &str,
    file: &str,
    section: &Map<String, Value>,
    provider: &Arc<CryptoProvider>,
    now: DateTime<Utc>,
) -> Result<(Grade, String), String> {
    let (bytes, mode) = read(file)?;
    if CERTIFICATES.contains(&key) {
        return validity(&certificates(&bytes)?, now);
    }
    if key != "key_file" {
        return match bytes.is_empty() {
            true => Err("is empty".to_owned()),
            false => Ok((Grade::Good, "can be read".to_owned())),
        };
    }
    let private =
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| format!("no private key: {error}"))?;
    if let Some(Value::String(certificate)) = section.get("cert_file")
        && let Ok(chain) = read(certificate).and_then(|(bytes, _)| certificates(&bytes))
    {
        let pair = CertifiedKey::from_der(chain, private, provider);
        pair.map_err(|error| format!("does not go with {certificate}: {error}"))?;
    }
    Ok(match mode & 0o007 {
        0 => (Grade::Good, "is a private key".to_owned()),
        _ => (
            Grade::Warning,
            "is a private key that every user of this machine can reach (chmod o-rwx)".to_owned(),
        ),
    })
}

/// What a file holds, and who may do what with it.
fn read(file: &str) -> Result<(Vec<u8>, u32), String> {
    let open = || {
        let file = std::fs::File::open(file)?;
        let mode = file.metadata()?.mode();
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok((bytes, mode))
    };
    open().map_err(|error: std::io::Error| format!("cannot be read: {error}"))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("no certificate in it".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("no certificate in it that can be read: {error}")),
    }
}

/// For how long certificates are valid; the one that ends first tells.
fn validity(found: &[CertificateDer<'_>], now: DateTime<Utc>) -> Result<(Grade, String), String> {
    let times: Option<Vec<_>> = found.iter().map(|certificate| valid_times(certificate)).collect();
    let times = times.ok_or("a certificate in it has no times of validity")?;
    let from = times.iter().map(|(from, _)| *from).max().unwrap_or(now);
    let until = times.iter().map(|(_, until)| *until).min().unwrap_or(now);
    let days = (until - now).num_days();
    let day = until.format("%Y-%m-%d %H:%M UTC");
    if until <= now {
        return Err(format!("a certificate in it ended on {day}"));
    }
    if from > now {
        return Err(format!("a certificate in it begins on {}", from.format("%Y-%m-%d %H:%M UTC")));
    }
    let grade = if days < DAYS_LEFT_MIN { Grade::Warning } else { Grade::Good };
    Ok((grade, format!("valid until {day}, {days} days from now")))
}

/// `validity` of an X.509 certificate (RFC 5280, 4.1).
fn valid_times(der: &[u8]) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let inside = |(tag, content, _): (u8, _, _)| (tag == SEQUENCE).then_some(content);
    let mut rest = inside(element(inside(element(der)?)?)?)?;
    if element(rest)?.0 == VERSION {
        rest = element(rest)?.2;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let times = inside(element(rest)?)?;
    let (from_tag, from, times) = element(times)?;
    let (until_tag, until, _) = element(times)?;
    Some((time(from_tag, from)?, time(until_tag, until)?))
}

/// Tag, content and what follows of an element in DER.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, len, rest @ ..] = der else { return None };
    let (len, rest) = match *len {
        short @ ..0x80 => (usize::from(short), rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let is_sane = (1..=4).contains(&bytes.len());
            let len = bytes.iter().fold(0_usize, |len, byte| len << 8 | usize::from(*byte));
            (is_sane.then_some(len)?, rest)
        }
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((*tag, content, rest))
}

/// A `Time` of a certificate (RFC 5280, 4.1.2.5).
fn time(tag: u8, content: &[u8]) -> Option<DateTime<Utc>> {
    let text = std::str::from_utf8(content).ok()?;
    let text = match tag {
        // UTCTime: two digits of a year from 1950 on.
        0x17 => {
            let century = if text.get(..2)?.parse::<u32>().ok()? < 50 { "20" } else { "19" };
            format!("{century}{text}")
        }
        0x18 => text.to_owned(),
        _ => return None,
    };
    Some(NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?.and_utc())
}

#[cfg(test)]
mod tests;
