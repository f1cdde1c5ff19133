//! The pure steps together: what a machine becomes, and what is said of its VM.

mod refusals;

use super::{
    desired::{NotYet, Vm, validate},
    diagnosis::{State, state},
    kubevirt::{VirtualMachine, VirtualMachineInstance},
    names,
    view::View,
    virtual_machine::build,
};
use capn_api::{KubevirtMachine, Reason};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn object(template: Value) -> KubevirtMachine {
    serde_json::from_value(json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1",
        "kind": "KubevirtMachine",
        "metadata": {
            "name": "acme-md-0-x1", "namespace": "tenants", "uid": "1",
            "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine", "name": "acme-md-0-x1", "uid": "2"}],
        },
        "spec": {"virtualMachineTemplate": template},
    }))
    .unwrap()
}

pub(super) fn template() -> Value {
    json!({
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
        "spec": {
            "runStrategy": "Always",
            "template": {"spec": {
                "domain": {"cpu": {"cores": 2}, "memory": {"guest": "4Gi"}, "devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]}},
                "volumes": [{"name": "root", "containerDisk": {"image": "example.com/worker:1"}}],
            }},
        },
    })
}

fn persistent() -> Value {
    let mut template = template();
    template["spec"]["dataVolumeTemplates"] = json!([{"metadata": {"name": "boot"}, "spec": {}}]);
    template["spec"]["template"]["spec"]["volumes"] = json!([{"name": "root", "dataVolume": {"name": "boot"}}]);
    template
}

pub(super) fn observed() -> View {
    View {
        machine: serde_json::from_value(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
            "metadata": {"name": "acme-md-0-x1", "namespace": "tenants"},
            "spec": {"clusterName": "acme", "bootstrap": {
                "configRef": {"apiGroup": "bootstrap.cluster.x-k8s.io", "kind": "KubeadmConfig", "name": "acme-md-0-x1"},
                "dataSecretName": "acme-md-0-x1",
            }},
        }))
        .ok(),
        cluster: serde_json::from_value(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
            "metadata": {"name": "acme", "namespace": "tenants"},
            "spec": {},
            "status": {"initialization": {"infrastructureProvisioned": true, "controlPlaneInitialized": true}},
        }))
        .ok(),
        bootstrap: serde_json::from_value(bootstrap_data()).ok(),
        namespace_allowed: true,
        ..View::default()
    }
}

/// A Secret as a bootstrap provider writes it.
fn bootstrap_data() -> Value {
    json!({
        "type": "cluster.x-k8s.io/secret",
        "metadata": {
            "name": "acme-md-0-x1", "namespace": "tenants", "labels": {"cluster.x-k8s.io/cluster-name": "acme"},
            "ownerReferences": [{
                "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2", "kind": "KubeadmConfig", "name": "acme-md-0-x1",
                "uid": "3", "controller": true,
            }],
        },
        "data": {"value": "I2Nsb3VkLWNvbmZpZwo="},
    })
}

#[test]
fn only_bootstrap_data_of_the_machine_becomes_user_data() {
    let refused = |path: &str, value: Value| {
        let mut secret = bootstrap_data();
        *secret.pointer_mut(path).unwrap() = value;
        let mut observed = observed();
        observed.bootstrap = serde_json::from_value(secret).ok();
        let outcome = validate(&object(template()), &observed);
        matches!(outcome, Err(NotYet::BootstrapForeign(_)))
    };
    assert!(!refused("/metadata/name", json!("acme-md-0-x1")));
    for (path, value) in [
        ("/type", json!("Opaque")),
        ("/metadata/labels", json!({"cluster.x-k8s.io/cluster-name": "other"})),
        ("/metadata/labels", json!({})),
        ("/metadata/ownerReferences", json!([])),
        ("/metadata/ownerReferences/0/name", json!("other-md-0-x1")),
        ("/metadata/ownerReferences/0/kind", json!("NestedControlPlane")),
        ("/metadata/ownerReferences/0/apiVersion", json!("example.com/v1")),
        ("/metadata/ownerReferences/0/controller", json!(false)),
        ("/metadata/name", json!("acme-kubeconfig")),
        ("/metadata/name", json!("acme-ca")),
        ("/metadata/name", json!("acme-etcd")),
    ] {
        assert!(refused(path, value.clone()), "{path} {value}");
    }
}

#[test]
fn data_that_a_user_brought_has_no_owner() {
    let mut observed = observed();
    observed.machine.as_mut().unwrap().spec.bootstrap.config_ref = None;
    assert!(validate(&object(template()), &observed).is_err(), "another Machine's");
    observed.bootstrap.as_mut().unwrap().metadata.owner_references = None;
    assert!(validate(&object(template()), &observed).is_ok());
}

