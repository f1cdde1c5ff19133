//! The status of a `VirtualMachine`, from its instance. Pure.

use jiff::Timestamp;

use crate::api::{
    Condition, GENERATION_ANNOTATION, Phase, VirtualMachine, VirtualMachineInstance, VirtualMachineStatus,
};
use crate::conditions;
use crate::vm::strategy::{Strategy, phase};

/// Conditions that a machine has of its own.
const KEPT: [&str; 3] = ["Ready", "Failure", "RestartRequired"];

/// What is told of one pass.
pub struct Facts<'a> {
    /// The machine.
    pub vm: &'a VirtualMachine,
    /// Its strategy, if the spec names a known one.
    pub strategy: Option<Strategy>,
    /// Its instance.
    pub vmi: Option<&'a VirtualMachineInstance>,
    /// Why an instance could not be made.
    pub failure: Option<Failure>,
    /// The clock.
    pub now: Timestamp,
}

/// What condition Failure says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Word for programs.
    pub reason: &'static str,
    /// Sentence for people.
    pub message: String,
}

impl Failure {
    /// The API server or a webhook refused the instance.
    #[must_use]
    pub fn refused(message: &str) -> Failure {
        Failure {
            reason: "FailedCreate",
            message: format!("Failure while starting VMI: {message}"),
        }
    }

    /// As KubeVirt without CDI, which this stand-in has not.
    #[must_use]
    pub fn no_data_volumes() -> Failure {
        let missing = "the server could not find the requested resource (post datavolumes.cdi.kubevirt.io)";
        Failure {
            reason: "FailedCreate",
            message: format!("Error encountered while creating DataVolumes: failed to create DataVolume: {missing}"),
        }
    }

    /// The instance type is not there.
    #[must_use]
    pub fn no_instance_type(message: String) -> Failure {
        Failure {
            reason: "FailedFindInstancetype",
            message,
        }
    }

    /// A strategy for updates of volumes that there is not: told while the instance runs.
    fn unknown_volumes_update(vm: &VirtualMachine) -> Option<Failure> {
        let strategy = vm.spec.rest.get("updateVolumesStrategy")?.as_str()?;
        (!["", "Replacement", "Migration"].contains(&strategy)).then(|| Failure {
            reason: "VolumesUpdateError",
            message: format!(
                "error encountered while handling volumes update requests: updateVolumes strategy not recognized: {strategy}"
            ),
        })
    }
}

/// Fills in a status that the strategy has already noted its requests in.
#[must_use]
pub fn status(facts: &Facts<'_>, mut status: VirtualMachineStatus) -> VirtualMachineStatus {
    let now = facts.now;
    status.created = facts.vmi.is_some();
    if let Some(vmi) = facts.vmi {
        status.run_strategy = facts
            .strategy
            .map(|strategy| strategy.name().to_owned())
            .or(status.run_strategy);
        status.desired_generation = facts.vm.metadata.generation;
        let changed = changed(facts.vm, vmi);
        status.observed_generation = if changed {
            started_from(vmi)
        } else {
            facts.vm.metadata.generation
        };
        if changed && !phase(vmi).is_final() {
            conditions::set(&mut status.conditions, restart_required(), now);
        } else {
            conditions::remove(&mut status.conditions, "RestartRequired");
        }
        let own = vmi.status.as_ref().map(|status| status.conditions.as_slice());
        let own = own.unwrap_or_default();
        for condition in own {
            copy(&mut status.conditions, condition);
        }
        // What the instance no longer says.
        status
            .conditions
            .retain(|old| KEPT.contains(&old.type_.as_str()) || conditions::find(own, &old.type_).is_some());
    } else {
        let ready = conditions::explained("Ready", false, "VMINotExists", "VMI does not exist");
        conditions::set(&mut status.conditions, ready, now);
    }
    let update = facts.vmi.and_then(|_| Failure::unknown_volumes_update(facts.vm));
    match facts.failure.as_ref().or(update.as_ref()) {
        Some(failure) => {
            let failed = conditions::explained("Failure", true, failure.reason, &failure.message);
            conditions::set(&mut status.conditions, failed, now);
        }
        None if facts.vmi.is_some() => conditions::remove(&mut status.conditions, "Failure"),
        None => {}
    }
    status.ready = facts.vmi.is_some()
        && conditions::find(&status.conditions, "Ready").is_some_and(|ready| ready.status == "True");
    status.printable_status = Some(printable(facts, &status).to_owned());
    status
}

