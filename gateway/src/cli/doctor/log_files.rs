//! What lies in the data folder that keeps the log store from opening, or logs from being read.

use std::path::Path;

use runtime::LocalDisk;

use super::{Finding, Grade};
use crate::api::loki::deletes::DeleteRequests;
use crate::config::types::StorageConfig;
use crate::stores::LOG_DELETES_FILE;

/// Below `<directory>/logs`: `data/<tenant>/<day>/<hour>/<file>`, as docs/formats/logs-v1.md has it.
const FOLDERS_DEEP: u32 = 4;

/// Looks at what is there; at what is not, nothing is to be said.
pub(super) fn look(config: &StorageConfig) -> Vec<Finding> {
    let logs = config.directory.join("logs");
    let mut findings = Vec::new();
    // A store without a list of its files opens with a bucket whatever else is there.
    if config.logs.bucket.is_some() && logs.join("manifest").exists() {
        let finding = match has_data_file(&logs.join("data"), FOLDERS_DEEP) {
            false => Finding::new("log files", Grade::Good, "none are on the local disk"),
            true => {
                let text = format!(
                    "{} has data files, which would not be read: leave storage.logs.bucket out, or move the folder away",
                    logs.display()
                );
                Finding::new("log files", Grade::Failure, text)
            }
        };
        findings.push(finding);
    }
    if let Some(reason) = DeleteRequests::fault(&LocalDisk, &config.directory.join(LOG_DELETES_FILE)) {
        let text = format!("{reason}; no query reads logs until it is restored or given up");
        findings.push(Finding::new("deleted lines", Grade::Failure, text));
    }
    findings
}

/// Whether a data file is in a folder or those in it.
fn has_data_file(folder: &Path, deep: u32) -> bool {
    // Whether the folder can be read is looked at elsewhere.
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        let is_data = path.extension().is_some_and(|extension| extension == "parquet");
        is_data || deep > 1 && path.is_dir() && has_data_file(&path, deep - 1)
    })
}

#[cfg(test)]
mod tests;
