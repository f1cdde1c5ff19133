use super::eviction::{asked, leaves};
use super::*;
use crate::api_error::Cause;
use crate::machine::{
    names::{CORDONED_ANNOTATION, DRAIN_UNTIL_ANNOTATION, INSTANCE_ANNOTATION},
    status::Registration,
    tests::{object, observed, template},
    view::View,
};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// What a workload cluster holds.
#[derive(Clone, Default)]
struct Workload {
    node: Option<Node>,
    pods: Vec<Pod>,
    /// Pods that a PodDisruptionBudget holds.
    held: Vec<&'static str>,
}

fn merged(value: &impl serde::Serialize, patch: &Value) -> Value {
    let mut merged = serde_json::to_value(value).unwrap();
    json_patch::merge(&mut merged, patch);
    merged
}

/// What came of a pass.
struct Ran {
    /// Actions, one line each.
    asked: Vec<String>,
    object: KubevirtMachine,
    outcome: Outcome,
    eviction: Option<Eviction>,
}

/// Runs a pass, in which `fails` says of an action why it fails.
fn ran(
    object: KubevirtMachine,
    view: View,
    workload: &mut Workload,
    fails: impl Fn(&Action) -> Option<Failure>,
) -> Ran {
    let mut pass = Provision::new(object, view, NOW);
    let mut asked = Vec::new();
    loop {
        let action = match pass.next_action() {
            Next::Do(action) => action,
            Next::Done(outcome) => {
                return Ran {
                    asked,
                    eviction: pass.eviction(),
                    object: pass.object().clone(),
                    outcome,
                };
            }
        };
        asked.push(match &action {
            Action::Patch(patch) => format!("Patch {patch}"),
            Action::Workload(WorkloadAction::PatchNode(_, patch)) => format!("PatchNode {patch}"),
            other => format!("{other:?}"),
        });
        let reply = match fails(&action) {
            Some(failure) => Err(failure),
            None => Ok(answer(&action, pass.object(), workload)),
        };
        pass.absorb(&action, reply);
    }
}

fn answer(action: &Action, object: &KubevirtMachine, workload: &mut Workload) -> Answer {
    match action {
        Action::Patch(patch) => Answer::Machine(Box::new(serde_json::from_value(merged(object, patch)).unwrap())),
        Action::CreateVm(vm) => Answer::Vm(vm.clone()),
        Action::Workload(WorkloadAction::ReadNode(_)) => Answer::Node(workload.node.clone().map(Box::new)),
        Action::Workload(WorkloadAction::PatchNode(node, patch)) => {
            let patched: Node = serde_json::from_value(merged(node, patch)).unwrap();
            workload.node = Some(patched.clone());
            Answer::Node(Some(Box::new(patched)))
        }
        Action::Workload(WorkloadAction::ListPods(_)) => Answer::Pods(workload.pods.clone()),
        Action::Workload(WorkloadAction::Evict(pods)) => {
            let held = |pod: &Pod| workload.held.contains(&pod.name_any().as_str());
            Answer::Evicted(pods.iter().map(|pod| !held(pod)).collect())
        }
        Action::ApplyUserData { .. } | Action::DeleteUserData(_) | Action::DeleteVm(_) | Action::DeleteVmi(_) => {
            Answer::Done
        }
    }
}

fn never(_: &Action) -> Option<Failure> {
    None
}

/// A machine that has taken hold, with these annotations and this provider ID.
fn held(annotations: Value, provider_id: Value) -> KubevirtMachine {
    let mut value = serde_json::to_value(object(template())).unwrap();
    value["metadata"]["finalizers"] = json!([capn_api::kubevirt_machine::FINALIZER]);
    value["metadata"]["annotations"] = annotations;
    value["spec"]["providerID"] = provider_id;
    serde_json::from_value(value).unwrap()
}

/// One whose guest runs.
fn bootstrapped(mut annotations: Value) -> KubevirtMachine {
    annotations[INSTANCE_ANNOTATION] = json!("i");
    held(annotations, json!("kubevirt://acme-md-0-x1"))
}

fn vmi(spec: Value, phase: &str, evacuated: &str) -> VirtualMachineInstance {
    serde_json::from_value(json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": {"name": "acme-md-0-x1", "namespace": "tenants", "uid": "i"}, "spec": spec,
        "status": {"phase": phase, "evacuationNodeName": evacuated,
            "interfaces": [{"name": "default", "ipAddress": "10.1.2.3"}]},
    }))
    .unwrap()
}

/// A VM with this instance.
fn with(vmi: VirtualMachineInstance) -> View {
    let vm = json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "acme-md-0-x1"}, "spec": {}});
    View {
        vm: serde_json::from_value(vm).ok(),
        vmi: Some(vmi),
        ..observed()
    }
}

