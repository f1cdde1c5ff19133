//! The Kubevirt kinds: fields of the Go provider, and objects that it stored.

use capn_api::{ConditionStatus, KubevirtCluster, KubevirtMachine, KubevirtMachineTemplate};
use capn_integration::{TestEnv, run};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

fn object(kind: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1", "kind": kind,
        "metadata": {"name": "machine"}, "spec": spec,
    })
}

/// A VirtualMachine's spec as templates for KubeVirt have it, with a field that nobody knows.
fn virtual_machine() -> Value {
    json!({
        "runStrategy": "Always",
        "aFieldOfTomorrow": {"deep": [1, {"x": null}]},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {
                "evictionStrategy": "External",
                "domain": {
                    "cpu": {"cores": 2},
                    "memory": {"guest": "4Gi"},
                    "devices": {
                        "networkInterfaceMultiqueue": true,
                        "disks": [{"disk": {"bus": "virtio"}, "name": "containervolume"}],
                    },
                },
                "volumes": [{"containerDisk": {"image": "registry.example.com/ubuntu:v1"}, "name": "containervolume"}],
            },
        },
    })
}

#[test]
fn a_provider_id_can_be_set_once_and_never_changed() {
    run(async |env| {
        env.apply(&object("KubevirtMachine", json!({}))).await;
        env.apply(&object("KubevirtMachine", json!({"providerID": "kubevirt://machine"})))
            .await;
        let why = env
            .refused(&object("KubevirtMachine", json!({"providerID": "kubevirt://other"})))
            .await;
        assert!(why.contains("providerID cannot be changed once set"), "{why}");
    });
}

#[test]
fn a_provider_id_cannot_be_removed() {
    run(async |env| {
        let check = json!({"checkStrategy": "none"});
        let with = json!({"providerID": "kubevirt://machine", "virtualMachineBootstrapCheck": check});
        env.apply(&object("KubevirtMachine", with)).await;
        let why = env
            .refused(&object(
                "KubevirtMachine",
                json!({"virtualMachineBootstrapCheck": check}),
            ))
            .await;
        assert!(why.contains("providerID cannot be"), "{why}");
    });
}

#[test]
fn the_spec_of_a_virtual_machine_is_kept_whole() {
    run(async |env| {
        let spec = json!({"virtualMachineTemplate": {"spec": virtual_machine()}});
        env.apply(&object("KubevirtMachine", spec.clone())).await;
        env.apply(&object("KubevirtMachineTemplate", json!({"template": {"spec": spec}})))
            .await;
        let machine: KubevirtMachine = env.get("machine").await.unwrap();
        let template: KubevirtMachineTemplate = env.get("machine").await.unwrap();
        for kept in [machine.spec, template.spec.template.spec] {
            let kept = serde_json::to_value(kept.virtual_machine_template.unwrap().spec.unwrap()).unwrap();
            // The API server drops nulls of fields that it does not know.
            let mut expected = virtual_machine();
            expected["aFieldOfTomorrow"]["deep"][1] = kept["aFieldOfTomorrow"]["deep"][1].clone();
            assert_eq!(kept, expected);
        }
    });
}

#[test]
fn an_unknown_field_is_refused_everywhere_else() {
    run(async |env| {
        let cases = [
            ("KubevirtMachine", json!({"unknown": 1})),
            ("KubevirtMachine", json!({"virtualMachineTemplate": {"unknown": 1}})),
            (
                "KubevirtMachine",
                json!({"virtualMachineTemplate": {"metadata": {"unknown": 1}}}),
            ),
            ("KubevirtMachineTemplate", json!({"template": {"spec": {"unknown": 1}}})),
            ("KubevirtCluster", json!({"unknown": 1})),
            (
                "KubevirtCluster",
                json!({"controlPlaneServiceTemplate": {"spec": {"unknown": 1}}}),
            ),
            ("KubevirtClusterTemplate", json!({"template": {"spec": {"unknown": 1}}})),
        ];
        for (kind, spec) in cases {
            let why = env.refused(&object(kind, spec.clone())).await;
            assert!(why.contains("unknown"), "{kind} {spec}: {why}");
        }
    });
}

#[test]
fn an_unknown_bootstrap_check_is_told_the_two_that_there_are() {
    run(async |env| {
        let check = |strategy: &str| {
            object(
                "KubevirtMachine",
                json!({"virtualMachineBootstrapCheck": {"checkStrategy": strategy}}),
            )
        };
        let why = env.refused(&check("http")).await;
        assert!(why.contains("\"none\"") && why.contains("\"ssh\""), "{why}");
        env.apply(&check("none")).await;
        env.apply(&check("ssh")).await;
    });
}

