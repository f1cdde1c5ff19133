//! etcd: a StatefulSet on persistent volumes, TLS for peers and clients.

use super::data::{Bootstrap, EXISTING, INITIAL_CLUSTER, INITIAL_CLUSTER_STATE};
use super::names::{CLIENT_PORT, ETCD, ETCD_VERSION_ANNOTATION, HEALTH_PORT, PEER_PORT};
use crate::certificates::{Program, mounted};
use crate::control_plane::{
    desired::DesiredControlPlane,
    objects::{
        AUTHORITIES_ANNOTATION, metadata,
        pod::{Args, container, env, files, mount, probe, template},
    },
};
use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec},
        core::v1::{
            ConfigMap, ConfigMapKeySelector, ContainerPort, EnvVar, EnvVarSource, ObjectFieldSelector,
            PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSpec, VolumeMount, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use std::collections::BTreeMap;

const CERTIFICATES: &str = "/etc/kubernetes/pki/etcd";
const DATA: &str = "/var/lib/etcd";

pub(super) fn stateful_set(desired: &DesiredControlPlane, authorities: &str) -> StatefulSet {
    let (names, etcd) = (&desired.names, &desired.datastore);
    let labels = names.etcd_labels();
    let mut container = container(ETCD, &etcd.part, args(desired), ("15m", "48Mi"));
    container.env.get_or_insert_default().extend([
        EnvVar {
            name: "POD_NAME".into(),
            value: None,
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".into()),
                    field_path: "metadata.name".into(),
                }),
                ..EnvVarSource::default()
            }),
        },
        // Not in the pod template: what etcd starts with may change without a restart of any member.
        from_config(desired, "ETCD_INITIAL_CLUSTER_STATE", INITIAL_CLUSTER_STATE),
        from_config(desired, "ETCD_INITIAL_CLUSTER", INITIAL_CLUSTER),
        // A control plane's store is small; collecting more often costs little and halves its memory.
        env("GOGC", "50"),
    ]);
    container.ports = Some(vec![
        port("client", CLIENT_PORT),
        port("peer", PEER_PORT),
        port("metrics", HEALTH_PORT),
    ]);
    // A member that loads a large store or waits for its peers is slow, not broken.
    container.startup_probe = Some(probe("/livez", HEALTH_PORT, "HTTP", 5, 120));
    container.liveness_probe = Some(probe("/livez", HEALTH_PORT, "HTTP", 10, 8));
    container.readiness_probe = Some(probe("/readyz", HEALTH_PORT, "HTTP", 5, 3));
    let data = VolumeMount {
        name: "data".into(),
        mount_path: DATA.into(),
        ..VolumeMount::default()
    };
    container.volume_mounts = Some(vec![data, mount("certificates", CERTIFICATES)]);
    let trusted = [("etcd-ca.crt", "ca.crt"), ("etcd-peer-ca.crt", "peer-ca.crt")];
    let trusted = (names.pki(), trusted.map(|(key, path)| (key.into(), path.into())).into());
    let pod = PodSpec {
        containers: vec![container],
        volumes: Some(vec![files(
            "certificates",
            [trusted].into_iter().chain(mounted(Program::Datastore, names)),
        )]),
        ..PodSpec::default()
    };
    let annotations = BTreeMap::from([
        (AUTHORITIES_ANNOTATION.into(), authorities.into()),
        (ETCD_VERSION_ANNOTATION.into(), etcd.version.into()),
    ]);
    StatefulSet {
        metadata: metadata(desired, names.etcd(), labels.clone()),
        spec: Some(StatefulSetSpec {
            // Members find each other only when all of them start.
            pod_management_policy: Some("Parallel".into()),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                // Volumes are deleted by `teardown` alone: no mistake with the StatefulSet takes a control plane's
                // data, and its controller does not write to claims while they are being bound.
                when_deleted: Some("Retain".into()),
                when_scaled: Some("Retain".into()),
            }),
            replicas: Some(etcd.replicas),
            selector: LabelSelector {
                match_labels: Some(labels.clone()),
                ..LabelSelector::default()
            },
            service_name: Some(names.etcd_peers()),
            template: template(desired, &etcd.pod_template, labels.clone(), annotations, pod),
            volume_claim_templates: Some(vec![claim(desired, labels)]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn claim(desired: &DesiredControlPlane, labels: BTreeMap<String, String>) -> PersistentVolumeClaim {
    let etcd = &desired.datastore;
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".into()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".into(), etcd.size.clone())])),
                limits: None,
            }),
            storage_class_name: etcd.storage_class_name.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn args(desired: &DesiredControlPlane) -> Args {
    let (names, namespace) = (&desired.names, &desired.namespace);
    let own = format!("$(POD_NAME).{}.{namespace}.svc", names.etcd_peers());
    Args::default()
        .with("name", "$(POD_NAME)")
        // A folder of its own: the root of some volumes holds lost+found.
        .with("data-dir", format!("{DATA}/data"))
        .with("listen-client-urls", format!("https://0.0.0.0:{CLIENT_PORT}"))
        .with("advertise-client-urls", format!("https://{own}:{CLIENT_PORT}"))
        .with("listen-peer-urls", format!("https://0.0.0.0:{PEER_PORT}"))
        .with("initial-advertise-peer-urls", format!("https://{own}:{PEER_PORT}"))
        .with("initial-cluster-token", format!("{namespace}/{}", names.cluster()))
        .with("listen-metrics-urls", format!("http://0.0.0.0:{HEALTH_PORT}"))
        .with("client-cert-auth", "true")
        .with("trusted-ca-file", format!("{CERTIFICATES}/ca.crt"))
        .with("cert-file", format!("{CERTIFICATES}/server.crt"))
        .with("key-file", format!("{CERTIFICATES}/server.key"))
        .with("peer-client-cert-auth", "true")
        .with("peer-trusted-ca-file", format!("{CERTIFICATES}/peer-ca.crt"))
        .with("peer-cert-file", format!("{CERTIFICATES}/peer.crt"))
        .with("peer-key-file", format!("{CERTIFICATES}/peer.key"))
        .with("snapshot-count", "10000")
        .with("auto-compaction-retention", "8")
        .with("log-level", "warn")
}

