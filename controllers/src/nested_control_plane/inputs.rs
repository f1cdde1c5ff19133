//! What a running control plane was last made from. It is kept in a ControllerRevision, so that it
//! stays alive while its spec or its Cluster cannot be used. Pure.

use super::addresses::Given;
use super::build;
use super::validate::{Tenant, ValidateError};
use crate::checksum::checksum;
use capn_api::{
    NestedControlPlane,
    cluster_api::{Cluster, ClusterNetwork},
    nested_control_plane::NestedControlPlaneSpec,
};
use ipnet::IpNet;
use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::runtime::RawExtension};
use serde::{Deserialize, Serialize};

/// What a control plane is made from.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Inputs {
    spec: NestedControlPlaneSpec,
    cluster_network: ClusterNetwork,
    /// What its Services had.
    #[serde(default)]
    pub(crate) addresses: Given,
}

impl Inputs {
    /// What the objects say now, but for the endpoint, which is never taken back.
    pub(crate) fn of(ncp: &NestedControlPlane, cluster: &Cluster, addresses: Given) -> Self {
        let mut spec = ncp.spec.clone();
        spec.control_plane_endpoint = None;
        Self {
            spec,
            cluster_network: cluster.spec.cluster_network.clone(),
            addresses,
        }
    }

    /// The newest that was stored; none when it is of a release that wrote it in another way.
    pub(crate) fn stored(revisions: &[ControllerRevision]) -> Option<Self> {
        let newest = revisions.iter().max_by_key(|revision| revision.revision)?;
        serde_json::from_value(newest.data.as_ref()?.0.clone()).ok()
    }

    /// The objects as they would be with these inputs.
    pub(crate) fn applied_to(&self, ncp: &NestedControlPlane, cluster: &Cluster) -> (NestedControlPlane, Cluster) {
        let (mut ncp, mut cluster) = (ncp.clone(), cluster.clone());
        let endpoint = ncp.spec.control_plane_endpoint.take();
        ncp.spec = self.spec.clone();
        ncp.spec.control_plane_endpoint = endpoint;
        cluster.spec.cluster_network = self.cluster_network.clone();
        (ncp, cluster)
    }

    /// The revision that stores these inputs, unless the newest does.
    pub(crate) fn revision(&self, tenant: &Tenant, revisions: &[ControllerRevision]) -> Option<ControllerRevision> {
        if Self::stored(revisions).as_ref() == Some(self) {
            return None;
        }
        let data = serde_json::to_value(self).ok()?;
        let number = revisions
            .iter()
            .map(|revision| revision.revision)
            .max()
            .unwrap_or_default()
            + 1;
        let text = data.to_string();
        let name = checksum([text.as_bytes(), &number.to_be_bytes()]);
        Some(ControllerRevision {
            metadata: build::metadata(tenant, tenant.names.revision(&name), tenant.names.labels()),
            data: Some(RawExtension(data)),
            revision: number,
        })
    }
}

/// Refuses what cannot change while a control plane is in use: workers, Services and certificates
/// hold it.
pub(crate) fn unchanged(wanted: Tenant, used: Option<&Tenant>) -> Result<Tenant, ValidateError> {
    let Some(used) = used else { return Ok(wanted) };
    let ranges = |ranges: &[IpNet]| ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let (old, new) = (&used.network, &wanted.network);
    let fields = [
        ("services", ranges(&old.services), ranges(&new.services)),
        ("pods", ranges(&old.pods), ranges(&new.pods)),
        ("serviceDomain", old.domain.clone(), new.domain.clone()),
    ];
    match fields.into_iter().find(|(_, from, to)| from != to) {
        Some((field, from, to)) => Err(ValidateError::Changed { field, from, to }),
        None => Ok(wanted),
    }
}
