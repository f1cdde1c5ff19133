//! Whole lives of a machine: its VM comes, runs, is moved, drained, lost and deleted, under a manager that may
//! die between any two actions, beside a user who deletes and edits. Managers overlap in integration tests: what two of
//! them do to a Node at once is not fenced.

mod kubevirt;
mod manager;
mod user;
mod world;

use crate::history::{Violation, comes_to_rest};
use capn_api::{ConditionStatus, Reason, condition::find};
use jiff::SignedDuration;
use manager::Manager;
use world::World;

/// Steps in which anything may happen.
const STEPS: u32 = 300;
/// What a user does in one history, at most.
const MEDDLING: u8 = 8;
/// Rounds in which a machine has to come to rest.
const ROUNDS: u32 = 100;

/// Runs the history of a machine with this seed.
///
/// # Errors
/// When something happened in it that never may.
pub fn run_machine(seed: u64) -> Result<(), Violation> {
    let mut world = World::new(seed);
    let mut manager = Manager::default();
    let mut meddling = world.rng.u8(0..=MEDDLING);
    for _ in 0..STEPS {
        world.now += SignedDuration::from_secs(world.rng.i64(0..20));
        match world.rng.u8(0..100) {
            0..=59 => manager.step(&mut world),
            60..=93 => world.advance(),
            _ if meddling > 0 => {
                meddling -= 1;
                world.meddle();
            }
            _ => {}
        }
        check(&mut world, seed)?;
    }
    world.all_goes_well();
    let mut manager = Manager::default();
    let rests = comes_to_rest(ROUNDS, || {
        let before = world.writes;
        for _ in 0..8 {
            world.now += SignedDuration::from_secs(30);
            world.advance();
        }
        manager.step(&mut world);
        while !manager.is_idle() {
            manager.step(&mut world);
        }
        check(&mut world, seed)?;
        Ok((world.writes != before, at_rest(&world)))
    })?;
    if rests {
        return Ok(());
    }
    let told = world.object.as_ref().and_then(|object| object.status.clone());
    world.violate(format!(
        "it never comes to rest: {:#?}",
        told.map(|status| status.conditions)
    ));
    check(&mut world, seed)
}

fn check(world: &mut World, seed: u64) -> Result<(), Violation> {
    world.check_foreign();
    Violation::check(seed, &mut world.violation, &mut world.log)
}

/// It is ready, with its Node as the user left it, or waits for a user; or it is gone with everything of its own.
fn at_rest(world: &World) -> bool {
    let Some(object) = &world.object else {
        return world.left().is_empty();
    };
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice());
    let ready = find(conditions.unwrap_or_default(), "Ready");
    let waits = |reason: &str| world.needs_user && Reason::of(reason).is_some_and(Reason::needs_user_action);
    match ready {
        _ if world.asked.is_some() => false,
        Some(ready) if ready.status == ConditionStatus::True => {
            world.cordoned() == world.user_cordoned && !world.is_marked()
        }
        Some(ready) => waits(&ready.reason),
        None => false,
    }
}
