//! What a launcher pod says about its machine, as one plain value. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::domain::{FACTS_PREFIX, GuestInterface};

/// A launcher pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Launcher {
    /// UID of the pod.
    pub uid: String,
    /// Node it was bound to.
    pub node: Option<String>,
    /// Its IPv4.
    pub ip: Option<String>,
    /// QoS class.
    pub qos: Option<String>,
    /// Image of container compute.
    pub image: Option<String>,
    /// Deleted, not yet gone.
    pub deleting: bool,
    /// How container compute or the whole pod ended.
    pub ended: Option<End>,
    /// Container compute runs.
    pub compute_runs: bool,
    /// Its probe saw the domain.
    pub domain_runs: bool,
    /// Why it is not scheduled.
    pub unschedulable: Option<String>,
    /// ErrImagePull or ImagePullBackOff, with the kubelet's message.
    pub image_trouble: Option<(String, String)>,
    /// Condition Ready: status, reason, message.
    pub ready: Option<(bool, String, String)>,
    /// The readiness gate is set.
    pub gate: bool,
}

/// How a pod ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest shut down.
    Shutdown,
    /// Anything else.
    Crash,
}

/// Condition of the readiness gate.
pub const GATE: &str = "kubevirt.io/virtual-machine-unpaused";

/// Reads a pod.
#[must_use]
pub fn launcher(pod: &Pod) -> Launcher {
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let inits = status.init_container_statuses.unwrap_or_default();
    let compute = containers.iter().find(|container| container.name == "compute");
    let condition = |type_: &str| {
        status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == type_)
    };
    let state = compute.and_then(|compute| compute.state.as_ref());
    let exit = state
        .and_then(|state| state.terminated.as_ref())
        .map(|terminated| terminated.exit_code);
    let ended = match (exit, status.phase.as_deref()) {
        (Some(0), _) | (None, Some("Succeeded")) => Some(End::Shutdown),
        (Some(_), _) | (None, Some("Failed")) => Some(End::Crash),
        (None, _) => None,
    };
    let compute_runs = ended.is_none() && state.is_some_and(|state| state.running.is_some());
    Launcher {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        node: spec.node_name,
        ip: status.pod_ip,
        qos: status.qos_class,
        image: spec
            .containers
            .iter()
            .find(|container| container.name == "compute")
            .and_then(|compute| compute.image.clone()),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        ended,
        compute_runs,
        domain_runs: compute_runs && compute.is_some_and(|compute| compute.started == Some(true)),
        unschedulable: condition("PodScheduled")
            .filter(|scheduled| scheduled.status == "False")
            .map(|scheduled| scheduled.message.clone().unwrap_or_default()),
        image_trouble: inits.iter().chain(&containers).find_map(image_trouble),
        ready: condition("Ready").map(|ready| {
            (
                ready.status == "True",
                ready.reason.clone().unwrap_or_default(),
                ready.message.clone().unwrap_or_default(),
            )
        }),
        gate: condition(GATE).is_some_and(|gate| gate.status == "True"),
    }
}

fn image_trouble(container: &ContainerStatus) -> Option<(String, String)> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting
        .reason
        .clone()
        .filter(|reason| reason == "ErrImagePull" || reason == "ImagePullBackOff")?;
    Some((reason, waiting.message.clone().unwrap_or_default()))
}

/// The launcher's line about the guest's interface, from its log.
#[must_use]
pub fn guest_interface(log: &str) -> Option<GuestInterface> {
    log.lines()
        .find_map(|line| serde_json::from_str(line.strip_prefix(FACTS_PREFIX)?).ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(status: serde_json::Value) -> Launcher {
        let pod = json!({"metadata": {"uid": "p"}, "spec": {"containers": [{"name": "compute", "image": "i"}]}, "status": status});
        launcher(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn the_exit_code_of_compute_tells_a_shutdown_from_a_crash() {
        let exited = |code| {
            json!({"containerStatuses": [{"name": "compute", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"terminated": {"exitCode": code}}}]})
        };
        assert_eq!(read(exited(0)).ended, Some(End::Shutdown));
        assert_eq!(read(exited(4)).ended, Some(End::Crash));
        assert_eq!(read(json!({"phase": "Failed"})).ended, Some(End::Crash));
        assert_eq!(read(json!({"phase": "Running"})).ended, None);
    }

    #[test]
    fn a_disk_image_that_cannot_be_pulled_is_seen_on_the_init_container() {
        let status = json!({"initContainerStatuses": [{"name": "volumeroot", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull", "message": "no such host"}}}]});
        assert_eq!(
            read(status).image_trouble,
            Some(("ErrImagePull".into(), "no such host".into()))
        );
    }

    #[test]
    fn the_interface_is_the_line_with_the_prefix() {
        let log = "starting\nguest-interface {\"mac\":\"0a:00\",\"ip\":\"10.0.0.2\"}\n";
        assert_eq!(guest_interface(log).unwrap().mac, "0a:00");
        assert_eq!(guest_interface("guest-interface?"), None);
    }
}
