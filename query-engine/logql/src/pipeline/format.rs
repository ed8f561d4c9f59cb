//! `line_format` and `label_format`: templates over an entry's labels.

use super::entry_labels::{ERROR_LABEL, EntryLabels, StageError};
use crate::syntax::{LabelFormat, LabelSource};
use crate::template::{Context, Template};

/// `| line_format "…"`
#[derive(Clone, Debug)]
pub(crate) struct LineFormatter(Template);

impl LineFormatter {
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        Template::parse("line", text).map(Self).map_err(|reason| format!("invalid line template: {reason}"))
    }

    /// Writes the new line to `out`; tells whether it did. An error keeps the line and marks the entry.
    pub(crate) fn format(&self, entry: &Entry<'_>, labels: &mut EntryLabels, out: &mut String) -> bool {
        out.clear();
        match self.0.render(&entry.context(labels), out) {
            Ok(()) => true,
            Err(reason) => {
                labels.set_error(StageError::TemplateFormat, &reason);
                false
            }
        }
    }
}

/// What templates know of an entry beside its labels.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) line: &'a str,
    pub(crate) timestamp_ns: i64,
    pub(crate) now_ns: i64,
}

impl<'a> Entry<'a> {
    fn context(&self, labels: &'a EntryLabels) -> Context<'a> {
        Context { fields: labels, line: self.line, timestamp_ns: self.timestamp_ns, now_ns: self.now_ns }
    }
}

/// `| label_format a=b, c="…"`
#[derive(Clone, Debug)]
pub(crate) struct LabelFormatter(Vec<(String, Source)>);

#[derive(Clone, Debug)]
enum Source {
    Label(String),
    Template(Template),
}

impl LabelFormatter {
    pub(crate) fn compile(formats: &[LabelFormat]) -> Result<Self, String> {
        let mut compiled: Vec<(String, Source)> = Vec::with_capacity(formats.len());
        for format in formats {
            let name = &format.name;
            if name == ERROR_LABEL {
                return Err(format!("{name} cannot be formatted"));
            }
            if compiled.iter().any(|(known, _)| known == name) {
                return Err(format!("multiple label name '{name}' not allowed in a single format operation"));
            }
            let source = match &format.source {
                LabelSource::Label(label) => Source::Label(label.clone()),
                LabelSource::Template(text) => Source::Template(
                    Template::parse("label", text)
                        .map_err(|reason| format!("invalid template for label '{name}': {reason}"))?,
                ),
            };
            compiled.push((name.clone(), source));
        }
        Ok(Self(compiled))
    }

    /// Applies the assignments in order. All templates of the stage see the labels as they were before the first of
    /// them, renames before it included.
    pub(crate) fn format(&self, entry: &Entry<'_>, labels: &mut EntryLabels) {
        let first_template =
            self.0.iter().position(|(_, source)| matches!(source, Source::Template(_))).unwrap_or(usize::MAX);
        let mut outputs = Vec::new().into_iter();
        for (index, (name, source)) in self.0.iter().enumerate() {
            if index == first_template {
                outputs = self.render(entry, labels).into_iter();
            }
            match source {
                Source::Label(label) => rename(label, name, labels),
                Source::Template(_) => match outputs.next().expect("each template was rendered") {
                    Ok(value) => labels.set_parsed(name, &value),
                    Err(reason) => labels.set_error(StageError::TemplateFormat, &reason),
                },
            }
        }
    }

    fn render(&self, entry: &Entry<'_>, labels: &EntryLabels) -> Vec<Result<String, String>> {
        let context = entry.context(labels);
        let templates = self.0.iter().filter_map(|(_, source)| match source {
            Source::Template(template) => Some(template),
            Source::Label(_) => None,
        });
        let render = |template: &Template| {
            let mut out = String::new();
            template.render(&context, &mut out).map(|()| out)
        };
        templates.map(render).collect()
    }
}

fn rename(from: &str, to: &str, labels: &mut EntryLabels) {
    let Some(value) = labels.get(from).map(str::to_owned) else { return };
    labels.set_parsed(to, &value);
    labels.delete(from);
}
