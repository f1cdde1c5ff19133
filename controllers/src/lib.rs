//! The controllers of cluster-api-provider-nested: tenants' control planes as pods, their machines
//! as KubeVirt VMs. One folder a controller, one file a step: observe, validate, build, apply,
//! status.

pub mod args;
pub mod calls;
pub mod checksum;
pub mod controller;
pub(crate) mod events;
pub mod host;
pub mod kubevirt_cluster;
pub mod kubevirt_machine;
pub mod leader;
#[cfg(test)]
mod leaves;
pub mod nested_control_plane;
pub mod ownership;
pub mod pki;
pub mod rbac;
pub mod server;
pub mod telemetry;
pub mod tenant;
pub mod text;
pub mod watch;
pub(crate) mod workload_cluster;

/// A value as YAML, for what people read inside ConfigMaps and Secrets.
pub(crate) fn yaml(value: &serde_json::Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string())
}
