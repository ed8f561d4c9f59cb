//! The verdicts as JUnit XML: a suite for each load, a case for each thing that must hold.

use super::{Report, Results};

pub(super) fn render(results: &Results) -> String {
    let mut xml =
        String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"tidegate-loadtest\">\n");
    for report in &results.loads {
        suite(&mut xml, &report.name, report.duration_seconds, &cases(report));
    }
    if let Some(search) = &results.search {
        suite(&mut xml, "find-max", search.seconds(), &search.cases());
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn suite(xml: &mut String, name: &str, seconds: f64, cases: &[Case]) {
    let failures = cases.iter().filter(|(_, failure)| failure.is_some()).count();
    let class = escaped(name);
    xml.push_str(&format!(
        "  <testsuite name=\"{class}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" time=\"{seconds:.3}\">\n",
        cases.len(),
    ));
    for (name, failure) in cases {
        let name = escaped(name);
        match failure {
            None => xml.push_str(&format!("    <testcase classname=\"{class}\" name=\"{name}\"/>\n")),
            Some(why) => xml.push_str(&format!(
                "    <testcase classname=\"{class}\" name=\"{name}\"><failure message=\"{}\"/></testcase>\n",
                escaped(why)
            )),
        }
    }
    xml.push_str("  </testsuite>\n");
}

/// Something that must hold, and why if it does not.
pub(crate) type Case = (String, Option<String>);

fn cases(report: &Report) -> Vec<Case> {
    let acked = (report.acked == 0).then(|| {
        format!(
            "nothing was acknowledged; {}",
            report.example_failure.as_deref().unwrap_or("nothing was sent")
        )
    });
    let mut cases = vec![("something was acknowledged".to_owned(), acked)];
    if report.verify.is_some() || report.not_verified.is_some() {
        let fault = report.fault().or_else(|| report.gap());
        cases.push(("what was acknowledged is there once and right".to_owned(), fault));
    }
    if report.failed_connections > 0 {
        cases.push(("every connection worked to the end".to_owned(), report.gap()));
    }
    for checked in &report.thresholds {
        let value = checked.value.map_or_else(|| "is not known".to_owned(), |value| format!("is {value:.3}"));
        cases.push((checked.threshold.clone(), (!checked.passed).then_some(value)));
    }
    cases
}

/// Text inside XML; characters that XML 1.0 has no form for become U+FFFD.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\r' | '\t' => out.push_str(&format!("&#{};", u32::from(c))),
            c if c.is_control() => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}
