//! One page with plots: no script, no other file, light and dark.

use super::junit::escaped;
use super::{Ending, Moment, Report, Results};

/// Size of a plot's area and the margins for its axes.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 34.0;
/// More points than this in a line cannot be told apart.
const POINTS_MAX: usize = 600;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d5dbe3;--page:#fff;--card:#f6f8fa;--a:#0b6bcb;--b:#c2410c;--c:#0f8a5f;--bad:#c81e3a}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa5b5;--line:#343c48;--page:#12161c;--card:#1a2029;--a:#5aa9f8;--b:#fb923c;--c:#4ade80;--bad:#fb7185}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:980px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.2rem;margin:2.2rem 0 .6rem}h3{font-size:1rem;margin:1.4rem 0 .2rem}
.soft{color:var(--soft)}.bad{color:var(--bad);font-weight:600}.good{color:var(--c);font-weight:600}
.cards{display:flex;flex-wrap:wrap;gap:.7rem;margin:.8rem 0}.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.5rem .9rem;min-width:8rem}
.card b{display:block;font-size:1.25rem;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;margin:.5rem 0}td,th{text-align:left;padding:.25rem .9rem .25rem 0;border-bottom:1px solid var(--line);font-variant-numeric:tabular-nums}
svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font:12px system-ui,sans-serif}svg .grid{stroke:var(--line)}
.key{display:inline-block;width:.9rem;height:.2rem;vertical-align:middle;margin:0 .3rem 0 .9rem}";

/// A line of a plot: name, colour and points.
struct Line<'a> {
    name: &'a str,
    colour: &'a str,
    points: Vec<(f64, f64)>,
}

pub(super) fn render(results: &Results) -> String {
    let passed = results.ending() == Ending::Passed;
    let (class, word) = if passed { ("good", "passed") } else { ("bad", "failed") };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
<title>Load test: {word}</title><style>{STYLE}</style></head><body>\n<h1>Load test <span class=\"{class}\">{word}</span></h1>\n"
    );
    if let Some(search) = &results.search {
        page.push_str(&format!("<pre>{}</pre>\n", escaped(&search.text()).replace("&#10;", "\n")));
    }
    for report in &results.loads {
        load(&mut page, report);
    }
    page.push_str("</body></html>\n");
    page
}

fn load(page: &mut String, report: &Report) {
    page.push_str(&format!(
        "<h2>{}</h2>\n<p class=\"soft\">{} {} to {}, {} connections, {} items a request, {:.1} s</p>\n",
        escaped(&report.name),
        report.kind,
        report.signal,
        escaped(&report.endpoint),
        report.connections,
        report.batch,
        report.duration_seconds,
    ));
    cards(page, report);
    verdicts(page, report);
    let series = |value: fn(&Moment) -> f64| thinned(&report.timeline, value);
    let wanted = report.timeline.iter().filter_map(|m| Some((m.at_seconds, m.wanted_per_second?))).collect();
    let mut rates =
        vec![Line { name: "acknowledged", colour: "var(--a)", points: series(|m| m.acked_per_second) }];
    if report.wanted_per_second.is_some() {
        rates.push(Line { name: "wanted", colour: "var(--c)", points: wanted });
    }
    plot(page, "Items a second", "s", &rates, false);
    plot(
        page,
        "Latency, ms, from when a request was due",
        "s",
        &[
            Line { name: "max", colour: "var(--bad)", points: series(|m| m.max_ms) },
            Line { name: "p99", colour: "var(--b)", points: series(|m| m.p99_ms) },
            Line { name: "p50", colour: "var(--a)", points: series(|m| m.p50_ms) },
        ],
        true,
    );
    // Nines to the right: a half is at 1, 99 % at 100.
    let nines = |quantile: f64| (1.0 / (1.0 - quantile.min(0.99999))).log10();
    let points = report.distribution.iter().map(|(quantile, ms)| (nines(*quantile), *ms)).collect();
    let line = Line { name: "latency, ms", colour: "var(--a)", points };
    plot(page, "Distribution of latency, ms", "nines", &[line], true);
    if report.target.is_some() {
        let points = series(|m| m.target_cores.unwrap_or(0.0));
        plot(page, "Cores of the target", "s", &[Line { name: "cores", colour: "var(--b)", points }], false);
        let points = series(|m| m.target_rss_mib.unwrap_or(0.0));
        plot(
            page,
            "Memory of the target, MiB",
            "s",
            &[Line { name: "resident", colour: "var(--c)", points }],
            false,
        );
    }
    if report.timeline.iter().any(|moment| moment.failed_requests > 0) {
        let points = series(|m| m.failed_requests as f64);
        let line = Line { name: "failed requests", colour: "var(--bad)", points };
        plot(page, "Failed requests a second", "s", &[line], false);
    }
}

