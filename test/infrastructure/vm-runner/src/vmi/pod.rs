//! The launcher pod of an instance. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use serde_json::{Value, json};

use crate::api::{CREATED_BY_LABEL, DOMAIN_ANNOTATION, VirtualMachineInstance};
use crate::domain::{CLAIMS, CONSOLE, DISK_VARIABLE, NODE_FACTS, RUNNING, SCRATCH, SECRETS, VARIABLE};
use crate::machine::{ContainerDisk, Machine, Volume};
use crate::vmi::domain::{self, Unsupported};
use crate::vmi::observe::GATE;

/// Where the program that only waits is, in every container that has it: static, for a containerDisk has nothing but its disk.
const SHARED: &str = "/init/usr/bin";
/// Where the launcher's image has it.
const HOLDER: &str = "/usr/local/bin/disk-holder";
/// KubeVirt's overhead beside the guest's memory.
const OVERHEAD_MIB: u64 = 270;

/// Why there can be no pod.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The spec asks for what there is not.
    #[error("failed to render launch manifest: {0}")]
    Unsupported(#[from] Unsupported),
    /// A value that is no JSON.
    #[error("failed to render launch manifest: {0}")]
    Serialize(#[from] serde_json::Error),
}

/// What an instance's condition says of a pod that the API server refused.
#[must_use]
pub fn refused(message: &str) -> String {
    format!("failed to create virtual machine pod: {message}")
}

/// Builds the pod; `image` is the launcher's.
pub fn pod(vmi: &VirtualMachineInstance, machine: &Machine, image: &str) -> Result<Pod, BuildError> {
    let domain = domain::domain(vmi, machine)?;
    let mut volumes = vec![
        json!({"name": "ephemeral-disks", "emptyDir": {}}),
        json!({"name": "console", "emptyDir": {}}),
        json!({"name": "node-facts", "hostPath": {"path": NODE_FACTS, "type": "DirectoryOrCreate"}}),
    ];
    let mut mounts = vec![
        json!({"name": "ephemeral-disks", "mountPath": SCRATCH}),
        json!({"name": "console", "mountPath": CONSOLE}),
        json!({"name": "node-facts", "mountPath": NODE_FACTS}),
    ];
    for volume in &machine.volumes {
        attach(volume, &mut volumes, &mut mounts);
    }
    let disks: Vec<(&str, &ContainerDisk)> = machine
        .volumes
        .iter()
        .filter_map(|volume| Some((volume.name.as_str(), volume.container_disk.as_ref()?)))
        .collect();
    let mut init = Vec::new();
    if !disks.is_empty() {
        volumes.push(json!({"name": "virt-bin-share-dir", "emptyDir": {}}));
        init.push(json!({
            "name": "container-disk-binary", "image": image, "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/busybox", "cp", HOLDER, SHARED],
            "volumeMounts": [{"name": "virt-bin-share-dir", "mountPath": SHARED}],
        }));
    }
    init.push(json!({
        "name": "guest-console-log", "image": image, "imagePullPolicy": "IfNotPresent", "restartPolicy": "Always",
        "command": ["/bin/busybox", "tail", "-n", "+1", "-F", format!("{CONSOLE}/serial0-log")],
        "volumeMounts": [{"name": "console", "mountPath": CONSOLE, "readOnly": true}],
    }));
    init.extend(disks.iter().map(|(name, disk)| disk_container(name, disk)));
    let cpu = u64::from(machine.domain.cpu.count()) * 100;
    let mut spec = json!({
        "restartPolicy": "Never",
        "hostname": domain.host_name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": machine.grace() + 30,
        // The disks are read through /proc/<pid>/root of the containers that hold them, as KubeVirt does it.
        "shareProcessNamespace": true,
        "readinessGates": [{"conditionType": GATE}],
        "initContainers": init,
        "containers": [{
            "name": "compute", "image": image, "imagePullPolicy": "IfNotPresent",
            "args": ["launch"],
            "env": [{"name": VARIABLE, "value": serde_json::to_string(&domain)?}],
            "resources": {"requests": {
                "cpu": format!("{cpu}m"),
                "memory": format!("{}Mi", domain.memory_mib + OVERHEAD_MIB),
                "ephemeral-storage": "50M",
            }},
            "securityContext": {"privileged": true},
            "startupProbe": {"exec": {"command": ["/bin/busybox", "test", "-e", RUNNING]}, "periodSeconds": 1, "failureThreshold": 600},
            "volumeMounts": mounts,
        }],
        "volumes": volumes,
    });
    let secrets: Vec<Value> = disks
        .iter()
        .filter_map(|(_, disk)| Some(json!({"name": disk.image_pull_secret.as_ref()?})))
        .collect();
    if !secrets.is_empty() {
        spec["imagePullSecrets"] = json!(secrets);
    }
    for key in [
        "nodeSelector",
        "tolerations",
        "affinity",
        "topologySpreadConstraints",
        "priorityClassName",
        "schedulerName",
        "dnsPolicy",
        "dnsConfig",
        "subdomain",
        "resourceClaims",
    ] {
        if let Some(value) = vmi.spec.fields.get(key) {
            spec[key] = value.clone();
        }
    }
    if let Some(architecture) = &machine.architecture {
        spec["nodeSelector"]["kubernetes.io/arch"] = json!(architecture);
    }
    let mut pod: Pod = serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod", "spec": spec}))?;
    pod.metadata.generate_name = Some(format!("virt-launcher-{}-", domain.name));
    pod.metadata.namespace.clone_from(&vmi.metadata.namespace);
    pod.metadata.labels = Some(labels(vmi, &domain.host_name));
    pod.metadata.annotations = Some(annotations(vmi));
    pod.metadata.owner_references = vmi.controller_owner_ref(&()).map(|owner| vec![owner]);
    Ok(pod)
}

