//! The histories that every change has to pass.

#![allow(clippy::panic)]

use capn_simulation::Violation;
use std::time::{Duration, Instant};

/// Most histories of one kind.
const HISTORIES: u64 = 20_000;

/// Runs histories until there are enough of them, or this time is over.
fn nothing_that_never_may_happens(run: fn(u64) -> Result<(), Violation>, again: &str, time: Duration) {
    let started = Instant::now();
    let mut seeds = 0..HISTORIES;
    for seed in seeds.by_ref().take_while(|_| started.elapsed() < time) {
        if let Err(violation) = run(seed) {
            panic!("{violation}\ncargo run --release --package capn-simulation -- {again}{seed} runs it again");
        }
    }
    println!("{} histories in {:?}", seeds.start, started.elapsed());
}

#[test]
fn nothing_that_never_may_happens_to_a_control_plane() {
    nothing_that_never_may_happens(capn_simulation::run, "", Duration::from_secs(60));
}

#[test]
fn nothing_that_never_may_happens_to_a_machine() {
    nothing_that_never_may_happens(capn_simulation::run_machine, "machines ", Duration::from_secs(30));
}
