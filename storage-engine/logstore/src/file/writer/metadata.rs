//! Columns of structured metadata and of stream labels.

use format::{ByteColumn, LogColumnKind, encode_delta_length, encode_hybrid, encode_plain};
use hashbrown::HashMap;
use model::SlotValue;
use parquet::basic::Encoding;

use super::{Columns, Layout, Row, Source, StreamPart};
use crate::error::LogStoreResult;
use crate::file::columns::{Levels, PageValues, put_equal_levels, put_indices};

/// Most distinct values of a dictionary; with more, runs of equal indices get rare.
const DICTIONARY_VALUES_MAX: usize = 1 << 12;
const DICTIONARY_BYTES_MAX: usize = 1 << 17;
/// After this many values a dictionary must have shown that values repeat.
const DICTIONARY_TRIAL: usize = 1024;

/// The column of one metadata name.
pub(super) fn named_column(
    columns: &mut Columns<'_>,
    source: &Source<'_>,
    number: usize,
    name: &str,
    position: usize,
) -> LogStoreResult<()> {
    let layout = source.layout;
    let values = source.shapes.values_of_column(source.plan, number);
    let always_there = values.iter().all(Option::is_some);
    let mut sink = columns.sink(position);
    let dictionary = Dictionary::try_new(layout, &values);
    if let Some(Dictionary { values, .. }) = &dictionary {
        let mut plain = Vec::new();
        encode_plain(values, &mut plain);
        sink.dictionary(&plain, values.len(), &mut columns.zstd)?;
    }
    let mut indices = dictionary.as_ref().map(|dictionary| &dictionary.indices[..]);
    let mut page = ByteColumn::default();
    let (mut present, mut bytes, mut definition) = (Vec::new(), Vec::new(), Vec::new());
    for rows in layout.pages() {
        definition.clear();
        let mut stored = rows.len();
        if always_there {
            put_equal_levels(1, rows.len(), &mut definition);
        } else {
            present.clear();
            present.extend(rows.iter().map(|row| u32::from(values[row.form as usize].is_some())));
            stored = present.iter().map(|&present| present as usize).sum();
            encode_hybrid(&present, 1, &mut definition);
        }
        bytes.clear();
        let encoding = match (&mut indices, &dictionary) {
            _ if stored == 0 => Encoding::PLAIN,
            (Some(indices), Some(dictionary)) => {
                let here = indices.split_off(..stored).expect("every value there is has an index");
                put_indices(here, dictionary.values.len(), &mut bytes);
                Encoding::RLE_DICTIONARY
            }
            _ => {
                page.clear();
                let here = rows.iter().filter_map(|row| Some(row.value(values[row.form as usize]?)));
                here.for_each(|value| page.push(value));
                encode_delta_length(&page, &mut bytes);
                Encoding::DELTA_LENGTH_BYTE_ARRAY
            }
        };
        let values = PageValues {
            encoding,
            bytes: &bytes,
            stored,
            rows: rows.len(),
            levels: Levels { repetition: &[], definition: &definition, count: rows.len() },
            bounds: None,
        };
        sink.page(values, &mut columns.zstd)?;
    }
    columns.append(sink, Some((LogColumnKind::Metadata, name)))
}

/// Distinct values of a column and, for each row that has one, which.
struct Dictionary<'a> {
    values: ByteColumn,
    indices: Vec<u32>,
    ids: HashMap<&'a [u8], u32>,
}

impl<'a> Dictionary<'a> {
    /// The dictionary of a metadata column, or `None` when its values repeat too little for one.
    fn try_new(layout: &Layout<'a>, sources: &[Option<SlotValue<'a>>]) -> Option<Self> {
        let mut dictionary = Self { values: ByteColumn::default(), indices: Vec::new(), ids: HashMap::new() };
        // What a form's entries share is looked up once.
        let mut of_form: Vec<Option<u32>> = vec![None; sources.len()];
        let mut last: Option<(&[u8], u32)> = None;
        for row in &layout.rows {
            let id = match sources[row.form as usize] {
                None => continue,
                Some(SlotValue::Shared(text)) => {
                    *of_form[row.form as usize].get_or_insert_with(|| dictionary.id(text.as_bytes()))
                }
                Some(SlotValue::Own(position)) => {
                    let value = row.own(position);
                    // Rows are sorted by stream, so many values are those of the row before.
                    match last {
                        Some((same, id)) if same == value => id,
                        _ => {
                            let id = dictionary.id(value);
                            last = Some((value, id));
                            id
                        }
                    }
                }
            };
            dictionary.indices.push(id);
            if dictionary.is_poor() {
                return None;
            }
        }
        Some(dictionary)
    }

    fn id(&mut self, value: &'a [u8]) -> u32 {
        *self.ids.entry(value).or_insert_with(|| {
            self.values.push(value);
            self.values.len() as u32 - 1
        })
    }

    fn is_poor(&self) -> bool {
        let (distinct, count) = (self.values.len(), self.indices.len());
        (count >= DICTIONARY_TRIAL && distinct * 2 > count)
            || distinct > DICTIONARY_VALUES_MAX
            || self.values.bytes.len() > DICTIONARY_BYTES_MAX
    }
}

