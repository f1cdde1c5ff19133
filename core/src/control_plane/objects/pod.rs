//! What the pods of a control plane share: Pod Security `restricted`, placement, volumes, flags.

use crate::certificates::Mounted;
use crate::control_plane::desired::{DesiredComponent, DesiredControlPlane};
use capn_api::nested_control_plane::{Argument, ExtraVolume, PodTemplate};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction, KeyToPath,
        PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource, ResourceFieldSelector,
        ResourceRequirements, SeccompProfile, SecretProjection, SecurityContext, TopologySpreadConstraint, Volume,
        VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use std::collections::BTreeMap;

/// User and group of every process: nobody in particular, as distroless images have it.
const USER: i64 = 65532;

/// A container that satisfies Pod Security `restricted`. It requests this much CPU and memory, unless
/// a user says otherwise: twenty control planes fit on two cores.
pub(crate) fn container(name: &str, part: &DesiredComponent, args: Args, (cpu, memory): (&str, &str)) -> Container {
    let resources = part.resources.clone().unwrap_or_else(|| ResourceRequirements {
        requests: Some(BTreeMap::from([
            ("cpu".into(), Quantity(cpu.into())),
            ("memory".into(), Quantity(memory.into())),
        ])),
        ..ResourceRequirements::default()
    });
    Container {
        name: name.into(),
        image: Some(part.image.clone()),
        image_pull_policy: Some("IfNotPresent".into()),
        command: Some(vec![name.into()]),
        args: Some(args.merged(&part.args)),
        env: processors(&resources).map(|bound| vec![bound]),
        resources: Some(resources),
        security_context: Some(restricted(None)),
        // What a program says last, such as which flag it does not know, becomes the pod's status.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(part.volumes.iter().map(extra_mount).collect()),
        ..Container::default()
    }
}

/// How many processors a program uses at once: its request, rounded up. Each would spread over
/// all of its node otherwise, which costs all of them. A CPU limit is known to Go's runtime by itself.
fn processors(resources: &ResourceRequirements) -> Option<EnvVar> {
    let limited = resources
        .limits
        .as_ref()
        .is_some_and(|limits| limits.contains_key("cpu"));
    (!limited).then(|| EnvVar {
        name: "GOMAXPROCS".into(),
        value: None,
        value_from: Some(EnvVarSource {
            resource_field_ref: Some(ResourceFieldSelector {
                resource: "requests.cpu".into(),
                ..ResourceFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
    })
}

/// What a user left open of a securityContext, set as `restricted` wants it.
pub(crate) fn restricted(given: Option<SecurityContext>) -> SecurityContext {
    let given = given.unwrap_or_default();
    let mut capabilities = given.capabilities.unwrap_or_default();
    capabilities.drop = Some(vec!["ALL".into()]);
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(capabilities),
        read_only_root_filesystem: Some(given.read_only_root_filesystem.unwrap_or(true)),
        run_as_non_root: Some(true),
        ..given
    }
}

/// The upstream kube-apiserver carries this as a file capability and does not start without it.
pub(crate) fn net_bind_service() -> Capabilities {
    Capabilities {
        add: Some(vec!["NET_BIND_SERVICE".into()]),
        drop: Some(vec!["ALL".into()]),
    }
}

/// Flags in the order in which they were set; a user's replace those of the same name, and those that
/// a program does not take beside them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Args(Vec<Arg>);

#[derive(Clone, Debug)]
struct Arg {
    name: String,
    value: String,
    /// Flags of a user's that this one steps aside for.
    yields_to: &'static [&'static str],
}

impl Args {
    pub(crate) fn with(self, name: &str, value: impl Into<String>) -> Self {
        self.with_unless(name, value, &[])
    }

    /// A flag that steps aside when a user sets one of these, as kubeadm's does.
    pub(crate) fn with_unless(
        mut self,
        name: &str,
        value: impl Into<String>,
        yields_to: &'static [&'static str],
    ) -> Self {
        self.0.push(Arg {
            name: name.into(),
            value: value.into(),
            yields_to,
        });
        self
    }

    /// Flags in the order of their names.
    pub(crate) fn sorted(mut self) -> Self {
        self.0.sort_by(|one, other| one.name.cmp(&other.name));
        self
    }

    /// Leader election with more patience than upstream's 15 s: an API server that is slow for a
    /// moment must not restart those that wait for it, and an idle control plane writes less.
    pub(crate) fn electing(self) -> Self {
        self.with("leader-elect", "true")
            .with("leader-elect-lease-duration", "45s")
            .with("leader-elect-renew-deadline", "30s")
            .with("leader-elect-retry-period", "6s")
    }

    fn merged(self, given: &[Argument]) -> Vec<String> {
        let is_given = |name: &str| given.iter().any(|argument| argument.name == name);
        let ours = self.0.into_iter();
        let ours = ours.filter(|arg| !is_given(&arg.name) && !arg.yields_to.iter().any(|name| is_given(name)));
        let ours = ours.map(|arg| (arg.name, arg.value));
        let theirs = given
            .iter()
            .map(|argument| (argument.name.clone(), argument.value.clone()));
        ours.chain(theirs)
            .map(|(name, value)| format!("--{name}={value}"))
            .collect()
    }
}

/// The pod around containers.
pub(crate) fn template(
    desired: &DesiredControlPlane,
    wanted: &PodTemplate,
    selector: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    spec: PodSpec,
) -> PodTemplateSpec {
    let given = wanted.metadata.clone().unwrap_or_default();
    let mut labels = given.labels;
    labels.extend(selector.clone());
    let mut all = given.annotations;
    all.extend(annotations);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(all),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            affinity: wanted.affinity.clone(),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            image_pull_secrets: list(desired.image_pull_secrets.clone()),
            node_selector: Some(wanted.node_selector.clone()).filter(|selector| !selector.is_empty()),
            priority_class_name: wanted.priority_class_name.clone(),
            runtime_class_name: wanted.runtime_class_name.clone(),
            security_context: Some(PodSecurityContext {
                fs_group: Some(USER),
                fs_group_change_policy: Some("OnRootMismatch".into()),
                run_as_group: Some(USER),
                run_as_non_root: Some(true),
                run_as_user: Some(USER),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".into(),
                    ..SeccompProfile::default()
                }),
                ..PodSecurityContext::default()
            }),
            tolerations: list(wanted.tolerations.clone()),
            topology_spread_constraints: Some(spread(wanted, &selector)),
            ..spec
        }),
    }
}

