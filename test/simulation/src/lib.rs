//! Runs whole lives of a control plane, and of a machine, without an API server: the plans of `capn-core` are
//! carried out on a model of the management cluster, by two managers that may die between any two calls, beside a
//! user who deletes and edits. A seed makes a history; the same seed makes the same one again.

mod datastore;
mod failures;
mod history;
mod machine;
mod manager;
mod objects;
mod user;
mod workloads;
mod world;

pub use history::{Violation, run};
pub use machine::run_machine;
