//! Evictions of launcher pods: allowed, or marked on the instance and answered with 429.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::admission::review::{Answer, Request};
use crate::api::{DOMAIN_ANNOTATION, VirtualMachineInstance};
use crate::conditions;

/// What an eviction does, decided without a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The pod may go: the guest is shut down.
    Allow,
    /// Set evacuationNodeName, then refuse in these words.
    Mark(String),
    /// Refuse.
    Refuse(String),
}

/// Decides by the strategy.
#[must_use]
pub fn verdict(vmi: &VirtualMachineInstance) -> Verdict {
    let status = vmi.status.clone().unwrap_or_default();
    let name = format!("{}/{}", vmi.namespace().unwrap_or_default(), vmi.name_any());
    if status.phase.is_none_or(|phase| phase.is_final()) {
        return Verdict::Allow;
    }
    let strategy = vmi
        .spec
        .fields
        .get("evictionStrategy")
        .and_then(|strategy| strategy.as_str())
        .unwrap_or("None");
    let migratable =
        conditions::find(&status.conditions, "LiveMigratable").is_some_and(|condition| condition.status == "True");
    match strategy {
        "External" => {}
        "LiveMigrate" if migratable => {}
        "LiveMigrateIfPossible" if migratable => {}
        "LiveMigrate" => {
            return Verdict::Refuse(format!(
                "VMI {} is configured with an eviction strategy but is not live-migratable",
                vmi.name_any()
            ));
        }
        _ => return Verdict::Allow,
    }
    if status.evacuation_node_name.is_some() {
        return Verdict::Refuse(format!(
            "Evacuation in progress: Eviction triggered evacuation of VMI \"{name}\""
        ));
    }
    Verdict::Mark(format!("Eviction triggered evacuation of VMI \"{name}\""))
}

/// Answers one request for pods/eviction.
pub async fn answer(client: &Client, request: &Request) -> Result<Answer, kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &request.namespace);
    let Some(pod) = pods.get_opt(&request.name).await? else {
        return Ok(Answer::Allow);
    };
    let Some(name) = pod.annotations().get(DOMAIN_ANNOTATION) else {
        return Ok(Answer::Allow);
    };
    let vmis: Api<VirtualMachineInstance> = Api::namespaced(client.clone(), &request.namespace);
    let Some(vmi) = vmis.get_opt(name).await? else {
        return Ok(Answer::Allow);
    };
    match verdict(&vmi) {
        Verdict::Allow => Ok(Answer::Allow),
        Verdict::Refuse(message) => Ok(Answer::TooManyRequests(message)),
        Verdict::Mark(message) => {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            if !request.dry_run {
                let patch = Patch::Merge(
                    json!({"metadata": {"uid": vmi.metadata.uid}, "status": {"evacuationNodeName": node}}),
                );
                vmis.patch(name, &PatchParams::default(), &patch).await?;
            }
            Ok(Answer::TooManyRequests(message))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_a_strategy_that_forbids_it_refuses() {
        let vmi = |strategy: &str, node: Option<&str>| -> VirtualMachineInstance {
            serde_json::from_value(json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": "x", "namespace": "ns"},
                "spec": {"evictionStrategy": strategy}, "status": {"phase": "Running", "evacuationNodeName": node,
                "conditions": [{"type": "LiveMigratable", "status": "False"}]}}))
            .unwrap()
        };
        assert_eq!(verdict(&vmi("None", None)), Verdict::Allow);
        assert_eq!(verdict(&vmi("LiveMigrateIfPossible", None)), Verdict::Allow);
        assert!(matches!(verdict(&vmi("LiveMigrate", None)), Verdict::Refuse(_)));
        assert_eq!(
            verdict(&vmi("External", None)),
            Verdict::Mark("Eviction triggered evacuation of VMI \"ns/x\"".into())
        );
        let Verdict::Refuse(again) = verdict(&vmi("External", Some("n"))) else {
            unreachable!()
        };
        assert!(again.starts_with("Evacuation in progress: "));
    }
}
