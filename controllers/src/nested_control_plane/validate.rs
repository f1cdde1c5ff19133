//! Step 2: turns spec and Cluster into a `Tenant`, whose types cannot hold a wrong combination.
//! No client. What the CRD refuses at `kubectl apply` is not checked again.

use super::datastore::{self, Bootstrap};
use super::names::{LONGEST_CLUSTER_NAME, Names, ROLLOUT_ANNOTATION, UID_LABEL};
use super::observe::Observed;
use super::versions;
use capn_api::{
    NestedControlPlane,
    cluster_api::{Cluster, NetworkRanges},
    common::ApiEndpoint,
    nested_control_plane::{
        Addon, Argument, Component, DEFAULT_IMAGE_REPOSITORY, DEFAULT_PORT, EndpointType, ExtraVolume, PodTemplate,
    },
};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{LocalObjectReference, ResourceRequirements},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::OwnerReference},
};
use kube::{Resource, ResourceExt};
use semver::Version;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// A tenant, as it shall be.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) namespace: String,
    pub(crate) names: Names,
    pub(crate) owner: OwnerReference,
    pub(crate) version: Version,
    pub(crate) replicas: i32,
    pub(crate) initialized: bool,
    /// It has had a store with data: its authorities are out in the world. Unlike status, the
    /// annotation that says so outlives a move or a restore.
    pub(crate) has_run: bool,
    pub(crate) network: Network,
    pub(crate) endpoint: Endpoint,
    pub(crate) etcd: Etcd,
    pub(crate) api_server: Part,
    pub(crate) controller_manager: Part,
    pub(crate) scheduler: Part,
    pub(crate) addons: Addons,
    pub(crate) pod_template: PodTemplate,
    pub(crate) image_repository: String,
    pub(crate) image_pull_secrets: Vec<LocalObjectReference>,
    pub(crate) certificates: Certificates,
    pub(crate) rollout_after: Option<Timestamp>,
}

/// Networks inside the tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Network {
    pub(crate) services: Vec<IpNet>,
    pub(crate) pods: Vec<IpNet>,
    pub(crate) domain: String,
    /// Address of `default/kubernetes`: the first of the Services.
    pub(crate) kubernetes: IpAddr,
    /// Address of the DNS server: the tenth of the Services.
    pub(crate) dns: IpAddr,
}

/// How the API server is published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Endpoint {
    pub(crate) type_: EndpointType,
    /// Host that a person chose.
    pub(crate) host: Option<String>,
    /// Port of the Service.
    pub(crate) service_port: i32,
    /// Node port that a person chose.
    pub(crate) node_port: Option<i32>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) load_balancer_class: Option<String>,
    /// What workers hold already, or a person's own endpoint: it wins over everything.
    pub(crate) fixed: Option<ApiEndpoint>,
}

/// An etcd of the tenant's own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Etcd {
    pub(crate) replicas: i32,
    pub(crate) size: Quantity,
    pub(crate) storage_class_name: Option<String>,
    pub(crate) version: &'static str,
    /// What a member with an empty volume may do.
    pub(crate) bootstrap: Bootstrap,
    pub(crate) part: Part,
}

/// A component: its image and what a person wants of its container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) image: String,
    pub(crate) resources: Option<ResourceRequirements>,
    pub(crate) args: Vec<Argument>,
    pub(crate) volumes: Vec<ExtraVolume>,
}

/// Images of the add-ons that shall be installed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Addons {
    pub(crate) core_dns: Option<String>,
    pub(crate) kube_proxy: Option<String>,
}

/// Life and names of certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Certificates {
    pub(crate) validity: SignedDuration,
    pub(crate) renew_before: Option<SignedDuration>,
    pub(crate) sans: BTreeSet<String>,
}

