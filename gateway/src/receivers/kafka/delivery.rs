//! Reads messages and delivers them: one task reads for all partitions, one task a partition delivers.
//!
//! The reader never waits for a delivery, because a group gives the partitions of a member that stops polling to
//! somebody else; instead a partition with enough waiting messages is paused.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use exporters::kafka::TENANT_HEADER;
use futures_util::FutureExt;
use model::{ErrorKind, TenantId};
use pipelines::{Batch, ClientMetadata, PipelineError, PipelineResult};
use rdkafka::consumer::Consumer as _;
use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use rdkafka::topic_partition_list::TopicPartitionList;
use runtime::{Clock, SystemClock};
use wire::otlp::edit::{Edited, edit_resources, put_any_value, put_key_value};
use wire::otlp::{AnyValue, check, merge};

use super::assignment::Partition;
use super::{GroupMember, Route, Shared};

/// Messages and bytes of a partition that may wait for its delivery; past either the partition is paused.
const WAITING_MESSAGES_MAX: usize = 256;
const WAITING_BYTES_MAX: usize = 4 << 20;

/// A run of messages that is delivered at once ends at this size, so that an fsync behind it serves many.
const RUN_BYTES_ENOUGH: usize = 1 << 20;

/// How long a run is left alone after it panicked.
const PANIC_WAIT: Duration = Duration::from_millis(500);
/// How often is said that a topic has no route.
const NO_ROUTE_WAIT: Duration = Duration::from_secs(30);

/// Reads until the receiver stops; returns when every delivery under way is answered.
pub(super) async fn run(shared: Arc<Shared>, member: Arc<GroupMember>) {
    let mut deliveries = Vec::new();
    loop {
        let received = tokio::select! {
            received = member.recv() => received,
            () = shared.stop.cancelled() => break,
        };
        let message = match received {
            Ok(message) => message.detach(),
            Err(error) => {
                // Not waited for: brokers that are away make many errors, and what comes after them stands behind them.
                member.context().log.error(&error, "cannot read, trying again");
                continue;
            }
        };
        let (partition, is_new) = member.context().partition(message.topic(), message.partition());
        put(&member, &partition, message);
        if is_new {
            deliveries.retain(|task: &tokio::task::JoinHandle<()>| !task.is_finished());
            let deliver = deliver(Arc::clone(&shared), Arc::clone(&member), partition);
            deliveries.push(shared.tasks.spawn("kafka partition", deliver));
        }
    }
    for delivery in deliveries {
        // A delivery that panicked stored nothing, so nothing is lost.
        let _ = delivery.await;
    }
}

/// Adds a message to what waits for its partition, and pauses the partition when that is enough.
fn put(member: &GroupMember, partition: &Partition, message: OwnedMessage) {
    {
        let mut waiting = partition.waiting.lock();
        if waiting.is_gone {
            return;
        }
        waiting.bytes += len(&message);
        let is_enough =
            waiting.messages.len() + 1 >= WAITING_MESSAGES_MAX || waiting.bytes >= WAITING_BYTES_MAX;
        if is_enough && !waiting.is_paused {
            waiting.is_paused = true;
            // Under the lock, as the resumption is: what the client was told last is what is noted here.
            if let Err(error) = member.pause(&place(&message)) {
                tracing::debug!(%error, "cannot pause a partition");
            }
        }
        waiting.messages.push_back(message);
    }
    partition.changed.notify_waiters();
}

fn place(message: &OwnedMessage) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(message.topic(), message.partition());
    list
}

