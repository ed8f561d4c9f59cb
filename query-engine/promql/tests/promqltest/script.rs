//! The test language: `load`, `clear`, `eval`, `expect` (promql/promqltest of Prometheus).

use model::{Labels, SampleColumns};
use promql::{parse_duration, parse_number};
use regex::Regex;

use super::series::{Item, parse_series};

/// A command of a script.
pub enum Command {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

pub struct Load {
    pub series: Vec<(Labels, SampleColumns)>,
    /// Classic histograms are stored as native ones with custom buckets as well.
    pub with_nhcb: bool,
    /// Whether start timestamps are given.
    pub has_start_timestamps: bool,
}

/// How a text is expected.
pub enum Pattern {
    Any,
    Message(String),
    Regex(Regex),
}

impl Pattern {
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Message(message) => message == text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// The times of an evaluation, ms.
#[derive(Clone, Copy, Debug)]
pub enum Times {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// An evaluation and what is expected of it.
pub struct Eval {
    pub line: usize,
    pub query: String,
    pub times: Times,
    pub fail: Option<Pattern>,
    pub is_ordered: bool,
    pub warns: Vec<Pattern>,
    pub infos: Vec<Pattern>,
    pub no_warn: bool,
    pub no_info: bool,
    pub scalar: Option<f64>,
    pub string: Option<String>,
    pub series: Vec<(Labels, Vec<Item>)>,
    /// Times of the expected points of a range vector, in place of those of the evaluation.
    pub range_vector: Option<(i64, i64, i64)>,
}

/// Parses a script.
pub fn parse_script(text: &str) -> Result<Vec<Command>, String> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let block_end = lines[at..].iter().position(|line| line.is_empty()).map_or(lines.len(), |n| at + n);
        let block = &lines[at..block_end.max(at + 1)];
        let failed = |error: String| format!("line {}: {error}", at + 1);
        let word = line.split([' ', '\t']).next().unwrap_or("").to_lowercase();
        let used = match word.as_str() {
            "" => 1,
            "clear" => {
                commands.push(Command::Clear);
                1
            }
            word if word.starts_with("load") => {
                commands.push(Command::Load(parse_load(block).map_err(failed)?));
                block.len()
            }
            word if word.starts_with("eval") => {
                let (eval, used) = parse_eval(block, at + 1).map_err(failed)?;
                commands.push(Command::Eval(Box::new(eval)));
                used
            }
            _ => return Err(failed(format!("an unknown command {line:?}"))),
        };
        at += used;
    }
    Ok(commands)
}

fn parse_load(block: &[&str]) -> Result<Load, String> {
    let (command, gap) = block[0].split_once(char::is_whitespace).ok_or("a load without a gap")?;
    let gap = parse_duration(gap.trim())?;
    let mut load =
        Load { series: Vec::new(), with_nhcb: command == "load_with_nhcb", has_start_timestamps: false };
    for line in &block[1..] {
        if line.split([' ', '\t']).next().is_some_and(|metric| metric.ends_with("@st")) {
            load.has_start_timestamps = true;
            continue;
        }
        let (labels, items) = parse_series(line)?;
        let mut columns = SampleColumns::default();
        for (index, item) in items.into_iter().enumerate() {
            let time = gap * index as i64;
            match item {
                Item::Omitted => {}
                Item::Float(value) => columns.push(time, value),
                Item::Histogram { histogram, .. } => columns.push_histogram(time, histogram),
            }
        }
        // Of two definitions of a series the later one counts.
        load.series.retain(|(known, _)| *known != labels);
        load.series.push((labels, columns));
    }
    Ok(load)
}

fn parse_eval(block: &[&str], line: usize) -> Result<(Eval, usize), String> {
    let instant = Regex::new(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$");
    let range =
        Regex::new(r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$");
    let (instant, range) = (instant.expect("constant"), range.expect("constant"));
    let (mode, times, query) = if let Some(parts) = instant.captures(block[0]) {
        let at = parts.get(2).map_or(Ok(0), |at| parse_duration(at.as_str()))?;
        (parts.get(1), Times::Instant(at), parts[3].to_owned())
    } else if let Some(parts) = range.captures(block[0]) {
        let times = Times::Range {
            start: parse_duration(&parts[2])?,
            end: parse_duration(&parts[3])?,
            step: parse_duration(&parts[4])?,
        };
        (parts.get(1), times, parts[5].to_owned())
    } else {
        return Err(format!("a bad eval {:?}", block[0]));
    };
    let mut eval = Eval {
        line,
        query,
        times,
        fail: None,
        is_ordered: false,
        warns: Vec::new(),
        infos: Vec::new(),
        no_warn: false,
        no_info: false,
        scalar: None,
        string: None,
        series: Vec::new(),
        range_vector: None,
    };
    match mode.map(|mode| mode.as_str()) {
        Some("fail") => eval.fail = Some(Pattern::Any),
        Some("ordered") => eval.is_ordered = true,
        Some("warn") => eval.warns.push(Pattern::Any),
        Some("info") => eval.infos.push(Pattern::Any),
        _ => {}
    }
    for (index, line) in block.iter().enumerate().skip(1) {
        if eval.fail.is_some() && line.starts_with("expected_fail") {
            let (kind, text) = line.split_once(' ').ok_or("an empty expected_fail")?;
            eval.fail = Some(match kind {
                "expected_fail_message" => Pattern::Message(text.trim().to_owned()),
                _ => Pattern::Regex(Regex::new(text.trim()).map_err(|e| e.to_string())?),
            });
            return Ok((eval, index + 1));
        }
        if let Some(rest) = line.strip_prefix("expect range vector") {
            let words: Vec<&str> = rest.split_whitespace().collect();
            let [_, from, _, to, _, step] = words[..] else { return Err("a bad range vector".to_owned()) };
            eval.range_vector = Some((parse_duration(from)?, parse_duration(to)?, parse_duration(step)?));
            continue;
        }
        if let Some(rest) = line.strip_prefix("expect string") {
            let selector = promql::parse_expr(rest.trim(), promql::ParseOptions::ALL);
            let expr = selector.map_err(|error| error.to_string())?;
            let promql::ExprKind::String(text) = expr.kind else { return Err("no string".to_owned()) };
            eval.string = Some(text);
            continue;
        }
        if line.split(' ').next() == Some("expect") {
            parse_expect(&mut eval, line)?;
            continue;
        }
        if let Some(value) = whole_number(line) {
            eval.scalar = Some(value);
            return Ok((eval, index + 1));
        }
        eval.series.push(parse_series(line)?);
    }
    Ok((eval, block.len()))
}

fn whole_number(line: &str) -> Option<f64> {
    let unsigned = line.strip_prefix(['+', '-']).unwrap_or(line);
    let value = parse_number(unsigned)?;
    Some(if line.starts_with('-') { -value } else { value })
}

fn parse_expect(eval: &mut Eval, line: &str) -> Result<(), String> {
    let shape = Regex::new(r"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?$");
    let parts = shape.expect("constant").captures(line).ok_or_else(|| format!("a bad expect {line:?}"))?;
    let text = parts.get(3).map_or("", |text| text.as_str().trim());
    let pattern = match parts.get(2).map(|kind| kind.as_str()) {
        None => Pattern::Any,
        Some("msg") => Pattern::Message(text.to_owned()),
        Some(_) => Pattern::Regex(Regex::new(text).map_err(|error| error.to_string())?),
    };
    match &parts[1] {
        "ordered" => eval.is_ordered = true,
        "fail" => eval.fail = Some(pattern),
        "warn" => eval.warns.push(pattern),
        "info" => eval.infos.push(pattern),
        "no_warn" => eval.no_warn = true,
        _ => eval.no_info = true,
    }
    Ok(())
}
