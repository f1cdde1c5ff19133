//! The objects of a dedicated etcd, and how they are written.

use super::names::{CLIENT_PORT, PEER_PORT};
use super::workload;
use crate::certificates::Marks;
use crate::control_plane::{
    action::{Action, Object},
    desired::{DesiredControlPlane, cluster_ip},
    objects::{budget, metadata, services::port},
    view::View,
};
use crate::datastore::Data;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceSpec};
use kube::ResourceExt;
use std::net::IpAddr;

/// What gives addresses, and what members need to start; the Service for API servers comes first.
pub fn network(desired: &DesiredControlPlane, view: &View) -> Vec<Action> {
    let live = &view.datastore;
    let services = [
        Action::apply(service(desired), &live.service),
        Action::apply(peers(desired), &live.peers),
    ];
    let config = config(workload::config_map(desired), live.config.as_ref());
    services.into_iter().chain(config).collect()
}

/// The address of the Service for API servers, from the objects that [`network`] has left.
pub fn address<'a>(mut network: impl Iterator<Item = &'a Object>) -> Option<IpAddr> {
    match network.next()? {
        Object::Service(service) => cluster_ip(service),
        _ => None,
    }
}

/// What holds the data. A StatefulSet whose data is gone is not created: a claim can be restored under its name.
pub fn workloads(desired: &DesiredControlPlane, data: &Data, authorities: &Marks, view: &View) -> Vec<Action> {
    let (names, live) = (&desired.names, &view.datastore);
    let set = || workload::stateful_set(desired, authorities.of(super::names::ETCD));
    let set = (!data.is_gone()).then(|| Action::apply(set(), &live.stateful_set));
    let several = desired.datastore.replicas > 1;
    let budget = several.then(|| budget::budget(desired, names.etcd(), names.etcd_labels()));
    set.into_iter()
        .chain(Action::apply_or_delete(budget, &live.budget))
        .collect()
}

/// For API servers. It has an address of its own, because DNS servers remember for seconds that a name does not
/// exist yet.
fn service(desired: &DesiredControlPlane) -> Service {
    let labels = desired.names.etcd_labels();
    Service {
        metadata: metadata(desired, desired.names.etcd(), labels.clone()),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            cluster_ip: desired.endpoint.given.datastore.map(|address| address.to_string()),
            selector: Some(labels),
            ports: Some(vec![port("client", CLIENT_PORT, CLIENT_PORT)]),
            // A single member is worth trying before its probe; of several, a ready one is better.
            publish_not_ready_addresses: Some(desired.datastore.replicas == 1),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Names of members for each other.
fn peers(desired: &DesiredControlPlane) -> Service {
    let labels = desired.names.etcd_labels();
    Service {
        metadata: metadata(desired, desired.names.etcd_peers(), labels.clone()),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            cluster_ip: Some("None".into()),
            selector: Some(labels),
            ports: Some(vec![port("peer", PEER_PORT, PEER_PORT)]),
            publish_not_ready_addresses: Some(true),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// What a member with an empty volume is told is written over nothing but what was read: a pass that knows
/// less must not tell it to found another cluster.
fn config(wanted: ConfigMap, live: Option<&ConfigMap>) -> Option<Action> {
    let Some(live) = live else {
        return Some(Action::apply(wanted, &None));
    };
    let mut kept = live.clone();
    kept.labels_mut().extend(wanted.metadata.labels.unwrap_or_default());
    kept.metadata.owner_references = wanted.metadata.owner_references;
    kept.data = wanted.data;
    (kept != *live).then(|| Action::Replace {
        live: live.clone().into(),
        wanted: kept.into(),
    })
}
