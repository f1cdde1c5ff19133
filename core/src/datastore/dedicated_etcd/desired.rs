//! A dedicated etcd, as it is desired.

use super::data::Bootstrap;
use super::placement;
use crate::control_plane::desired::DesiredComponent;
use crate::kubernetes::releases::Images;
use capn_api::nested_control_plane::{NestedControlPlaneSpec, PodTemplate};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The datastore of a control plane, as it is desired.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Number of members.
    pub replicas: i32,
    /// Size of each volume.
    pub size: Quantity,
    /// StorageClass of the volumes.
    pub storage_class_name: Option<String>,
    /// Version of etcd.
    pub version: &'static str,
    /// What a member with an empty volume may do.
    pub bootstrap: Bootstrap,
    /// Placement and metadata of the pods.
    pub pod_template: PodTemplate,
    /// Image and settings of the container.
    pub part: DesiredComponent,
}

/// What a spec asks for. `images` belong to its Kubernetes version, `repository` is where they are.
pub fn desired(spec: &NestedControlPlaneSpec, images: Images, repository: &str) -> Desired {
    let etcd = spec.datastore.clone().unwrap_or_default().etcd.unwrap_or_default();
    let storage = etcd.storage.unwrap_or_default();
    let all = spec.pod_template.clone().unwrap_or_default();
    Desired {
        replicas: etcd.replicas,
        size: storage.size.unwrap_or_else(|| Quantity("5Gi".into())),
        storage_class_name: storage.storage_class_name,
        version: images.etcd_version(),
        bootstrap: Bootstrap::default(),
        pod_template: placement::pod_template(&all, etcd.pod_template),
        part: DesiredComponent {
            image: etcd
                .image
                .unwrap_or_else(|| format!("{repository}/etcd:{}", images.etcd)),
            resources: etcd.resources,
            args: etcd.extra_args,
            volumes: Vec::new(),
        },
    }
}