fn restart_required() -> Condition {
    let message = "a non-live-updatable field was changed in the template spec";
    Condition {
        message: Some(message.into()),
        ..conditions::condition("RestartRequired", true)
    }
}

fn copy(all: &mut Vec<Condition>, new: &Condition) {
    match all.iter_mut().find(|old| old.type_ == new.type_) {
        Some(old) => *old = new.clone(),
        None => all.push(new.clone()),
    }
}

fn started_from(vmi: &VirtualMachineInstance) -> Option<i64> {
    vmi.metadata
        .annotations
        .as_ref()?
        .get(GENERATION_ANNOTATION)?
        .parse()
        .ok()
}

/// Whether the template says something that the instance does not. What was taken out of the template is not seen.
fn changed(vm: &VirtualMachine, vmi: &VirtualMachineInstance) -> bool {
    fn covers(actual: &serde_json::Value, wanted: &serde_json::Value) -> bool {
        use serde_json::Value::{Array, Object};
        match (actual, wanted) {
            (Object(actual), Object(wanted)) => wanted
                .iter()
                .all(|(key, value)| value.is_null() || actual.get(key).is_some_and(|a| covers(a, value))),
            (Array(actual), Array(wanted)) => {
                actual.len() >= wanted.len() && actual.iter().zip(wanted).all(|(a, w)| covers(a, w))
            }
            (actual, wanted) => actual == wanted,
        }
    }
    let live = ["nodeSelector", "affinity", "tolerations"];
    vm.spec
        .template
        .spec
        .iter()
        .filter(|(key, _)| !live.contains(&key.as_str()))
        .any(|(key, value)| !vmi.spec.fields.get(key).is_some_and(|actual| covers(actual, value)))
}

