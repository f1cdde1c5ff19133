//! One history: chance decides who does what next; then everything that is wrong ends, and the control
//! plane has to come to rest.

use crate::manager::Manager;
use crate::world::World;
use capn_api::{ConditionStatus, Reason, condition::find};
use jiff::SignedDuration;
use std::fmt;

/// Steps in which anything may happen.
const STEPS: u32 = 400;
/// What a user does in one history, at most.
const MEDDLING: u8 = 8;
/// Rounds in which a control plane has to come to rest.
const ROUNDS: u32 = 300;

/// A history in which something happened that never may.
#[derive(Debug)]
pub struct Violation {
    /// The seed that makes it again.
    pub seed: u64,
    /// What happened.
    pub what: String,
    /// Everything that was done, in its order.
    pub log: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.log {
            writeln!(f, "{line}")?;
        }
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

impl std::error::Error for Violation {}

impl Violation {
    /// Fails when something was found in the history of this seed, and tells what was done before.
    pub(crate) fn check(seed: u64, found: &mut Option<String>, log: &mut Vec<String>) -> Result<(), Self> {
        match found.take() {
            Some(what) => Err(Self {
                seed,
                what,
                log: std::mem::take(log),
            }),
            None => Ok(()),
        }
    }
}

/// Whether a life comes to rest: nothing is written in three rounds one after the other, and what is there may stay.
/// A round says whether anything was written, and whether all may stay as it is.
pub(crate) fn comes_to_rest(
    rounds: u32,
    mut round: impl FnMut() -> Result<(bool, bool), Violation>,
) -> Result<bool, Violation> {
    let mut quiet = 0;
    for _ in 0..rounds {
        let (wrote, at_rest) = round()?;
        quiet = if wrote { 0 } else { quiet + 1 };
        if quiet >= 3 && at_rest {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Runs the history of a seed.
///
/// # Errors
/// When something happened in it that never may.
pub fn run(seed: u64) -> Result<(), Violation> {
    let mut world = World::new(seed);
    let mut managers = [Manager::new("a"), Manager::new("b")];
    let mut meddling = world.rng.u8(0..=MEDDLING);
    for _ in 0..STEPS {
        world.now += SignedDuration::from_secs(world.rng.i64(0..10));
        match world.rng.u8(0..100) {
            0..=59 => {
                let manager = world.rng.usize(0..4).min(1) ^ 1;
                managers[manager].step(&mut world);
            }
            60..=95 => world.advance(),
            _ if meddling > 0 => {
                meddling -= 1;
                world.meddle();
            }
            _ => {}
        }
        world.check_foreign();
        check(&mut world, seed)?;
    }
    world.unlucky = false;
    world.others_leave();
    world.say("nothing goes wrong any more");
    let [manager, _] = &mut managers;
    *manager = Manager::new("a");
    let rests = comes_to_rest(ROUNDS, || {
        let before = world.writes;
        for _ in 0..12 {
            world.now += SignedDuration::from_secs(20);
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
    let rest = world.ncp.as_ref().and_then(|ncp| ncp.status.as_ref());
    let told = rest
        .map(|status| format!("{:#?}", status.conditions))
        .unwrap_or_default();
    world.violate(format!("it never comes to rest; left: {:?} {told}", world.left()));
    check(&mut world, seed)
}

fn check(world: &mut World, seed: u64) -> Result<(), Violation> {
    Violation::check(seed, &mut world.violation, &mut world.log)
}

/// It is available or waits for a user; or it is gone with everything of its own.
fn at_rest(world: &World) -> bool {
    let Some(ncp) = &world.ncp else {
        return world.left().is_empty();
    };
    let conditions = ncp
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let waits = |type_: &str| {
        let found = find(conditions, type_).filter(|found| found.status != ConditionStatus::True);
        found.is_some_and(|found| Reason::of(&found.reason).is_some_and(Reason::needs_user_action))
    };
    let holds = |type_: &str| find(conditions, type_).is_some_and(|found| found.status == ConditionStatus::True);
    (holds("Available") && holds("ControlPlaneComponentsHealthy"))
        || ["Available", "DatastoreHealthy", "CertificatesValid"]
            .into_iter()
            .any(waits)
}
