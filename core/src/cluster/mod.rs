//! The infrastructure of a Cluster whose machines are KubeVirt VMs.

pub mod desired;
pub mod status;

#[cfg(test)]
mod tests;
