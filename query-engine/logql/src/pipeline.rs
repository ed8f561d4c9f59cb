//! What happens to each line of a query: filters, parsers and label stages, compiled once and run by each worker.
//!
//! A `Pipeline` is the plan and shared; a `PipelineRun` holds one worker's buffers. Line filters that come before
//! anything that changes the line are pulled out into `search`, which looks at whole pages at once. Moving them past
//! parsers and label filters is sound, because those never change a line.

mod decolorize;
mod entry_labels;
mod format;
mod ip;
mod json;
mod json_path;
mod label_filter;
mod line_filter;
mod literals;
mod logfmt;
mod names;
mod page_search;
mod pattern;
mod regexp;
mod wanted;

use std::sync::Arc;

use model::{Labels, MetadataPairs};

pub(crate) use entry_labels::{CLASH_SUFFIX, ERROR_LABEL, EntryLabels, PRESERVE_ERROR_LABEL, StageError};
pub(crate) use json::JsonParser;
pub(crate) use label_filter::{CompiledLabelFilter, labels_read};
pub(crate) use logfmt::LogfmtParser;
pub(crate) use names::push_member_name;
pub(crate) use page_search::LineSearch;
pub(crate) use wanted::Wanted;

use decolorize::Decolorizer;
use entry_labels::ERROR_DETAILS_LABEL;
use format::{Entry, LabelFormatter, LineFormatter};
use json_path::{JsonExpressions, JsonPath};
use label_filter::TextMatcher;
use line_filter::CompiledLineFilter;
use pattern::Pattern;
use regexp::{RegexpParser, set_unless_known};

use crate::syntax::{NamedMatch, Stage, StageKind};
use crate::{LogqlError, LogqlResult};

/// Whether a pattern of the `regexp` parser is right.
pub(crate) fn check_regexp(pattern: &str) -> Result<(), String> {
    RegexpParser::compile(pattern).map(|_| ())
}

/// Labels that a template reads; none if it does not parse.
pub(crate) fn template_fields(text: &str) -> Vec<String> {
    crate::template::Template::parse("line", text).map(|template| template.fields()).unwrap_or_default()
}

/// Whether a pattern of the `pattern` parser is right.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), String> {
    Pattern::for_parser(pattern).map(|_| ())
}

/// The stages of a query, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Pipeline {
    search: LineSearch,
    stages: Vec<CompiledStage>,
    /// What `now` is in templates: one time for the whole query.
    now_ns: i64,
}

#[derive(Clone, Debug)]
enum CompiledStage {
    LineFilter(CompiledLineFilter),
    Json(JsonParser),
    JsonExpressions(JsonExpressions),
    Logfmt(LogfmtParser),
    Regexp(RegexpParser),
    Pattern(Pattern),
    Unpack,
    LabelFilter(CompiledLabelFilter),
    Drop(Vec<CompiledNamedMatch>),
    Keep(Vec<CompiledNamedMatch>),
    LineFormat(LineFormatter),
    LabelFormat(LabelFormatter),
    Decolorize(Decolorizer),
}

#[derive(Clone, Debug)]
enum CompiledNamedMatch {
    Name(String),
    Match(TextMatcher),
}

impl Pipeline {
    /// Compiles stages; an error names the stage, as Loki's does.
    pub(crate) fn compile(stages: &[Stage], now_ns: i64) -> LogqlResult<Self> {
        let mut leading = Vec::new();
        let mut compiled = Vec::new();
        let mut line_changed = false;
        for stage in stages {
            let stage_error = |reason| LogqlError::parse(format_args!("stage '{stage}' : {reason}"));
            if let StageKind::LineFilter(filter) = &stage.kind {
                let filter = CompiledLineFilter::compile(filter).map_err(stage_error)?;
                if line_changed {
                    compiled.push(CompiledStage::LineFilter(filter));
                } else {
                    leading.push(filter);
                }
                continue;
            }
            line_changed |= changes_line(&stage.kind);
            compiled.push(compile_stage(stage).map_err(stage_error)?);
        }
        give_early_filters(&mut compiled);
        Ok(Self { search: LineSearch::new(leading), stages: compiled, now_ns })
    }

    /// The filters to run over whole pages first.
    pub(crate) fn search(&self) -> &LineSearch {
        &self.search
    }