/// Delivers the messages of a partition in order until it is taken away or the receiver stops.
async fn deliver(shared: Arc<Shared>, member: Arc<GroupMember>, partition: Arc<Partition>) {
    loop {
        let changed = partition.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let run = {
            let mut waiting = partition.waiting.lock();
            if waiting.is_gone || shared.stop.is_cancelled() {
                return;
            }
            take_run(&mut waiting.messages)
        };
        let Some(last) = run.last() else {
            tokio::select! {
                () = changed => {}
                () = shared.stop.cancelled() => return,
            }
            continue;
        };
        let (topic, number, offset) = (last.topic().to_owned(), last.partition(), last.offset());
        let here = place(last);
        let bytes: usize = run.iter().map(len).sum();
        let run: Arc<[OwnedMessage]> = run.into();
        let is_done = deliver_safely(&shared, &partition, &run).await;
        if is_done && let Err(error) = member.store_offset(&topic, number, offset) {
            // The partition went to somebody else meanwhile, who delivers this again.
            tracing::debug!(receiver = %shared.id, %error, "cannot store an offset");
        }
        let mut waiting = partition.waiting.lock();
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        let has_room =
            waiting.messages.len() < WAITING_MESSAGES_MAX / 2 && waiting.bytes < WAITING_BYTES_MAX / 2;
        if waiting.is_paused && has_room && !waiting.is_gone {
            waiting.is_paused = false;
            if let Err(error) = member.resume(&here) {
                tracing::debug!(%error, "cannot resume a partition");
            }
        }
    }
}

/// The oldest messages that can be delivered as one: those with the same headers, up to a size.
fn take_run(waiting: &mut std::collections::VecDeque<OwnedMessage>) -> Vec<OwnedMessage> {
    let (mut run, mut bytes): (Vec<OwnedMessage>, usize) = (Vec::new(), 0);
    while let Some(next) = waiting.front() {
        let same = run.first().is_none_or(|first| headers(first) == headers(next));
        if !same || bytes >= RUN_BYTES_ENOUGH {
            break;
        }
        bytes += len(next);
        run.extend(waiting.pop_front());
    }
    run
}

fn len(message: &OwnedMessage) -> usize {
    message.payload().map_or(0, <[u8]>::len)
}

fn headers(message: &OwnedMessage) -> Vec<(&str, Option<&[u8]>)> {
    message
        .headers()
        .map_or_else(Vec::new, |headers| headers.iter().map(|header| (header.key, header.value)).collect())
}

/// How often a run is tried whose delivery panics.
const PANICS_MAX: u32 = 3;

/// How the delivery of a run ended.
enum Ending {
    /// All of it is delivered, or passed with a word in the log.
    Over,
    /// The receiver stops or the partition is gone; nothing is known of the run.
    Stopped,
    /// Several messages were refused together, for good.
    Refused,
}

/// Delivers a run of messages; `false` when the receiver stops or the partition is gone first. A defect that they hit must
/// not end the deliveries of their partition, whose next run would pass them without a word. A run that is refused or
/// panics is delivered message by message: one that nobody will ever take takes no others with it.
async fn deliver_safely(shared: &Arc<Shared>, partition: &Partition, run: &Arc<[OwnedMessage]>) -> bool {
    let (topic, offset) = run.first().map_or(("", 0), |first| (first.topic(), first.offset()));
    for attempt in 1..=PANICS_MAX {
        // What the panic said is a line of its own on stderr.
        match AssertUnwindSafe(deliver_run(shared, partition, run)).catch_unwind().await {
            Ok(Ending::Over) => return true,
            Ok(Ending::Stopped) => return false,
            Ok(Ending::Refused) => break,
            Err(_panic) => tracing::error!(
                receiver = %shared.id, topic, offset, messages = run.len(), attempt, of = PANICS_MAX,
                "the delivery of messages panicked"
            ),
        }
        if !pause(shared, partition, PANIC_WAIT).await {
            return false;
        }
    }
    if run.len() == 1 {
        tracing::error!(receiver = %shared.id, topic, offset, "dropping a message");
        return true;
    }
    for message in run.iter() {
        let alone: Arc<[OwnedMessage]> = Arc::new([message.clone()]);
        if !Box::pin(deliver_safely(shared, partition, &alone)).await {
            return false;
        }
    }
    true
}

