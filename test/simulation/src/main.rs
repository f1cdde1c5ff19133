//! Runs histories of control planes, or of machines: `capn-simulation [machines] SEED` one of them, without a seed
//! from 0 on until one fails.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    let run = match args.next_if(|arg| arg == "machines") {
        Some(_) => capn_simulation::run_machine,
        None => capn_simulation::run,
    };
    let seeds = match args.next().map(|seed| seed.parse::<u64>()) {
        None => 0..u64::MAX,
        Some(Ok(seed)) => seed..seed + 1,
        Some(Err(_)) => {
            eprintln!("usage: capn-simulation [machines] [SEED]");
            return ExitCode::FAILURE;
        }
    };
    for seed in seeds {
        if let Err(violation) = run(seed) {
            eprintln!("{violation}");
            return ExitCode::FAILURE;
        }
        if seed % 100 == 0 {
            eprintln!("{seed}");
        }
    }
    ExitCode::SUCCESS
}
