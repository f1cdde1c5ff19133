//! What clusterctl installs beside the CRDs, from config/: the rights of the managers and the
//! admission policies. So a test fails when a manager needs a right that is not shipped.

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};

/// Group of the users that hold the rights of the provider `nested`.
pub(crate) const NESTED: &str = "managers-of-nested";
/// Group of the users that hold the rights of the provider `kubevirt`.
pub(crate) const KUBEVIRT: &str = "managers-of-kubevirt";

/// Prefix of the provider's objects, group of its managers here, and its files.
const PROVIDERS: [(&str, &str, [&str; 3]); 2] = [
    (
        "capn-",
        NESTED,
        [
            include_str!("../../../config/rbac/nested/manager_role.yaml"),
            include_str!("../../../config/rbac/nested/leader_election_role.yaml"),
            include_str!("../../../config/admission/nested/policy.yaml"),
        ],
    ),
    (
        "capk-",
        KUBEVIRT,
        [
            include_str!("../../../config/rbac/kubevirt/manager_role.yaml"),
            include_str!("../../../config/rbac/kubevirt/leader_election_role.yaml"),
            include_str!("../../../config/admission/kubevirt/policy.yaml"),
        ],
    ),
];

pub(crate) async fn install(client: &Client) {
    for (prefix, group, files) in PROVIDERS {
        let documents = files.iter().flat_map(|file| file.split("\n---\n"));
        for mut object in documents.map(|text| serde_saphyr::from_str::<Value>(text).expect("YAML of config/")) {
            let name = format!("{prefix}{}", object["metadata"]["name"].as_str().expect("a name"));
            object["metadata"]["name"] = json!(name);
            if let Some(policy) = object["spec"]["policyName"].as_str() {
                object["spec"]["policyName"] = json!(format!("{prefix}{policy}"));
            }
            // The Lease's Role is for the provider's namespace; here every test has its own.
            if object["kind"] == "Role" {
                object["kind"] = json!("ClusterRole");
            }
            apply(client, &object).await;
            if object["kind"] == "ClusterRole" {
                apply(client, &binding(&name, group)).await;
            }
        }
    }
}

fn binding(role: &str, group: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    })
}

async fn apply(client: &Client, object: &Value) {
    let text = |field: &str| object[field].as_str().expect("apiVersion and kind").to_owned();
    let (group, version) = text("apiVersion")
        .split_once('/')
        .map(|(g, v)| (g.to_owned(), v.to_owned()))
        .expect("a group");
    let resource = ApiResource::from_gvk(&GroupVersionKind {
        group,
        version,
        kind: text("kind"),
    });
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
    let name = object["metadata"]["name"].as_str().expect("a name");
    let params = PatchParams::apply("capn-integration").force();
    if let Err(error) = api.patch(name, &params, &Patch::Apply(object)).await {
        panic!("{} {name} of config/ is refused: {error}", text("kind"));
    }
}
