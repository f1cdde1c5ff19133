//! Step 1: reads what a NestedControlPlane refers to and what was made for it. Never writes.

use super::names::{self, Names};
use crate::calls::{CallError, Calls, Object};
use crate::controller::owner_cluster;
use capn_api::{
    NestedControlPlane,
    cluster_api::{CLUSTER_NAME_LABEL, Cluster},
};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{PersistentVolumeClaim, Pod, Secret, Service},
    policy::v1::PodDisruptionBudget,
    storage::v1::StorageClass,
};
use kube::ResourceExt;
use tokio::try_join;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) secrets: Secrets,
    pub(crate) services: Services,
    pub(crate) etcd: Option<StatefulSet>,
    pub(crate) control_plane: Option<Deployment>,
    pub(crate) etcd_budget: Option<PodDisruptionBudget>,
    pub(crate) control_plane_budget: Option<PodDisruptionBudget>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) etcd_pods: Vec<Pod>,
    pub(crate) claims: Vec<PersistentVolumeClaim>,
    /// What keeps a claim without a volume, when that can be told.
    pub(crate) storage: StorageProblem,
}

/// Secrets of a tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets {
    pub(crate) ca: Option<Secret>,
    pub(crate) etcd_ca: Option<Secret>,
    pub(crate) proxy_ca: Option<Secret>,
    pub(crate) service_account: Option<Secret>,
    pub(crate) kubeconfig: Option<Secret>,
    pub(crate) api_server: Option<Secret>,
    pub(crate) etcd_member: Option<Secret>,
    pub(crate) controller_manager: Option<Secret>,
    pub(crate) scheduler: Option<Secret>,
}

/// Services of a tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Services {
    pub(crate) api_server: Option<Service>,
    pub(crate) etcd: Option<Service>,
    pub(crate) etcd_peers: Option<Service>,
}

/// What keeps a claim without a volume.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum StorageProblem {
    /// Nothing that is known.
    #[default]
    None,
    /// The claim names no class and the cluster has no default.
    NoDefaultClass,
    /// The class that it names is not there.
    NoSuchClass(String),
}

/// Reads the Cluster of this object: its owner or, while Cluster API's core has not said so yet,
/// the one that names it as its control plane. Core takes seconds over the owner, and a tenant
/// need not wait for them.
pub(crate) async fn cluster(calls: &Calls, ncp: &NestedControlPlane) -> Result<Option<Cluster>, CallError> {
    let namespace = ncp.namespace();
    if let Some(name) = owner_cluster(ncp) {
        return calls.get(namespace.as_deref(), &name).await;
    }
    let clusters: Vec<Cluster> = calls.list(namespace.as_deref(), "").await?;
    Ok(clusters
        .into_iter()
        .find(|cluster| control_plane_of(cluster) == Some(&ncp.name_any())))
}

/// The name of the NestedControlPlane that a Cluster names.
pub(crate) fn control_plane_of(cluster: &Cluster) -> Option<&String> {
    let reference = cluster.spec.control_plane_ref.as_ref()?;
    let ours = reference.kind == "NestedControlPlane" && reference.api_group == "controlplane.cluster.x-k8s.io";
    ours.then_some(&reference.name)
}

/// The name of the Cluster, as far as the object itself tells.
pub(crate) fn cluster_of(ncp: &NestedControlPlane) -> Option<String> {
    owner_cluster(ncp).or_else(|| ncp.labels().get(CLUSTER_NAME_LABEL).cloned())
}

/// Reads everything of a tenant.
pub(crate) async fn observe(calls: &Calls, namespace: &str, names: &Names) -> Result<Observed, CallError> {
    let get = Getter { calls, namespace };
    let (control_plane, etcd) = (names.selector(names::CONTROL_PLANE), names.selector(names::ETCD));
    let (secrets, services, workloads, pods) = try_join!(
        secrets(&get, names),
        services(&get, names),
        async {
            try_join!(
                get.one(names.etcd()),
                get.one(names.control_plane()),
                get.one(names.etcd()),
                get.one(names.control_plane())
            )
        },
        async {
            try_join!(
                calls.list(Some(namespace), &control_plane),
                calls.list(Some(namespace), &etcd),
                calls.list(Some(namespace), &etcd)
            )
        },
    )?;
    let (etcd, control_plane, etcd_budget, control_plane_budget) = workloads;
    let (pods, etcd_pods, claims) = pods;
    let storage = storage_problem(calls, &claims).await?;
    Ok(Observed {
        secrets,
        services,
        etcd,
        control_plane,
        etcd_budget,
        control_plane_budget,
        pods,
        etcd_pods,
        claims,
        storage,
    })
}

struct Getter<'a> {
    calls: &'a Calls,
    namespace: &'a str,
}

impl Getter<'_> {
    async fn one<K: Object>(&self, name: String) -> Result<Option<K>, CallError> {
        self.calls.get(Some(self.namespace), &name).await
    }
}

async fn secrets(get: &Getter<'_>, names: &Names) -> Result<Secrets, CallError> {
    let (ca, etcd_ca, proxy_ca, service_account, kubeconfig, api_server, etcd_member, controller_manager, scheduler) =
        try_join!(
            get.one(names.ca()),
            get.one(names.etcd_ca()),
            get.one(names.proxy_ca()),
            get.one(names.service_account()),
            get.one(names.kubeconfig()),
            get.one(names.api_server_certificates()),
            get.one(names.etcd_certificates()),
            get.one(names.controller_manager()),
            get.one(names.scheduler()),
        )?;
    Ok(Secrets {
        ca,
        etcd_ca,
        proxy_ca,
        service_account,
        kubeconfig,
        api_server,
        etcd_member,
        controller_manager,
        scheduler,
    })
}

async fn services(get: &Getter<'_>, names: &Names) -> Result<Services, CallError> {
    let (api_server, etcd, etcd_peers) = try_join!(
        get.one(names.api_server_service()),
        get.one(names.etcd()),
        get.one(names.etcd_peers())
    )?;
    Ok(Services {
        api_server,
        etcd,
        etcd_peers,
    })
}

/// A claim says nothing of why it waits but in events, so its class is looked at.
async fn storage_problem(calls: &Calls, claims: &[PersistentVolumeClaim]) -> Result<StorageProblem, CallError> {
    let waits = |claim: &&PersistentVolumeClaim| {
        claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound")
    };
    let Some(claim) = claims.iter().find(waits) else {
        return Ok(StorageProblem::None);
    };
    match claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()) {
        None => Ok(StorageProblem::NoDefaultClass),
        Some("") => Ok(StorageProblem::None),
        Some(class) => Ok(match calls.get::<StorageClass>(None, class).await? {
            // Volumes that were made by hand may name a class that is no object.
            None => StorageProblem::NoSuchClass(class.to_owned()),
            Some(_) => StorageProblem::None,
        }),
    }
}
