//! Go's `text/template` language for `line_format` and `label_format`, over a map of labels.
//!
//! Parsed once per query, run per line: labels are borrowed, output is appended. A missing label is an empty text
//! (`missingkey=zero`). Invariant TEMPLATE-1: one run takes a bounded number of steps and of bytes, made, looked at and
//! written, whatever the template, so that a query cannot hang or bloat the server.

mod execute;
mod functions;
mod go_time;
mod node;
mod parse;
mod patterns;
mod printf;
mod value;

use value::Value;

/// What a template can read.
pub(crate) trait Fields {
    /// The label's value.
    fn get(&self, name: &str) -> Option<&str>;
    /// All labels sorted by name.
    fn sorted(&self) -> Vec<(&str, &str)>;
}

/// The entry a template runs on.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) fields: &'a dyn Fields,
    /// `__line__`
    pub(crate) line: &'a str,
    /// `__timestamp__`, ns.
    pub(crate) timestamp_ns: i64,
    /// `now`, ns.
    pub(crate) now_ns: i64,
}

/// A parsed template.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    name: &'static str,
    nodes: Vec<node::Node>,
    patterns: patterns::Patterns,
}

impl Template {
    /// Parses a template; `name` stands in messages.
    pub(crate) fn parse(name: &'static str, text: &str) -> Result<Self, String> {
        let nodes = parse::parse(text).map_err(|reason| format!("template: {name}:{reason}"))?;
        let patterns = patterns::Patterns::of(&nodes);
        Ok(Self { name, nodes, patterns })
    }

    /// Labels that the template reads by name.
    pub(crate) fn fields(&self) -> Vec<String> {
        let mut fields = Vec::new();
        node::collect_fields(&self.nodes, &mut fields);
        fields
    }

    /// Appends the output for an entry to `out`.
    pub(crate) fn render(&self, context: &Context<'_>, out: &mut String) -> Result<(), String> {
        execute::run(self.name, &self.nodes, &self.patterns, context, out)
            .map_err(|reason| format!("template: {}:{reason}", self.name))
    }
}

#[cfg(test)]
mod tests;