    /// Whether nothing is left to do for a line that the search found.
    pub(crate) fn is_search_only(&self) -> bool {
        self.stages.is_empty()
    }
}

/// Hands each label filter to the parser before it, so that a line is dropped as soon as the label is read. Sound while
/// nothing between the two can change the label: only filters may lie there.
fn give_early_filters(stages: &mut [CompiledStage]) {
    for parser in 0..stages.len() {
        let (before, after) = stages.split_at_mut(parser + 1);
        let conditions = after.iter().map_while(|stage| match stage {
            CompiledStage::LabelFilter(filter) => Some(filter.conditions()),
            CompiledStage::LineFilter(_) => Some(Vec::new()),
            _ => None,
        });
        let early: Vec<CompiledLabelFilter> = conditions.flatten().collect();
        match &mut before[parser] {
            CompiledStage::Json(parser) => parser.set_early_filters(early),
            CompiledStage::Logfmt(parser) => parser.set_early_filters(early),
            _ => {}
        }
    }
}

fn changes_line(kind: &StageKind) -> bool {
    matches!(kind, StageKind::Unpack | StageKind::LineFormat(_) | StageKind::Decolorize)
}

fn compile_stage(stage: &Stage) -> Result<CompiledStage, String> {
    Ok(match &stage.kind {
        StageKind::LineFilter(filter) => CompiledStage::LineFilter(CompiledLineFilter::compile(filter)?),
        StageKind::Json(extractions) if extractions.is_empty() => CompiledStage::Json(JsonParser::default()),
        StageKind::Json(extractions) => {
            let path = |e: &crate::syntax::Extraction| Ok((e.name.clone(), JsonPath::parse(&e.expression)?));
            let paths = extractions.iter().map(path).collect::<Result<_, String>>()?;
            CompiledStage::JsonExpressions(JsonExpressions::new(paths))
        }
        StageKind::Logfmt { strict, keep_empty, extractions } => {
            let key =
                |e: &crate::syntax::Extraction| (e.name.clone(), e.expression.trim_matches('"').to_owned());
            let keys = extractions.iter().map(key).collect();
            CompiledStage::Logfmt(LogfmtParser::new(*strict, *keep_empty, keys))
        }
        StageKind::Regexp(pattern) => CompiledStage::Regexp(RegexpParser::compile(pattern)?),
        StageKind::Pattern(pattern) => CompiledStage::Pattern(Pattern::for_parser(pattern)?),
        StageKind::Unpack => CompiledStage::Unpack,
        StageKind::LabelFilter(filter) => CompiledStage::LabelFilter(CompiledLabelFilter::compile(filter)?),
        StageKind::Drop(names) => CompiledStage::Drop(compile_named(names)?),
        StageKind::Keep(names) => CompiledStage::Keep(compile_named(names)?),
        StageKind::LineFormat(template) => CompiledStage::LineFormat(LineFormatter::compile(template)?),
        StageKind::LabelFormat(formats) => CompiledStage::LabelFormat(LabelFormatter::compile(formats)?),
        StageKind::Decolorize => CompiledStage::Decolorize(Decolorizer::new()),
    })
}

fn compile_named(names: &[NamedMatch]) -> Result<Vec<CompiledNamedMatch>, String> {
    let compile = |name: &NamedMatch| match name {
        NamedMatch::Name(name) => Ok(CompiledNamedMatch::Name(name.clone())),
        NamedMatch::Match(matcher) => TextMatcher::compile(matcher).map(CompiledNamedMatch::Match),
    };
    names.iter().map(compile).collect()
}

/// One worker's buffers for a pipeline.
#[derive(Clone, Debug)]
pub(crate) struct PipelineRun {
    stages: Vec<CompiledStage>,
    labels: EntryLabels,
    line: String,
    spare: String,
    line_replaced: bool,
    now_ns: i64,
}

impl PipelineRun {
    pub(crate) fn new(pipeline: &Pipeline, wanted: Arc<Wanted>) -> Self {
        Self {
            stages: pipeline.stages.clone(),
            labels: EntryLabels::new(wanted),
            line: String::new(),
            spare: String::new(),
            line_replaced: false,
            now_ns: pipeline.now_ns,
        }
    }

