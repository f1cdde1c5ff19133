//! What the controller says on a NestedControlPlane itself, beside its status.

use super::names::{DATASTORE_INITIALIZED_ANNOTATION, Names};
use capn_api::{
    NestedControlPlane,
    cluster_api::{BLOCK_MOVE_ANNOTATION, CLUSTER_NAME_LABEL},
    common::ApiEndpoint,
    nested_control_plane,
};
use kube::ResourceExt;
use serde_json::{Value, json};

/// What the controller says on the NestedControlPlane itself, beside its status.
#[derive(Clone, Debug, Default)]
pub struct ManagedFields {
    /// The published endpoint, once it is known.
    pub endpoint: Option<ApiEndpoint>,
    /// Whether the datastore has been in use.
    pub datastore_initialized: bool,
    /// Annotations that have had their time.
    pub obsolete: Vec<&'static str>,
}

/// The patch that takes hold of the object: finalizer, the mark that keeps it from being moved away from
/// its data, and the endpoint once it is known. `None` when all of it is there.
pub fn ensure_metadata(ncp: &NestedControlPlane, names: &Names, own: &ManagedFields) -> Option<Value> {
    let mut annotations = serde_json::Map::new();
    annotations.insert(BLOCK_MOVE_ANNOTATION.into(), json!(""));
    if own.datastore_initialized {
        annotations.insert(DATASTORE_INITIALIZED_ANNOTATION.into(), json!("true"));
    }
    for obsolete in &own.obsolete {
        if ncp.annotations().contains_key(*obsolete) {
            annotations.insert((*obsolete).into(), Value::Null);
        }
    }
    let endpoint = own.endpoint.as_ref();
    let held = ncp
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == nested_control_plane::FINALIZER)
        && annotations
            .iter()
            .all(|(key, value)| ncp.annotations().get(key).is_some_and(|held| value == held))
        // By the label the Cluster is known before core has set the owner, and after it is gone.
        && ncp.labels().contains_key(CLUSTER_NAME_LABEL)
        && (endpoint.is_none() || ncp.spec.control_plane_endpoint.as_ref() == endpoint);
    if held {
        return None;
    }
    let mut finalizers = ncp.finalizers().to_vec();
    if !finalizers
        .iter()
        .any(|finalizer| finalizer == nested_control_plane::FINALIZER)
    {
        finalizers.push(nested_control_plane::FINALIZER.into());
    }
    let mut patch = json!({
        "metadata": {
            "finalizers": finalizers,
            "annotations": annotations,
            "labels": {CLUSTER_NAME_LABEL: names.cluster()},
            // Others add finalizers too: ours must not remove one that came since.
            "resourceVersion": ncp.resource_version(),
        },
    });
    if let Some(endpoint) = endpoint {
        patch["spec"] = json!({"controlPlaneEndpoint": endpoint});
    }
    Some(patch)
}
