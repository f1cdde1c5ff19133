//! What a running control plane was last made from. It is kept in a ControllerRevision, so that it
//! stays alive while its spec or its Cluster cannot be used.

use super::desired::{DesiredControlPlane, Given, ValidateError, initialized, validate};
use super::objects;
use super::revision;
use super::view::View;
use crate::checksum::checksum;
use crate::datastore;
use crate::kubernetes::releases;
use capn_api::{
    NestedControlPlane,
    cluster_api::{Cluster, ClusterNetwork},
    nested_control_plane::NestedControlPlaneSpec,
};
use ipnet::IpNet;
use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::runtime::RawExtension};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a control plane is made from.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inputs {
    spec: NestedControlPlaneSpec,
    cluster_network: ClusterNetwork,
    /// What its Services had.
    #[serde(default)]
    pub addresses: Given,
    /// Identities of its authorities.
    #[serde(default)]
    pub authorities: BTreeMap<String, String>,
    /// Revision of its pod templates.
    #[serde(default = "first")]
    pub template_revision: u32,
}

fn first() -> u32 {
    1
}

impl Inputs {
    /// What the objects say now, but for the endpoint, which is never taken back.
    pub fn of(
        ncp: &NestedControlPlane,
        cluster: &Cluster,
        addresses: Given,
        authorities: &BTreeMap<String, String>,
        template_revision: u32,
    ) -> Self {
        let mut spec = ncp.spec.clone();
        spec.control_plane_endpoint = None;
        Self {
            spec,
            cluster_network: cluster.spec.cluster_network.clone(),
            addresses,
            authorities: authorities.clone(),
            template_revision,
        }
    }

    /// The revision of the pod templates for this version: that of the pods that run, so that another
    /// release of the provider replaces none of them. Another Kubernetes version replaces them anyway, and
    /// brings the latest.
    pub fn template_revision_for(stored: Option<&Self>, ncp: &NestedControlPlane) -> u32 {
        let latest = revision::LATEST_TEMPLATE_REVISION;
        let same = stored.filter(|stored| releases::parse(&stored.spec.version) == releases::parse(&ncp.spec.version));
        same.map_or(latest, |stored| stored.template_revision.min(latest))
    }

    /// The newest that was stored; none when it is of a release that wrote it in another way.
    pub fn stored(revisions: &[ControllerRevision]) -> Option<Self> {
        serde_json::from_value(newest(revisions)?.clone()).ok()
    }

    /// The objects as they would be with these inputs.
    pub fn applied_to(&self, ncp: &NestedControlPlane, cluster: &Cluster) -> (NestedControlPlane, Cluster) {
        let (mut ncp, mut cluster) = (ncp.clone(), cluster.clone());
        let endpoint = ncp.spec.control_plane_endpoint.take();
        ncp.spec = self.spec.clone();
        ncp.spec.control_plane_endpoint = endpoint;
        cluster.spec.cluster_network = self.cluster_network.clone();
        (ncp, cluster)
    }

    /// The revision that stores these inputs, unless the newest does.
    pub fn revision(
        &self,
        desired: &DesiredControlPlane,
        revisions: &[ControllerRevision],
    ) -> Option<ControllerRevision> {
        let data = serde_json::to_value(self).ok()?;
        // As it is written: a time, for instance, is written with less than it may hold.
        if newest(revisions) == Some(&data) {
            return None;
        }
        let number = revisions
            .iter()
            .map(|revision| revision.revision)
            .max()
            .unwrap_or_default()
            + 1;
        let text = data.to_string();
        let name = checksum([text.as_bytes(), &number.to_be_bytes()]);
        Some(ControllerRevision {
            metadata: objects::metadata(desired, desired.names.revision(&name), desired.names.labels()),
            data: Some(RawExtension(data)),
            revision: number,
        })
    }
}

fn newest(revisions: &[ControllerRevision]) -> Option<&Value> {
    let newest = revisions.iter().max_by_key(|revision| revision.revision)?;
    Some(&newest.data.as_ref()?.0)
}

