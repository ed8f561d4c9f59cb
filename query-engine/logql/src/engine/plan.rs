//! Plans a metric query: which samples each range aggregation reads and which labels they keep. Pure.

use std::sync::Arc;

use model::Matcher;

use super::grid::Grid;
use super::samples::{Keep, SampleSpec, ValueOf};
use crate::pipeline::{CompiledLabelFilter, Pipeline, Wanted, labels_read, template_fields};
use crate::syntax::{
    Grouping, LabelMatch, LabelSource, LogRange, MetricExpr, MetricKind, RangeAggregation, RangeOp, Stage,
    StageKind, VectorOp,
};
use crate::{LogqlError, LogqlResult};

/// A metric query, ready to read.
pub(super) struct MetricPlan {
    pub(super) root: MetricExpr,
    /// One per range aggregation, in the order in which the tree is walked.
    pub(super) leaves: Vec<Leaf>,
    /// Whether the query sorts by value, so that an instant answer keeps its order.
    pub(super) sorts: bool,
}

/// What one range aggregation reads.
pub(super) struct Leaf {
    pub(super) matchers: Vec<Matcher>,
    pub(super) spec: Arc<SampleSpec>,
}

/// Plans a query on a grid.
pub(super) fn plan(root: MetricExpr, grid: &Grid, now_ns: i64) -> LogqlResult<MetricPlan> {
    let mut plan = MetricPlan { root: root.clone(), leaves: Vec::new(), sorts: false };
    walk(&root, None, grid, now_ns, &mut plan)?;
    Ok(plan)
}

/// `outer` is the grouping of a sum around a range aggregation: then samples need keep only its labels.
fn walk(
    expr: &MetricExpr,
    outer: Option<&Grouping>,
    grid: &Grid,
    now_ns: i64,
    plan: &mut MetricPlan,
) -> LogqlResult<()> {
    match &expr.kind {
        MetricKind::Literal(_) | MetricKind::Constant(_) => Ok(()),
        MetricKind::Range(aggregation) => {
            plan.leaves.push(leaf(aggregation, outer, grid, now_ns)?);
            Ok(())
        }
        MetricKind::Vector(vector) => {
            plan.sorts |= matches!(vector.op, VectorOp::Sort | VectorOp::SortDesc);
            let outer = (vector.op == VectorOp::Sum).then_some(&vector.grouping);
            walk(&vector.inner, outer, grid, now_ns, plan)
        }
        MetricKind::Binary(binary) => {
            walk(&binary.left, None, grid, now_ns, plan)?;
            walk(&binary.right, None, grid, now_ns, plan)
        }
        MetricKind::LabelReplace(replace) => walk(&replace.inner, None, grid, now_ns, plan),
    }
}

fn leaf(
    aggregation: &RangeAggregation,
    outer: Option<&Grouping>,
    grid: &Grid,
    now_ns: i64,
) -> LogqlResult<Leaf> {
    let range = &aggregation.range;
    let adds_up = matches!(
        aggregation.op,
        RangeOp::BytesOverTime
            | RangeOp::BytesRate
            | RangeOp::SumOverTime
            | RangeOp::Rate
            | RangeOp::CountOverTime
    );
    let outer = outer.filter(|_| adds_up && aggregation.grouping.is_none());
    let grouping = outer.or(aggregation.grouping.as_ref());
    let no_labels =
        aggregation.op == RangeOp::AbsentOverTime || grouping.is_some_and(Grouping::is_single_group);
    let stages = stages_that_count(aggregation);
    let spec = SampleSpec {
        pipeline: Pipeline::compile(&stages, now_ns)?,
        wanted: Arc::new(wanted(range, &stages, grouping, no_labels)),
        keep: keep(range, grouping, no_labels),
        value: value_of(aggregation)?,
        windows: grid.windows(range.interval_ns, range.offset_ns)?,
    };
    Ok(Leaf { matchers: matchers(&range.log.matchers)?, spec: Arc::new(spec) })
}

