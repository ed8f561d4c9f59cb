//! The queue on a disk that loses power, with the same promise as for senders: what was acknowledged is handed out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runtime::{MemoryBudget, SimulatedDisk, Tasks};

use super::{DiskQueue, DiskQueueSettings, Sizer};
use crate::ComponentId;
use crate::testing::batch;

fn open(disk: &SimulatedDisk, tasks: &Tasks) -> DiskQueue {
    let settings = DiskQueueSettings {
        id: ComponentId::parse("otlp").expect("an id"),
        sizer: Sizer::Requests,
        capacity: 1000,
        budget: MemoryBudget::new(u64::MAX),
    };
    DiskQueue::open(Arc::new(disk.clone()), Path::new("/storage/queue"), settings, 0, None, tasks)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Hands out all that waits, finishes those that `done` wants and returns their numbers.
async fn deliver(queue: &DiskQueue, count: usize, done: impl Fn(u32) -> bool) -> Vec<u32> {
    let mut seen = Vec::new();
    for _ in 0..count {
        let popped = tokio::time::timeout(Duration::from_secs(30), queue.pop()).await.expect("handed out");
        let (batch, handed) = popped.expect("not closed");
        let number = String::from_utf8_lossy(&batch.payload).parse().expect("a number");
        seen.push(number);
        if done(number) {
            handed.finish();
        }
    }
    seen
}

async fn close(queue: DiskQueue, tasks: Tasks) {
    queue.close();
    queue.end();
    queue.ended().await;
    drop(queue);
    tasks.shutdown(Duration::from_secs(10)).await.expect("the worker ended");
}

#[tokio::test]
async fn a_batch_larger_than_a_record_of_the_log_is_taken_and_all_of_it_handed_out() {
    let tasks = Tasks::new();
    let queue = open(&SimulatedDisk::new(1), &tasks);
    let mut payload = Vec::new();
    // A resource group each, with one record whose body (5) is a text (1) of 22 MiB.
    for _ in 0..3 {
        let mut nested = vec![b'x'; 22 << 20];
        for number in [1, 5, 2, 2, 1] {
            let mut outer = Vec::with_capacity(nested.len() + 8);
            wire::protobuf::put_bytes_field(&mut outer, number, &nested);
            nested = outer;
        }
        payload.extend_from_slice(&nested);
    }
    let large = crate::Batch { payload: payload.clone().into(), ..batch("", 3) };
    queue.push(&large, 1, false).await.ok().expect("durable");
    let (mut items, mut bytes) = (0, Vec::new());
    while items < 3 {
        let popped = tokio::time::timeout(Duration::from_secs(60), queue.pop()).await.expect("handed out");
        let (piece, handed) = popped.expect("not closed");
        items += piece.items;
        bytes.extend_from_slice(&piece.payload);
        handed.finish();
    }
    assert_eq!(items, 3);
    assert!(bytes == payload, "every byte comes back, in order");
    assert_eq!(queue.size(), 0, "all room is free again");
    close(queue, tasks).await;
}

#[tokio::test]
async fn acknowledged_batches_survive_a_power_loss_at_any_moment() {
    for seed in 0..60_u64 {
        let disk = SimulatedDisk::new(seed);
        let tasks = Tasks::new();
        let queue = open(&disk, &tasks);
        let before = (seed % 23) as u32;
        for number in 0..before {
            queue.push(&batch(&number.to_string(), 1), 1, false).await.ok().expect("durable");
        }
        let delivered = before / 2;
        let seen = deliver(&queue, delivered as usize, |_| true).await;
        assert_eq!(seen, (0..delivered).collect::<Vec<_>>(), "in order");
        // Nothing of the process is left when the power comes back.
        disk.cut_power_after(0);
        drop(queue);
        tasks.shutdown(Duration::from_secs(10)).await.expect("the worker ended");
        disk.power_loss();

        let tasks = Tasks::new();
        let queue = open(&disk, &tasks);
        let left = queue.left();
        assert!(left as u32 >= before - delivered, "seed {seed}: {left} left of {before} - {delivered}");
        let seen = deliver(&queue, left, |_| true).await;
        // What was delivered may come again; what was not must.
        assert_eq!(seen, (before - left as u32..before).collect::<Vec<_>>(), "seed {seed}");
        close(queue, tasks).await;
    }
}

#[tokio::test]
async fn a_crash_of_the_program_repeats_nothing_that_was_marked_and_loses_nothing_else() {
    let disk = SimulatedDisk::new(7);
    let tasks = Tasks::new();
    let queue = open(&disk, &tasks);
    for number in 0..40_u32 {
        queue.push(&batch(&number.to_string(), 1), 1, false).await.ok().expect("durable");
    }
    let seen = deliver(&queue, 40, |number| number % 3 != 0).await;
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
    // Those that a consumer had and did not finish stay.
    close(queue, tasks).await;
    let tasks = Tasks::new();
    let queue = open(&disk, &tasks);
    assert_eq!(queue.size(), 14);
    let seen = deliver(&queue, 14, |_| true).await;
    assert_eq!(seen, (0..40).filter(|number| number % 3 == 0).collect::<Vec<_>>());
    close(queue, tasks).await;
    let tasks = Tasks::new();
    let queue = open(&disk, &tasks);
    assert_eq!((queue.left(), queue.size()), (0, 0));
    close(queue, tasks).await;
}

#[tokio::test]
async fn a_disk_that_is_full_refuses_new_batches_and_hands_out_the_old_ones() {
    let disk = SimulatedDisk::new(1);
    let tasks = Tasks::new();
    let queue = open(&disk, &tasks);
    queue.push(&batch("0", 1), 1, false).await.ok().expect("durable");
    disk.inject(runtime::DiskFault::FailAppends);
    let refused = queue.push(&batch("1", 1), 1, false).await.expect_err("full");
    assert!(
        matches!(refused, super::DiskPushError::Log(error) if error.kind() == model::ErrorKind::Unavailable)
    );
    assert_eq!(deliver(&queue, 1, |_| true).await, [0]);
    close(queue, tasks).await;
}
