//! The controllers of cluster-api-provider-nested: tenants' control planes as pods, their machines
//! as KubeVirt VMs. They observe and execute;
//! what is decided is decided in `capn-core`.

pub mod args;
pub mod calls;
pub mod controller;
pub(crate) mod events;
pub mod kubevirt_cluster;
pub mod kubevirt_machine;
pub mod leader;
pub mod nested_control_plane;
pub mod rbac;
pub mod server;
pub mod telemetry;
pub mod tenant;
pub mod watch;
pub(crate) mod workload_cluster;
