//! Where the process' own log goes: standard error, standard output, files, or several of them.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use anyhow::Context;
use tracing_subscriber::fmt::MakeWriter;

/// One place.
#[derive(Clone, Debug)]
enum Output {
    Stderr,
    Stdout,
    File(Arc<File>),
}

/// All places; each line goes to each.
#[derive(Clone, Debug)]
pub(super) struct LogOutputs(Vec<Output>);

impl LogOutputs {
    /// Opens `stderr`, `stdout` and paths of files.
    pub(super) fn open(paths: &[String]) -> anyhow::Result<Self> {
        let open = |path: &String| match path.as_str() {
            "stderr" => Ok(Output::Stderr),
            "stdout" => Ok(Output::Stdout),
            path => {
                let path = path.strip_prefix("file://").unwrap_or(path);
                let file = File::options().create(true).append(true).open(path);
                let file = file.with_context(|| format!("service::telemetry::logs::output_paths: {path}"))?;
                Ok(Output::File(Arc::new(file)))
            }
        };
        paths.iter().map(open).collect::<anyhow::Result<_>>().map(Self)
    }

    /// Whether a person reads along; a log file or journal gets plain text.
    pub(super) fn is_terminal(&self) -> bool {
        let is_terminal = |output: &Output| match output {
            Output::Stderr => io::stderr().is_terminal(),
            Output::Stdout => io::stdout().is_terminal(),
            Output::File(_) => false,
        };
        self.0.iter().all(is_terminal)
    }
}

impl Write for LogOutputs {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        for output in &self.0 {
            match output {
                Output::Stderr => io::stderr().write_all(line)?,
                Output::Stdout => io::stdout().write_all(line)?,
                Output::File(file) => (&**file).write_all(line)?,
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogOutputs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