fn node(spec: Value) -> Workload {
    Workload {
        node: serde_json::from_value(json!({"metadata": {"name": "acme-md-0-x1"}, "spec": spec})).ok(),
        ..Workload::default()
    }
}

fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": "app"}, "status": {"phase": "Running"}}))
        .unwrap()
}

fn registration(outcome: Outcome) -> Registration {
    match outcome {
        Outcome::Made { registration, .. } => registration,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_machine_is_held_before_anything_is_made_for_it() {
    let ran = ran(object(template()), observed(), &mut Workload::default(), never);
    let finalizers = r#"Patch {"metadata":{"finalizers":["kubevirtmachine.infrastructure.cluster.x-k8s.io"],"resourceVersion":null}}"#;
    assert_eq!(ran.asked, [finalizers, "ApplyUserData", "CreateVm"]);
    assert_eq!(registration(ran.outcome), Registration::Waiting);
}

#[test]
fn neither_user_data_nor_vm_of_a_machine_that_has_run_is_made_again() {
    let ran = ran(bootstrapped(json!({})), observed(), &mut Workload::default(), never);
    assert_eq!(ran.asked, [""; 0]);
}

#[test]
fn a_vm_that_is_refused_is_told_apart_from_a_call_that_failed() {
    let failure = |cause: Cause| {
        Failure::Management(ApiError {
            verb: "create",
            object: "VirtualMachine tenants/acme-md-0-x1".into(),
            cause,
        })
    };
    let outcome = |cause: fn() -> Cause| {
        let fails = |action: &Action| matches!(action, Action::CreateVm(_)).then(|| failure(cause()));
        ran(
            held(json!({}), Value::Null),
            observed(),
            &mut Workload::default(),
            fails,
        )
        .outcome
    };
    assert!(matches!(outcome(|| Cause::Api(Box::default())), Outcome::NotMade(_)));
    assert!(matches!(
        outcome(|| Cause::NameTaken { owner: "x".into() }),
        Outcome::NotMade(_)
    ));
    assert!(matches!(
        outcome(|| Cause::Unreachable("timed out".into())),
        Outcome::Failed(_)
    ));
}

#[test]
fn a_node_gets_the_provider_id_only_where_it_has_none() {
    let registered = |workload: &mut Workload, fails: fn(&Action) -> Option<Failure>| {
        let ran = ran(
            bootstrapped(json!({})),
            with(vmi(json!({}), "Running", "")),
            workload,
            fails,
        );
        (ran.asked, registration(ran.outcome))
    };
    let read = || vec!["ReadNode".to_owned()];
    assert_eq!(
        registered(&mut Workload::default(), never),
        (read(), Registration::Waiting)
    );
    let ours = json!({"providerID": "kubevirt://acme-md-0-x1"});
    assert_eq!(registered(&mut node(ours), never), (read(), Registration::Done));
    let found = "kubevirt://other".to_owned();
    let other = json!({"providerID": found});
    assert_eq!(
        registered(&mut node(other), never),
        (read(), Registration::Conflict { found })
    );
    let (asked, registration) = registered(&mut node(json!({})), never);
    assert_eq!(
        asked[1],
        r#"PatchNode {"spec":{"providerID":"kubevirt://acme-md-0-x1"}}"#
    );
    assert_eq!(registration, Registration::Done);
    let silent = |_: &Action| Some(Failure::WorkloadCluster("timed out".into()));
    let unknown = Registration::Unknown("timed out".into());
    assert_eq!(registered(&mut node(json!({})), silent), (read(), unknown));
}

#[test]
fn the_provider_id_is_recorded_with_the_instance_that_bootstraps() {
    let view = with(vmi(json!({}), "Running", ""));
    let ran = ran(held(json!({}), Value::Null), view, &mut Workload::default(), never);
    assert_eq!(ran.object.spec.provider_id.as_deref(), Some("kubevirt://acme-md-0-x1"));
    assert_eq!(ran.object.annotations()[INSTANCE_ANNOTATION], "i");
}

fn evicted(phase: &str) -> View {
    with(vmi(json!({"evictionStrategy": "External"}), phase, "node-1"))
}

#[test]
fn an_eviction_drains_the_node_before_its_instance_is_deleted() {
    let mut workload = node(json!({}));
    workload.pods = vec![pod("a"), pod("b")];
    workload.held = vec!["a"];
    let first = ran(bootstrapped(json!({})), evicted("Running"), &mut workload, never);
    assert_eq!(
        first.asked[..6],
        [
            r#"Patch {"metadata":{"annotations":{"capk.cluster.x-k8s.io/vmi-deletion-grace-time":"1970-01-01T00:10:00Z"}}}"#,
            "ReadNode",
            r#"Patch {"metadata":{"annotations":{"capk.cluster.x-k8s.io/node-cordoned":"true"}}}"#,
            r#"PatchNode {"spec":{"unschedulable":true}}"#,
            "ListPods",
            "Evict",
        ]
    );
    let Some(Eviction::Draining(message)) = first.eviction else {
        panic!("{:?}", first.eviction);
    };
    let left = "a PodDisruptionBudget holds Pod app/a, and 1 more is left";
    assert!(message.contains("node node-1") && message.ends_with(left), "{message}");
    workload.pods.clear();
    let second = ran(first.object, evicted("Running"), &mut workload, never);
    assert_eq!(second.asked[..3], ["ReadNode", "ListPods", "DeleteVmi"]);
    assert!(matches!(second.eviction, Some(Eviction::InstanceDeleted(_))));
    let annotations = second.object.annotations();
    assert!(!annotations.contains_key(DRAIN_UNTIL_ANNOTATION));
    assert!(
        annotations.contains_key(CORDONED_ANNOTATION),
        "the Node that comes back is uncordoned"
    );
}

#[test]
fn nothing_holds_up_an_eviction_for_ever() {
    let over = json!({DRAIN_UNTIL_ANNOTATION: "1970-01-01T00:00:00Z"});
    let silent = |action: &Action| {
        let workload = matches!(action, Action::Workload(WorkloadAction::ReadNode(_)));
        workload.then(|| Failure::WorkloadCluster("timed out".into()))
    };
    for (annotations, phase, deletes) in [
        (json!({}), "Running", false),
        (over, "Running", true),
        (json!({}), "Scheduled", true),
    ] {
        let ran = ran(
            bootstrapped(annotations),
            evicted(phase),
            &mut Workload::default(),
            silent,
        );
        assert_eq!(ran.asked.contains(&"DeleteVmi".to_owned()), deletes, "{:?}", ran.asked);
        let told = matches!(ran.eviction, Some(Eviction::InstanceDeleted(_)));
        assert_eq!(told, deletes, "{:?}", ran.eviction);
    }
}

#[test]
fn a_node_that_is_back_is_uncordoned_unless_it_was_not_we_who_had_cordoned_it() {
    let back = |annotations: Value, fails: fn(&Action) -> Option<Failure>| {
        let mut workload = node(json!({"unschedulable": true, "providerID": "kubevirt://acme-md-0-x1"}));
        let view = with(vmi(json!({"evictionStrategy": "External"}), "Running", ""));
        let ran = ran(bootstrapped(annotations), view, &mut workload, fails);
        let spec = workload.node.unwrap().spec.unwrap();
        let until = ran.object.annotations().contains_key(DRAIN_UNTIL_ANNOTATION);
        assert!(!until, "the next eviction has its own time");
        (spec.unschedulable == Some(true), eviction::begun(&ran.object))
    };
    let ours = json!({CORDONED_ANNOTATION: "true"});
    assert_eq!(back(ours.clone(), never), (false, false));
    let theirs = json!({DRAIN_UNTIL_ANNOTATION: "1970-01-01T00:10:00Z"});
    assert_eq!(back(theirs, never), (true, false));
    let silent = |action: &Action| {
        let workload = matches!(
            action,
            Action::Workload(WorkloadAction::ReadNode(_)) | Action::Workload(WorkloadAction::PatchNode(..))
        );
        workload.then(|| Failure::WorkloadCluster("timed out".into()))
    };
    assert_eq!(back(ours, silent), (true, true), "it is tried again");
    let both = json!({CORDONED_ANNOTATION: "true", DRAIN_UNTIL_ANNOTATION: "1970-01-01T00:10:00Z"});
    assert_eq!(back(both.clone(), silent), (true, true));
    assert_eq!(back(both, never), (false, false));
}

#[test]
fn only_an_eviction_that_is_left_to_us_is_ours() {
    let host = |strategy: &str, evacuated: &str, deleted: Value| {
        let mut value = vmi(json!({"evictionStrategy": strategy}), "Running", evacuated);
        value.metadata.deletion_timestamp = serde_json::from_value(deleted).unwrap();
        asked(&value).map(str::to_owned)
    };
    assert_eq!(host("External", "node-1", Value::Null).as_deref(), Some("node-1"));
    assert_eq!(host("LiveMigrate", "node-1", Value::Null), None);
    assert_eq!(host("External", "", Value::Null), None);
    assert_eq!(host("External", "node-1", json!("2026-01-01T00:00:00Z")), None);
}

#[test]
fn pods_that_would_come_back_or_have_ended_do_not_leave() {
    let pod = |value: Value| leaves(&serde_json::from_value(value).unwrap());
    assert!(pod(json!({"metadata": {"name": "a"}, "status": {"phase": "Running"}})));
    let owner =
        |kind: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "x", "uid": "1", "controller": true}]);
    assert!(pod(
        json!({"metadata": {"name": "a", "ownerReferences": owner("ReplicaSet")}})
    ));
    assert!(!pod(
        json!({"metadata": {"name": "a", "ownerReferences": owner("DaemonSet")}})
    ));
    assert!(!pod(
        json!({"metadata": {"name": "a", "annotations": {"kubernetes.io/config.mirror": "x"}}})
    ));
    assert!(!pod(
        json!({"metadata": {"name": "a"}, "status": {"phase": "Succeeded"}})
    ));
}