#[test]
fn manifests_with_every_field_of_the_go_provider_apply() {
    run(async |env| {
        let reference = json!({"apiVersion": "v1", "kind": "Secret", "name": "infra", "namespace": "elsewhere"});
        let machine = json!({
            "virtualMachineTemplate": {
                "metadata": {"namespace": "elsewhere", "labels": {"a": "b"}, "annotations": {"c": "d"}},
                "spec": virtual_machine(),
            },
            "virtualMachineBootstrapCheck": {"checkStrategy": "none"},
            "infraClusterSecretRef": reference,
            "providerID": "kubevirt://machine",
        });
        let cluster = json!({
            "controlPlaneEndpoint": {"host": "", "port": 0},
            "controlPlaneServiceTemplate": {
                "metadata": {"namespace": "elsewhere", "labels": {"a": "b"}, "annotations": {"c": "d"}},
                "spec": {"type": "ClusterIP"},
            },
            "infraClusterSecretRef": reference,
            "sshKeys": {"configRef": reference, "dataSecretName": "keys"},
        });
        env.apply(&object("KubevirtMachine", machine.clone())).await;
        let metadata = json!({"labels": {"a": "b"}, "annotations": {"c": "d"}});
        env.apply(&object(
            "KubevirtMachineTemplate",
            json!({"template": {"spec": machine}}),
        ))
        .await;
        env.apply(&object("KubevirtCluster", cluster.clone())).await;
        let template = json!({"template": {"metadata": metadata, "spec": cluster}});
        env.apply(&object("KubevirtClusterTemplate", template)).await;
    });
}

#[test]
fn an_empty_cluster_applies() {
    run(async |env| {
        env.apply(&object("KubevirtCluster", json!({}))).await;
        let stored: KubevirtCluster = env.get("machine").await.unwrap();
        assert_eq!(stored.spec, Default::default());
    });
}

/// Writes a status that today's schema would refuse, as an older CRD once took it: what is stored
/// is not validated again, only what is sent. So this checks decoding of the very JSON.
async fn decodes<K: serde::de::DeserializeOwned>(env: &TestEnv, kind: &str, status: Value) -> K {
    let mut live = env.apply(&object(kind, json!({}))).await;
    live["status"] = status;
    serde_json::from_value(live).unwrap_or_else(|error| panic!("{kind}: {error}"))
}

#[test]
fn a_status_that_the_go_provider_stored_decodes() {
    run(async |env| {
        let condition = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let severe = json!({"type": "VMProvisioned", "status": "False", "severity": "Error", "reason": "Failed",
            "message": "no", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let machine: KubevirtMachine = decodes(env, "KubevirtMachine", json!({
            "ready": true, "nodeupdated": true, "loadBalancerConfigured": true,
            "addresses": [{"type": "Hostname", "address": "machine"}, {"type": "InternalIP", "address": "10.0.0.1"}],
            "failureReason": "CreateError", "failureMessage": "no", "conditions": [condition, severe],
        }))
        .await;
        let status = machine.status.unwrap();
        assert_eq!(
            (status.ready, status.nodeupdated, status.conditions.len()),
            (true, true, 2)
        );
        assert_eq!(status.conditions[0].status, ConditionStatus::True);
        let cluster: KubevirtCluster = decodes(
            env,
            "KubevirtCluster",
            json!({
                "ready": true, "failureDomains": {"zone-a": {"controlPlane": true, "attributes": {"a": "b"}}},
                "conditions": [condition],
            }),
        )
        .await;
        let domains = cluster.status.unwrap().failure_domains;
        assert_eq!(
            (domains[0].name.as_str(), domains[0].control_plane),
            ("zone-a", Some(true))
        );
    });
}

#[test]
fn our_own_status_without_reasons_is_refused_so_that_none_is_ever_written() {
    run(async |env| {
        env.apply(&object("KubevirtCluster", json!({}))).await;
        let status = json!({"status": {"ready": true, "conditions": [{"type": "Ready", "status": "True"}]}});
        let answer = env
            .api::<KubevirtCluster>()
            .patch_status("machine", &PatchParams::default(), &Patch::Merge(&status))
            .await;
        let why = answer.expect_err("was not refused").to_string();
        assert!(why.contains("reason"), "{why}");
    });
}
