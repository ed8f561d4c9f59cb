//! What is seen while a run goes on, on standard error: bars on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::figures::Figures;
use crate::report::Moment;

/// How often a line is written where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// The view.
pub(crate) struct Live {
    form: Form,
    names: Vec<String>,
    bars: Vec<ProgressBar>,
    written: Option<Instant>,
}

enum Form {
    Quiet,
    Terminal(MultiProgress),
    Plain,
}

impl Live {
    pub(crate) fn new(is_quiet: bool) -> Self {
        let form = match (is_quiet, std::io::stderr().is_terminal()) {
            (true, _) => Form::Quiet,
            (false, true) => Form::Terminal(MultiProgress::new()),
            (false, false) => Form::Plain,
        };
        Self { form, names: Vec::new(), bars: Vec::new(), written: None }
    }

    /// Loads begin, each with its duration.
    pub(crate) fn start<'a>(&mut self, loads: impl Iterator<Item = (&'a str, Duration)>) {
        self.names.clear();
        self.bars.clear();
        self.written = Some(Instant::now());
        for (name, duration) in loads {
            self.names.push(name.to_owned());
            if let Form::Terminal(bars) = &self.form {
                let bar = ProgressBar::new(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
                let style = ProgressStyle::with_template("{prefix:12!} {bar:20} {msg}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_prefix(name.to_owned());
                self.bars.push(bars.add(bar));
            }
        }
    }

    /// A second of a load.
    pub(crate) fn show(&mut self, load: usize, moment: &Moment, total: &Figures) {
        let wanted = moment.wanted_per_second.map(|wanted| format!(" of {wanted:.0}")).unwrap_or_default();
        let counts = &total.counts;
        let target = match (moment.target_cores, moment.target_rss_mib) {
            (Some(cores), Some(mib)) => format!("  target {cores:.2} cores {mib:.0} MiB"),
            _ => String::new(),
        };
        let text = format!(
            "{:.0} s  acked {:.0}/s{wanted}  p50 {:.1} p99 {:.1} max {:.1} ms  acked {} rejected {} failed requests {}{target}",
            moment.at_seconds,
            moment.acked_per_second,
            moment.p50_ms,
            moment.p99_ms,
            moment.max_ms,
            counts.acked,
            counts.rejected,
            counts.failed(),
        );
        match &self.form {
            Form::Quiet => {}
            Form::Terminal(_) => {
                if let Some(bar) = self.bars.get(load) {
                    bar.set_position((moment.at_seconds * 1000.0) as u64);
                    bar.set_message(text);
                }
            }
            // All loads of one look, or none.
            Form::Plain if load > 0 && self.written.is_some_and(|at| at.elapsed() < ROW_SLACK) => {
                self.line(load, &text);
            }
            Form::Plain if load == 0 && self.written.is_none_or(|at| at.elapsed() >= PLAIN_INTERVAL) => {
                self.written = Some(Instant::now());
                self.line(load, &text);
            }
            Form::Plain => {}
        }
    }

    /// Something other than sending is going on: `done` of `all` steps.
    pub(crate) fn step(&mut self, what: &str, done: u64, all: u64) {
        match &self.form {
            Form::Quiet => {}
            Form::Terminal(_) => {
                for bar in &self.bars {
                    bar.set_length(all);
                    bar.set_position(done);
                    bar.set_message(format!("{what} {done}/{all}"));
                }
            }
            Form::Plain => {
                if done == all || self.written.is_none_or(|at| at.elapsed() >= PLAIN_INTERVAL) {
                    self.written = Some(Instant::now());
                    say(&format!("{what} {done}/{all}"));
                }
            }
        }
    }

    /// A line that stays.
    pub(crate) fn note(&self, text: &str) {
        match &self.form {
            Form::Quiet => {}
            Form::Terminal(bars) => {
                // A terminal that is gone is the user's choice.
                let _closed = bars.println(text);
            }
            Form::Plain => say(text),
        }
    }

    /// Nothing moves any more.
    pub(crate) fn finish(&mut self) {
        for bar in self.bars.drain(..) {
            bar.finish_and_clear();
        }
    }

    fn line(&self, load: usize, text: &str) {
        let name = self.names.get(load).map_or("", String::as_str);
        say(&format!("{name}: {text}"));
    }
}

/// Loads of one look follow each other within this time.
const ROW_SLACK: Duration = Duration::from_millis(200);

fn say(text: &str) {
    // A closed pipe is the reader's choice.
    let _closed = writeln!(std::io::stderr(), "{text}");
}
