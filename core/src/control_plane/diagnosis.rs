//! Why a control plane is not available yet, told from its pods and claims.

use super::view::View;
use crate::datastore;
use crate::text::excerpt;
use capn_api::Reason;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStateTerminated, ContainerStatus, Pod},
};
use kube::ResourceExt;

/// A cause, as a condition has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cause {
    /// One word for programs.
    pub reason: Reason,
    /// A sentence for people.
    pub message: String,
    /// Whether a user has to do something.
    pub needs_user_action: bool,
}

/// The first cause that can be told, the nearest to the root first.
pub fn diagnose(observed: &View) -> Option<Cause> {
    datastore::diagnose(observed)
        .or_else(|| diagnose_deployment(observed.api_server.as_ref(), &observed.api_server_pods, observed))
}

/// The same of kube-apiserver, kube-controller-manager and kube-scheduler.
pub fn diagnose_components(observed: &View) -> Option<Cause> {
    diagnose_deployment(observed.api_server.as_ref(), &observed.api_server_pods, observed)
        .or_else(|| diagnose_deployment(observed.controllers.as_ref(), &observed.controllers_pods, observed))
}

fn diagnose_deployment(deployment: Option<&Deployment>, pods: &[Pod], observed: &View) -> Option<Cause> {
    let refused = deployment.and_then(refused_pods);
    refused.or_else(|| pods.iter().find_map(|one| diagnose_pod(one, observed)))
}

fn refused_pods(deployment: &Deployment) -> Option<Cause> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions
        .iter()
        .find(|found| found.type_ == "ReplicaFailure" && found.status == "True")?;
    let why = excerpt(failure.message.as_deref().unwrap_or_default());
    Some(failed_create(&format!("Deployment {}", deployment.name_any()), &why))
}

/// Pods that the management cluster does not take: over a quota, a limit range, a webhook.
pub fn failed_create(workload: &str, why: &str) -> Cause {
    Cause {
        reason: Reason::FailedCreate,
        message: format!("pods of {workload} cannot be created: {why}"),
        needs_user_action: true,
    }
}

/// What keeps a pod from serving.
pub fn diagnose_pod(pod: &Pod, observed: &View) -> Option<Cause> {
    let status = pod.status.as_ref()?;
    // One that has ended, such as an evicted one, is replaced by another.
    let ended = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    if ended || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let unscheduled = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    });
    if let Some(condition) = unscheduled {
        let why = excerpt(condition.message.as_deref().unwrap_or("no node fits"));
        return Some(Cause {
            reason: Reason::Unschedulable,
            message: format!("pod of {} cannot be placed: {why}", workload(pod)),
            needs_user_action: !observed.is_new(pod),
        });
    }
    if let Some(why) = observed.complaint(pod) {
        return Some(Cause {
            reason: Reason::ContainerNotCreated,
            message: format!("pod of {} cannot be started: {why}", workload(pod)),
            needs_user_action: true,
        });
    }
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten())
        .find_map(|container| waiting(pod, container))
}

fn waiting(pod: &Pod, container: &ContainerStatus) -> Option<Cause> {
    let state = container.state.as_ref()?;
    let waiting = state.waiting.as_ref();
    let reason = waiting
        .and_then(|waiting| waiting.reason.as_deref())
        .unwrap_or_default();
    let place = format!("container {} of {}", container.name, workload(pod));
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => Some(Cause {
            reason: Reason::ImagePullFailed,
            message: format!(
                "{place} cannot start: image {} cannot be pulled; correct its name or the registry's access",
                excerpt(&container.image)
            ),
            needs_user_action: true,
        }),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Some(Cause {
            reason: Reason::ContainerNotCreated,
            message: format!(
                "{place} cannot start: {}",
                excerpt(waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or(reason))
            ),
            needs_user_action: true,
        }),
        _ => {
            let ended = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
            let ended = state
                .terminated
                .as_ref()
                .or(ended)
                .filter(|ended| ended.exit_code != 0)?;
            if container.ready {
                return None;
            }
            Some(Cause {
                reason: Reason::CrashLoopBackOff,
                message: format!("{place} ends with {}", end(ended)),
                needs_user_action: true,
            })
        }
    }
}

/// Exit code, the kubelet's reason where it has one of its own, and the container's last words. One
/// that was killed had no time for words of its own.
fn end(ended: &ContainerStateTerminated) -> String {
    let code = ended.exit_code;
    let words = last_words(ended.message.as_deref().unwrap_or_default());
    match ended.reason.as_deref() {
        None | Some("" | "Error" | "Completed") if (129..=159).contains(&code) => {
            format!("code {code}: killed by signal {}", code - 128)
        }
        None | Some("" | "Error" | "Completed") => format!("code {code}: {words}"),
        Some(reason) => format!("code {code} ({}): {words}", excerpt(reason)),
    }
}

/// The line that says what went wrong: a message that starts with "Error:" if there is one, else
/// the last; without a log line's time, which would differ from try to try.
fn last_words(log: &str) -> String {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines()
        .find(|line| line.to_ascii_lowercase().starts_with("error"))
        .or_else(|| lines().next_back())
        .unwrap_or("see its log");
    if let Some(text) = structured(line) {
        return excerpt(&text);
    }
    let text = match line.split_once("] ") {
        Some((head, text)) if head.contains(".go:") => text,
        _ => line,
    };
    excerpt(text)
}

/// Message and error of a log line in JSON, as etcd writes it. It was cut at its start when it was long.
fn structured(line: &str) -> Option<String> {
    let field = |name: &str| {
        let (_, rest) = line.split_once(&format!("\"{name}\":"))?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        values.next()?.ok()
    };
    match (field("msg").filter(|_| line.ends_with('}'))?, field("error")) {
        (message, Some(error)) => Some(format!("{message}: {error}")),
        (message, None) => Some(message),
    }
}

