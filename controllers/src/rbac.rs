//! The rights that each provider ships with: verbs exactly as the controllers use them.
//!
//! Server-side apply that makes an object needs `create` beside `patch`.

use crate::args::Provider;
use k8s_openapi::{
    api::rbac::v1::{ClusterRole, PolicyRule, Role},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

/// API group, resources, verbs.
type Rule = (&'static str, &'static [&'static str], &'static [&'static str]);

const NESTED: &[Rule] = &[
    (
        "controlplane.cluster.x-k8s.io",
        &["nestedcontrolplanes"],
        &["list", "patch", "watch"],
    ),
    (
        "controlplane.cluster.x-k8s.io",
        &["nestedcontrolplanes/status"],
        &["patch"],
    ),
    ("cluster.x-k8s.io", &["clusters"], &["get", "list", "watch"]),
    ("cluster.x-k8s.io", &["machines"], &["list"]),
    (
        "",
        &["secrets"],
        &["create", "delete", "get", "list", "update", "watch"],
    ),
    (
        "",
        &["services"],
        &["create", "delete", "get", "list", "patch", "watch"],
    ),
    (
        "",
        &["configmaps"],
        &["create", "delete", "get", "list", "patch", "update", "watch"],
    ),
    ("", &["pods"], &["list", "watch"]),
    ("", &["persistentvolumeclaims"], &["delete", "get", "list", "watch"]),
    (
        "apps",
        &["deployments", "statefulsets"],
        &["create", "delete", "get", "list", "patch", "watch"],
    ),
    ("apps", &["controllerrevisions"], &["create", "delete", "get", "list"]),
    (
        "policy",
        &["poddisruptionbudgets"],
        &["create", "delete", "get", "list", "patch"],
    ),
    ("storage.k8s.io", &["storageclasses"], &["get"]),
    ("", &["events"], &["list"]),
    ("events.k8s.io", &["events"], &["create"]),
];

const KUBEVIRT: &[Rule] = &[
    (
        "infrastructure.cluster.x-k8s.io",
        &["kubevirtclusters", "kubevirtmachines"],
        &["list", "patch", "watch"],
    ),
    (
        "infrastructure.cluster.x-k8s.io",
        &["kubevirtclusters/status", "kubevirtmachines/status"],
        &["patch"],
    ),
    ("cluster.x-k8s.io", &["clusters", "machines"], &["get", "list", "watch"]),
    ("", &["secrets"], &["create", "delete", "get", "patch"]),
    ("", &["namespaces"], &["get"]),
    ("", &["services"], &["delete", "get"]),
    (
        "kubevirt.io",
        &["virtualmachines"],
        &["create", "delete", "get", "list", "watch"],
    ),
    (
        "kubevirt.io",
        &["virtualmachineinstances"],
        &["delete", "get", "list", "watch"],
    ),
    ("events.k8s.io", &["events"], &["create"]),
];

/// What Cluster API's core does with a provider's kinds.
const CORE_VERBS: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];

/// Everything that the manager of a provider may do.
pub fn manager(provider: Provider) -> ClusterRole {
    let rules = match provider {
        Provider::Nested => NESTED,
        Provider::Kubevirt => KUBEVIRT,
    };
    cluster_role("manager-role", rules)
}

/// What Cluster API's core may do with the provider's kinds: aggregated to its role.
pub fn core(provider: Provider) -> ClusterRole {
    let rule: Rule = match provider {
        Provider::Nested => (
            "controlplane.cluster.x-k8s.io",
            &[
                "nestedcontrolplanes",
                "nestedcontrolplanes/status",
                "nestedcontrolplanetemplates",
            ],
            CORE_VERBS,
        ),
        Provider::Kubevirt => (
            "infrastructure.cluster.x-k8s.io",
            &[
                "kubevirtclusters",
                "kubevirtclusters/status",
                "kubevirtclustertemplates",
                "kubevirtmachines",
                "kubevirtmachines/status",
                "kubevirtmachinetemplates",
                "kubevirtmachinetemplates/status",
            ],
            CORE_VERBS,
        ),
    };
    let mut role = cluster_role("aggregated-manager-role", &[rule]);
    role.metadata.labels = Some([("cluster.x-k8s.io/aggregate-to-manager".to_owned(), "true".to_owned())].into());
    role
}

/// What the kubeadm bootstrap provider needs before a worker joins: it reads the control plane.
pub fn bootstrap_reader() -> ClusterRole {
    cluster_role(
        "bootstrap-reader-role",
        &[("controlplane.cluster.x-k8s.io", &["nestedcontrolplanes"], &["get"])],
    )
}

/// The Lease in the manager's own namespace.
pub fn leader_election() -> Role {
    Role {
        metadata: ObjectMeta {
            name: Some("leader-election-role".into()),
            ..ObjectMeta::default()
        },
        rules: Some(vec![rule(&(
            "coordination.k8s.io",
            &["leases"],
            &["create", "get", "patch"],
        ))]),
    }
}

fn cluster_role(name: &str, rules: &[Rule]) -> ClusterRole {
    ClusterRole {
        metadata: ObjectMeta {
            name: Some(name.into()),
            ..ObjectMeta::default()
        },
        rules: Some(rules.iter().map(rule).collect()),
        ..ClusterRole::default()
    }
}

fn rule((group, resources, verbs): &Rule) -> PolicyRule {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    PolicyRule {
        api_groups: Some(texts(&[group])),
        resources: Some(texts(resources)),
        verbs: texts(verbs),
        ..PolicyRule::default()
    }
}
