//! Step 2: turns spec and Cluster into a `Tenant`, whose types cannot hold a wrong combination.
//! No client. What the CRD refuses at `kubectl apply` is not checked again.

mod error;
mod network;
mod placement;

pub use error::ValidateError;
pub use network::{Network, validate_endpoint};

use super::addresses::Given;
use super::datastore::{self, Bootstrap};
use super::names::{MAX_CLUSTER_NAME_LENGTH, Names, ROLLOUT_ANNOTATION};
use super::objects;
use super::versions;
use super::view::View;
use crate::host::Host;
use capn_api::{
    NestedControlPlane,
    cluster_api::Cluster,
    common::ApiEndpoint,
    nested_control_plane::{
        Addon, Argument, Component, DEFAULT_IMAGE_REPOSITORY, DEFAULT_PORT, EndpointType, ExtraVolume, PodTemplate,
    },
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{LocalObjectReference, Pod, ResourceRequirements},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::OwnerReference},
};
use kube::{Resource, ResourceExt};
use semver::Version;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// A control plane, as it is desired.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Namespace of the control plane.
    pub namespace: String,
    /// Names and labels of its objects.
    pub names: Names,
    /// Owner reference of its objects.
    pub owner: OwnerReference,
    /// Kubernetes version.
    pub version: Version,
    /// Number of API servers, and of controllers.
    pub replicas: i32,
    /// Whether an API server has answered once.
    pub initialized: bool,
    /// It has had a store with data: its authorities are out in the world. Unlike status, the
    /// annotation that says so outlives a move or a restore.
    pub has_run: bool,
    /// Networks inside the workload cluster.
    pub network: Network,
    /// How the API server is published.
    pub endpoint: Endpoint,
    /// Its etcd.
    pub etcd: Etcd,
    /// kube-apiserver.
    pub api_server: Part,
    /// kube-controller-manager.
    pub controller_manager: Part,
    /// kube-scheduler.
    pub scheduler: Part,
    /// What is installed inside the workload cluster.
    pub addons: Addons,
    /// Placement and metadata of the pods.
    pub pod_template: PodTemplate,
    /// Where images come from.
    pub image_repository: String,
    /// Secrets with which images are pulled.
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Life and names of certificates.
    pub certificates: Certificates,
    /// Revision of the pod templates.
    pub template_revision: u32,
    /// The rollout that pods are made for.
    pub rollout_after: Option<Timestamp>,
}

/// How the API server is published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// Type of the Service.
    pub type_: EndpointType,
    /// Host that a user chose.
    pub host: Option<Host>,
    /// Port of the Service.
    pub service_port: i32,
    /// Node port that a user chose.
    pub node_port: Option<i32>,
    /// Annotations of the Service.
    pub annotations: BTreeMap<String, String>,
    /// Class of the load balancer.
    pub load_balancer_class: Option<String>,
    /// Where pods and nodes of the tenant reach the API server, if a user said so.
    pub advertise_address: Option<IpAddr>,
    /// What workers hold already, or a user's own endpoint: it wins over everything.
    pub fixed: Option<ApiEndpoint>,
    /// What Services that have to be made anew had before.
    pub given: Given,
}

/// An etcd of the tenant's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Etcd {
    /// Number of API servers, and of controllers.
    pub replicas: i32,
    /// Size of each volume.
    pub size: Quantity,
    /// StorageClass of the volumes.
    pub storage_class_name: Option<String>,
    /// Kubernetes version.
    pub version: &'static str,
    /// What a member with an empty volume may do.
    pub bootstrap: Bootstrap,
    /// Placement and metadata of the pods.
    pub pod_template: PodTemplate,
    /// Image and settings of the container.
    pub part: Part,
}

/// A component: its image and what a user wants of its container.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Image of the container.
    pub image: String,
    /// Requests and limits.
    pub resources: Option<ResourceRequirements>,
    /// Flags, over our own.
    pub args: Vec<Argument>,
    /// Volumes that are mounted into the container.
    pub volumes: Vec<ExtraVolume>,
}

/// Images of the add-ons to install.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Addons {
    /// Image of CoreDNS.
    pub core_dns: Option<String>,
    /// Image of kube-proxy.
    pub kube_proxy: Option<String>,
}

/// Life and names of certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificates {
    /// How long a certificate is valid.
    pub validity: SignedDuration,
    /// How long before its end it is renewed; at two thirds of its life if not given.
    pub renew_before: Option<SignedDuration>,
    /// Further names in the API server's certificate.
    pub sans: BTreeSet<Host>,
}

