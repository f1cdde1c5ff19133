//! The webhook configurations, with the CA of this process: applied when it serves, so that it is always the right one.

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};

use crate::admission::review::base64;

/// Applies both; the CRD owns them, so that they never outlive the API.
pub async fn apply(client: &Client, namespace: &str, ca: &str) -> Result<(), kube::Error> {
    let crd = Api::<CustomResourceDefinition>::all(client.clone())
        .get("virtualmachines.kubevirt.io")
        .await?;
    let owner = json!([{"apiVersion": CustomResourceDefinition::api_version(&()), "kind": CustomResourceDefinition::kind(&()),
        "name": crd.name_any(), "uid": crd.uid()}]);
    let parameters = PatchParams::apply("virt-controller-admission").force();
    let mutating = configuration(
        "MutatingWebhookConfiguration",
        "virt-api-mutator",
        &owner,
        &mutating(namespace, ca),
    );
    Api::<MutatingWebhookConfiguration>::all(client.clone())
        .patch("virt-api-mutator", &parameters, &Patch::Apply(mutating))
        .await?;
    let validating = configuration(
        "ValidatingWebhookConfiguration",
        "virt-api-validator",
        &owner,
        &validating(namespace, ca),
    );
    Api::<ValidatingWebhookConfiguration>::all(client.clone())
        .patch("virt-api-validator", &parameters, &Patch::Apply(validating))
        .await?;
    Ok(())
}

fn configuration(kind: &str, name: &str, owner: &Value, webhooks: &[Value]) -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "labels": {"kubevirt.io": name}, "ownerReferences": owner}, "webhooks": webhooks})
}

fn webhook(namespace: &str, ca: &str, name: &str, path: &str, operations: &[&str], resource: &str) -> Value {
    let group = if resource.starts_with("pods") {
        ""
    } else {
        "kubevirt.io"
    };
    json!({
        "name": name,
        "clientConfig": {"service": {"namespace": namespace, "name": "virt-api", "path": path, "port": 443}, "caBundle": base64(ca.as_bytes())},
        "rules": [{"apiGroups": [group], "apiVersions": ["v1"], "operations": operations, "resources": [resource], "scope": "Namespaced"}],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "NoneOnDryRun",
        "failurePolicy": "Fail",
        "timeoutSeconds": 10,
    })
}

fn mutating(namespace: &str, ca: &str) -> Vec<Value> {
    vec![
        webhook(
            namespace,
            ca,
            "virtualmachines-mutator.kubevirt.io",
            "/virtualmachines-mutate",
            &["CREATE"],
            "virtualmachines",
        ),
        webhook(
            namespace,
            ca,
            "virtualmachineinstances-mutator.kubevirt.io",
            "/virtualmachineinstances-mutate",
            &["CREATE", "UPDATE"],
            "virtualmachineinstances",
        ),
    ]
}

fn validating(namespace: &str, ca: &str) -> Vec<Value> {
    let mut eviction = webhook(
        namespace,
        ca,
        "virt-launcher-eviction-interceptor.kubevirt.io",
        "/launcher-eviction-validate",
        &["CREATE"],
        "pods/eviction",
    );
    // Evictions of other pods must not depend on this process.
    eviction["matchConditions"] =
        json!([{"name": "only-launchers", "expression": "request.name.startsWith('virt-launcher')"}]);
    vec![
        webhook(
            namespace,
            ca,
            "virtualmachine-validator.kubevirt.io",
            "/virtualmachines-validate",
            &["CREATE", "UPDATE"],
            "virtualmachines",
        ),
        webhook(
            namespace,
            ca,
            "virtualmachineinstances-create-validator.kubevirt.io",
            "/virtualmachineinstances-validate-create",
            &["CREATE"],
            "virtualmachineinstances",
        ),
        webhook(
            namespace,
            ca,
            "virtualmachineinstances-update-validator.kubevirt.io",
            "/virtualmachineinstances-validate-update",
            &["UPDATE"],
            "virtualmachineinstances",
        ),
        eviction,
    ]
}