fn attach(volume: &Volume, volumes: &mut Vec<Value>, mounts: &mut Vec<Value>) {
    let name = &volume.name;
    let mut secret = |suffix: &str, secret: &str| {
        let pod_volume = format!("{name}-{suffix}");
        volumes.push(json!({"name": pod_volume, "secret": {"secretName": secret}}));
        mounts.push(json!({"name": pod_volume, "mountPath": format!("{SECRETS}/{name}/{suffix}"), "readOnly": true}));
    };
    for data in [&volume.cloud_init_config_drive, &volume.cloud_init_no_cloud]
        .into_iter()
        .flatten()
    {
        if let Some(reference) = &data.secret_ref {
            secret("udata", &reference.name);
        }
        if let Some(reference) = &data.network_data_secret_ref {
            secret("ndata", &reference.name);
        }
    }
    if let Some(claim) = volume.claim() {
        volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": claim}}));
        mounts.push(json!({"name": name, "mountPath": format!("{CLAIMS}/{name}")}));
    }
    // Not mounted, but the kubelet waits for it.
    if let Some(source) = volume.rest.get("configMap") {
        volumes.push(json!({"name": name, "configMap": {"name": source["name"], "optional": source["optional"]}}));
    }
    if let Some(source) = volume.rest.get("secret") {
        let secret = json!({"secretName": source["secretName"], "optional": source["optional"]});
        volumes.push(json!({"name": name, "secret": secret}));
    }
}