#[test]
fn a_failed_call_to_the_management_cluster_is_no_answer_of_a_workload_cluster() {
    let fails = |action: &Action| {
        matches!(action, Action::Workload(WorkloadAction::ReadNode(_))).then(|| {
            Failure::Management(ApiError {
                verb: "get",
                object: "Secret tenants/acme-kubeconfig".into(),
                cause: Cause::Unreachable("timed out".into()),
            })
        })
    };
    for view in [with(vmi(json!({}), "Running", "")), evicted("Running")] {
        let ran = ran(bootstrapped(json!({})), view, &mut node(json!({})), fails);
        assert!(matches!(ran.outcome, Outcome::Failed(_)), "{:?}", ran.outcome);
        assert_eq!(ran.eviction, None);
    }
}

#[test]
fn a_node_that_keeps_nothing_is_written_to_once() {
    let patches = |object: KubevirtMachine, view: View| {
        let mut pass = Provision::new(object, view, NOW);
        let (mut patches, mut workload) = (0, node(json!({})));
        loop {
            match pass.next_action() {
                Next::Do(Action::Workload(WorkloadAction::PatchNode(node, patch))) => {
                    patches += 1;
                    let unchanged = Ok(Answer::Node(Some(node.clone())));
                    pass.absorb(&Action::Workload(WorkloadAction::PatchNode(node, patch)), unchanged);
                }
                Next::Do(action) => {
                    let reply = answer(&action, pass.object(), &mut workload);
                    pass.absorb(&action, Ok(reply));
                }
                Next::Done(outcome) => return (patches, registration(outcome), pass.eviction()),
            }
        }
    };
    let (count, registration, _) = patches(bootstrapped(json!({})), with(vmi(json!({}), "Running", "")));
    assert_eq!(count, 1);
    assert!(matches!(registration, Registration::Unknown(_)), "{registration:?}");
    let (count, _, eviction) = patches(bootstrapped(json!({})), evicted("Running"));
    assert_eq!(count, 1);
    assert!(matches!(eviction, Some(Eviction::Draining(_))), "{eviction:?}");
}

