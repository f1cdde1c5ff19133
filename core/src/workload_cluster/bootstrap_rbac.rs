//! The rights that kubeadm gives to joining nodes, under kubeadm's names.

use super::objects::in_namespace;
use k8s_openapi::{
    api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

/// Kind and name of a subject.
type Who = (&'static str, &'static str);

const BOOTSTRAPPERS: Who = ("Group", "system:bootstrappers:kubeadm:default-node-token");
const NODES: Who = ("Group", "system:nodes");

/// Name, ConfigMap and readers of each Role in kube-system.
const CONFIG_ROLES: [(&str, &str, &[Who]); 3] = [
    (
        "kubeadm:nodes-kubeadm-config",
        "kubeadm-config",
        &[BOOTSTRAPPERS, NODES],
    ),
    ("kubeadm:kubelet-config", "kubelet-config", &[BOOTSTRAPPERS, NODES]),
    ("kube-proxy", "kube-proxy", &[BOOTSTRAPPERS]),
];

const CLUSTER_INFO: &str = "kubeadm:bootstrap-signer-clusterinfo";

pub(super) fn roles() -> Vec<Role> {
    let role = |namespace, name, config_map: &str| Role {
        metadata: in_namespace(namespace, name),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["configmaps".into()]),
            resource_names: Some(vec![config_map.into()]),
            verbs: vec!["get".into()],
            ..PolicyRule::default()
        }]),
    };
    let system = CONFIG_ROLES
        .iter()
        .map(|(name, config_map, _)| role("kube-system", name, config_map));
    system
        .chain([role("kube-public", CLUSTER_INFO, "cluster-info")])
        .collect()
}

pub(super) fn role_bindings() -> Vec<RoleBinding> {
    let binding = |namespace, name: &str, subjects: &[(&str, &str)]| RoleBinding {
        metadata: in_namespace(namespace, name),
        role_ref: role_ref("Role", name),
        subjects: Some(subjects.iter().map(|subject| self::subject(*subject)).collect()),
    };
    let system = CONFIG_ROLES
        .iter()
        .map(|(name, _, readers)| binding("kube-system", name, readers));
    system
        .chain([binding("kube-public", CLUSTER_INFO, &[("User", "system:anonymous")])])
        .collect()
}

pub(super) fn cluster_roles() -> Vec<ClusterRole> {
    vec![ClusterRole {
        metadata: named("kubeadm:get-nodes"),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["nodes".into()]),
            verbs: vec!["get".into()],
            ..PolicyRule::default()
        }]),
        ..ClusterRole::default()
    }]
}

pub(super) fn cluster_role_bindings() -> Vec<ClusterRoleBinding> {
    vec![
        cluster_role_binding("kubeadm:get-nodes", "kubeadm:get-nodes", BOOTSTRAPPERS),
        cluster_role_binding("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", BOOTSTRAPPERS),
        cluster_role_binding(
            "kubeadm:node-autoapprove-bootstrap",
            "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
            BOOTSTRAPPERS,
        ),
        cluster_role_binding(
            "kubeadm:node-autoapprove-certificate-rotation",
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
            NODES,
        ),
        // Since kubeadm 1.36.1 logs and exec fail without it.
        cluster_role_binding(
            "kubeadm:apiserver-kubelet-client",
            "system:kubelet-api-admin",
            ("User", "kube-apiserver-kubelet-client"),
        ),
    ]
}

pub(super) fn cluster_role_binding(name: &str, role: &str, subject: (&str, &str)) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: named(name),
        role_ref: role_ref("ClusterRole", role),
        subjects: Some(vec![self::subject(subject)]),
    }
}

pub(super) fn service_account(name: &str) -> Subject {
    Subject {
        kind: "ServiceAccount".into(),
        name: name.into(),
        namespace: Some("kube-system".into()),
        ..Subject::default()
    }
}

fn subject((kind, name): (&str, &str)) -> Subject {
    let api_group = Some("rbac.authorization.k8s.io".into());
    Subject {
        api_group,
        kind: kind.into(),
        name: name.into(),
        namespace: None,
    }
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef {
        api_group: Some("rbac.authorization.k8s.io".into()),
        kind: kind.into(),
        name: name.into(),
    }
}

pub(super) fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        ..ObjectMeta::default()
    }
}