#[test]
fn a_vm_is_made_only_in_a_namespace_that_allows_it() {
    let mut elsewhere = object(template());
    elsewhere
        .spec
        .virtual_machine_template
        .as_mut()
        .unwrap()
        .metadata
        .as_mut()
        .unwrap()
        .namespace = Some("elsewhere".into());
    let mut observed = observed();
    assert_eq!(validate(&elsewhere, &observed).unwrap().namespace, "elsewhere");
    observed.namespace_allowed = false;
    let refused = validate(&elsewhere, &observed).unwrap_err();
    assert_eq!(refused.reason(), Reason::NamespaceNotAllowed);
    let message = refused.to_string();
    assert!(message.contains("allow-vms-from=tenants"), "{message}");
    // A VM that is there is not given up.
    elsewhere.spec.provider_id = Some("kubevirt://acme-md-0-x1".into());
    assert!(validate(&elsewhere, &observed).is_ok());
}

fn wanted(template: Value) -> Vm {
    validate(&object(template), &observed()).unwrap()
}

#[test]
fn a_machine_becomes_a_virtual_machine_and_its_user_data() {
    let objects = build(&wanted(template()));
    insta::assert_yaml_snapshot!("virtual_machine", objects.vm);
    insta::assert_yaml_snapshot!("user_data", objects.user_data);
}

/// A value for each leaf of the spec that differs from that of `object(template())`.
fn leaves() -> [(&'static str, Value); 6] {
    let other = json!({"runStrategy": "Manual", "template": {"spec": {}}});
    [
        ("virtualMachineTemplate.metadata.namespace", json!("elsewhere")),
        ("virtualMachineTemplate.metadata.labels", json!({"team": "b"})),
        ("virtualMachineTemplate.metadata.annotations", json!({"note": "c"})),
        ("virtualMachineTemplate.spec", other),
        ("virtualMachineBootstrapCheck.checkStrategy", json!("none")),
        ("infraClusterSecretRef", json!({"name": "elsewhere"})),
    ]
}

/// What comes of an object: the VM and how its bootstrap is checked, or why there is none.
fn made(object: &KubevirtMachine) -> Value {
    match validate(object, &observed()) {
        Ok(wanted) => {
            let objects = build(&wanted);
            json!([objects.vm, objects.user_data, wanted.check])
        }
        Err(waiting) => json!(waiting.to_string()),
    }
}

#[test]
fn each_leaf_of_the_spec_changes_what_is_made() {
    let plain = object(template());
    for (path, value) in leaves() {
        let mut changed = serde_json::to_value(&plain).unwrap();
        let mut at = &mut changed["spec"];
        for key in path.split('.') {
            at = &mut at[key];
        }
        *at = value;
        let changed = serde_json::from_value(changed).unwrap();
        assert_ne!(made(&changed), made(&plain), "{path} is decoration");
    }
}

#[test]
fn the_list_of_leaves_is_that_of_the_schema() {
    let mut known: BTreeSet<String> = leaves().into_iter().map(|(path, _)| path.to_owned()).collect();
    // The controller's own to write.
    known.insert("providerID".into());
    crate::spec_fields::are_those_of("KubevirtMachine", &known);
}

#[test]
fn data_volumes_get_the_machines_name() {
    let vm = serde_json::to_value(build(&wanted(persistent())).vm).unwrap();
    assert_eq!(
        vm.pointer("/spec/dataVolumeTemplates/0/metadata/name"),
        Some(&json!("acme-md-0-x1-boot"))
    );
    assert_eq!(
        vm.pointer("/spec/template/spec/volumes/0/dataVolume/name"),
        Some(&json!("acme-md-0-x1-boot"))
    );
}

#[test]
fn a_machine_waits_in_the_order_in_which_things_come() {
    let object = object(template());
    let mut found = View {
        namespace_allowed: true,
        ..View::default()
    };
    assert_eq!(validate(&object, &found).unwrap_err(), NotYet::Machine);
    found.machine = observed().machine;
    assert_eq!(validate(&object, &found).unwrap_err(), NotYet::Cluster("acme".into()));
    found.cluster = observed().cluster;
    assert!(matches!(
        validate(&object, &found).unwrap_err(),
        NotYet::BootstrapSecret(_)
    ));
    let mut early = observed();
    early.machine.as_mut().unwrap().spec.bootstrap.data_secret_name = None;
    assert_eq!(validate(&object, &early).unwrap_err(), NotYet::BootstrapData);
    early
        .cluster
        .as_mut()
        .unwrap()
        .status
        .as_mut()
        .unwrap()
        .initialization
        .control_plane_initialized = None;
    assert_eq!(validate(&object, &early).unwrap_err(), NotYet::ControlPlane);
    early
        .cluster
        .as_mut()
        .unwrap()
        .status
        .as_mut()
        .unwrap()
        .initialization
        .infrastructure_provisioned = None;
    assert_eq!(validate(&object, &early).unwrap_err(), NotYet::ClusterInfrastructure);
}

#[test]
fn a_vm_that_is_there_does_not_wait_for_its_bootstrap_data_again() {
    let mut object = object(template());
    object.spec.provider_id = Some("kubevirt://acme-md-0-x1".into());
    let found = View {
        bootstrap: None,
        ..observed()
    };
    assert!(validate(&object, &found).unwrap().user_data.is_none());
}

fn vm(status: Value) -> VirtualMachine {
    serde_json::from_value(json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "m"}, "spec": {}, "status": status})).unwrap()
}