/// Holds up the partition of a topic that the broker's side of a pattern takes and ours does not: whatever pattern was
/// meant, its messages are not to be passed. Returns when the receiver stops or the partition is gone.
async fn without_route(shared: &Shared, partition: &Partition, first: &OwnedMessage) {
    loop {
        tracing::error!(
            receiver = %shared.id, topic = first.topic(), partition = first.partition(), offset = first.offset(),
            "no topic of the config matches this one although the client subscribed to it: its messages wait until a \
             regular expression does"
        );
        if !pause(shared, partition, NO_ROUTE_WAIT).await {
            return;
        }
    }
}

/// Waits; `false` when the receiver stops or the partition is gone meanwhile.
async fn pause(shared: &Shared, partition: &Partition, time: Duration) -> bool {
    let end = tokio::time::Instant::now() + time;
    loop {
        let changed = partition.changed.notified();
        if partition.waiting.lock().is_gone {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep_until(end) => return true,
            () = shared.stop.cancelled() => return false,
            () = changed => {}
        }
    }
}

/// Delivers a run of messages, however long it takes.
async fn deliver_run(shared: &Arc<Shared>, partition: &Partition, run: &Arc<[OwnedMessage]>) -> Ending {
    let Some(first) = run.first() else { return Ending::Over };
    let Some(route) = shared.route(first.topic()) else {
        without_route(shared, partition, first).await;
        return Ending::Stopped;
    };
    let batch = match make_batch_off_thread(shared, route, run).await {
        Ok(Some(batch)) => batch,
        Ok(None) => return Ending::Over,
        Err(error) => {
            let first = run.first().map_or(0, OwnedMessage::offset);
            tracing::error!(receiver = %shared.id, topic = route.topic, offset = first, %error, "dropping messages");
            return Ending::Over;
        }
    };
    let (signal, items) = (route.signal, batch.items);
    for attempt in 0.. {
        let outcome = admitted(shared, &batch).map(|batch| route.entry.consume(batch));
        let outcome = match outcome {
            Ok(delivery) => delivery.await,
            Err(error) => Err(error),
        };
        let is_over = match &outcome {
            Ok(_) => true,
            Err(error) if error.kind().is_retryable() => shared.pass_failed,
            Err(_) if run.len() > 1 => return Ending::Refused,
            Err(_) => true,
        };
        if is_over || attempt == 0 {
            shared.metrics.count(signal, items, &outcome);
        }
        let Err(error) = outcome else { return Ending::Over };
        if is_over {
            tracing::error!(
                receiver = %shared.id, topic = route.topic, dropped_items = items, %error, "dropping messages"
            );
            return Ending::Over;
        }
        let next = pipelines::plan(&shared.backoff, attempt, Duration::ZERO, &error, rand::random());
        let pipelines::Next::Wait(wait) = next else { return Ending::Over };
        tracing::debug!(receiver = %shared.id, %error, ?wait, "delivery failed, will try again");
        if !pause(shared, partition, wait).await {
            return Ending::Stopped;
        }
    }
    unreachable!("the loop above has no end")
}

/// The batch with a share of the memory budget, if there is one now.
fn admitted(shared: &Shared, batch: &Batch) -> PipelineResult<Batch> {
    let reserved = pipelines::admit(&shared.budget, batch.payload.len() as u64)?;
    Ok(Batch { reservation: Some(Arc::new(reserved)), ..batch.clone() })
}

/// Runs up to this are read where they come in: about 500 µs of JSON.
const INLINE_BYTES_MAX: usize = 32 << 10;