/// Checks a NestedControlPlane and its Cluster.
pub fn validate(ncp: &NestedControlPlane, cluster: &Cluster) -> Result<Tenant, ValidateError> {
    let spec = &ncp.spec;
    let cluster_name = cluster.name_any();
    if cluster_name.len() > MAX_CLUSTER_NAME_LENGTH {
        return Err(ValidateError::LongName(cluster_name));
    }
    if !names_services(&cluster_name) {
        return Err(ValidateError::ClusterName(cluster_name));
    }
    let version = version(ncp)?;
    let repository = spec
        .image_repository
        .clone()
        .unwrap_or_else(|| DEFAULT_IMAGE_REPOSITORY.to_owned());
    let images = versions::images(&version);
    let image = |name: &str, tag: &str| format!("{repository}/{name}:{tag}");
    let component = |given: &Option<Component>, name: &str| {
        let given = given.clone().unwrap_or_default();
        Part {
            image: given.image.unwrap_or_else(|| image(name, &versions::tag(&version))),
            resources: given.resources,
            args: given.extra_args,
            volumes: given.extra_volumes,
        }
    };
    let etcd = spec.datastore.clone().unwrap_or_default().etcd.unwrap_or_default();
    let storage = etcd.storage.unwrap_or_default();
    let addons = spec.addons.clone().unwrap_or_default();
    let addon = |given: Option<Addon>, default: String| {
        let given = given.unwrap_or_default();
        given.enabled.then(|| given.image.unwrap_or(default))
    };
    // Upstream's CoreDNS lies one folder deeper than everything else; in a mirror it does not.
    let core_dns = if repository == DEFAULT_IMAGE_REPOSITORY {
        "coredns/coredns"
    } else {
        "coredns"
    };
    let certificates = spec.certificates.clone().unwrap_or_default();
    let signed = |duration: kube::core::Duration| SignedDuration::try_from(std::time::Duration::from(duration)).ok();
    let pod_template = spec.pod_template.clone().unwrap_or_default();
    let api_server = component(&spec.api_server, "kube-apiserver");
    let controller_manager = component(&spec.controller_manager, "kube-controller-manager");
    let scheduler = component(&spec.scheduler, "kube-scheduler");
    volumes([
        ("apiServer", &api_server),
        ("controllerManager", &controller_manager),
        ("scheduler", &scheduler),
    ])?;
    Ok(Tenant {
        namespace: ncp.namespace().unwrap_or_default(),
        names: Names::new(&cluster_name, &ncp.uid().unwrap_or_default()),
        owner: ncp.controller_owner_ref(&()).unwrap_or_default(),
        replicas: spec.replicas.max(1),
        initialized: initialized(ncp),
        has_run: initialized(ncp) || datastore::initialized(ncp, None),
        network: network::network(cluster)?,
        endpoint: endpoint(ncp, cluster)?,
        etcd: Etcd {
            replicas: etcd.replicas,
            size: storage.size.unwrap_or_else(|| Quantity("5Gi".into())),
            storage_class_name: storage.storage_class_name,
            version: images.etcd_version(),
            bootstrap: Bootstrap::default(),
            pod_template: placement::etcd(&pod_template, etcd.pod_template),
            part: Part {
                image: etcd.image.unwrap_or_else(|| image("etcd", images.etcd)),
                resources: etcd.resources,
                args: etcd.extra_args,
                volumes: Vec::new(),
            },
        },
        api_server,
        controller_manager,
        scheduler,
        addons: Addons {
            core_dns: addon(addons.core_dns, image(core_dns, images.core_dns)),
            kube_proxy: addon(addons.kube_proxy, image("kube-proxy", &versions::tag(&version))),
        },
        pod_template,
        image_pull_secrets: spec.image_pull_secrets.iter().map(Into::into).collect(),
        certificates: Certificates {
            validity: certificates
                .validity
                .and_then(signed)
                .unwrap_or(SignedDuration::from_hours(8760)),
            renew_before: certificates.renew_before.and_then(signed),
            sans: certificates
                .cert_sans
                .iter()
                .map(|name| host("certificates.certSANs", name))
                .collect::<Result<_, _>>()?,
        },
        template_revision: objects::LATEST_TEMPLATE_REVISION,
        rollout_after: spec
            .rollout
            .as_ref()
            .and_then(|rollout| rollout.after.as_ref())
            .map(|after| after.0),
        image_repository: repository,
        version,
    })
}

/// Whether the API server has answered once.
pub fn initialized(ncp: &NestedControlPlane) -> bool {
    let status = ncp.status.as_ref();
    status
        .and_then(|s| s.initialization.as_ref())
        .is_some_and(|i| i.control_plane_initialized)
}

/// Keeps etcd from using the volumes of somebody else, which a StatefulSet would take as they are.
pub fn validate_claims(ncp: &NestedControlPlane, live: &View) -> Result<(), ValidateError> {
    match live.foreign_claims.first() {
        Some(claim) => Err(ValidateError::ClaimTaken {
            claim: format!("{}/{}", ncp.namespace().unwrap_or_default(), claim),
            uid: ncp.uid().unwrap_or_default(),
        }),
        None => Ok(()),
    }
}

