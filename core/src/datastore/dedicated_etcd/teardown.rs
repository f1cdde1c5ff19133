//! What of a dedicated etcd is deleted with its control plane, in this order.

use super::names::ETCD;
use crate::control_plane::{
    action::Object,
    deletion::{Step, ended, gone},
    names::UID_LABEL,
    view::View,
};
use crate::ownership::Owner;
use capn_api::{
    NestedControlPlane,
    nested_control_plane::{NestedControlPlaneSpec, RetentionPolicy},
};

/// What serves the data.
pub fn workloads(_: &NestedControlPlane, view: &View) -> Step {
    let live = &view.datastore;
    let sets = live.stateful_set.iter().cloned().map(Object::from);
    let objects = sets.chain(live.budget.iter().cloned().map(Object::from)).collect();
    let waiting = ended(ETCD, &live.pods).or_else(|| live.stateful_set.as_ref().map(|left| gone("StatefulSet", left)));
    (objects, waiting)
}

/// The data, if it is deleted. A claim without our label is not ours to delete, whoever took the label: nothing
/// waits for it.
pub fn data(ncp: &NestedControlPlane, view: &View) -> Step {
    if !deletes_data(&ncp.spec) {
        return (Vec::new(), None);
    }
    let owner = Owner::new(ncp, UID_LABEL);
    let claims = || view.datastore.claims.iter().filter(|claim| owner.owns(*claim));
    (
        claims().cloned().map(Object::from).collect(),
        claims().map(|left| gone("claim", left)).next(),
    )
}

/// What is left but for the Services, which go with those of the control plane.
pub fn rest(view: &View) -> impl Iterator<Item = Object> {
    view.datastore.config.iter().cloned().map(Object::from)
}

/// Whether the data is deleted with the control plane.
pub fn deletes_data(spec: &NestedControlPlaneSpec) -> bool {
    let etcd = spec.datastore.as_ref().and_then(|datastore| datastore.etcd.as_ref());
    let retention = etcd.and_then(|etcd| etcd.persistent_volume_claim_retention_policy.as_ref());
    retention.is_none_or(|retention| retention.when_deleted == RetentionPolicy::Delete)
}
