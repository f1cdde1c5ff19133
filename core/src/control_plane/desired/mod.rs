//! Turns spec and Cluster into a `DesiredControlPlane`, whose types cannot hold a wrong combination.
//! What the CRD refuses at `kubectl apply` is not checked again.

mod endpoint;
mod error;
mod network;

pub use endpoint::{Endpoint, Given, cluster_ip, node_port};
pub use error::ValidateError;
pub use network::{Network, validate_endpoint};

use super::names::{MAX_CLUSTER_NAME_LENGTH, Names, OWN_VOLUMES, ROLLOUT_ANNOTATION};
use super::revision;
use super::view::View;
use crate::datastore;
use crate::host::Host;
use crate::kubernetes::releases;
use capn_api::{
    NestedControlPlane,
    cluster_api::Cluster,
    nested_control_plane::{Addon, Argument, Component, DEFAULT_IMAGE_REPOSITORY, ExtraVolume, PodTemplate},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{LocalObjectReference, Pod, ResourceRequirements},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Resource, ResourceExt};
use semver::Version;
use std::collections::BTreeSet;

/// A control plane, as it is desired.
#[derive(Clone, Debug)]
pub struct DesiredControlPlane {
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
    /// Where its data is kept.
    pub datastore: datastore::Desired,
    /// kube-apiserver.
    pub api_server: DesiredComponent,
    /// kube-controller-manager.
    pub controller_manager: DesiredComponent,
    /// kube-scheduler.
    pub scheduler: DesiredComponent,
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

/// A component: its image and what a user wants of its container.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredComponent {
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
pub fn validate(ncp: &NestedControlPlane, cluster: &Cluster) -> Result<DesiredControlPlane, ValidateError> {
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
    let images = releases::images(&version);
    let image = |name: &str, tag: &str| format!("{repository}/{name}:{tag}");
    let component = |given: &Option<Component>, name: &str| {
        let given = given.clone().unwrap_or_default();
        DesiredComponent {
            image: given.image.unwrap_or_else(|| image(name, &releases::tag(&version))),
            resources: given.resources,
            args: given.extra_args,
            volumes: given.extra_volumes,
        }
    };
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
    Ok(DesiredControlPlane {
        namespace: ncp.namespace().unwrap_or_default(),
        names: Names::new(&cluster_name, &ncp.uid().unwrap_or_default()),
        owner: ncp.controller_owner_ref(&()).unwrap_or_default(),
        replicas: spec.replicas.max(1),
        initialized: initialized(ncp),
        has_run: initialized(ncp) || datastore::initialized(ncp, None),
        network: network::network(cluster)?,
        endpoint: endpoint::endpoint(ncp, cluster)?,
        datastore: datastore::desired(spec, images, &repository),
        api_server,
        controller_manager,
        scheduler,
        addons: Addons {
            core_dns: addon(addons.core_dns, image(core_dns, images.core_dns)),
            kube_proxy: addon(addons.kube_proxy, image("kube-proxy", &releases::tag(&version))),
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
        template_revision: revision::LATEST_TEMPLATE_REVISION,
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

/// Keeps the datastore from using the volumes of somebody else, which a StatefulSet would take as they are.
pub fn validate_claims(ncp: &NestedControlPlane, live: &View) -> Result<(), ValidateError> {
    match live.datastore.foreign_claims.first() {
        Some(claim) => Err(ValidateError::ClaimTaken {
            claim: format!("{}/{}", ncp.namespace().unwrap_or_default(), claim),
            uid: ncp.uid().unwrap_or_default(),
        }),
        None => Ok(()),
    }
}

/// Decides whether pods are rolled because of `rollout.after`: only those that are older, and not before
/// its time, which is returned when it lies ahead. Taking it back changes nothing.
pub fn rollout(desired: &mut DesiredControlPlane, live: &View, now: Timestamp) -> Option<Timestamp> {
    let done = live.api_server.as_ref().and_then(|live| {
        let metadata = live.spec.as_ref()?.template.metadata.as_ref()?;
        metadata.annotations.as_ref()?.get(ROLLOUT_ANNOTATION)?.parse().ok()
    });
    let wanted = std::mem::replace(&mut desired.rollout_after, done)?;
    if wanted > now {
        return Some(wanted);
    }
    let older = |pod: &Pod| pod.creation_timestamp().is_some_and(|created| created.0 < wanted);
    if done.is_none_or(|done| done < wanted) && live.api_server_pods.iter().any(older) {
        desired.rollout_after = Some(wanted);
    }
    None
}

fn version(ncp: &NestedControlPlane) -> Result<Version, ValidateError> {
    let wanted = releases::parse(&ncp.spec.version).ok_or_else(|| ValidateError::Version(ncp.spec.version.clone()))?;
    if (wanted.major, wanted.minor) < (1, releases::OLDEST_MINOR) {
        return Err(ValidateError::TooOld {
            wanted: releases::display(&wanted),
        });
    }
    let too_new = || ValidateError::TooNew {
        wanted: releases::display(&wanted),
    };
    if wanted.major > 1 {
        return Err(too_new());
    }
    let serving = ncp
        .status
        .as_ref()
        .and_then(|status| status.version.as_deref())
        .and_then(releases::parse);
    if let Some(from) = serving {
        let (text, to) = (releases::display(&from), releases::display(&wanted));
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
    if wanted.minor > releases::NEWEST_MINOR {
        return Err(too_new());
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
fn volumes(parts: [(&'static str, &DesiredComponent); 3]) -> Result<(), ValidateError> {
    let all = || {
        parts
            .iter()
            .flat_map(|(component, part)| part.volumes.iter().map(|volume| (*component, volume)))
    };
    for (one, volume) in all() {
        if OWN_VOLUMES.contains(&volume.name.as_str()) {
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

#[cfg(test)]
mod tests;
