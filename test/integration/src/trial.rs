//! The same story again and again, with another write going wrong each time.

use crate::{Manager, World, dump::dump, snapshot, world::text};
use futures::{FutureExt, StreamExt, stream};
use serde_json::Value;
use std::{collections::BTreeMap, panic::AssertUnwindSafe};

/// Worlds at the same time. Each has a manager and its players.
const PARALLEL: usize = 4;
/// More writes than any creation or deletion makes; one that needs more never comes to rest.
const MOST: u32 = 80;
/// Passes after which managers must have come to rest.
const SETTLED: usize = 10;

/// Tells the story in a world of its own with each write in its turn chosen, until one was told
/// without it. A trial says whether the chosen write came.
pub async fn each_write(world: &World, trial: impl AsyncFn(&World, u32) -> bool) {
    let trials = stream::iter(1..=MOST).map(async |number| {
        let mut world = world.beside().await;
        world.test = format!("{}-{number}", world.test);
        let outcome = AssertUnwindSafe(trial(&world, number)).catch_unwind().await;
        match outcome {
            Ok(came) => came,
            Err(cause) => {
                let (why, folder) = (text(cause.as_ref()), dump(&world).await);
                panic!("{why}\nthe state of trial {number} is in {}", folder.display());
            }
        }
    });
    let mut trials = std::pin::pin!(trials.buffered(PARALLEL));
    let mut struck = 0;
    while let Some(came) = trials.next().await {
        if !came {
            assert!(struck > 0, "there was no write at all");
            println!("each of {struck} writes went wrong once");
            return;
        }
        struck += 1;
    }
    panic!("more than {MOST} writes");
}

/// Lets the managers look again until none of them writes anything, and returns all objects.
pub async fn at_rest(world: &World, managers: &[&Manager]) -> BTreeMap<String, Value> {
    for _ in 0..SETTLED {
        let mark = world.mark();
        for manager in managers {
            manager.look_again(world).await;
        }
        if managers
            .iter()
            .all(|manager| world.writes(&manager.user, mark).is_empty())
        {
            return snapshot(world).await;
        }
    }
    panic!("the managers still write in pass number {SETTLED}");
}