#[test]
fn what_does_not_come_back_as_it_was_written_ends_the_pass() {
    let mut pass = Provision::new(object(template()), observed(), NOW);
    let unchanged = || Ok(Answer::Machine(Box::new(object(template()))));
    let outcome = loop {
        match pass.next_action() {
            Next::Do(action) => pass.absorb(&action, unchanged()),
            Next::Done(outcome) => break outcome,
        }
    };
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
}

#[test]
fn a_deletion_takes_user_data_vm_and_an_instance_that_its_vm_has_left_behind() {
    let lines = |view: &View| {
        let Deletion { actions, waiting } = delete(&bootstrapped(json!({})), view);
        let actions: Vec<_> = actions.iter().map(|action| format!("{action:?}")).collect();
        (actions, waiting)
    };
    let mut view = with(vmi(json!({}), "Running", ""));
    view.user_data = serde_json::from_value(json!({"type": "cluster.x-k8s.io/secret", "metadata": {"name": "u"}})).ok();
    let (actions, waiting) = lines(&view);
    assert_eq!(actions, ["DeleteUserData", "DeleteVm"]);
    assert!(waiting.unwrap().contains("VirtualMachine tenants/acme-md-0-x1"));
    view.vm = None;
    view.user_data = serde_json::from_value(json!({"type": "Opaque", "metadata": {"name": "u"}})).ok();
    let (actions, waiting) = lines(&view);
    assert_eq!(actions, ["DeleteVmi"], "a Secret of another type is not ours");
    assert!(waiting.unwrap().contains("shut down"));
    let owner = json!([{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": "x", "uid": "9", "controller": true}]);
    view.vmi.as_mut().unwrap().metadata.owner_references = serde_json::from_value(owner).ok();
    assert_eq!(lines(&view).0, [""; 0]);
    view.vmi = None;
    assert_eq!(lines(&view).1, None);
}
