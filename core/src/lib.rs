//! Every decision of cluster-api-provider-nested. What is done about them is done elsewhere: there is no
//! client here, no runtime, no clock (`now` is an argument) and no environment.

pub mod api_error;
pub mod certificates;
pub mod checksum;
pub mod cluster;
pub mod cluster_api;
pub mod control_plane;
pub mod datastore;
pub mod host;
pub mod kubernetes;
pub mod machine;
pub mod ownership;
pub mod pki;
#[cfg(test)]
mod spec_fields;
pub mod text;
pub mod workload_cluster;

/// A value as YAML, for what people read inside ConfigMaps and Secrets.
pub(crate) fn yaml(value: &serde_json::Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string())
}
