//! Columns in memory, in the shapes that the schemas have, and their way into a row group.
//!
//! A row fills every column once. Parquet's levels: a value that may be missing has definition 0 or 1; of a list or map
//! the first element of a row has repetition 0, further ones 1, and an empty one definition 0.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Write;
use std::sync::Arc;

use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::Result;
use parquet::file::writer::SerializedRowGroupWriter;
use wire::DecodeError;
use wire::otlp::Attributes;

/// Pairs of maps that are on their way into a column at once.
const PAIRS_AT_ONCE: usize = 8 << 10;
/// What a pair weighs beside its bytes.
const PAIR_WEIGHT: usize = 16;

/// A row group that columns are written to in the order of the schema.
pub(super) struct RowGroup<'a, 'b, W: Write + Send>(pub(super) &'a mut SerializedRowGroupWriter<'b, W>);

impl<W: Write + Send> RowGroup<'_, '_, W> {
    fn put<T: DataType>(
        &mut self,
        values: &[T::T],
        definition: Option<&[i16]>,
        repetition: Option<&[i16]>,
    ) -> Result<()> {
        self.put_parts::<T>(|column| column.write_batch(values, definition, repetition).map(drop))
    }

    /// The next column, whose values `write` writes in as many parts as it likes, each of whole rows.
    fn put_parts<T: DataType>(
        &mut self,
        write: impl FnOnce(&mut ColumnWriterImpl<'_, T>) -> Result<()>,
    ) -> Result<()> {
        let Some(mut column) = self.0.next_column()? else {
            return Err(parquet::errors::ParquetError::General(
                "more columns than the schema has".to_owned(),
            ));
        };
        write(column.typed::<T>())?;
        column.close()
    }
}

/// A column that every row has a value in.
pub(super) struct Required<T: DataType>(Vec<T::T>);

/// A column that a row may have no value in.
pub(super) struct Optional<T: DataType> {
    values: Vec<T::T>,
    definition: Vec<i16>,
}

/// A list in each row.
pub(super) struct Lists<T: DataType> {
    values: Vec<T::T>,
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

/// A map of texts in each row; rows may share one.
#[derive(Default)]
pub(super) struct Maps(Vec<Pairs>);

/// The keys and values of one map.
#[derive(Clone, Default)]
pub(super) struct Pairs(Arc<[(ByteArray, ByteArray)]>);

pub(super) type Int32s = Required<Int32Type>;
pub(super) type Int64s = Required<Int64Type>;
pub(super) type Texts = Required<ByteArrayType>;
pub(super) type OptionalInt32s = Optional<Int32Type>;
pub(super) type OptionalInt64s = Optional<Int64Type>;
pub(super) type OptionalDoubles = Optional<DoubleType>;
pub(super) type OptionalBools = Optional<BoolType>;
pub(super) type OptionalTexts = Optional<ByteArrayType>;
pub(super) type Int64Lists = Lists<Int64Type>;
pub(super) type DoubleLists = Lists<DoubleType>;

// Written out, because a derive would ask for a default of the column's type.
impl<T: DataType> Default for Required<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: DataType> Default for Optional<T> {
    fn default() -> Self {
        Self { values: Vec::new(), definition: Vec::new() }
    }
}

impl<T: DataType> Default for Lists<T> {
    fn default() -> Self {
        Self { values: Vec::new(), definition: Vec::new(), repetition: Vec::new() }
    }
}

impl<T: DataType> Required<T> {
    pub(super) fn push(&mut self, value: impl Into<T::T>) {
        self.0.push(value.into());
    }

    pub(super) fn write<W: Write + Send>(&self, group: &mut RowGroup<'_, '_, W>) -> Result<()> {
        group.put::<T>(&self.0, None, None)
    }
}

impl<T: DataType> Optional<T> {
    pub(super) fn push(&mut self, value: Option<impl Into<T::T>>) {
        self.definition.push(value.is_some().into());
        self.values.extend(value.map(Into::into));
    }

    pub(super) fn write<W: Write + Send>(&self, group: &mut RowGroup<'_, '_, W>) -> Result<()> {
        group.put::<T>(&self.values, Some(&self.definition), None)
    }
}

impl<T: DataType> Lists<T> {
    pub(super) fn push(&mut self, list: impl IntoIterator<Item = T::T>) {
        let before = self.values.len();
        for value in list {
            self.repetition.push((self.values.len() > before).into());
            self.definition.push(1);
            self.values.push(value);
        }
        if self.values.len() == before {
            self.repetition.push(0);
            self.definition.push(0);
        }
    }

