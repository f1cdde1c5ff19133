//! One recorded machine through the webhooks and the controllers, without an API server. What the API server itself said of the
//! instance or of the pod (a label, a node selector, a priority class) is taken from the record.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::api_server::decode;
use super::{Answer, Case};
use crate::admission::review::{self, Answer as Reply};
use crate::admission::{defaults, mutate_vm, validate, validate_vm};
use crate::api::{ACCOUNT, VirtualMachine, VirtualMachineInstance, VirtualMachineInstanceStatus, VirtualMachineStatus};
use crate::machine::Machine;
use crate::vm::build;
use crate::vm::status::{self, Failure};
use crate::vm::strategy::{self, Step, Strategy};
use crate::vmi::{decide, observe, pod};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const WEBHOOK: &str = "admission webhook";
const INSTANCE_REFUSED: &str = "Failure while starting VMI: ";
const POD_REFUSED: &str = "failed to create virtual machine pod: ";

/// The stand-in's answer; none when KubeVirt was never asked.
pub(super) fn replay(case: &Case) -> Option<Answer> {
    let recorded = &case.answer;
    if recorded.code != 201 && !recorded.message.starts_with(WEBHOOK) && !case.options.strict {
        return None;
    }
    let Some(decoded) = decode(&case.object) else {
        return Some(refused(404, "the server could not find the requested resource".into()));
    };
    if let (true, [field, ..]) = (case.options.strict, &decoded.unknown[..]) {
        let message = format!(
            "VirtualMachine in version \"v1\" cannot be handled as a VirtualMachine: strict decoding error: unknown field {field:?}"
        );
        return Some(refused(400, message));
    }
    let mut warnings = decoded.warnings;
    warnings.extend(decoded.unknown.iter().map(|field| format!("unknown field {field:?}")));
    let stored = match mutate_vm(&decoded.object, &uuids()) {
        Reply::Replace(object) => object,
        reply => return Some(refusal("virtualmachines-mutator", reply)),
    };
    match validate_vm(&stored) {
        Reply::Warn(more) => warnings.extend(more),
        reply => return Some(refusal("virtualmachine-validator", reply)),
    }
    Some(Answer {
        code: 201,
        warnings,
        ..controllers(&stored, recorded)
    })
}

fn uuids() -> [String; 2] {
    ["one".into(), "two".into()]
}

fn refused(code: u16, message: String) -> Answer {
    Answer {
        code,
        message,
        ..Answer::default()
    }
}

fn refusal(webhook: &str, reply: Reply) -> Answer {
    let (code, message) = match reply {
        Reply::Deny(causes) => (422, review::message(&causes)),
        Reply::Malformed(message) => (400, message),
        other => panic!("{other:?} refuses nothing"),
    };
    refused(code, denied(webhook, &message))
}

fn denied(webhook: &str, message: &str) -> String {
    format!("{WEBHOOK} \"{webhook}.kubevirt.io\" denied the request: {message}")
}

/// What the recorded conditions say after these words, if it is the API server that says it.
fn api_server_said(status: &Value, words: &str) -> Option<String> {
    let conditions = status["conditions"].as_array()?;
    let mut messages = conditions.iter().filter_map(|condition| condition["message"].as_str());
    let said = messages.find_map(|message| message.strip_prefix(words))?;
    (!said.starts_with(WEBHOOK)).then(|| said.to_owned())
}

/// The machine's controller, then the instance's, then the machine's again.
fn controllers(stored: &Value, recorded: &Answer) -> Answer {
    let vm: VirtualMachine = serde_json::from_value(stored.clone()).unwrap();
    let strategy = Strategy::of(vm.spec.running, vm.spec.run_strategy.as_deref());
    let mut noted = VirtualMachineStatus::default();
    let step = strategy::step(strategy.unwrap(), &mut noted, None, NOW);
    let (made, failure) = match step {
        Step::Start => match instance(&vm, recorded) {
            Ok(vmi) => (Some(vmi), None),
            Err(failure) => (None, Some(failure)),
        },
        Step::Stop | Step::Wait(_) | Step::Rest => (None, None),
    };
    let (vmi, launcher_pods) = match made {
        Some(vmi) => {
            let (status, pods) = launch(&vmi, recorded);
            let status = Some(status);
            (Some(VirtualMachineInstance { status, ..vmi }), pods)
        }
        None => (None, 0),
    };
    let facts = status::Facts {
        vm: &vm,
        strategy,
        vmi: vmi.as_ref(),
        failure,
        now: NOW,
    };
    Answer {
        virtual_machine: serde_json::to_value(status::status(&facts, noted)).unwrap(),
        instance: vmi.map_or(Value::Null, |vmi| serde_json::to_value(vmi.status).unwrap()),
        launcher_pods,
        ..Answer::default()
    }
}

/// The instance as it is stored, or what the machine says instead.
fn instance(vm: &VirtualMachine, recorded: &Answer) -> Result<VirtualMachineInstance, Failure> {
    let made = serde_json::to_value(build::instance(vm)?).unwrap();
    let stored = defaults::vmi(made, &uuids(), &NOW.to_string());
    let causes = validate::vmi(&stored, ACCOUNT);
    if !causes.is_empty() {
        let webhook = "virtualmachineinstances-create-validator";
        return Err(Failure::refused(&denied(webhook, &review::message(&causes))));
    }
    match api_server_said(&recorded.virtual_machine, INSTANCE_REFUSED) {
        Some(said) => Err(Failure::refused(&said)),
        None => Ok(serde_json::from_value(stored).unwrap()),
    }
}

/// The instance's status once its pod is there, and the number of pods.
fn launch(vmi: &VirtualMachineInstance, recorded: &Answer) -> (VirtualMachineInstanceStatus, usize) {
    let machine = Machine::read(&vmi.spec.fields).unwrap();
    let decided = |launcher: Option<&observe::Launcher>| {
        decide::decide(&decide::Facts {
            vmi,
            machine: &machine,
            launcher,
            guest: None,
            now: NOW,
        })
    };
    let (act, mut status) = decided(None);
    assert_eq!(act, decide::Act::CreatePod);
    if let Some(claim) = machine.claims().next() {
        decide::claim_missing(&mut status, vmi.metadata.namespace.as_deref().unwrap(), claim, NOW);
        return (status, 0);
    }
    let refused = api_server_said(&recorded.instance, POD_REFUSED);
    let made = match (pod::pod(vmi, &machine, "launcher"), refused) {
        (Err(error), _) => Err(error.to_string()),
        (Ok(_), Some(said)) => Err(pod::refused(&said)),
        (Ok(pod), None) => Ok(pod),
    };
    match made {
        Ok(pod) => (decided(Some(&observe::launcher(&scheduled(pod)))).1, 1),
        Err(message) => {
            decide::pod_refused(&mut status, &message, NOW);
            (status, 0)
        }
    }
}

/// A pod as the scheduler of a cluster without nodes leaves it.
fn scheduled(mut pod: k8s_openapi::api::core::v1::Pod) -> k8s_openapi::api::core::v1::Pod {
    let spec = pod.spec.as_ref().unwrap();
    // Another scheduler says nothing, nor does this one while it waits for claims of devices.
    let silent = spec.scheduler_name.is_some() || spec.resource_claims.is_some();
    let told = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "no nodes available to schedule pods"});
    let conditions = if silent { json!([]) } else { json!([told]) };
    pod.status = serde_json::from_value(json!({"phase": "Pending", "conditions": conditions})).unwrap();
    pod
}
