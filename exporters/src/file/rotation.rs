//! When a file is full, what it is called then, and which old ones go.
//!
//! Keys and names are those of the log rotation that the collector uses: `name-2026-11-21T13-29-08.123.ext`.

use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Local, NaiveDateTime, Utc};
use serde::Deserialize;

/// `rotation` of the `file` exporter.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RotationConfig {
    /// Size at which a new file is begun, MiB. Default 100.
    max_megabytes: u64,
    /// Old files are removed after so many days; 0 = never. Default 0.
    max_days: u32,
    /// Old files that are kept; 0 = all. Default 100.
    max_backups: usize,
    /// Whether names have the local time; default UTC.
    localtime: bool,
}

impl Default for RotationConfig {
    fn default() -> Self {
        Self { max_megabytes: 100, max_days: 0, max_backups: 100, localtime: false }
    }
}

/// A file's rotation.
pub(super) struct Rotation(RotationConfig);

const STAMP: &str = "%Y-%m-%dT%H-%M-%S%.3f";

impl Rotation {
    pub(super) fn new(config: RotationConfig) -> Self {
        Self(config)
    }

    /// Whether a file of `bytes` has no room for `more`.
    pub(super) fn is_due(&self, bytes: u64, more: u64) -> bool {
        let max = if self.0.max_megabytes == 0 { 100 } else { self.0.max_megabytes };
        bytes.saturating_add(more) > max.saturating_mul(1 << 20)
    }

    /// Gives the file its name as an old one.
    pub(super) fn rename(&self, path: &Path, now_ms: i64) -> io::Result<()> {
        let (mut at_ms, mut old) = (now_ms, self.old_name(path, now_ms));
        while old.exists() {
            at_ms += 1;
            old = self.old_name(path, at_ms);
        }
        std::fs::rename(path, old)
    }

    fn old_name(&self, path: &Path, now_ms: i64) -> PathBuf {
        let time = DateTime::<Utc>::from_timestamp_millis(now_ms).unwrap_or_default();
        let stamp = match self.0.localtime {
            true => time.with_timezone(&Local).format(STAMP).to_string(),
            false => time.format(STAMP).to_string(),
        };
        let (stem, ending) = parts(path);
        path.with_file_name(format!("{stem}-{stamp}{ending}"))
    }

    /// Removes old files that are too many or too old. What cannot be removed is told and left.
    pub(super) fn clean_up(&self, path: &Path, now_ms: i64) {
        for old in self.surplus(path, now_ms) {
            if let Err(error) = std::fs::remove_file(&old) {
                tracing::warn!(file = %old.display(), %error, "cannot remove an old file");
            }
        }
    }

    fn surplus(&self, path: &Path, now_ms: i64) -> Vec<PathBuf> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let Ok(entries) = std::fs::read_dir(folder.unwrap_or(Path::new("."))) else { return Vec::new() };
        let (stem, ending) = parts(path);
        let stamp = |name: &str| {
            let text = name.strip_prefix(&stem)?.strip_prefix('-')?.strip_suffix(&ending)?;
            NaiveDateTime::parse_from_str(text, STAMP).ok()
        };
        let named = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((stamp(&name)?, entry.path()))
        });
        let mut old: Vec<(NaiveDateTime, PathBuf)> = named.collect();
        // Newest first.
        old.sort();
        old.reverse();
        let keep = if self.0.max_backups == 0 { usize::MAX } else { self.0.max_backups };
        let now = DateTime::<Utc>::from_timestamp_millis(now_ms).unwrap_or_default();
        let now = if self.0.localtime { now.with_timezone(&Local).naive_local() } else { now.naive_utc() };
        let is_old = |time: NaiveDateTime| {
            self.0.max_days > 0 && now - time > chrono::Duration::days(i64::from(self.0.max_days))
        };
        let surplus = old.into_iter().enumerate();
        surplus
            .filter(|(place, (time, _))| *place >= keep || is_old(*time))
            .map(|(_, (_, path))| path)
            .collect()
    }
}

/// Name without its ending, and the ending with its dot.
fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let ending = text(path.extension()).map_or_else(String::new, |ending| format!(".{ending}"));
    (text(path.file_stem()).unwrap_or_default(), ending)
}
