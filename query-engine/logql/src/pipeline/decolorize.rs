//! `decolorize`: takes ANSI colour and cursor sequences out of a line.

use regex::Regex;

/// Sequences that start with ESC or CSI, as in github.com/acarl005/stripansi.
const ANSI: &str = "[\\x{1b}\\x{9b}][\\[\\]()#;?]*(?:(?:(?:[a-zA-Z0-9]*(?:;[a-zA-Z0-9]*)*)?\\x{07})\
                    |(?:(?:[0-9]{1,4}(?:;[0-9]{0,4})*)?[0-9A-PRZcf-ntqry=><~]))";

/// The stage.
#[derive(Clone, Debug)]
pub(crate) struct Decolorizer(Regex);

impl Decolorizer {
    pub(crate) fn new() -> Self {
        Self(Regex::new(ANSI).expect("the pattern is a constant that the tests compile"))
    }

    /// Writes the plain line to `out` if there is anything to take out; tells whether it did.
    pub(crate) fn strip(&self, line: &str, out: &mut String) -> bool {
        if !line.contains(['\u{1b}', '\u{9b}']) {
            return false;
        }
        out.clear();
        let mut from = 0;
        for sequence in self.0.find_iter(line) {
            out.push_str(&line[from..sequence.start()]);
            from = sequence.end();
        }
        out.push_str(&line[from..]);
        true
    }
}
