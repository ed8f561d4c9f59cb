//! CPU time and memory of a process, from Linux' /proc; nothing is known elsewhere.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

/// Clock ticks a second in /proc/PID/stat: USER_HZ, which is 100 on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process used.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Usage {
    /// User and system time, s.
    pub(crate) cpu_seconds: f64,
    /// Cores that were busy on average.
    pub(crate) cores: f64,
    /// The largest resident size that was seen, MiB.
    pub(crate) rss_peak_mib: f64,
}

/// What a process used between two looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Cores that were busy since the look before.
    pub(crate) cores: f64,
    /// Resident size, MiB.
    pub(crate) rss_mib: f64,
}

/// A process that is looked at from time to time.
pub(crate) struct Watch {
    path: String,
    began: Instant,
    cpu_at_start: Duration,
    cpu: Duration,
    looked: Instant,
    rss_peak_kib: u64,
}

impl Watch {
    /// This process.
    pub(crate) fn own() -> Self {
        Self::at("/proc/self".to_owned())
    }

    /// Another one; an error if it is not there.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}");
        read_cpu(&path).with_context(|| format!("no process {pid} to be read in /proc"))?;
        Ok(Self::at(path))
    }

    fn at(path: String) -> Self {
        let cpu = read_cpu(&path).unwrap_or_default();
        let began = Instant::now();
        Self { path, began, cpu_at_start: cpu, cpu, looked: began, rss_peak_kib: 0 }
    }

    /// Reads again; a process that is gone keeps its last figures, one that began anew counts from there.
    pub(crate) fn look(&mut self) -> Now {
        let (before, looked) = (self.cpu, self.looked);
        self.cpu = read_cpu(&self.path).unwrap_or(self.cpu);
        self.looked = Instant::now();
        let rss_kib = read_rss_kib(&self.path).unwrap_or(0);
        self.rss_peak_kib = self.rss_peak_kib.max(rss_kib);
        let seconds = (self.looked - looked).as_secs_f64().max(1e-6);
        let cores = self.cpu.saturating_sub(before).as_secs_f64() / seconds;
        Now { cores, rss_mib: rss_kib as f64 / 1024.0 }
    }

    /// What it used since the start.
    pub(crate) fn usage(mut self) -> Usage {
        self.look();
        let cpu_seconds = self.cpu.saturating_sub(self.cpu_at_start).as_secs_f64();
        let cores = cpu_seconds / self.began.elapsed().as_secs_f64().max(1e-6);
        Usage { cpu_seconds, cores, rss_peak_mib: self.rss_peak_kib as f64 / 1024.0 }
    }
}

/// utime and stime: the 14th and 15th field, counted behind the name in parentheses, which may hold anything.
fn read_cpu(path: &str) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("{path}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs_f64((user + system) / TICKS_PER_SECOND))
}

fn read_rss_kib(path: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("{path}/status")).ok()?;
    let row = status.lines().find(|row| row.starts_with("VmRSS:"))?;
    row.split_whitespace().nth(1)?.parse().ok()
}
