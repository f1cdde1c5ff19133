//! The same story again and again, with another write going wrong each time.

use crate::{Manager, TestEnv, dump::dump, snapshot, test_env::text};
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
pub async fn each_write(env: &TestEnv, trial: impl AsyncFn(&TestEnv, u32) -> bool) {
    let trials = stream::iter(1..=MOST).map(async |number| {
        let mut env = env.sibling().await;
        env.test = format!("{}-{number}", env.test);
        let outcome = AssertUnwindSafe(trial(&env, number)).catch_unwind().await;
        match outcome {
            Ok(came) => came,
            Err(cause) => {
                let (why, folder) = (text(cause.as_ref()), dump(&env).await);
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
pub async fn at_rest(env: &TestEnv, managers: &[&Manager]) -> BTreeMap<String, Value> {
    for _ in 0..SETTLED {
        let mark = env.mark();
        for manager in managers {
            manager.look_again(env).await;
        }
        if managers
            .iter()
            .all(|manager| env.writes(&manager.user, mark).is_empty())
        {
            return snapshot(env).await;
        }
    }
    panic!("the managers still write in pass number {SETTLED}");
}
