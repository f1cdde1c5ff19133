//! The histories that every change has to pass.

#![allow(clippy::panic)]

use std::time::{Duration, Instant};

/// Most histories of one run.
const HISTORIES: u64 = 20_000;
/// A run ends then, however many there were.
const TIME: Duration = Duration::from_secs(60);

#[test]
fn nothing_that_never_may_happens_in_any_history() {
    let started = Instant::now();
    let mut seeds = 0..HISTORIES;
    for seed in seeds.by_ref().take_while(|_| started.elapsed() < TIME) {
        if let Err(violation) = capn_simulation::run(seed) {
            panic!("{violation}\ncargo run --release --package capn-simulation -- {seed} runs it again");
        }
    }
    println!("{} histories in {:?}", seeds.start, started.elapsed());
}
