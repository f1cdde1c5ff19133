//! What the derived schemas of the CRDs need besides: the contract's label, schemas made from
//! others, and limits that keep CEL rules within the API server's budget.

use crate::nested_control_plane::NestedControlPlaneSpec;
use k8s_openapi::{
    api::core::v1::Container, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Gives a CRD its contract label and takes from its schema what Kubernetes does not know.
pub(crate) fn finish(mut crd: CustomResourceDefinition, (key, value): (&str, &str)) -> CustomResourceDefinition {
    crd.metadata
        .labels
        .get_or_insert_default()
        .insert(key.to_owned(), value.to_owned());
    // Kubernetes' own types are documented elsewhere; their descriptions would be most of the CRD.
    for version in &mut crd.spec.versions {
        let Some(Ok(mut schema)) = version.schema.as_ref().map(serde_json::to_value) else {
            continue;
        };
        shorten(&mut schema, "");
        version.schema = serde_json::from_value(schema).ok();
    }
    crd
}

/// Fields whose type is Kubernetes' own.
const BORROWED: [&str; 14] = [
    "affinity",
    "configMap",
    "containers",
    "controlPlaneServiceTemplate",
    "emptyDir",
    "imagePullSecrets",
    "persistentVolumeClaim",
    "projected",
    "resources",
    "secret",
    "tolerations",
    "topologySpreadConstraints",
    "infraClusterSecretRef",
    "configRef",
];

/// Removes descriptions below borrowed fields, and the mark that a field may be null: leaving it
/// out says the same.
fn shorten(schema: &mut Value, field: &str) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("nullable");
    for key in ["properties", "items", "additionalProperties", "openAPIV3Schema"] {
        let Some(inner) = object.get_mut(key) else { continue };
        match inner.as_object_mut() {
            Some(properties) if key == "properties" => {
                for (name, property) in properties {
                    shorten(property, name);
                    if BORROWED.contains(&field) {
                        strip(property);
                    }
                }
            }
            _ => shorten(inner, field),
        }
    }
}

fn strip(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.get("description").is_some_and(Value::is_string) {
                object.remove("description");
            }
            object.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

/// Extra containers: core/v1 containers that cannot reach the node.
pub(crate) fn extra_containers(generator: &mut SchemaGenerator) -> Schema {
    let mut container = inline::<Container>(generator);
    for list in ["ports", "volumeMounts", "env", "envFrom"] {
        if let Some(list) = container
            .pointer_mut(&format!("/properties/{list}"))
            .and_then(Value::as_object_mut)
        {
            list.insert("maxItems".into(), json!(32));
        }
    }
    // A host in a probe or hook would have the node's kubelet call it.
    let handlers = [
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle/properties/postStart",
        "lifecycle/properties/preStop",
    ];
    for handler in handlers {
        for kind in ["httpGet", "tcpSocket"] {
            let path = format!("/properties/{handler}/properties/{kind}/properties");
            if let Some(properties) = container.pointer_mut(&path).and_then(Value::as_object_mut) {
                properties.remove("host");
            }
        }
    }
    if let Some(add) = container
        .pointer_mut("/properties/securityContext/properties/capabilities/properties/add")
        .and_then(Value::as_object_mut)
    {
        add.insert("maxItems".into(), json!(8));
        if let Some(items) = add.get_mut("items").and_then(Value::as_object_mut) {
            items.insert("maxLength".into(), json!(32));
        }
    }
    let restricted = "podTemplate.containers must satisfy Pod Security restricted";
    let rules = [
        (
            "!has(self.securityContext) || !has(self.securityContext.privileged) || !self.securityContext.privileged",
            "remove securityContext.privileged",
        ),
        (
            "!has(self.securityContext) || !has(self.securityContext.allowPrivilegeEscalation) || !self.securityContext.allowPrivilegeEscalation",
            "remove securityContext.allowPrivilegeEscalation",
        ),
        (
            "!has(self.securityContext) || !has(self.securityContext.runAsUser) || self.securityContext.runAsUser != 0",
            "set securityContext.runAsUser to another user than 0",
        ),
        (
            "!has(self.securityContext) || !has(self.securityContext.runAsNonRoot) || self.securityContext.runAsNonRoot",
            "remove securityContext.runAsNonRoot: false",
        ),
        (
            "!has(self.securityContext) || !has(self.securityContext.procMount) || self.securityContext.procMount == 'Default'",
            "remove securityContext.procMount",
        ),
        (
            "!has(self.securityContext) || !has(self.securityContext.seLinuxOptions)",
            "remove securityContext.seLinuxOptions",
        ),
        (
            "!has(self.securityContext) || !has(self.securityContext.appArmorProfile) || self.securityContext.appArmorProfile.type != 'Unconfined'",
            "remove securityContext.appArmorProfile Unconfined",
        ),
        (
            "!has(self.securityContext) || !has(self.securityContext.windowsOptions)",
            "remove securityContext.windowsOptions",
        ),
        (
            "!has(self.securityContext) || !has(self.securityContext.seccompProfile) || self.securityContext.seccompProfile.type != 'Unconfined'",
            "remove securityContext.seccompProfile Unconfined",
        ),
        (
            "!has(self.securityContext) || !has(self.securityContext.capabilities) || !has(self.securityContext.capabilities.add) || self.securityContext.capabilities.add.all(c, c == 'NET_BIND_SERVICE')",
            "add no capability but NET_BIND_SERVICE",
        ),
        (
            "!has(self.ports) || self.ports.all(p, !has(p.hostPort) || p.hostPort == 0)",
            "remove hostPort, which opens a port of the management cluster's node",
        ),
        (
            "!has(self.volumeDevices) || size(self.volumeDevices) == 0",
            "remove volumeDevices",
        ),
        (
            "!(self.name in ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'etcd'])",
            "choose another name: this one is the control plane's own",
        ),
    ];
    if let Some(container) = container.as_object_mut() {
        let rules: Vec<_> = rules
            .iter()
            .map(|(rule, what)| json!({"rule": rule, "message": format!("{restricted}: {what}")}))
            .collect();
        container.insert("x-kubernetes-validations".into(), Value::Array(rules));
    }
    json_schema!({
        "description": "Containers beside the control plane's own. They must satisfy Pod Security restricted; what they leave open of their securityContext is set so.",
        "type": "array",
        "maxItems": 4,
        "items": container,
    })
}

/// NestedControlPlane.spec without what a topology supplies.
pub(crate) fn templated_control_plane(generator: &mut SchemaGenerator) -> Schema {
    let supplied = ["version", "replicas", "controlPlaneEndpoint"];
    let mut spec = inline::<NestedControlPlaneSpec>(generator);
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("x-kubernetes-validations");
        spec.insert("description".into(), json!("Spec of the NestedControlPlane without version, replicas and controlPlaneEndpoint, which the topology supplies."));
        spec.remove("required");
        if let Some(properties) = spec.get_mut("properties").and_then(Value::as_object_mut) {
            supplied.iter().for_each(|name| drop(properties.remove(*name)));
        }
    }
    Schema::try_from(spec).unwrap_or_else(|_| json_schema!({"type": "object"}))
}

/// An object whose fields are KubeVirt's own to check.
pub(crate) fn virtual_machine_spec(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Spec of the kubevirt.io/v1 VirtualMachine, as KubeVirt documents it.",
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

fn inline<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    T::json_schema(generator).to_value()
}