/// The column of one stream label: one page for all rows, since a stream's rows are together.
pub(super) fn label_column(
    columns: &mut Columns<'_>,
    parts: &[StreamPart<'_>],
    label: &str,
    position: usize,
) -> LogStoreResult<()> {
    let mut sink = columns.sink(position);
    let mut ids: HashMap<&str, u32> = HashMap::new();
    let (mut values, mut indices, mut present) = (ByteColumn::default(), Vec::new(), Vec::new());
    for part in parts {
        let value = part.stream.labels.get(label);
        present.resize(present.len() + part.rows.len(), u32::from(value.is_some()));
        if let Some(value) = value {
            let id = *ids.entry(value).or_insert_with(|| {
                values.push(value.as_bytes());
                values.len() as u32 - 1
            });
            indices.resize(indices.len() + part.rows.len(), id);
        }
    }
    let (mut plain, mut bytes, mut definition) = (Vec::new(), Vec::new(), Vec::new());
    encode_plain(&values, &mut plain);
    sink.dictionary(&plain, values.len(), &mut columns.zstd)?;
    put_indices(&indices, values.len(), &mut bytes);
    encode_hybrid(&present, 1, &mut definition);
    let page = PageValues {
        encoding: Encoding::RLE_DICTIONARY,
        bytes: &bytes,
        stored: indices.len(),
        rows: present.len(),
        levels: Levels { repetition: &[], definition: &definition, count: present.len() },
        bounds: None,
    };
    sink.page(page, &mut columns.zstd)?;
    columns.append(sink, None)
}

/// Names and values of metadata without a column of their own: the two leaves of the map.
pub(super) fn rest_columns(
    columns: &mut Columns<'_>,
    source: &Source<'_>,
    position: usize,
) -> LogStoreResult<()> {
    let Source { layout, plan, .. } = source;
    let pairs = source.shapes.rest_of_forms(plan);
    let mut names = columns.sink(position);
    let mut values = columns.sink(position + 1);
    if !plan.rest_keys.is_empty() {
        let (mut dictionary, mut plain) = (ByteColumn::default(), Vec::new());
        plan.rest_keys.iter().for_each(|name| dictionary.push(name.as_bytes()));
        encode_plain(&dictionary, &mut plain);
        names.dictionary(&plain, dictionary.len(), &mut columns.zstd)?;
    }
    let mut rest = RestPage::default();
    for rows in layout.pages() {
        rest.fill(rows, &pairs);
        let page = |encoding, bytes| PageValues {
            encoding: if rest.indices.is_empty() { Encoding::PLAIN } else { encoding },
            bytes,
            stored: rest.indices.len(),
            rows: rows.len(),
            levels: Levels {
                repetition: &rest.repetition,
                definition: &rest.definition,
                count: rest.level_count,
            },
            bounds: None,
        };
        let (mut name_bytes, mut value_bytes) = (Vec::new(), Vec::new());
        if !rest.indices.is_empty() {
            put_indices(&rest.indices, plan.rest_keys.len(), &mut name_bytes);
            encode_delta_length(&rest.values, &mut value_bytes);
        }
        names.page(page(Encoding::RLE_DICTIONARY, &name_bytes), &mut columns.zstd)?;
        values.page(page(Encoding::DELTA_LENGTH_BYTE_ARRAY, &value_bytes), &mut columns.zstd)?;
    }
    // Our reader takes the names from the shapes.
    columns.append(names, None)?;
    columns.append(values, Some((LogColumnKind::RestValues, "")))
}

/// Rest pairs of one page, with the levels of the map.
#[derive(Default)]
struct RestPage {
    indices: Vec<u32>,
    values: ByteColumn,
    /// 1 for a pair that is not the first of its row.
    repeats: Vec<u32>,
    /// 0 for the one place of a row without a pair.
    defined: Vec<u32>,
    repetition: Vec<u8>,
    definition: Vec<u8>,
    level_count: usize,
}

impl RestPage {
    fn fill<'a>(&mut self, rows: &[Row<'a>], pairs: &[Vec<(u32, SlotValue<'a>)>]) {
        self.indices.clear();
        self.values.clear();
        self.repeats.clear();
        self.defined.clear();
        self.repetition.clear();
        self.definition.clear();
        if rows.iter().all(|row| pairs[row.form as usize].is_empty()) {
            self.level_count = rows.len();
            put_equal_levels(0, rows.len(), &mut self.repetition);
            put_equal_levels(0, rows.len(), &mut self.definition);
            return;
        }
        for row in rows {
            let before = self.indices.len();
            for &(name, value) in &pairs[row.form as usize] {
                self.repeats.push(u32::from(self.indices.len() > before));
                self.defined.push(1);
                self.indices.push(name);
                self.values.push(row.value(value));
            }
            if self.indices.len() == before {
                self.repeats.push(0);
                self.defined.push(0);
            }
        }
        self.level_count = self.repeats.len();
        encode_hybrid(&self.repeats, 1, &mut self.repetition);
        encode_hybrid(&self.defined, 1, &mut self.definition);
    }
}
