//! Machines as KubeVirt VMs: what is known of one, what it should be, and what is said of it.

pub mod desired;
pub mod diagnosis;
pub mod kubevirt;
pub mod names;
pub mod plan;
pub mod status;
pub mod view;
pub mod virtual_machine;

#[cfg(test)]
mod tests;
