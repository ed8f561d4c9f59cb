//! What a migration says: how far it is, and what became of what.

use std::io::{IsTerminal, Write};

use serde_json::json;
use tsdb::PrometheusHeadReport;

use super::blocks::BlocksReport;

/// A line that grows, when somebody looks.
pub(super) struct Progress {
    what: &'static str,
    is_shown: bool,
    percent: Option<u64>,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, is_shown: std::io::stderr().is_terminal(), percent: None }
    }

    /// So much of so much is done.
    pub(super) fn at(&mut self, done: u64, all: u64) {
        let percent = (done.min(all) * 100).checked_div(all);
        if self.is_shown && percent != self.percent {
            self.percent = percent;
            let percent = percent.unwrap_or(100);
            let filled = usize::try_from(percent / 4).unwrap_or(25);
            // A bar that cannot be drawn is no reason to stop.
            let _ =
                write!(std::io::stderr(), "\r{:<16} [{:<25}] {percent:>3} %", self.what, "#".repeat(filled));
        }
    }

    pub(super) fn end(&mut self) {
        if self.percent.take().is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

/// The report for people.
pub(super) fn report(blocks: &BlocksReport, head: &PrometheusHeadReport, is_dry: bool) -> String {
    let samples: u64 = blocks.sound.iter().map(|(_, meta)| meta.stats.num_samples).sum();
    let mut lines = vec![
        if is_dry { "would be taken over:".to_owned() } else { "taken over:".to_owned() },
        format!("blocks      {}, {samples} samples", blocks.sound.len()),
        format!(
            "head        {} series, {} floats, {} native histograms, {} exemplars",
            head.series, head.floats, head.histograms, head.exemplars
        ),
    ];
    for (count, text) in [
        (blocks.superseded as u64, "blocks that others were made of are left out"),
        (head.repeated, "samples of the log are in blocks or head chunks as well"),
        (head.deleted, "samples had been deleted"),
        (head.torn_bytes, "bytes at the end of a log were cut by a crash"),
        (head.unknown, "samples belong to series that the log does not name"),
    ] {
        if count > 0 {
            lines.push(format!("            {count} {text}"));
        }
    }
    let damaged = blocks.damaged.iter().map(|(folder, fault)| format!("{}: {fault}", folder.display()));
    lines.extend(damaged.chain(head.faults.iter().cloned()).map(|fault| format!("damaged     {fault}")));
    for rejection in &head.stored.rejected {
        lines.push(format!("refused     {} {}: {}", rejection.count, rejection.reason, rejection.message));
    }
    lines.join("\n") + "\n"
}

/// The report for programs.
pub(super) fn json_report(blocks: &BlocksReport, head: &PrometheusHeadReport) -> String {
    let ulid = |(_, meta): &(_, tsdb::block::BlockMeta)| meta.ulid.to_string();
    let damaged = |(folder, fault): &(std::path::PathBuf, String)| json!({"folder": folder, "fault": fault});
    let rejected: Vec<_> = head
        .stored
        .rejected
        .iter()
        .map(|one| json!({"reason": one.reason, "count": one.count, "message": one.message}))
        .collect();
    let report = json!({
        "blocks": {
            "taken": blocks.sound.iter().map(ulid).collect::<Vec<_>>(),
            "samples": blocks.sound.iter().map(|(_, meta)| meta.stats.num_samples).sum::<u64>(),
            "superseded": blocks.superseded,
            "damaged": blocks.damaged.iter().map(damaged).collect::<Vec<_>>(),
        },
        "head": {
            "series": head.series, "floats": head.floats, "histograms": head.histograms, "exemplars": head.exemplars,
            "repeated": head.repeated, "deleted": head.deleted, "unknown": head.unknown,
            "torn_bytes": head.torn_bytes, "faults": head.faults, "rejected": rejected,
        },
    });
    format!("{report:#}\n")
}
