//! Line filters over a whole page: one search for a text that every hit contains, work per line only for hits.
//!
//! Sketch: a page is ~128 KB of lines in one buffer. `memmem` runs at memory speed over it; a position is turned into
//! a line by galloping through the line ends. Where the case does not matter the text is put in lower case first, at some
//! 20 GB/s, and one text is looked for in the place of all its spellings. Invariant SEARCH-1: the lines found are exactly those that all filters
//! match one by one; the tests compare with that.

use std::cell::RefCell;
use std::ops::Range;

use aho_corasick::{AhoCorasick, Input, MatchKind};
use memchr::memmem::Finder;
use model::LogEntries;

use super::line_filter::{CompiledLineFilter, LineTest};
use super::literals::selectivity;

/// Filters that all must match.
#[derive(Clone, Debug)]
pub(crate) struct LineSearch {
    filters: Vec<CompiledLineFilter>,
    prefilter: Prefilter,
    /// Position of a filter that a hit of the prefilter proves by itself.
    proven: Option<usize>,
}

#[derive(Clone, Debug)]
enum Prefilter {
    /// Every line has to be looked at.
    None,
    /// Lines with this text are candidates.
    One(Box<Finder<'static>>),
    /// Lines with one of these texts are candidates.
    Many(AhoCorasick),
    /// Lines that have this text in lower case are candidates.
    FoldedOne(Box<Finder<'static>>),
    /// Lines that have one of these in lower case are candidates.
    FoldedMany(AhoCorasick),
    /// Lines without this text are candidates; its absence proves the filter.
    Without(Box<Finder<'static>>),
}

impl LineSearch {
    pub(crate) fn new(filters: Vec<CompiledLineFilter>) -> Self {
        let best = filters
            .iter()
            .enumerate()
            .filter_map(|(index, filter)| filter.required().map(|texts| (index, texts)))
            .max_by_key(|(_, texts)| selectivity(texts));
        let (prefilter, proven) = match (best, folded(&filters)) {
            (Some((_, texts)), Some(folded)) if texts.len() > 1 && is_better(&folded, &texts) => {
                (folded_prefilter_for(&folded), None)
            }
            (Some((index, texts)), _) => {
                let exact = filters[index].tests.iter().all(|test| matches!(test, LineTest::Contains(_)));
                (prefilter_for(&texts), exact.then_some(index))
            }
            (None, Some(folded)) => (folded_prefilter_for(&folded), None),
            (None, None) => match filters
                .iter()
                .enumerate()
                .find_map(|(index, filter)| excluded(filter).map(|f| (index, f)))
            {
                Some((index, finder)) => (Prefilter::Without(finder), Some(index)),
                None => (Prefilter::None, None),
            },
        };
        Self { filters, prefilter, proven }
    }

    /// Whether every line passes.
    pub(crate) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Lists of texts: every line found contains one text of each, whatever the case of its ASCII letters. For the
    /// store to leave out pages by.
    pub(crate) fn contained_texts(&self) -> Vec<Vec<String>> {
        let mut texts: Vec<Vec<String>> =
            self.filters.iter().flat_map(CompiledLineFilter::contained_texts).collect();
        texts.sort_unstable();
        texts.dedup();
        texts
    }

    /// Appends the positions of the lines in `range` that pass to `out`, ascending.
    pub(crate) fn select(&self, entries: &LogEntries, range: Range<usize>, out: &mut Vec<u32>) {
        if range.is_empty() {
            return;
        }
        match &self.prefilter {
            Prefilter::None => {
                out.extend(range.map(position).filter(|&line| self.verify(entries, line, None)))
            }
            Prefilter::One(finder) => self.select_hits(entries, range, out, |text, from, to| {
                finder.find(&text[from..to]).map(|at| from + at..from + at + finder.needle().len())
            }),
            Prefilter::Many(searcher) => self.select_hits(entries, range, out, |text, from, to| {
                searcher.find(Input::new(text).span(from..to)).map(|hit| hit.range())
            }),
            Prefilter::FoldedOne(finder) => self.select_folded(entries, range, out, |text, from, to| {
                finder.find(&text[from..to]).map(|at| from + at..from + at + finder.needle().len())
            }),
            Prefilter::FoldedMany(searcher) => self.select_folded(entries, range, out, |text, from, to| {
                searcher.find(Input::new(text).span(from..to)).map(|hit| hit.range())
            }),
            Prefilter::Without(finder) => self.select_without(entries, range, out, finder),
        }
    }

    fn select_hits(
        &self,
        entries: &LogEntries,
        range: Range<usize>,
        out: &mut Vec<u32>,
        find: impl Fn(&[u8], usize, usize) -> Option<Range<usize>>,
    ) {
        let text = entries.lines().as_bytes();
        self.select_in(entries, range, out, |from, to| find(text, from, to));
    }

    /// As `select_hits`, in the text in lower case.
    fn select_folded(
        &self,
        entries: &LogEntries,
        range: Range<usize>,
        out: &mut Vec<u32>,
        find: impl Fn(&[u8], usize, usize) -> Option<Range<usize>>,
    ) {
        let ends = entries.line_ends();
        let start = if range.start == 0 { 0 } else { ends[range.start - 1] as usize };
        let text = &entries.lines().as_bytes()[start..ends[range.end - 1] as usize];
        FOLDED.with_borrow_mut(|folded| {
            folded.clear();
            folded.extend(text.iter().map(u8::to_ascii_lowercase));
            self.select_in(entries, range, out, |from, to| {
                let hit = find(folded, from - start, to - start)?;
                Some(start + hit.start..start + hit.end)
            });
            folded.shrink_to(KEPT_BYTES);
        });
    }

    fn select_in(
        &self,
        entries: &LogEntries,
        range: Range<usize>,
        out: &mut Vec<u32>,
        find: impl Fn(usize, usize) -> Option<Range<usize>>,
    ) {
        let ends = entries.line_ends();
        let limit = ends[range.end - 1] as usize;
        let mut line = range.start;
        let mut from = if line == 0 { 0 } else { ends[line - 1] as usize };
        while let Some(hit) = find(from, limit) {
            line = line_at(ends, line, hit.start);
            // A hit that runs over the line's end says nothing: lines lie without separators.
            let proven = if hit.end <= ends[line] as usize { self.proven } else { None };
            if self.verify(entries, position(line), proven) {
                out.push(position(line));
            }
            from = ends[line] as usize;
            line += 1;
            if line >= range.end {
                break;
            }
        }
    }

    fn select_without(
        &self,
        entries: &LogEntries,
        range: Range<usize>,
        out: &mut Vec<u32>,
        finder: &Finder<'_>,
    ) {
        let text = entries.lines().as_bytes();
        let ends = entries.line_ends();
        let limit = ends[range.end - 1] as usize;
        let mut line = range.start;
        let mut from = if line == 0 { 0 } else { ends[line - 1] as usize };
        let keep = |lines: Range<usize>, out: &mut Vec<u32>| {
            out.extend(lines.map(position).filter(|&line| self.verify(entries, line, self.proven)));
        };
        while line < range.end {
            let Some(at) = finder.find(&text[from..limit]) else { break };
            let hit = from + at;
            let hit_line = line_at(ends, line, hit);
            keep(line..hit_line, out);
            if hit + finder.needle().len() <= ends[hit_line] as usize {
                // The line has the text: left out.
            } else if self.verify(entries, position(hit_line), None) {
                out.push(position(hit_line));
            }
            from = ends[hit_line] as usize;
            line = hit_line + 1;
        }
        keep(line.min(range.end)..range.end, out);
    }

    fn verify(&self, entries: &LogEntries, line: u32, proven: Option<usize>) -> bool {
        let mut text = None;
        self.filters.iter().enumerate().all(|(index, filter)| {
            proven == Some(index) || filter.matches(text.get_or_insert_with(|| entries.line(line as usize)))
        })
    }
}

fn prefilter_for(texts: &[Vec<u8>]) -> Prefilter {
    match texts {
        [] => Prefilter::None,
        [text] => Prefilter::One(Box::new(Finder::new(text).into_owned())),
        texts => any_of(texts).map_or(Prefilter::None, Prefilter::Many),
    }
}

fn folded_prefilter_for(texts: &[String]) -> Prefilter {
    match texts {
        [text] => Prefilter::FoldedOne(Box::new(Finder::new(text.as_bytes()).into_owned())),
        texts => any_of(texts).map_or(Prefilter::None, Prefilter::FoldedMany),
    }
}

/// Finds the first of some texts; of this kind, unlike the default one, it looks for several at once with SIMD.
fn any_of(texts: &[impl AsRef<[u8]>]) -> Option<AhoCorasick> {
    AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(texts).ok()
}

/// The most selective texts in lower case of which every line that passes has one.
fn folded(filters: &[CompiledLineFilter]) -> Option<Vec<String>> {
    let lists = filters.iter().flat_map(CompiledLineFilter::contained_texts);
    lists.filter(|texts| texts.iter().all(|text| !text.is_empty())).max_by_key(|texts| selectivity(texts))
}

/// Whether texts in lower case find fewer candidates than others, which are many.
fn is_better(folded: &[String], texts: &[Vec<u8>]) -> bool {
    selectivity(folded) > selectivity(texts)
}

/// What a thread keeps of its buffer: entries in memory may be one batch of many megabytes.
const KEPT_BYTES: usize = 512 << 10;

thread_local! {
    /// Lines in lower case: to use it again saves faulting its memory in.
    static FOLDED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The only text of a `!=` filter.
fn excluded(filter: &CompiledLineFilter) -> Option<Box<Finder<'static>>> {
    match (filter.negative, filter.tests.as_slice()) {
        (true, [LineTest::Contains(finder)]) if !finder.needle().is_empty() => Some(finder.clone()),
        _ => None,
    }
}

fn position(line: usize) -> u32 {
    u32::try_from(line).expect("a page has fewer lines than bytes, and those fit 32 bits")
}

/// The line that holds byte `offset`, at or after line `from`. Hits come in ascending order, so the search starts
/// where the last one ended and doubles its stride.
fn line_at(ends: &[u32], from: usize, offset: usize) -> usize {
    let mut low = from;
    let mut stride = 1;
    while low + stride < ends.len() && ends[low + stride] as usize <= offset {
        low += stride;
        stride *= 2;
    }
    let high = (low + stride + 1).min(ends.len());
    low + ends[low..high].partition_point(|&end| end as usize <= offset)
}

#[cfg(test)]
mod tests;