/// Decides whether pods are rolled because of `rollout.after`: only those that are older, and not before
/// its time, which is returned when it lies ahead. Taking it back changes nothing.
pub fn rollout(tenant: &mut Tenant, live: &View, now: Timestamp) -> Option<Timestamp> {
    let done = live.api_server.as_ref().and_then(|live| {
        let metadata = live.spec.as_ref()?.template.metadata.as_ref()?;
        metadata.annotations.as_ref()?.get(ROLLOUT_ANNOTATION)?.parse().ok()
    });
    let wanted = std::mem::replace(&mut tenant.rollout_after, done)?;
    if wanted > now {
        return Some(wanted);
    }
    let older = |pod: &Pod| pod.creation_timestamp().is_some_and(|created| created.0 < wanted);
    if done.is_none_or(|done| done < wanted) && live.api_server_pods.iter().any(older) {
        tenant.rollout_after = Some(wanted);
    }
    None
}

fn version(ncp: &NestedControlPlane) -> Result<Version, ValidateError> {
    let wanted = versions::parse(&ncp.spec.version).ok_or_else(|| ValidateError::Version(ncp.spec.version.clone()))?;
    if wanted.major != 1 || wanted.minor < versions::OLDEST_MINOR {
        return Err(ValidateError::TooOld {
            wanted: versions::display(&wanted),
        });
    }
    let serving = ncp
        .status
        .as_ref()
        .and_then(|status| status.version.as_deref())
        .and_then(versions::parse);
    if let Some(from) = serving {
        let (text, to) = (versions::display(&from), versions::display(&wanted));
        if wanted < from {
            return Err(ValidateError::Downgrade { from: text, to });
        }
        if wanted.minor > from.minor + 1 {
            return Err(ValidateError::SkippedMinor {
                from: text,
                to,
                next: from.minor + 1,
            });
        }
    }
    if wanted.minor > versions::NEWEST_MINOR {
        return Err(ValidateError::TooNew {
            wanted: versions::display(&wanted),
        });
    }
    Ok(wanted)
}

/// What begins the names of Services has to begin with a letter and hold no dot (RFC 1035).
fn names_services(cluster_name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    cluster_name.starts_with(|first: char| first.is_ascii_lowercase()) && cluster_name.bytes().all(inner)
}

fn host(field: &'static str, text: &str) -> Result<Host, ValidateError> {
    text.parse().map_err(|source| ValidateError::Host { field, source })
}

/// Components share pods: volumes of one name are one volume.
fn volumes(parts: [(&'static str, &Part); 3]) -> Result<(), ValidateError> {
    let all = || {
        parts
            .iter()
            .flat_map(|(component, part)| part.volumes.iter().map(|volume| (*component, volume)))
    };
    for (one, volume) in all() {
        if objects::OWN_VOLUMES.contains(&volume.name.as_str()) {
            return Err(ValidateError::VolumeReserved {
                name: volume.name.clone(),
                component: one,
            });
        }
        let differs = |other: &ExtraVolume| other.name == volume.name && !same_source(other, volume);
        if let Some((other, _)) = all().find(|(_, other)| differs(other)) {
            return Err(ValidateError::VolumesDiffer {
                name: volume.name.clone(),
                one,
                other,
            });
        }
    }
    Ok(())
}

fn same_source(one: &ExtraVolume, other: &ExtraVolume) -> bool {
    one.config_map == other.config_map
        && one.secret == other.secret
        && one.empty_dir == other.empty_dir
        && one.persistent_volume_claim == other.persistent_volume_claim
        && one.projected == other.projected
}

fn endpoint(ncp: &NestedControlPlane, cluster: &Cluster) -> Result<Endpoint, ValidateError> {
    let given = ncp.spec.endpoint.clone().unwrap_or_default();
    let users = cluster
        .spec
        .control_plane_endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.complete());
    let fixed = users.or_else(|| ncp.spec.control_plane_endpoint.clone().filter(ApiEndpoint::is_valid));
    let asked = given
        .port
        .or(cluster.spec.cluster_network.api_server_port)
        .unwrap_or(DEFAULT_PORT);
    let node_port = (given.type_ == EndpointType::NodePort).then_some(given.port).flatten();
    Ok(Endpoint {
        type_: given.type_,
        host: given.host.map(|name| host("spec.endpoint.host", &name)).transpose()?,
        service_port: match (given.type_, &fixed) {
            (EndpointType::NodePort, _) => DEFAULT_PORT,
            (_, Some(fixed)) => fixed.port,
            (_, None) => asked,
        },
        node_port,
        annotations: given.annotations,
        load_balancer_class: given.load_balancer_class,
        advertise_address: given.advertise_address.and_then(|address| address.parse().ok()),
        fixed,
        given: Given::default(),
    })
}

#[cfg(test)]
mod tests;
