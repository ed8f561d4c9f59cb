//! The Parquet schema of a data file.
//!
//! `timestamp`, `stream_id`, `body` and `metadata_shape` are always there; then one optional text column for each
//! frequent metadata name and each stream label, and the map `metadata` with all other pairs. Label columns are for
//! other tools: our reader takes labels from the index.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use model::Labels;
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::Result;
use parquet::schema::types::{Type, TypePtr};

/// Names of the columns that every file has, in lower case as all taken names are.
const FIXED: [&str; 5] = ["timestamp", "stream_id", "body", "metadata_shape", "metadata"];
/// Most labels with a column. All labels are in the index whatever their number.
const LABEL_COLUMNS_MAX: usize = 64;

/// A stream label with its column's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LabelColumn {
    pub(crate) label: String,
    pub(crate) column: String,
}

/// Picks the labels that get a column: those of most streams. A name that is taken gets `_` before it.
pub(crate) fn label_columns<'a>(
    streams: impl Iterator<Item = &'a Labels>,
) -> (Vec<LabelColumn>, HashSet<String>) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for labels in streams {
        labels.iter().for_each(|(name, _)| *counts.entry(name).or_default() += 1);
    }
    let mut labels: Vec<(&str, usize)> = counts.into_iter().collect();
    labels.sort_unstable_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
    labels.truncate(LABEL_COLUMNS_MAX);
    labels.sort_unstable();
    let mut taken: HashSet<String> = FIXED.iter().map(|&name| name.to_owned()).collect();
    let columns = labels.into_iter().map(|(label, _)| {
        let mut column = label.to_owned();
        while !taken.insert(column.to_ascii_lowercase()) {
            column.insert(0, '_');
        }
        LabelColumn { label: label.to_owned(), column }
    });
    (columns.collect(), taken)
}

/// The schema with these metadata and label columns.
pub(crate) fn schema(metadata: &[String], labels: &[LabelColumn]) -> Result<TypePtr> {
    let mut fields = vec![
        integer("timestamp", Physical::INT64, Some(timestamp_type()))?,
        integer("stream_id", Physical::INT32, None)?,
        text("body", Repetition::REQUIRED)?,
        integer("metadata_shape", Physical::INT32, None)?,
    ];
    for name in metadata {
        fields.push(text(name, Repetition::OPTIONAL)?);
    }
    for label in labels {
        fields.push(text(&label.column, Repetition::OPTIONAL)?);
    }
    fields.push(rest_map()?);
    Ok(Arc::new(Type::group_type_builder("log").with_fields(fields).build()?))
}

fn timestamp_type() -> LogicalType {
    LogicalType::timestamp(true, TimeUnit::NANOS)
}

fn integer(name: &str, physical: Physical, logical: Option<LogicalType>) -> Result<TypePtr> {
    let builder = Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(logical);
    Ok(Arc::new(builder.build()?))
}

fn text(name: &str, repetition: Repetition) -> Result<TypePtr> {
    let builder = Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
        .with_repetition(repetition)
        .with_logical_type(Some(LogicalType::String));
    Ok(Arc::new(builder.build()?))
}

/// `metadata`: a map whose keys and values are never absent, so both leaves have the same levels.
fn rest_map() -> Result<TypePtr> {
    let pair = Type::group_type_builder("key_value")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![text("key", Repetition::REQUIRED)?, text("value", Repetition::REQUIRED)?])
        .build()?;
    let map = Type::group_type_builder("metadata")
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(Some(LogicalType::Map))
        .with_fields(vec![Arc::new(pair)])
        .build()?;
    Ok(Arc::new(map))
}
