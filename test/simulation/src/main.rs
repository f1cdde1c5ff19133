//! Runs histories: `capn-simulation SEED` one of them, without an argument from seed 0 on until one fails.

use std::process::ExitCode;

fn main() -> ExitCode {
    let seeds = match std::env::args().nth(1).map(|seed| seed.parse::<u64>()) {
        None => 0..u64::MAX,
        Some(Ok(seed)) => seed..seed + 1,
        Some(Err(_)) => {
            eprintln!("usage: capn-simulation [SEED]");
            return ExitCode::FAILURE;
        }
    };
    for seed in seeds {
        if let Err(violation) = capn_simulation::run(seed) {
            eprintln!("{violation}");
            return ExitCode::FAILURE;
        }
        if seed % 100 == 0 {
            eprintln!("{seed}");
        }
    }
    ExitCode::SUCCESS
}