/// What is wrong, where, and what to write instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ValidateError {
    #[error("spec.version {0:?} is no version: write it like v1.36.3")]
    Version(String),
    #[error(
        "spec.version {wanted} cannot be run: versions from v1.{oldest} on are supported",
        oldest = versions::OLDEST_MINOR
    )]
    TooOld { wanted: String },
    #[error("spec.version cannot go from {from} back to {to}: Kubernetes has no downgrade, set {from} or newer")]
    Downgrade { from: String, to: String },
    #[error("spec.version cannot go from {from} to {to} in one step: set v1.{next} first", next = .next)]
    SkippedMinor { from: String, to: String, next: u64 },
    #[error(
        "the name of Cluster {0:?} is too long for its control plane: at most {LONGEST_CLUSTER_NAME} characters, create the Cluster under a shorter name"
    )]
    LongName(String),
    #[error("Cluster spec.clusterNetwork.{field} has {value:?}, which is no network: write a CIDR such as {example}")]
    Cidr {
        field: &'static str,
        value: String,
        example: &'static str,
    },
    #[error("Cluster spec.clusterNetwork.services {0} is too small: write at least a /28 (IPv6: /124)")]
    SmallServices(IpNet),
    #[error(
        "Cluster spec.clusterNetwork.pods {pods} and services {services} overlap: choose networks apart from each other, such as 10.243.0.0/16 and 10.95.0.0/16"
    )]
    NetworksOverlap { pods: IpNet, services: IpNet },
    #[error(
        "the endpoint's address {address} lies in the tenant's own {what} network {network}, where workers would not reach it: create the Cluster with another spec.clusterNetwork.{what}, such as {example}"
    )]
    EndpointOverlap {
        address: IpAddr,
        what: &'static str,
        network: IpNet,
        example: &'static str,
    },
    #[error(
        "Cluster spec.clusterNetwork.{field} cannot change from {from} to {to}, because the Services, Nodes and certificates of the control plane that runs hold it: set it back, or create another Cluster"
    )]
    Changed {
        field: &'static str,
        from: String,
        to: String,
    },
    #[error("{0}")]
    Disputed(String),
    #[error(
        "PersistentVolumeClaim {claim} exists and does not belong to this control plane: delete it; or, to start with the data on it, set its label {UID_LABEL} to {uid}"
    )]
    ClaimTaken { claim: String, uid: String },
}

const SERVICES: &str = "10.95.0.0/16";
const PODS: &str = "10.243.0.0/16";

