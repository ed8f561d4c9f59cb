//! What is wrong with a config, and where.

use std::fmt;

use pipelines::ConfigError;

use super::node::{Node, Place};

/// A config cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// Where, if the fault stands somewhere.
    place: Option<Place>,
    /// Keys from the root down to the fault.
    path: Vec<String>,
    message: String,
    /// Other faults of the same config.
    others: Vec<ConfigFault>,
}

impl ConfigFault {
    /// A fault of the config as a whole or of a command-line argument.
    pub fn new(message: impl Into<String>) -> Self {
        Self { place: None, path: Vec::new(), message: message.into(), others: Vec::new() }
    }

    /// A fault at a place.
    pub fn at(place: &Place, message: impl Into<String>) -> Self {
        Self { place: Some(place.clone()), path: Vec::new(), message: message.into(), others: Vec::new() }
    }

    /// A fault found by a component or a typed section, looked up in the tree that it came from.
    pub fn located(root: &Node, error: ConfigError) -> Self {
        let place = root.locate(&error.path).clone();
        Self { place: Some(place), path: error.path, message: error.message, others: Vec::new() }
    }

    /// Adds the path to a fault that has none.
    pub fn with_path(mut self, path: &[&str]) -> Self {
        self.path = path.iter().map(|key| (*key).to_owned()).collect();
        self
    }

    /// All faults of a config as one, in the order of their places and each once; `None` when there is none.
    pub fn all(faults: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut each: Vec<Self> = Vec::new();
        for mut fault in faults {
            let others = std::mem::take(&mut fault.others);
            for fault in std::iter::once(fault).chain(others) {
                if !each.contains(&fault) {
                    each.push(fault);
                }
            }
        }
        each.sort_by(|a, b| a.place.cmp(&b.place));
        let mut each = each.into_iter();
        let mut first = each.next()?;
        first.others = each.collect();
        Some(first)
    }

    /// Keys from the root down to the fault.
    pub fn path(&self) -> &[String] {
        &self.path
    }
}

impl fmt::Display for ConfigFault {
    /// `file:line:column: a::b::c: what is wrong`, and each other fault on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path.join("::"))?;
        }
        f.write_str(&self.message)?;
        for other in &self.others {
            write!(f, "\nerror: {other}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFault {}
