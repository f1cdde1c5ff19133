//! What the contracts ask of the CRDs themselves.

use capn_integration::run;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

const OURS: [(&str, &str); 6] = [
    (
        "nestedcontrolplanes.controlplane.cluster.x-k8s.io",
        "NestedControlPlane",
    ),
    (
        "nestedcontrolplanetemplates.controlplane.cluster.x-k8s.io",
        "NestedControlPlaneTemplate",
    ),
    ("kubevirtclusters.infrastructure.cluster.x-k8s.io", "KubevirtCluster"),
    (
        "kubevirtclustertemplates.infrastructure.cluster.x-k8s.io",
        "KubevirtClusterTemplate",
    ),
    ("kubevirtmachines.infrastructure.cluster.x-k8s.io", "KubevirtMachine"),
    (
        "kubevirtmachinetemplates.infrastructure.cluster.x-k8s.io",
        "KubevirtMachineTemplate",
    ),
];

/// Checks something of each of our CRDs, as the API server stores them.
fn each(check: impl Fn(&str, &CustomResourceDefinition)) {
    run(async |env| {
        for (name, kind) in OURS {
            let crd = Api::<CustomResourceDefinition>::all(env.client.clone())
                .get(name)
                .await
                .unwrap();
            check(kind, &crd);
        }
    });
}

#[test]
fn every_kind_is_namespaced_and_named_as_cluster_api_calculates_it() {
    each(|kind, crd| {
        assert_eq!(crd.spec.scope, "Namespaced", "{kind}");
        assert_eq!(crd.spec.names.kind, kind);
        assert_eq!(
            crd.spec.names.list_kind.as_deref(),
            Some(format!("{kind}List").as_str())
        );
        assert_eq!(crd.name_any(), format!("{}s.{}", kind.to_lowercase(), crd.spec.group));
    });
}

#[test]
fn every_crd_carries_the_contract_label_with_a_version_that_it_serves() {
    each(|kind, crd| {
        let versions = crd
            .labels()
            .get("cluster.x-k8s.io/v1beta2")
            .unwrap_or_else(|| panic!("{kind} has no label"));
        for version in versions.split('_') {
            assert!(
                crd.spec.versions.iter().any(|v| v.name == version && v.served),
                "{kind} {version}"
            );
        }
    });
}

#[test]
fn no_crd_has_rules_that_the_api_server_finds_fault_with() {
    each(|kind, crd| {
        let conditions = crd
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone())
            .unwrap_or_default();
        let wrong: Vec<_> = conditions
            .iter()
            .filter(|c| c.type_ == "NonStructuralSchema" && c.status == "True")
            .collect();
        assert!(wrong.is_empty(), "{kind}: {wrong:?}");
    });
}

#[test]
fn the_scale_subresource_of_a_control_plane_has_the_paths_of_the_contract() {
    each(|kind, crd| {
        let subresources = crd.spec.versions[0].subresources.as_ref();
        if kind.ends_with("Template") {
            return;
        }
        let subresources = subresources.unwrap_or_else(|| panic!("{kind} has no subresources"));
        assert!(subresources.status.is_some(), "{kind} has no status subresource");
        if kind == "NestedControlPlane" {
            let scale = subresources.scale.as_ref().unwrap();
            assert_eq!(scale.spec_replicas_path, ".spec.replicas");
            assert_eq!(scale.status_replicas_path, ".status.replicas");
            assert_eq!(scale.label_selector_path.as_deref(), Some(".status.selector"));
        }
    });
}

#[test]
fn unknown_fields_are_preserved_nowhere_but_in_the_spec_of_a_virtual_machine() {
    each(|kind, crd| {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let mut found = Vec::new();
        preserving("", &schema["openAPIV3Schema"], &mut found);
        let expected: &[&str] = match kind {
            "KubevirtMachine" => &["/spec/virtualMachineTemplate/spec"],
            "KubevirtMachineTemplate" => &["/spec/template/spec/virtualMachineTemplate/spec"],
            _ => &[],
        };
        assert_eq!(found, expected, "{kind}");
    });
}

fn preserving(path: &str, schema: &Value, found: &mut Vec<String>) {
    if schema["x-kubernetes-preserve-unknown-fields"] == json!(true) {
        found.push(path.to_owned());
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        preserving(&format!("{path}/{name}"), field, found);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            preserving(&format!("{path}/*"), &schema[inner], found);
        }
    }
}