/// The stages without each `line_format` after which nothing reads the line. Loki leaves them out too, so that their
/// errors fail no query (`removeLineformat` in pkg/logql/optimize.go).
fn stages_that_count(aggregation: &RangeAggregation) -> Vec<Stage> {
    let stages = &aggregation.range.log.stages;
    let counts_bytes = matches!(aggregation.op, RangeOp::BytesOverTime | RangeOp::BytesRate);
    let reads_line = |stage: &Stage| match &stage.kind {
        StageKind::LineFilter(_)
        | StageKind::Json(_)
        | StageKind::Logfmt { .. }
        | StageKind::Regexp(_)
        | StageKind::Pattern(_)
        | StageKind::Unpack => true,
        StageKind::LabelFilter(_)
        | StageKind::LineFormat(_)
        | StageKind::LabelFormat(_)
        | StageKind::Decolorize
        | StageKind::Drop(_)
        | StageKind::Keep(_) => false,
    };
    let last_reader = stages.iter().rposition(reads_line);
    let counts = |index: usize, stage: &Stage| {
        let is_format = matches!(stage.kind, StageKind::LineFormat(_));
        !is_format || counts_bytes || last_reader.is_some_and(|last| index < last)
    };
    stages
        .iter()
        .enumerate()
        .filter(|(index, stage)| counts(*index, stage))
        .map(|(_, stage)| stage.clone())
        .collect()
}

/// The matchers to select streams with.
pub(crate) fn matchers(matchers: &[LabelMatch]) -> LogqlResult<Vec<Matcher>> {
    matchers.iter().map(LabelMatch::to_matcher).collect()
}

fn keep(range: &LogRange, grouping: Option<&Grouping>, no_labels: bool) -> Keep {
    if no_labels {
        return Keep::By(Vec::new());
    }
    let sorted = |labels: &[String], more: Option<&String>| {
        let mut labels: Vec<String> = labels.iter().chain(more).cloned().collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    };
    // The unwrapped label is the value, so it does not tell series apart unless it is asked for.
    let unwrapped = range.unwrap.as_ref().map(|unwrap| &unwrap.label);
    match (grouping, unwrapped) {
        (Some(grouping), _) if !grouping.without => Keep::By(sorted(&grouping.labels, None)),
        (Some(grouping), unwrapped) if !grouping.labels.is_empty() || unwrapped.is_some() => {
            Keep::Without(sorted(&grouping.labels, unwrapped))
        }
        (None, Some(label)) => Keep::Without(vec![label.clone()]),
        _ => Keep::All,
    }
}

/// Which labels parsers must make. Without a closed list everything is needed.
fn wanted(range: &LogRange, stages: &[Stage], grouping: Option<&Grouping>, no_labels: bool) -> Wanted {
    let closed =
        no_labels || grouping.is_some_and(|grouping| !grouping.without && !grouping.labels.is_empty());
    if !closed {
        return Wanted::everything();
    }
    let mut names: Vec<String> = stages.iter().flat_map(labels_of_stage).collect();
    if let Some(unwrap) = &range.unwrap {
        names.extend(unwrap.filters.iter().flat_map(labels_read).map(str::to_owned));
        names.push(unwrap.label.clone());
    }
    names.extend(grouping.iter().flat_map(|grouping| grouping.labels.iter().cloned()));
    if names.is_empty() { Wanted::nothing_at_all() } else { Wanted::only(names.iter().map(String::as_str)) }
}

/// Labels that a stage reads.
fn labels_of_stage(stage: &Stage) -> Vec<String> {
    match &stage.kind {
        StageKind::LabelFilter(filter) => labels_read(filter).into_iter().map(str::to_owned).collect(),
        StageKind::LabelFormat(formats) => formats
            .iter()
            .flat_map(|format| match &format.source {
                LabelSource::Label(label) => vec![label.clone()],
                LabelSource::Template(text) => template_fields(text),
            })
            .collect(),
        StageKind::LineFormat(text) => template_fields(text),
        _ => Vec::new(),
    }
}

fn value_of(aggregation: &RangeAggregation) -> LogqlResult<ValueOf> {
    if let Some(unwrap) = &aggregation.range.unwrap {
        let compile = |filter| {
            CompiledLabelFilter::compile(filter)
                .map_err(|reason| LogqlError::parse(format_args!("stage '| {filter}' : {reason}")))
        };
        let filters = unwrap.filters.iter().map(compile).collect::<LogqlResult<_>>()?;
        return Ok(ValueOf::Label { name: unwrap.label.clone(), conversion: unwrap.conversion, filters });
    }
    Ok(match aggregation.op {
        RangeOp::BytesOverTime | RangeOp::BytesRate => ValueOf::LineBytes,
        _ => ValueOf::Entry,
    })
}