/// Over nodes, as far as there are any. Also with one replica: scaling must not replace a pod.
fn spread(wanted: &PodTemplate, selector: &BTreeMap<String, String>) -> Vec<TopologySpreadConstraint> {
    let mut constraints = wanted.topology_spread_constraints.clone();
    if constraints.is_empty() {
        constraints.push(TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".into(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            ..TopologySpreadConstraint::default()
        });
    }
    for constraint in &mut constraints {
        // One without a selector counts no pod at all, which nobody wants.
        constraint.label_selector.get_or_insert_with(|| LabelSelector {
            match_labels: Some(selector.clone()),
            ..LabelSelector::default()
        });
    }
    constraints
}

/// An empty list is left out, as the API server would.
pub(crate) fn list<T>(items: Vec<T>) -> Option<Vec<T>> {
    Some(items).filter(|items| !items.is_empty())
}

/// A read-only volume of files from Secrets.
pub(crate) fn files(name: &str, secrets: impl IntoIterator<Item = Mounted>) -> Volume {
    let item = |(key, path)| KeyToPath { key, path, mode: None };
    let projection = |(name, keys): Mounted| VolumeProjection {
        secret: Some(SecretProjection {
            name,
            items: Some(keys.into_iter().map(item).collect()),
            optional: None,
        }),
        ..VolumeProjection::default()
    };
    Volume {
        name: name.into(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o440),
            sources: Some(secrets.into_iter().map(projection).collect()),
        }),
        ..Volume::default()
    }
}

pub(crate) fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

fn extra_mount(volume: &ExtraVolume) -> VolumeMount {
    VolumeMount {
        name: volume.name.clone(),
        mount_path: volume.mount_path.clone(),
        read_only: Some(volume.read_only),
        sub_path: volume.sub_path.clone(),
        ..VolumeMount::default()
    }
}

/// The volumes of a component that a user asked for; one that several components name is one.
pub(crate) fn extra_volumes<'a>(parts: impl IntoIterator<Item = &'a DesiredComponent>) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = Vec::new();
    for volume in parts.into_iter().flat_map(|part| &part.volumes) {
        if volumes.iter().all(|known| known.name != volume.name) {
            volumes.push(Volume {
                name: volume.name.clone(),
                config_map: volume.config_map.clone(),
                secret: volume.secret.clone(),
                empty_dir: volume.empty_dir.clone(),
                persistent_volume_claim: volume.persistent_volume_claim.clone(),
                projected: volume.projected.clone(),
                ..Volume::default()
            });
        }
    }
    volumes
}

/// Our mounts before a user's, so that the golden files read in that order.
pub(crate) fn mounts(container: &mut Container, ours: impl IntoIterator<Item = VolumeMount>) {
    let given = container.volume_mounts.take().unwrap_or_default();
    container.volume_mounts = list(ours.into_iter().chain(given).collect());
}

pub(crate) fn writable(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        ..VolumeMount::default()
    }
}

/// The only place that a program of ours may write to.
pub(crate) fn tmp() -> Volume {
    Volume {
        name: "tmp".into(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

/// Ranges as a flag takes them.
pub(crate) fn joined(networks: &[ipnet::IpNet]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A probe over HTTP.
pub(crate) fn probe(path: &str, port: i32, scheme: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(port),
            scheme: Some(scheme.into()),
            ..HTTPGetAction::default()
        }),
        failure_threshold: Some(failures),
        period_seconds: Some(period),
        timeout_seconds: Some(15.min(period.max(5))),
        ..Probe::default()
    }
}

pub(crate) fn env(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.into(),
        value: Some(value.into()),
        value_from: None,
    }
}