/// Keeps the image's files reachable while the machine runs; ends with the pod, as a native sidecar does.
fn disk_container(name: &str, disk: &ContainerDisk) -> Value {
    let always = !disk.image.contains('@')
        && disk
            .image
            .rsplit('/')
            .next()
            .is_none_or(|last| !last.contains(':') || last.ends_with(":latest"));
    let policy = disk
        .image_pull_policy
        .clone()
        .unwrap_or_else(|| if always { "Always" } else { "IfNotPresent" }.into());
    json!({
        "name": format!("volume{name}"), "image": disk.image, "imagePullPolicy": policy, "restartPolicy": "Always",
        "command": [format!("{SHARED}/disk-holder")],
        "env": [{"name": DISK_VARIABLE, "value": name}],
        "securityContext": {"runAsUser": 107, "runAsGroup": 107, "runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "virt-bin-share-dir", "mountPath": SHARED, "readOnly": true}],
    })
}

fn labels(vmi: &VirtualMachineInstance, host_name: &str) -> BTreeMap<String, String> {
    let mut labels = vmi.metadata.labels.clone().unwrap_or_default();
    labels.insert("kubevirt.io".into(), "virt-launcher".into());
    labels.insert(CREATED_BY_LABEL.into(), vmi.metadata.uid.clone().unwrap_or_default());
    labels.insert("vm.kubevirt.io/name".into(), host_name.into());
    labels.insert(
        "vmi.kubevirt.io/id".into(),
        vmi.metadata.name.clone().unwrap_or_default(),
    );
    labels
}

fn annotations(vmi: &VirtualMachineInstance) -> BTreeMap<String, String> {
    let mut annotations = vmi.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| !key.starts_with("kubectl.kubernetes.io"));
    annotations.insert(DOMAIN_ANNOTATION.into(), vmi.metadata.name.clone().unwrap_or_default());
    annotations.insert("kubectl.kubernetes.io/default-container".into(), "compute".into());
    annotations.insert("kubevirt.io/migrationTransportUnix".into(), "true".into());
    annotations.insert(
        "descheduler.alpha.kubernetes.io/request-evict-only".into(),
        String::new(),
    );
    annotations
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::Domain;

    fn vmi(devices: Value) -> VirtualMachineInstance {
        serde_json::from_value(json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
            "metadata": {"name": "w-0", "namespace": "n", "uid": "u", "labels": {"cluster": "c"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x", "own": "y"}},
            "spec": {"domain": {"cpu": {"cores": 2}, "memory": {"guest": "2Gi"}, "devices": devices},
                "networks": [{"name": "default", "pod": {}}],
                "nodeSelector": {"zone": "a"},
                "volumes": [{"name": "root", "containerDisk": {"image": "localhost/disk:v1"}},
                    {"name": "cloudinit", "cloudInitConfigDrive": {"secretRef": {"name": "boot"}}}]}}))
        .unwrap()
    }

    fn bridge() -> Value {
        json!({"interfaces": [{"name": "default", "bridge": {}}],
            "disks": [{"name": "root", "disk": {"bus": "virtio"}}, {"name": "cloudinit", "disk": {"bus": "virtio"}}]})
    }

    fn build(vmi: &VirtualMachineInstance) -> Result<Pod, BuildError> {
        pod(vmi, &Machine::read(&vmi.spec.fields).unwrap(), "launcher:dev")
    }

    #[test]
    fn the_pod_is_found_by_the_labels_that_kubevirt_sets() {
        let metadata = build(&vmi(bridge())).unwrap().metadata;
        let labels = metadata.labels.unwrap();
        assert_eq!(
            (
                labels["kubevirt.io"].as_str(),
                labels[CREATED_BY_LABEL].as_str(),
                labels["cluster"].as_str()
            ),
            ("virt-launcher", "u", "c")
        );
        assert_eq!(metadata.generate_name.unwrap(), "virt-launcher-w-0-");
        let annotations = metadata.annotations.unwrap();
        assert!(!annotations.contains_key("kubectl.kubernetes.io/last-applied-configuration"));
        assert_eq!(
            (annotations[DOMAIN_ANNOTATION].as_str(), annotations["own"].as_str()),
            ("w-0", "y")
        );
    }

    #[test]
    fn the_guest_is_asked_for_in_the_requests_and_the_variable() {
        let spec = build(&vmi(bridge())).unwrap().spec.unwrap();
        let compute = &spec.containers[0];
        let requests = compute.resources.as_ref().unwrap().requests.as_ref().unwrap();
        assert_eq!(
            (requests["cpu"].0.as_str(), requests["memory"].0.as_str()),
            ("200m", "2318Mi")
        );
        let domain: Domain = serde_json::from_str(compute.env.as_ref().unwrap()[0].value.as_ref().unwrap()).unwrap();
        assert_eq!(
            (domain.memory_mib, domain.topology, domain.grace),
            (2048, [1, 2, 1], 30)
        );
        assert_eq!(spec.termination_grace_period_seconds, Some(60));
        assert_eq!(spec.node_selector.unwrap()["zone"], "a");
    }

    #[test]
    fn the_secret_of_cloud_init_is_mounted_so_that_without_it_nothing_starts() {
        let spec = build(&vmi(bridge())).unwrap().spec.unwrap();
        let volumes = spec.volumes.unwrap();
        let secret = volumes
            .iter()
            .find(|volume| volume.name == "cloudinit-udata")
            .unwrap()
            .secret
            .as_ref()
            .unwrap();
        assert_eq!((secret.secret_name.as_deref(), secret.optional), (Some("boot"), None));
    }

    #[test]
    fn what_there_is_not_is_said() {
        let plugin = json!({"interfaces": [{"name": "default", "binding": {"name": "nope"}}], "disks": []});
        let error = build(&vmi(plugin)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to render launch manifest: couldn't find configuration for network binding: nope"
        );
        let mut sysprep = vmi(bridge());
        sysprep.spec.fields["volumes"][0] = json!({"name": "root", "sysprep": {}});
        let error = build(&sysprep).unwrap_err();
        assert!(error.to_string().contains("is a stand-in"), "{error}");
    }
}
