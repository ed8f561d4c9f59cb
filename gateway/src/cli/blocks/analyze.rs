//! `tidegate blocks analyze`: what of a block costs most, in the form of `promtool tsdb analyze`.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, bail};
use clap::Args;
use model::Matcher;
use serde_json::{Value, json};
use tsdb::block::{BlockAnalysis, BlockMeta, ChunkAnalysis, analyze, has_windows};

use super::{Output, Place};

/// What to look at.
#[derive(Args, Clone, Debug)]
pub(super) struct AnalyzeArguments {
    #[command(flatten)]
    place: Place,
    /// Entries of each list.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Reads all chunks too, and shows how many samples and bytes they have.
    #[arg(long)]
    extended: bool,
    /// Only series that match this selector, e.g. up{job="x"}.
    #[arg(long = "match", value_name = "SELECTOR")]
    selector: Option<String>,
}

/// Looks at the newest block of the place.
pub(super) fn run(arguments: &AnalyzeArguments, output: Output) -> anyhow::Result<()> {
    let AnalyzeArguments { place: Place { path }, limit, extended, selector } = arguments;
    let mut matchers: Vec<Matcher> = Vec::new();
    if let Some(selector) = selector {
        let set = promql::parse_selector(selector).with_context(|| format!("selector {selector}"))?;
        matchers.extend(set);
    }
    let blocks = super::open(Path::new(path))?;
    let newest = blocks.iter().max_by_key(|block| (block.meta().max_time, block.meta().ulid));
    let Some(block) = newest else { bail!("no blocks below {}", path.display()) };
    if has_windows(block) && *extended {
        bail!("{} is downsampled: its chunks are windows, not samples", block.folder().display());
    }
    let analysis = analyze(block, &matchers, *extended)?;
    let meta = block.meta();
    if output == Output::Json {
        return super::print_json(&to_json(&meta, &analysis, *limit));
    }
    super::super::print(&to_text(&meta, &analysis, selector.as_deref(), *limit)?)
}

/// A list with its title and its name in JSON.
type List<'a> = (&'static str, &'static str, &'a [(String, u64)]);

fn lists(analysis: &BlockAnalysis) -> [List<'_>; 6] {
    [
        ("Label pairs most involved in churning", "churn_by_pair", &analysis.churn_by_pair),
        ("Label names most involved in churning", "churn_by_name", &analysis.churn_by_name),
        ("Most common label pairs", "series_by_pair", &analysis.series_by_pair),
        (
            "Label names with highest cumulative label value length",
            "value_bytes_by_name",
            &analysis.value_bytes_by_name,
        ),
        ("Highest cardinality labels", "values_by_name", &analysis.values_by_name),
        ("Highest cardinality metric names", "series_by_metric", &analysis.series_by_metric),
    ]
}

fn to_text(
    meta: &BlockMeta,
    analysis: &BlockAnalysis,
    selector: Option<&str>,
    limit: usize,
) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "Block ID: {}", meta.ulid)?;
    writeln!(text, "Duration: {}", crate::duration::go_text(meta.max_time.saturating_sub(meta.min_time)))?;
    writeln!(text, "Total Series: {}", meta.stats.num_series)?;
    if let Some(selector) = selector {
        writeln!(text, "Matcher: {selector}")?;
    }
    writeln!(text, "Label names: {}", analysis.names)?;
    if selector.is_some() {
        writeln!(text, "Matched series: {}", analysis.series)?;
    }
    writeln!(text, "Postings (unique label pairs): {}", analysis.pairs)?;
    writeln!(text, "Postings entries (total label pairs): {}", analysis.entries)?;
    for (title, _, list) in lists(analysis) {
        writeln!(text, "\n{title}:")?;
        list.iter().take(limit).try_for_each(|(name, count)| writeln!(text, "{count} {name}"))?;
    }
    if let Some(chunks) = &analysis.chunks {
        text.push_str("\nCompaction analysis:\n\n");
        for (title, numbers) in distributions(chunks) {
            histogram(&mut text, title, numbers, chunks.total)?;
        }
    }
    Ok(text)
}

fn distributions(chunks: &ChunkAnalysis) -> [(&'static str, &[usize]); 5] {
    [
        ("samples per float chunk", &chunks.float_samples),
        ("bytes per float chunk", &chunks.float_bytes),
        ("samples per histogram chunk", &chunks.histogram_samples),
        ("bytes per histogram chunk", &chunks.histogram_bytes),
        ("buckets per histogram chunk", &chunks.histogram_buckets),
    ]
}

/// Numbers by buckets of equal width, each with a bar for its share of all chunks (`displayHistogram` in
/// cmd/promtool/tsdb.go).
fn histogram(text: &mut String, title: &str, numbers: &[usize], total: usize) -> std::fmt::Result {
    let (Some(&min), Some(&max)) = (numbers.iter().min(), numbers.iter().max()) else {
        return writeln!(text, "{title}: N/A\n");
    };
    let mut step = 10;
    while step < (max - min) / 10 && step <= 10_000 {
        step *= 10;
    }
    let (start, end) = (min - min % step, max - max % step + step);
    let mut buckets = vec![0usize; (end - start) / step + 1];
    numbers.iter().for_each(|number| buckets[(number - start) / step] += 1);
    let average = numbers.iter().sum::<usize>() / numbers.len();
    writeln!(text, "{title} (min/avg/max): {min}/{average}/{max}")?;
    let width = |number: usize| number.to_string().len();
    let most = buckets.iter().copied().max().unwrap_or_default();
    let (left, right, middle) = (width(end), width(end + step), width(most));
    for (index, count) in buckets.iter().enumerate() {
        let (from, to) = (index * step + start + 1, (index + 1) * step + start);
        let bar = "#".repeat(100 * count / total.max(1));
        writeln!(text, "[{from:left$}, {to:right$}]: {count:middle$} {bar}")?;
    }
    text.push('\n');
    Ok(())
}

fn to_json(meta: &BlockMeta, analysis: &BlockAnalysis, limit: usize) -> Value {
    let mut all = json!({
        "ulid": meta.ulid.to_string(),
        "duration_ms": meta.max_time.saturating_sub(meta.min_time),
        "series_total": meta.stats.num_series,
        "series": analysis.series,
        "label_names": analysis.names,
        "label_pairs": analysis.pairs,
        "label_entries": analysis.entries,
    });
    for (_, name, list) in lists(analysis) {
        let entry = |(name, count): &(String, u64)| json!({"name": name, "count": count});
        all[name] = list.iter().take(limit).map(entry).collect();
    }
    if let Some(chunks) = &analysis.chunks {
        all["chunks"] = json!({"total": chunks.total});
        for (title, numbers) in distributions(chunks) {
            let (min, max) = (numbers.iter().min(), numbers.iter().max());
            let sum: usize = numbers.iter().sum();
            all["chunks"][title.replace(' ', "_")] =
                json!({"chunks": numbers.len(), "min": min, "max": max, "sum": sum});
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::histogram;

    #[test]
    fn chunks_are_shown_by_size_as_promtool_shows_them() {
        for (numbers, total, want) in [
            (&[][..], 3, "x: N/A\n\n"),
            // Printed by promtool's displayHistogram("x", []int{120, 120, 40, 7}, 5).
            (
                &[120, 120, 40, 7],
                5,
                "x (min/avg/max): 7/71/120\n[  1, 100]: 2 ########################################\n[101, 200]: 2 \
                 ########################################\n[201, 300]: 0 \n\n",
            ),
        ] {
            let mut text = String::new();
            histogram(&mut text, "x", numbers, total).expect("a String takes all");
            assert_eq!(text, want);
        }
    }
}