/// Checks a NestedControlPlane and its Cluster.
pub(crate) fn validate(ncp: &NestedControlPlane, cluster: &Cluster) -> Result<Tenant, ValidateError> {
    let spec = &ncp.spec;
    let cluster_name = cluster.name_any();
    if cluster_name.len() > LONGEST_CLUSTER_NAME {
        return Err(ValidateError::LongName(cluster_name));
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
    Ok(Tenant {
        namespace: ncp.namespace().unwrap_or_default(),
        names: Names::new(&cluster_name, &ncp.uid().unwrap_or_default()),
        owner: ncp.controller_owner_ref(&()).unwrap_or_default(),
        replicas: spec.replicas.max(1),
        initialized: initialized(ncp),
        has_run: initialized(ncp) || datastore::initialized(ncp, None),
        network: network(cluster)?,
        endpoint: endpoint(ncp, cluster),
        etcd: Etcd {
            replicas: etcd.replicas,
            size: storage.size.unwrap_or_else(|| Quantity("5Gi".into())),
            storage_class_name: storage.storage_class_name,
            version: images.etcd_version(),
            bootstrap: Bootstrap::default(),
            part: Part {
                image: etcd.image.unwrap_or_else(|| image("etcd", images.etcd)),
                resources: etcd.resources,
                args: etcd.extra_args,
                volumes: Vec::new(),
            },
        },
        api_server: component(&spec.api_server, "kube-apiserver"),
        controller_manager: component(&spec.controller_manager, "kube-controller-manager"),
        scheduler: component(&spec.scheduler, "kube-scheduler"),
        addons: Addons {
            core_dns: addon(addons.core_dns, image(core_dns, images.core_dns)),
            kube_proxy: addon(addons.kube_proxy, image("kube-proxy", &versions::tag(&version))),
        },
        pod_template: spec.pod_template.clone().unwrap_or_default(),
        image_pull_secrets: spec.image_pull_secrets.iter().map(Into::into).collect(),
        certificates: Certificates {
            validity: certificates
                .validity
                .and_then(signed)
                .unwrap_or(SignedDuration::from_hours(8760)),
            renew_before: certificates.renew_before.and_then(signed),
            sans: certificates.cert_sans.into_iter().collect(),
        },
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
pub(crate) fn initialized(ncp: &NestedControlPlane) -> bool {
    let status = ncp.status.as_ref();
    status
        .and_then(|s| s.initialization.as_ref())
        .is_some_and(|i| i.control_plane_initialized)
}

/// Keeps etcd from using the volumes of somebody else, which a StatefulSet would take as they are.
pub(crate) fn validate_claims(ncp: &NestedControlPlane, live: &Observed) -> Result<(), ValidateError> {
    match live.foreign_claims.first() {
        Some(claim) => Err(ValidateError::ClaimTaken {
            claim: format!("{}/{}", ncp.namespace().unwrap_or_default(), claim),
            uid: ncp.uid().unwrap_or_default(),
        }),
        None => Ok(()),
    }
}

/// Keeps a rollout that lies ahead from happening now: the pods stay as they are until its time,
/// which is returned.
pub(crate) fn rollout(tenant: &mut Tenant, live: Option<&Deployment>, now: Timestamp) -> Option<Timestamp> {
    let ahead = tenant.rollout_after.filter(|after| *after > now)?;
    let stored = live.and_then(|live| {
        let metadata = live.spec.as_ref()?.template.metadata.as_ref()?;
        metadata.annotations.as_ref()?.get(ROLLOUT_ANNOTATION)?.parse().ok()
    });
    tenant.rollout_after = stored;
    Some(ahead)
}

/// Checks that workers can tell the endpoint from their own networks.
pub(crate) fn validate_endpoint(network: &Network, address: Option<IpAddr>) -> Result<(), ValidateError> {
    let Some(address) = address else { return Ok(()) };
    let parts = [("services", &network.services, SERVICES), ("pods", &network.pods, PODS)];
    for (what, networks, example) in parts {
        if let Some(network) = networks.iter().find(|network| network.contains(&address)) {
            return Err(ValidateError::EndpointOverlap {
                address,
                what,
                network: *network,
                example,
            });
        }
    }
    Ok(())
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
    Ok(wanted)
}

fn endpoint(ncp: &NestedControlPlane, cluster: &Cluster) -> Endpoint {
    let given = ncp.spec.endpoint.clone().unwrap_or_default();
    let persons = cluster
        .spec
        .control_plane_endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.complete());
    let fixed = persons.or_else(|| ncp.spec.control_plane_endpoint.clone().filter(ApiEndpoint::is_valid));
    let asked = given
        .port
        .or(cluster.spec.cluster_network.api_server_port)
        .unwrap_or(DEFAULT_PORT);
    let node_port = (given.type_ == EndpointType::NodePort).then_some(given.port).flatten();
    Endpoint {
        type_: given.type_,
        host: given.host,
        service_port: match (given.type_, &fixed) {
            (EndpointType::NodePort, _) => DEFAULT_PORT,
            (_, Some(fixed)) => fixed.port,
            (_, None) => asked,
        },
        node_port,
        annotations: given.annotations,
        load_balancer_class: given.load_balancer_class,
        fixed,
    }
}

fn network(cluster: &Cluster) -> Result<Network, ValidateError> {
    let network = &cluster.spec.cluster_network;
    let services = cidrs("services", network.services.as_ref(), SERVICES)?;
    let pods = cidrs("pods", network.pods.as_ref(), PODS)?;
    for pods in &pods {
        if let Some(services) = services.iter().find(|services| overlap(services, pods)) {
            return Err(ValidateError::NetworksOverlap {
                pods: *pods,
                services: *services,
            });
        }
    }
    let first = services.first().copied().ok_or(ValidateError::Cidr {
        field: "services",
        value: String::new(),
        example: SERVICES,
    })?;
    let nth = |n: u32| match first.network() {
        IpAddr::V4(base) => u32::from(base).checked_add(n).map(|ip| IpAddr::V4(ip.into())),
        IpAddr::V6(base) => u128::from(base).checked_add(n.into()).map(|ip| IpAddr::V6(ip.into())),
    };
    let nth = |n| {
        nth(n)
            .filter(|ip| first.contains(ip))
            .ok_or(ValidateError::SmallServices(first))
    };
    Ok(Network {
        domain: network.service_domain.clone().unwrap_or_else(|| "cluster.local".into()),
        kubernetes: nth(1)?,
        dns: nth(10)?,
        services,
        pods,
    })
}

fn cidrs(
    field: &'static str,
    ranges: Option<&NetworkRanges>,
    example: &'static str,
) -> Result<Vec<IpNet>, ValidateError> {
    let given = ranges.map(|ranges| ranges.cidr_blocks.clone()).unwrap_or_default();
    let given = if given.is_empty() {
        vec![example.to_owned()]
    } else {
        given
    };
    given
        .into_iter()
        .map(|value| value.parse().map_err(|_| ValidateError::Cidr { field, value, example }))
        .collect()
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}
