//! That no field of the spec is decoration.

use super::desired::{Infrastructure, ValidateError, validate};
use capn_api::{KubevirtCluster, cluster_api::Cluster};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn validated(spec: Value) -> Result<Infrastructure, ValidateError> {
    let metadata = json!({"name": "acme", "namespace": "tenants"});
    let object: KubevirtCluster = serde_json::from_value(json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1", "kind": "KubevirtCluster", "metadata": metadata, "spec": spec,
    }))
    .unwrap();
    let cluster: Cluster = serde_json::from_value(json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": metadata, "spec": {},
    }))
    .unwrap();
    validate(&object, &cluster)
}

#[test]
fn each_leaf_of_the_spec_is_used_or_belongs_to_control_planes_in_vms() {
    let infra = json!({"infraClusterSecretRef": {"name": "elsewhere"}});
    assert_ne!(validated(infra), validated(json!({})));

    // A Cluster whose control plane would use them is told NotSupported.
    let of_vms = ["controlPlaneEndpoint", "controlPlaneServiceTemplate", "sshKeys"];
    let mut known = BTreeSet::from(of_vms.map(str::to_owned));
    known.insert("infraClusterSecretRef".into());
    crate::spec_fields::are_those_of("KubevirtCluster", &known);
}