/// One word for people: the first that fits, in KubeVirt's order.
fn printable(facts: &Facts<'_>, status: &VirtualMachineStatus) -> &'static str {
    if facts.vm.metadata.deletion_timestamp.is_some() {
        return "Terminating";
    }
    let Some(vmi) = facts.vmi else {
        let failing = status
            .start_failure
            .as_ref()
            .is_some_and(|failure| failure.consecutive_fail_count > 0);
        let restarts = matches!(
            facts.strategy,
            Some(Strategy::Always | Strategy::RerunOnFailure | Strategy::Once)
        );
        return if failing && restarts {
            "CrashLoopBackOff"
        } else {
            "Stopped"
        };
    };
    let phase = phase(vmi);
    let own = vmi
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    if vmi.metadata.deletion_timestamp.is_some() && !phase.is_final() {
        return "Stopping";
    }
    if phase == Phase::Running {
        return "Running";
    }
    if conditions::says(own, "Synchronized", "False", "FailedPvcNotFound") {
        return "ErrorPvcNotFound";
    }
    if conditions::says(own, "PodScheduled", "False", "Unschedulable") {
        return "ErrorUnschedulable";
    }
    for word in ["ErrImagePull", "ImagePullBackOff"] {
        if conditions::says(own, "Synchronized", "False", word) {
            return word;
        }
    }
    match phase {
        Phase::Pending | Phase::Scheduling | Phase::Scheduled => "Starting",
        Phase::Succeeded | Phase::Failed => {
            let failing = status
                .start_failure
                .as_ref()
                .is_some_and(|failure| failure.consecutive_fail_count > 0);
            if failing && facts.strategy != Some(Strategy::Manual) {
                "CrashLoopBackOff"
            } else {
                "Stopped"
            }
        }
        Phase::Running | Phase::Unknown => "Unknown",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn vm() -> VirtualMachine {
        let spec = json!({"runStrategy": "Always", "template": {"spec": {"domain": {"memory": {"guest": "1Gi"}}}}});
        serde_json::from_value(json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
            "metadata": {"name": "a", "generation": 3}, "spec": spec}))
        .unwrap()
    }

    fn vmi(status: serde_json::Value) -> VirtualMachineInstance {
        serde_json::from_value(json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
            "metadata": {"name": "a", "annotations": {GENERATION_ANNOTATION: "1"}},
            "spec": {"domain": {"memory": {"guest": "1Gi"}, "cpu": {"cores": 1}}}, "status": status}))
        .unwrap()
    }

    fn told(vmi: Option<&VirtualMachineInstance>) -> VirtualMachineStatus {
        let facts = Facts {
            vm: &vm(),
            strategy: Some(Strategy::Always),
            vmi,
            failure: None,
            now: Timestamp::UNIX_EPOCH,
        };
        status(&facts, VirtualMachineStatus::default())
    }

    #[test]
    fn the_printable_status_follows_the_instance() {
        let condition = |type_: &str, reason: &str| json!([{"type": type_, "status": "False", "reason": reason}]);
        for (status, word) in [
            (json!({"phase": "Pending"}), "Starting"),
            (
                json!({"phase": "Scheduling", "conditions": condition("PodScheduled", "Unschedulable")}),
                "ErrorUnschedulable",
            ),
            (
                json!({"phase": "Scheduling", "conditions": condition("Synchronized", "ErrImagePull")}),
                "ErrImagePull",
            ),
            (
                json!({"phase": "Scheduling", "conditions": condition("Synchronized", "ImagePullBackOff")}),
                "ImagePullBackOff",
            ),
            (json!({"phase": "Scheduled"}), "Starting"),
            (
                json!({"phase": "Running", "conditions": condition("Synchronized", "ErrImagePull")}),
                "Running",
            ),
            (json!({"phase": "Succeeded"}), "Stopped"),
        ] {
            assert_eq!(
                told(Some(&vmi(status.clone()))).printable_status.as_deref(),
                Some(word),
                "{status}"
            );
        }
        assert_eq!(told(None).printable_status.as_deref(), Some("Stopped"));
    }

    #[test]
    fn without_an_instance_ready_is_false_and_old_conditions_stay() {
        let scheduled = vmi(
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}, {"type": "LiveMigratable", "status": "False"}]}),
        );
        let before = told(Some(&scheduled));
        assert!(before.ready && before.created);
        let facts = Facts {
            vm: &vm(),
            strategy: Some(Strategy::Always),
            vmi: None,
            failure: None,
            now: Timestamp::UNIX_EPOCH,
        };
        let after = status(&facts, before);
        assert!(!after.ready && !after.created);
        assert!(conditions::says(&after.conditions, "Ready", "False", "VMINotExists"));
        assert!(conditions::find(&after.conditions, "LiveMigratable").is_some());
    }

    #[test]
    fn the_observed_generation_rises_while_the_template_stays() {
        assert_eq!(
            told(Some(&vmi(json!({"phase": "Running"})))).observed_generation,
            Some(3)
        );
        let mut other = vmi(json!({"phase": "Running"}));
        other.spec.fields["domain"]["memory"]["guest"] = json!("2Gi");
        let told = told(Some(&other));
        assert_eq!((told.observed_generation, told.desired_generation), (Some(1), Some(3)));
        assert!(conditions::find(&told.conditions, "RestartRequired").is_some());
    }

    #[test]
    fn a_refused_instance_is_a_failure_in_words() {
        let failure = Some(Failure::refused("no memory requested"));
        let facts = Facts {
            vm: &vm(),
            strategy: Some(Strategy::Always),
            vmi: None,
            failure,
            now: Timestamp::UNIX_EPOCH,
        };
        let told = status(&facts, VirtualMachineStatus::default());
        let failure = conditions::find(&told.conditions, "Failure").unwrap();
        assert_eq!(
            failure.message.as_deref(),
            Some("Failure while starting VMI: no memory requested")
        );
        assert_eq!(told.printable_status.as_deref(), Some("Stopped"));
    }
}
