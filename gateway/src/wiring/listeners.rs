//! The open listeners of the process, and how one set of them becomes another without a refused connection.
//!
//! `prepare` does all that can fail and changes nothing that runs; `commit` cannot fail. A listener whose endpoint stays
//! is kept with its connections and gets another handler.

use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Bound;
use super::generation::Generation;
use crate::receivers::Listener;
use crate::server::listen::Transport;
use crate::server::{Exchange, Listening};
use std::sync::Arc;

/// When a listener ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// First: nothing more comes in.
    Intake,
    /// Last: says until the end how the process is.
    Status,
}

/// A listener that is open.
pub(super) struct Open {
    what: &'static str,
    endpoint: String,
    transport: Transport,
    stage: Stage,
    listening: Listening,
}

/// What becomes of the listeners.
pub(super) struct Prepared {
    steps: Vec<Step>,
    /// Whether each speaks TLS.
    encrypted: Vec<bool>,
}

enum Step {
    /// Keep the open one of this index.
    Keep(usize, &'static str, Stage, Exchange),
    /// Take a new one.
    New(Open),
}

/// Opens what is not open yet and reads what the settings name.
pub(super) async fn prepare(
    wanted: Vec<(Stage, Listener)>,
    open: &[Open],
    generation: &Arc<Generation>,
) -> anyhow::Result<Prepared> {
    let mut taken = vec![false; open.len()];
    let (mut steps, mut encrypted) = (Vec::new(), Vec::new());
    for (stage, Listener { what, endpoint, settings, handler }) in wanted {
        let handler = generation.track(handler);
        let same = |exact: bool| {
            let is_same = |(index, own): &(usize, &Open)| {
                !taken[*index]
                    && own.endpoint == endpoint
                    && own.transport == settings.transport
                    && (own.what == what || (!exact && !endpoint.ends_with(":0")))
            };
            open.iter().enumerate().find(is_same).map(|(index, _)| index)
        };
        let failed = || format!("{what}: cannot listen on {endpoint}");
        encrypted.push(settings.tls.is_some());
        steps.push(match same(true).or_else(|| same(false)) {
            Some(index) => {
                taken[index] = true;
                Step::Keep(index, what, stage, Exchange::prepare(handler, &settings).with_context(failed)?)
            }
            None => {
                let listening = Listening::bind(&endpoint, handler, &settings).await.with_context(failed)?;
                Step::New(Open { what, transport: settings.transport, endpoint, stage, listening })
            }
        });
    }
    Ok(Prepared { steps, encrypted })
}

impl Prepared {
    /// Where everything will be reachable.
    pub(super) fn bound(&self, open: &[Open]) -> Vec<Bound> {
        let bound = |(step, is_encrypted): (&Step, &bool)| {
            let (what, listening) = match step {
                Step::Keep(index, what, ..) => (*what, &open[*index].listening),
                Step::New(new) => (new.what, &new.listening),
            };
            Bound { what, address: listening.address().clone(), is_encrypted: *is_encrypted }
        };
        self.steps.iter().zip(&self.encrypted).map(bound).collect()
    }

    /// Starts the new ones, exchanges the handlers of the kept ones, and gives back those that nobody wants any more.
    pub(super) fn commit(self, open: &mut Vec<Open>) -> Vec<Open> {
        let mut old: Vec<Option<Open>> = std::mem::take(open).into_iter().map(Some).collect();
        for step in self.steps {
            match step {
                Step::Keep(index, what, stage, exchange) => {
                    let mut kept = old[index].take().expect("each index is taken once");
                    kept.listening.exchange(exchange);
                    (kept.what, kept.stage) = (what, stage);
                    open.push(kept);
                }
                Step::New(mut new) => {
                    new.listening.start();
                    open.push(new);
                }
            }
        }
        old.into_iter().flatten().collect()
    }
}

/// Ends the listeners of a stage, all at once; says which did not end in time.
pub(super) async fn stop(open: &[Open], stage: Option<Stage>, deadline: Duration) -> Vec<String> {
    let end = Instant::now() + deadline;
    let ending = open.iter().filter(|own| stage.is_none_or(|stage| own.stage == stage)).map(|own| async {
        let left = end.saturating_duration_since(Instant::now());
        own.listening.stop(left).await.err().map(|error| format!("{}: {error}", own.what))
    });
    join_all(ending).await.into_iter().flatten().collect()
}