/// The batch of a run; a large run is read off the async threads.
async fn make_batch_off_thread(
    shared: &Arc<Shared>,
    route: &Route,
    run: &Arc<[OwnedMessage]>,
) -> PipelineResult<Option<Batch>> {
    // A run has a message at least.
    if run.iter().map(len).sum::<usize>() <= INLINE_BYTES_MAX {
        return make_batch(shared, route, run);
    }
    let (shared_too, run) = (Arc::clone(shared), Arc::clone(run));
    let made = shared.tasks.spawn_blocking("kafka messages", move || {
        let route = shared_too.route(run[0].topic()).expect("the caller found it");
        make_batch(&shared_too, route, &run)
    });
    match made.await {
        Ok(made) => made,
        // The caller tells of it as of one on its own thread.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// One batch of a run of messages with equal headers; `None` when nothing is in it. Messages that cannot be read are
/// left out, counted and logged.
fn make_batch(shared: &Shared, route: &Route, run: &[OwnedMessage]) -> PipelineResult<Option<Batch>> {
    let now_ns = SystemClock.now_ns().cast_unsigned();
    let mut payloads = Vec::with_capacity(run.len());
    let mut items = 0;
    for message in run {
        match read(route, message, now_ns) {
            Ok((payload, count, rejected)) => {
                shared.metrics.count_refused(route.signal, rejected);
                payloads.push(payload);
                items += count;
            }
            Err(error) => {
                // How many items it has nobody knows.
                shared.metrics.count_refused(route.signal, 1);
                tracing::error!(
                    receiver = %shared.id, topic = message.topic(), partition = message.partition(),
                    offset = message.offset(), %error, "a message is not what its topic holds, dropping it"
                );
            }
        }
    }
    if items == 0 {
        return Ok(None);
    }
    let batch = put_together(shared, route, run, merge(&payloads), items);
    if batch.is_err() {
        shared.metrics.count_refused(route.signal, items);
    }
    batch.map(Some)
}

/// The batch of a payload, with what the headers of its messages say.
fn put_together(
    shared: &Shared,
    route: &Route,
    run: &[OwnedMessage],
    payload: Bytes,
    items: u64,
) -> PipelineResult<Batch> {
    let headers = run.first().map(headers).unwrap_or_default();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let mut metadata = Vec::with_capacity(headers.len() + 2);
    if let Some(first) = run.first() {
        // Not the offset: a run has several.
        metadata.push(("kafka.topic".to_owned(), first.topic().to_owned()));
        metadata.push(("kafka.partition".to_owned(), first.partition().to_string()));
    }
    let mut tenant = TenantId::default();
    for (name, value) in headers {
        let value = text(value.unwrap_or_default());
        if name.eq_ignore_ascii_case(TENANT_HEADER) {
            let named = TenantId::new(&value);
            tenant = named.map_err(|error| PipelineError::new(ErrorKind::Invalid, error.to_string()))?;
        }
        metadata.push((name.to_ascii_lowercase(), value));
    }
    let payload = with_attributes(shared, payload, &metadata)?;
    let client = Arc::new(ClientMetadata { address: None, metadata });
    Ok(Batch { signal: route.signal, tenant, payload, items, client, reservation: None })
}

/// Payload, items, and items that were cut out because they break the protocol.
fn read(route: &Route, message: &OwnedMessage, now_ns: u64) -> Result<(Bytes, u64, u64), wire::DecodeError> {
    let body = message.payload().unwrap_or_default();
    let payload = route.encoding.payload(route.signal, body, now_ns)?;
    let checked = check(route.signal, payload)?;
    Ok((checked.payload, checked.items, checked.report.rejected_count()))
}

/// Adds the chosen headers to every resource.
fn with_attributes(shared: &Shared, payload: Bytes, metadata: &[(String, String)]) -> PipelineResult<Bytes> {
    let mut extra = Vec::new();
    for wanted in &shared.attribute_headers {
        let values = metadata.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        for (_, value) in values {
            let mut encoded = Vec::new();
            put_any_value(&mut encoded, &AnyValue::String(value));
            put_key_value(&mut extra, 1, &format!("kafka.header.{wanted}"), &encoded);
        }
    }
    if extra.is_empty() {
        return Ok(payload);
    }
    let edited = edit_resources(&payload, |resource, out| {
        out.extend_from_slice(resource);
        out.extend_from_slice(&extra);
        Ok(Edited::Replaced)
    })?;
    Ok(edited)
}
