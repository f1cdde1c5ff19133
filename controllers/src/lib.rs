//! The controllers of cluster-api-provider-nested: control planes as pods, their machines as KubeVirt VMs.
//! They observe and execute; what is decided is decided in `capn-core`.

pub mod args;
pub mod kubevirt_cluster;
pub mod kubevirt_machine;
pub mod nested_control_plane;
pub mod rbac;
pub mod runtime;
pub(crate) mod workload_cluster;