/// What a control plane should be; `stored` is what it was last made from. What is wrong with it comes beside the
/// one that was applied last, which is kept alive meanwhile.
///
/// # Errors
/// When it cannot be used, and it has never run.
pub fn desired(
    ncp: &NestedControlPlane,
    cluster: &Cluster,
    view: &View,
    stored: Option<&Inputs>,
) -> Result<(DesiredControlPlane, Option<ValidateError>), ValidateError> {
    let runs = initialized(ncp) || datastore::initialized(ncp, Some(view));
    let in_use = stored.filter(|_| runs);
    let used = in_use.and_then(|inputs| {
        let (ncp, cluster) = inputs.applied_to(ncp, cluster);
        validate(&ncp, &cluster).ok().map(|used| DesiredControlPlane {
            template_revision: inputs.template_revision,
            ..used
        })
    });
    let wanted = validate(ncp, cluster).and_then(|wanted| unchanged(wanted, used.as_ref()));
    match (wanted, used) {
        (Ok(wanted), _) => Ok((
            DesiredControlPlane {
                template_revision: Inputs::template_revision_for(stored, ncp),
                ..wanted
            },
            None,
        )),
        (Err(error), Some(used)) => Ok((used, Some(error))),
        (Err(error), None) => Err(error),
    }
}

/// Refuses what cannot change while a control plane is in use: workers, Services and certificates
/// hold it.
fn unchanged(
    wanted: DesiredControlPlane,
    used: Option<&DesiredControlPlane>,
) -> Result<DesiredControlPlane, ValidateError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::tests::{cluster, desired, ncp};
    use serde_json::json;

    #[test]
    fn what_is_stored_is_stored_once_however_it_was_written() {
        let network = json!({"clusterNetwork": {"services": {"cidrBlocks": ["10.96.0.0/16"]}}});
        for spec in [
            json!({"version": "v1.36.3"}),
            json!({"version": "1.36.3", "rollout": {"after": "2026-11-21T00:00:00.123456789+01:00"}}),
            json!({"version": "v1.36.3", "certificates": {"validity": "90m", "renewBefore": "1800s"}}),
            json!({"version": "v1.36.3", "datastore": {"etcd": {"storage": {"size": "1024Mi"}}}}),
        ] {
            let inputs = Inputs::of(
                &ncp(spec.clone()),
                &cluster(network.clone()),
                Given::default(),
                &BTreeMap::new(),
                1,
            );
            let desired = desired(spec.clone());
            let stored = [inputs.revision(&desired, &[]).unwrap()];
            assert!(inputs.revision(&desired, &stored).is_none(), "{spec}");
            assert!(Inputs::stored(&stored).is_some(), "{spec}");
            let other = Inputs::of(
                &ncp(json!({"version": "v1.36.2"})),
                &cluster(json!({})),
                Given::default(),
                &BTreeMap::new(),
                1,
            );
            let next = other.revision(&desired, &stored).unwrap();
            assert_eq!(next.revision, 2);
            assert_ne!(next.metadata.name, stored[0].metadata.name);
        }
    }

    #[test]
    fn pods_keep_the_revision_that_they_were_made_with_until_their_version_changes() {
        let wanted = |version: &str| ncp(json!({"version": version}));
        let stored = |version: &str, revision| Inputs {
            template_revision: revision,
            ..Inputs::of(
                &wanted(version),
                &cluster(json!({})),
                Given::default(),
                &BTreeMap::new(),
                1,
            )
        };
        let latest = revision::LATEST_TEMPLATE_REVISION;
        let cases = [
            (None, latest),
            (Some(stored("v1.36.3", 0)), 0),
            (Some(stored("1.36.3", 0)), 0),
            (Some(stored("v1.36.2", 0)), latest),
            (Some(stored("v1.36.3", latest + 1)), latest),
        ];
        for (stored, revision) in cases {
            let found = Inputs::template_revision_for(stored.as_ref(), &wanted("v1.36.3"));
            assert_eq!(found, revision, "{stored:?}");
        }
        let before: Inputs =
            serde_json::from_value(json!({"spec": {"version": "v1.36.3"}, "clusterNetwork": {}})).unwrap();
        assert_eq!(before.template_revision, 1);
    }
}