fn workload(pod: &Pod) -> String {
    let owner = pod
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true));
    match owner {
        Some(owner) if owner.kind == "ReplicaSet" => {
            let name = owner
                .name
                .rsplit_once('-')
                .map_or(owner.name.as_str(), |(name, _)| name);
            format!("Deployment {name}")
        }
        Some(owner) => format!("{} {}", owner.kind, owner.name),
        None => "the control plane".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A pod of the control plane whose only container is in this state.
    fn pod_with(container: Value) -> Pod {
        let mut status =
            json!({"name": "kube-apiserver", "image": "i", "imageID": "", "ready": false, "restartCount": 1});
        status
            .as_object_mut()
            .unwrap()
            .extend(container.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "metadata": {"name": "p", "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "acme-apiserver-abc", "uid": "u", "controller": true}]},
            "status": {"containerStatuses": [status]},
        }))
        .unwrap()
    }

    #[test]
    fn a_container_that_ended_tells_its_reason_beside_its_last_words() {
        let cases = [
            (
                json!({"exitCode": 137, "reason": "OOMKilled", "message": "I1126 10:00:00.1 1 server.go:1] serving"}),
                "container kube-apiserver of Deployment acme-apiserver ends with code 137 (OOMKilled): serving",
            ),
            (
                json!({"exitCode": 128, "reason": "StartError", "message": "exec: \"x\": no such file"}),
                "container kube-apiserver of Deployment acme-apiserver ends with code 128 (StartError): exec: \"x\": no such file",
            ),
            (
                json!({"exitCode": 1, "reason": "Error", "message": "Error: unknown flag: --x\nUsage:\n  y"}),
                "container kube-apiserver of Deployment acme-apiserver ends with code 1: Error: unknown flag: --x",
            ),
            (
                json!({"exitCode": 1, "reason": "Error", "message": "{\"level\":\"warn\"}\n{\"level\":\"fatal\",\"ts\":\"10:00\",\"msg\":\"discovery failed\",\"error\":\"no local name \\\"a\\\"\",\"stacktrace\":\"x\"}"}),
                "container kube-apiserver of Deployment acme-apiserver ends with code 1: discovery failed: no local name \"a\"",
            ),
            (
                json!({"exitCode": 137, "reason": "Error", "message": "I1126 10:00:00.1 1 server.go:1] serving"}),
                "container kube-apiserver of Deployment acme-apiserver ends with code 137: killed by signal 9",
            ),
            (
                json!({"exitCode": 2}),
                "container kube-apiserver of Deployment acme-apiserver ends with code 2: see its log",
            ),
        ];
        for (terminated, message) in cases {
            for state in [
                json!({"state": {"terminated": terminated}}),
                json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": terminated}}),
            ] {
                let cause = diagnose_pod(&pod_with(state), &View::default()).unwrap();
                assert_eq!(
                    (cause.reason, cause.message.as_str()),
                    (Reason::CrashLoopBackOff, message)
                );
            }
        }
    }

    #[test]
    fn a_claim_that_waits_for_its_pod_is_not_the_cause() {
        let claim =
            json!({"metadata": {"name": "data-acme-etcd-0", "namespace": "tenants"}, "status": {"phase": "Pending"}});
        let mut observed = View::default();
        observed.datastore.claims = vec![serde_json::from_value(claim).unwrap()];
        assert_eq!(diagnose(&observed).unwrap().reason, Reason::WaitingForVolume);
        let unplaced = json!({"metadata": {"name": "acme-etcd-0"}, "status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}]}});
        observed.datastore.pods = vec![serde_json::from_value(unplaced).unwrap()];
        assert_eq!(diagnose(&observed).unwrap().reason, Reason::Unschedulable);
        observed.datastore.pods.clear();
        let set = json!({"metadata": {"name": "acme-etcd", "uid": "u"}});
        observed.datastore.stateful_set = serde_json::from_value(set).unwrap();
        observed.complaints = vec![crate::control_plane::view::Complaint {
            uid: "u".into(),
            message: "no PriorityClass".into(),
        }];
        let cause = diagnose(&observed).unwrap();
        assert_eq!(cause.reason, Reason::FailedCreate);
        assert!(cause.message.contains("no PriorityClass"), "{}", cause.message);
    }

    #[test]
    fn a_pod_that_has_ended_or_goes_is_not_what_is_wrong() {
        let fails = json!({"state": {"terminated": {"exitCode": 1, "message": "x"}}});
        let current = pod_with(fails);
        assert!(diagnose_pod(&current, &View::default()).is_some());
        for phase in ["Failed", "Succeeded"] {
            let mut evicted = current.clone();
            evicted.status.as_mut().unwrap().phase = Some(phase.into());
            assert_eq!(diagnose_pod(&evicted, &View::default()), None, "{phase}");
        }
        let mut going = current;
        going.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-11-26T10:00:00Z")).unwrap());
        assert_eq!(diagnose_pod(&going, &View::default()), None);
    }

    #[test]
    fn what_others_wrote_is_cut() {
        let long = format!("\u{1b}[31m{}", "x".repeat(40_000));
        let cases = [
            json!({"state": {"terminated": {"exitCode": 1, "message": long, "reason": long}}}),
            json!({"state": {"waiting": {"reason": "CreateContainerError", "message": long}}}),
            json!({"image": long, "state": {"waiting": {"reason": "ErrImagePull", "message": long}}}),
        ];
        for case in cases {
            let message = diagnose_pod(&pod_with(case), &View::default()).unwrap().message;
            assert!(message.len() < 2500 && message.contains('…'), "{} bytes", message.len());
            assert!(!message.contains(char::is_control), "{message}");
        }
    }
}