fn cards(page: &mut String, report: &Report) {
    let mut cards = vec![
        ("acknowledged a second", grouped(report.acked_per_second)),
        ("acknowledged", grouped(report.acked as f64)),
        ("p50", time_text(report.latency_ms.p50)),
        ("p99", time_text(report.latency_ms.p99)),
        ("p99.9", time_text(report.latency_ms.p999)),
        ("failed requests", grouped((report.refused_requests + report.unanswered_requests) as f64)),
        ("generator", format!("{:.2} cores", report.generator.usage.cores)),
    ];
    if let Some(target) = &report.target {
        cards.push(("target", format!("{:.2} cores", target.cores)));
        cards.push(("target's memory", format!("{:.0} MiB", target.rss_peak_mib)));
    }
    page.push_str("<div class=\"cards\">");
    for (name, value) in cards {
        page.push_str(&format!("<div class=\"card\"><span class=\"soft\">{name}</span><b>{value}</b></div>"));
    }
    page.push_str("</div>\n");
}

fn verdicts(page: &mut String, report: &Report) {
    for warning in report.generator.warning.iter().chain(&report.example_failure) {
        page.push_str(&format!("<p class=\"bad\">{}</p>\n", escaped(warning)));
    }
    let word = |passed: bool| if passed { ("good", "ok") } else { ("bad", "missed") };
    let mut rows = Vec::new();
    if let Some(verdict) = &report.verify {
        let found = format!(
            "{} checked, {} lost, {} duplicated, {} wrong, {} late {}",
            verdict.checked,
            verdict.lost,
            verdict.duplicated,
            verdict.wrong,
            verdict.late,
            verdict.example.as_deref().unwrap_or("")
        );
        rows.push(("read back".to_owned(), found, report.fault().is_none()));
    }
    rows.extend(report.gap().map(|gap| ("complete".to_owned(), gap, false)));
    for checked in &report.thresholds {
        let value = checked.value.map_or_else(|| "not known".to_owned(), |value| format!("{value:.3}"));
        rows.push((checked.threshold.clone(), value, checked.passed));
    }
    if rows.is_empty() {
        return;
    }
    page.push_str("<table>");
    for (name, value, passed) in rows {
        let (class, word) = word(passed);
        let (name, value) = (escaped(&name), escaped(&value));
        page.push_str(&format!("<tr><td>{name}</td><td>{value}</td><td class=\"{class}\">{word}</td></tr>"));
    }
    page.push_str("</table>\n");
}

/// At most [`POINTS_MAX`] points, each the highest of its neighbours, so that peaks stay.
fn thinned(timeline: &[Moment], value: fn(&Moment) -> f64) -> Vec<(f64, f64)> {
    let step = timeline.len().div_ceil(POINTS_MAX).max(1);
    let highest = |part: &[Moment]| part.iter().map(value).fold(0.0, f64::max);
    timeline.chunks(step).map(|part| (part[0].at_seconds, highest(part))).collect()
}