/// What a member with an empty volume starts with. etcd looks at it when a member starts, and only
/// while its volume holds no data.
pub(super) fn config_map(desired: &DesiredControlPlane) -> ConfigMap {
    let names = &desired.names;
    let member = |ordinal| {
        let host = names.etcd_member(ordinal, &desired.namespace);
        format!("{}=https://{host}:{PEER_PORT}", names.member(ordinal))
    };
    let all = || {
        (0..desired.datastore.replicas)
            .map(member)
            .collect::<Vec<_>>()
            .join(",")
    };
    let (state, members) = match desired.datastore.bootstrap {
        Bootstrap::Found => ("new", all()),
        Bootstrap::Join => (EXISTING, all()),
        // etcd ends at once when it does not find its own name here.
        Bootstrap::Refuse => (EXISTING, format!("none=https://127.0.0.1:{PEER_PORT}")),
    };
    ConfigMap {
        metadata: metadata(desired, names.etcd(), names.etcd_labels()),
        data: Some(BTreeMap::from([
            (INITIAL_CLUSTER_STATE.into(), state.into()),
            (INITIAL_CLUSTER.into(), members),
        ])),
        ..ConfigMap::default()
    }
}

fn from_config(desired: &DesiredControlPlane, name: &str, key: &str) -> EnvVar {
    EnvVar {
        name: name.into(),
        value: None,
        value_from: Some(EnvVarSource {
            config_map_key_ref: Some(ConfigMapKeySelector {
                name: desired.names.etcd(),
                key: key.into(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}

fn port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: port,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}
