//! Several owners race for one lease in a real object store, again and again; fails unless one of them wins each time.
//! Run by hand.
//!
//! `race_leases CONFIG.json ROUNDS RACERS`: the configuration is Thanos' objstore file as JSON.

use std::sync::Arc;

use bucket::{Bucket, BucketConfig, Lease};
use runtime::{Clock, SystemClock, Tasks};
use tokio::runtime::{Builder, Handle};

/// Long enough that no lease ends while its round lasts.
const LASTS_MS: i64 = 600_000;

async fn round(bucket: &Bucket, tasks: &Tasks, number: usize, racers: usize) -> Result<(), String> {
    let race = |racer: usize| {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (name, owner) = (format!("race-{number}"), format!("racer-{racer}"));
        let mut lease = Lease::new(bucket.clone(), clock, &name, owner, LASTS_MS);
        tasks.spawn("racer", async move {
            // That others were quicker twice in a row is an answer too.
            lease.take().await.is_ok_and(|holder| holder.is_none())
        })
    };
    let racing: Vec<_> = (0..racers).map(race).collect();
    let mut winners = 0;
    for racer in racing {
        winners += usize::from(racer.await.map_err(|error| error.to_string())?);
    }
    if winners == 1 { Ok(()) } else { Err(format!("round {number} has {winners} winners")) }
}

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, rounds, racers] = arguments.as_slice() else {
        return Err("usage: race_leases CONFIG.json ROUNDS RACERS".to_owned());
    };
    let text = std::fs::read(config).map_err(|error| format!("{config}: {error}"))?;
    let config: BucketConfig = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let number = |text: &String| text.parse::<usize>().map_err(|error| format!("{text}: {error}"));
    let (rounds, racers) = (number(rounds)?, number(racers)?);
    let runtime = Builder::new_multi_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let bucket = config.open(Handle::current()).map_err(|error| error.to_string())?;
        let tasks = Tasks::new();
        for one in 0..rounds {
            round(&bucket, &tasks, one, racers).await?;
        }
        Ok(())
    })
}
