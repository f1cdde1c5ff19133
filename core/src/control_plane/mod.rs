//! Control planes as pods: what is known of one, what it should be, and what is said of it.

pub mod action;
pub mod addresses;
pub mod cluster;
pub mod deletion;
pub mod desired;
pub mod diagnosis;
pub mod error;
pub mod inputs;
pub mod metadata;
pub mod names;
pub mod objects;
pub mod order;
pub mod plan;
pub mod revision;
pub mod start_limiter;
pub mod status;
pub mod stuck;
pub mod view;

#[cfg(test)]
mod tests;