    /// Turns to another stream.
    pub(crate) fn set_stream(&mut self, labels: &Labels) {
        self.labels.set_stream(labels);
    }

    /// Runs the stages on one entry; tells whether it stays. Then `line` and `labels` hold the outcome.
    pub(crate) fn process(&mut self, timestamp_ns: i64, line: &str, metadata: MetadataPairs<'_>) -> bool {
        self.labels.reset(metadata);
        self.line_replaced = false;
        for stage in &mut self.stages {
            let current = if self.line_replaced { self.line.as_str() } else { line };
            let replaced = match stage {
                CompiledStage::LineFilter(filter) => {
                    if !filter.matches(current) {
                        return false;
                    }
                    false
                }
                CompiledStage::LabelFilter(filter) => {
                    if !filter.keeps(&mut self.labels) {
                        return false;
                    }
                    false
                }
                CompiledStage::Json(parser) => {
                    if !parser.parse(current, &mut self.labels) {
                        return false;
                    }
                    false
                }
                CompiledStage::Logfmt(parser) => {
                    if !parser.parse(current, &mut self.labels) {
                        return false;
                    }
                    false
                }
                other => {
                    let entry = Entry { line: current, timestamp_ns, now_ns: self.now_ns };
                    other.transform(&entry, &mut self.labels, &mut self.spare)
                }
            };
            if replaced {
                std::mem::swap(&mut self.line, &mut self.spare);
                self.line_replaced = true;
            }
        }
        true
    }

    /// The line after the stages, given the one before.
    pub(crate) fn line<'a>(&'a self, original: &'a str) -> &'a str {
        if self.line_replaced { &self.line } else { original }
    }

    pub(crate) fn labels(&self) -> &EntryLabels {
        &self.labels
    }

    pub(crate) fn labels_mut(&mut self) -> &mut EntryLabels {
        &mut self.labels
    }
}

impl CompiledStage {
    /// Changes labels; returns whether it wrote a new line to `out`.
    fn transform(&mut self, entry: &Entry<'_>, labels: &mut EntryLabels, out: &mut String) -> bool {
        let line = entry.line;
        match self {
            Self::JsonExpressions(parser) => parser.parse(line, labels),
            Self::Regexp(parser) => parser.parse(line, labels),
            Self::Pattern(pattern) => {
                if !labels.needs_nothing() {
                    pattern.captures(line, |name, text| set_unless_known(name, text, labels));
                }
            }
            Self::Unpack => return json_path::unpack(line, labels, out),
            Self::Drop(names) => names.iter().for_each(|name| drop_label(name, labels)),
            Self::Keep(names) => keep_labels(names, labels),
            Self::LineFormat(formatter) => return formatter.format(entry, labels, out),
            Self::LabelFormat(formatter) => formatter.format(entry, labels),
            Self::Decolorize(decolorizer) => return decolorizer.strip(line, out),
            Self::LineFilter(_) | Self::LabelFilter(_) | Self::Json(_) | Self::Logfmt(_) => {}
        }
        false
    }
}

fn drop_label(named: &CompiledNamedMatch, labels: &mut EntryLabels) {
    let (name, matches): (&str, &dyn Fn(&str) -> bool) = match named {
        CompiledNamedMatch::Name(name) => (name, &|_| true),
        CompiledNamedMatch::Match(matcher) => (&matcher.name, &|value| matcher.matches(value)),
    };
    match name {
        ERROR_LABEL if matches(labels.error()) => labels.clear_error(),
        ERROR_DETAILS_LABEL if matches(labels.error_details()) => labels.clear_error_details(),
        ERROR_LABEL | ERROR_DETAILS_LABEL => {}
        name => {
            if labels.get(name).is_some_and(matches) {
                labels.delete(name);
            }
        }
    }
}

fn keep_labels(names: &[CompiledNamedMatch], labels: &mut EntryLabels) {
    let kept = |name: &str, value: &str| {
        matches!(name, ERROR_LABEL | ERROR_DETAILS_LABEL | PRESERVE_ERROR_LABEL)
            || names.iter().any(|named| match named {
                CompiledNamedMatch::Name(kept) => kept == name,
                CompiledNamedMatch::Match(matcher) => matcher.name == name && matcher.matches(value),
            })
    };
    labels.retain(kept);
}
