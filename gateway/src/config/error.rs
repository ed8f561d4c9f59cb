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
}

impl ConfigFault {
    /// A fault of the config as a whole or of a command-line argument.
    pub fn new(message: impl Into<String>) -> Self {
        Self { place: None, path: Vec::new(), message: message.into() }
    }

    /// A fault at a place.
    pub fn at(place: &Place, message: impl Into<String>) -> Self {
        Self { place: Some(place.clone()), path: Vec::new(), message: message.into() }
    }

    /// A fault found by a component or a typed section, looked up in the tree that it came from.
    pub fn located(root: &Node, error: ConfigError) -> Self {
        let place = root.locate(&error.path).clone();
        Self { place: Some(place), path: error.path, message: error.message }
    }

    /// Adds the path to a fault that has none.
    pub fn with_path(mut self, path: &[&str]) -> Self {
        self.path = path.iter().map(|key| (*key).to_owned()).collect();
        self
    }

    /// Keys from the root down to the fault.
    pub fn path(&self) -> &[String] {
        &self.path
    }
}

impl fmt::Display for ConfigFault {
    /// `file:line:column: a::b::c: what is wrong`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path.join("::"))?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigFault {}