fn vmi(uid: &str, status: Value) -> VirtualMachineInstance {
    serde_json::from_value(json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": "m", "uid": uid}, "spec": {}, "status": status})).unwrap()
}

fn running(interfaces: Value) -> VirtualMachineInstance {
    vmi("one", json!({"phase": "Running", "interfaces": interfaces}))
}

#[test]
fn only_addresses_of_its_own_are_a_machines() {
    let interfaces = json!([
        {"name": "default", "ipAddress": "10.100.0.7", "ipAddresses": ["10.100.0.7", "fe80::1"]},
        {"ipAddress": "10.243.1.1", "ipAddresses": ["10.243.1.1"]},
    ]);
    let found = state(
        &object(template()),
        &wanted(template()),
        Some(&vm(json!({}))),
        Some(&running(interfaces)),
    );
    assert_eq!(
        found,
        State::Running {
            instance: "one".into(),
            addresses: vec!["10.100.0.7".parse().unwrap()]
        }
    );
    let mut masqueraded = template();
    masqueraded["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"] =
        json!([{"name": "default", "masquerade": {}}]);
    let inside = running(json!([{"name": "default", "ipAddress": "10.0.2.2"}]));
    let found = state(
        &object(template()),
        &wanted(masqueraded),
        Some(&vm(json!({}))),
        Some(&inside),
    );
    assert!(
        matches!(
            found,
            State::NotReady {
                reason: Reason::WaitingForAddress,
                ..
            }
        ),
        "{found:?}"
    );
}

#[test]
fn a_restart_loses_an_ephemeral_root_disk_and_keeps_a_persistent_one() {
    let restarted = vmi(
        "two",
        json!({"phase": "Running", "interfaces": [{"name": "default", "ipAddress": "10.100.0.8"}]}),
    );
    let mut bootstrapped = object(template());
    bootstrapped.metadata.annotations = Some([(names::INSTANCE_ANNOTATION.to_owned(), "one".to_owned())].into());
    let vm = vm(json!({"printableStatus": "Running"}));
    let lost = state(&bootstrapped, &wanted(template()), Some(&vm), Some(&restarted));
    assert!(
        matches!(
            lost,
            State::Lost {
                reason: Reason::RootDiskLost,
                ..
            }
        ),
        "{lost:?}"
    );
    let kept = state(&bootstrapped, &wanted(persistent()), Some(&vm), Some(&restarted));
    assert!(matches!(kept, State::Running { .. }), "{kept:?}");
}

#[test]
fn kubevirts_own_words_reach_the_condition() {
    let refused = json!({"printableStatus": "Stopped", "conditions": [
        {"type": "Failure", "status": "True", "reason": "FailedCreate", "message": "no memory requested"},
    ]});
    let unschedulable = json!({"printableStatus": "ErrorUnschedulable", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"},
    ]});
    let synchronized = |reason: &str, message: &str| {
        json!({"printableStatus": "Starting", "conditions": [
            {"type": "Synchronized", "status": "False", "reason": reason, "message": message},
        ]})
    };
    let quota = synchronized("FailedCreate", "failed to create virtual machine pod: exceeded quota");
    let other = synchronized("FailedOther", "no such binding");
    for (status, expected, says) in [
        (
            quota,
            "FailedCreate",
            "gets no pod: failed to create virtual machine pod: exceeded quota",
        ),
        (other, "VMRefused", "no such binding"),
        (refused, "VMRefused", "no memory requested"),
        (unschedulable, "Unschedulable", "0/1 nodes"),
    ] {
        match state(&object(template()), &wanted(template()), Some(&vm(status)), None) {
            State::NotReady { reason, message, .. } => {
                assert_eq!(reason.as_str(), expected);
                assert!(message.contains(says), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}