    fn clear(&mut self) {
        self.values.clear();
        self.definition.clear();
        self.repetition.clear();
    }

    pub(super) fn write<W: Write + Send>(&self, group: &mut RowGroup<'_, '_, W>) -> Result<()> {
        group.put::<T>(&self.values, Some(&self.definition), Some(&self.repetition))
    }
}

impl Pairs {
    /// Attributes as texts; of a key that comes twice the last value counts.
    pub(super) fn read(attributes: &Attributes<'_>) -> std::result::Result<Self, DecodeError> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut pairs: Vec<(ByteArray, ByteArray)> = Vec::new();
        for attribute in attributes.iter() {
            let attribute = attribute?;
            let (key, mut text) = (attribute.key()?, String::new());
            attribute.value()?.append_as_string(&mut text)?;
            let value = ByteArray::from(text.into_bytes());
            match places.entry(key) {
                Entry::Occupied(place) => pairs[*place.get()].1 = value,
                Entry::Vacant(place) => {
                    place.insert(pairs.len());
                    pairs.push((ByteArray::from(key), value));
                }
            }
        }
        Ok(Self(pairs.into()))
    }

    /// What it costs to write it once more: its bytes, and the work for each pair.
    pub(super) fn weight(&self) -> u64 {
        self.0.iter().map(|(key, value)| (PAIR_WEIGHT + key.len() + value.len()) as u64).sum()
    }
}

impl Maps {
    pub(super) fn push(&mut self, pairs: Pairs) {
        self.0.push(pairs);
    }

    pub(super) fn write<W: Write + Send>(&self, group: &mut RowGroup<'_, '_, W>) -> Result<()> {
        self.write_side(group, |(key, _)| key)?;
        self.write_side(group, |(_, value)| value)
    }

    /// Writes keys or values, some rows at a time: what rows share is not there once for each of them.
    fn write_side<W: Write + Send>(
        &self,
        group: &mut RowGroup<'_, '_, W>,
        side: impl Fn(&(ByteArray, ByteArray)) -> &ByteArray,
    ) -> Result<()> {
        let mut part = Lists::<ByteArrayType>::default();
        group.put_parts::<ByteArrayType>(|column| {
            for (row, pairs) in self.0.iter().enumerate() {
                part.push(pairs.0.iter().map(|pair| side(pair).clone()));
                if part.definition.len() >= PAIRS_AT_ONCE || row + 1 == self.0.len() {
                    column.write_batch(&part.values, Some(&part.definition), Some(&part.repetition))?;
                    part.clear();
                }
            }
            Ok(())
        })
    }
}

/// A time, unless it is unknown.
pub(super) fn time(unix_nano: u64) -> Option<i64> {
    i64::try_from(unix_nano).ok().filter(|time| *time > 0)
}

/// An id in hexadecimal, unless there is none.
pub(super) fn id(bytes: &[u8]) -> Option<ByteArray> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits =
        bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    (!bytes.is_empty()).then(|| ByteArray::from(digits.collect::<Vec<u8>>()))
}

/// A text, unless it is empty.
pub(super) fn text(text: &str) -> Option<ByteArray> {
    (!text.is_empty()).then(|| ByteArray::from(text))
}

/// A count as Parquet's widest integer; larger ones, which no sender means, are cut off.
pub(super) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Attributes as a JSON object of texts, for lists inside of rows.
pub(super) fn object(
    attributes: &Attributes<'_>,
) -> std::result::Result<serde_json::Map<String, serde_json::Value>, DecodeError> {
    let mut object = serde_json::Map::new();
    for attribute in attributes.iter() {
        let attribute = attribute?;
        let mut text = String::new();
        attribute.value()?.append_as_string(&mut text)?;
        object.insert(attribute.key()?.to_owned(), text.into());
    }
    Ok(object)
}

/// A list of JSON objects as a text, unless it is empty.
pub(super) fn json_list(list: &[serde_json::Value]) -> Option<ByteArray> {
    (!list.is_empty())
        .then(|| ByteArray::from(serde_json::Value::from(list.to_vec()).to_string().into_bytes()))
}
