//! What came out behind a pipeline, compared with what went in.

use std::collections::HashMap;
use std::time::Instant;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::{AGAIN, Verdict};
use crate::cli::Proof;
use crate::ledger::Outcome;
use crate::live::Live;
use crate::payload::Template;
use crate::payload::metrics::Kind;
use crate::run::WorkerResult;
use crate::sink::{
    Arrived, Sink, content_of_histogram, content_of_line, content_of_number, key_of_instance, spans,
};

/// What is expected under a key and a time: content, whether it was acknowledged, how often it was found.
type Expected = HashMap<(u64, i64), (u64, Outcome, u32)>;

/// Waits until everything acknowledged has come or the time of grace is over, then compares.
pub(crate) async fn check(
    proof: &Proof,
    sink: &Sink,
    results: &[WorkerResult],
    live: &mut Live,
) -> anyhow::Result<Verdict> {
    let expected = expected(results);
    let acked = expected.values().filter(|(_, outcome, _)| *outcome == Outcome::Acked).count();
    let grace_until = Instant::now() + proof.grace;
    loop {
        let arrived = sink.count();
        live.step("verify: items that arrived", arrived.min(acked) as u64, acked as u64);
        let verdict = || compare(expected.clone(), &sink.arrived(), proof);
        if Instant::now() >= grace_until {
            return Ok(verdict());
        }
        if arrived >= acked {
            // Doubles come close behind; items that are still missing may be on their way.
            tokio::time::sleep(AGAIN).await;
            let seen = verdict();
            if seen.lost == 0 {
                return Ok(seen);
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn expected(results: &[WorkerResult]) -> Expected {
    let mut expected = Expected::new();
    for result in results {
        for sent in &result.ledger {
            match &result.templates[sent.template] {
                Template::Logs(template) => {
                    let key = key_of_instance(&template.instance);
                    for index in 0..template.items() as usize {
                        let content = content_of_line(&template.line(sent.round, index));
                        expected.insert((key, sent.time_ns + index as i64), (content, sent.outcome, 0));
                    }
                }
                Template::Metrics(template) => {
                    for point in template.points() {
                        let (course, series) = (template.course, point.series);
                        let content = match point.kind {
                            Kind::Counter | Kind::Gauge => {
                                content_of_number(course.number(point.kind, series, sent.round))
                            }
                            Kind::Histogram => content_of_histogram(
                                course.sum(series, sent.round),
                                &course.buckets(series, sent.round),
                            ),
                        };
                        expected.insert((u64::from(series), sent.time_ns), (content, sent.outcome, 0));
                    }
                }
                Template::Traces(template) => {
                    let request =
                        ExportTraceServiceRequest::decode(template.render(sent.round, sent.time_ns))
                            .expect("our own templates are well-formed");
                    for span in spans(&request, 0) {
                        expected.insert((span.key, span.time_ns), (span.content, sent.outcome, 0));
                    }
                }
            }
        }
    }
    expected
}

fn compare(mut expected: Expected, arrived: &[Arrived], proof: &Proof) -> Verdict {
    let late_ns = i64::try_from(proof.late_after.as_nanos()).unwrap_or(i64::MAX);
    let mut verdict = Verdict::default();
    for item in arrived {
        let Some((content, _, times_found)) = expected.get_mut(&(item.key, item.time_ns)) else {
            verdict.wrong += 1;
            verdict.note(|| format!("an item at {} ns was never sent", item.time_ns));
            continue;
        };
        *times_found += 1;
        if *times_found > 1 {
            verdict.duplicated += 1;
            verdict.note(|| format!("the item at {} ns arrived twice", item.time_ns));
        } else if *content != item.content {
            verdict.wrong += 1;
            verdict.note(|| format!("the item at {} ns differs from what was sent", item.time_ns));
        } else if item.arrived_ns - item.time_ns > late_ns {
            verdict.late += 1;
        }
    }
    for ((_, time_ns), (_, outcome, times_found)) in expected {
        if outcome == Outcome::Acked {
            verdict.checked += 1;
            if times_found == 0 {
                verdict.lost += 1;
                verdict.note(|| format!("the item at {time_ns} ns did not arrive"));
            }
        }
    }
    verdict
}