/// A plot from zero; `is_log` spreads small values out.
fn plot(page: &mut String, title: &str, unit: &str, lines: &[Line<'_>], is_log: bool) {
    let all = || lines.iter().flat_map(|line| &line.points);
    let (x_min, x_max) = if unit == "s" { (0.0, all().map(|p| p.0).fold(1.0, f64::max)) } else { (0.0, 4.0) };
    let top = all().map(|point| point.1).fold(0.0, f64::max).max(1e-3);
    let low = all().map(|p| p.1).filter(|y| *y > 0.0).fold(top, f64::min);
    let (low, top, ticks) = if is_log { log_scale(low, top) } else { linear_scale(top) };
    let x = |value: f64| LEFT + (value - x_min) / (x_max - x_min) * WIDTH;
    let y = |value: f64| {
        let share = if is_log { (value.max(low) / low).ln() / (top / low).ln() } else { value / top };
        HEIGHT - share * (HEIGHT - 8.0)
    };
    page.push_str(&format!("<h3>{title}"));
    for line in lines {
        page.push_str(&format!(
            "<span class=\"key\" style=\"background:{}\"></span><span class=\"soft\">{}</span>",
            line.colour, line.name
        ));
    }
    let (w, h) = (LEFT + WIDTH + 40.0, HEIGHT + BOTTOM);
    page.push_str(&format!("</h3>\n<svg viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"{title}\">"));
    for value in ticks {
        let at = y(value);
        page.push_str(&format!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT + WIDTH, LEFT - 8.0, at + 4.0, short(value)
        ));
    }
    for (value, label) in labels(unit, x_max) {
        page.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{label}</text>",
            x(value),
            HEIGHT + 20.0
        ));
    }
    for line in lines {
        let mut sorted = line.points.clone();
        sorted.retain(|point| point.0 <= x_max + 1e-9);
        // A moment stands for the time before it, so that a run of one moment has a line too.
        if unit == "s"
            && let Some((_, first)) = sorted.first().copied()
        {
            sorted.insert(0, (x_min, first));
        }
        let points = sorted.iter().map(|(px, py)| format!("{:.1},{:.1}", x(*px), y(*py)));
        let points = points.collect::<Vec<_>>().join(" ");
        page.push_str(&format!(
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-linejoin=\"round\" points=\"{points}\"/>",
            line.colour
        ));
    }
    page.push_str("</svg>\n");
}

/// What stands below an axis of seconds, or of shares.
fn labels(unit: &str, x_max: f64) -> Vec<(f64, String)> {
    let label = |value: f64| (value, format!("{} s", short(value)));
    match unit {
        "s" => linear_scale(x_max).2.into_iter().filter(|value| *value <= x_max).map(label).collect(),
        _ => NINES.iter().enumerate().map(|(nines, label)| (nines as f64, (*label).to_owned())).collect(),
    }
}

/// Labels of the shares, by the number of nines.
const NINES: [&str; 5] = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"];

/// An axis from zero to above `top`, with its round values.
fn linear_scale(top: f64) -> (f64, f64, Vec<f64>) {
    let rough = top / 4.0;
    let unit = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * unit).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let count = (top / step).ceil();
    (0.0, step * count, (0..=count as u32).map(|tick| step * f64::from(tick)).collect())
}

/// A logarithmic axis around `low` and `top`, with its round values: ones, twos and fives, or ones where those are many.
fn log_scale(low: f64, top: f64) -> (f64, f64, Vec<f64>) {
    let factors: &[f64] = if top / low > 1e3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let decades = low.log10().floor() as i32..=top.log10().ceil() as i32;
    let values: Vec<f64> =
        decades.flat_map(|ten| factors.iter().map(move |f| f * 10_f64.powi(ten))).collect();
    let first = values.iter().rposition(|value| *value <= low * 1.000_001).unwrap_or(0);
    let last = values.iter().position(|value| *value >= top).unwrap_or(values.len() - 1).max(first + 1);
    let ticks = values[first..=last.min(values.len() - 1)].to_vec();
    (ticks[0], ticks[ticks.len() - 1], ticks)
}

/// A time of milliseconds with a fitting unit.
fn time_text(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.2} ms") } else { format!("{:.2} s", ms / 1000.0) }
}

/// 12345.6 as `12,346`.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// An axis label: three digits, with k and M.
fn short(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e4 => (v / 1e3, "k"),
        v => (v, ""),
    };
    // Three digits say it all; what rounding left behind does not count.
    let text = format!(
        "{:.*}",
        if scaled >= 100.0 {
            0
        } else if scaled >= 1.0 {
            2
        } else {
            4
        },
        scaled
    );
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests;
