//! What every controller needs, whatever it is about: calls, watches, schedules, Events, the Lease, logs
//! and metrics.

pub mod api_client;
pub mod controller;
pub(crate) mod events;
pub mod leader_election;
pub mod logging;
pub mod metrics;
pub mod server;
pub mod watch;
