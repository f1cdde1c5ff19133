//! One object that the manager cannot decode, or a kind that it cannot list.

use capn_api::NestedControlPlane;
use capn_integration::{Manager, Options, TestEnv, run_without};
use k8s_openapi::{
    api::apps::v1::StatefulSet, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{PatchParams, PostParams},
};
use serde_json::{Value, json};

/// Lets `spec.rollout` of a NestedControlPlane be anything, as a CRD of another release may.
async fn loosen(env: &TestEnv) {
    let kinds = Api::<CustomResourceDefinition>::all(env.client.clone());
    let name = "nestedcontrolplanes.controlplane.cluster.x-k8s.io";
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/rollout";
    let mut kind = json!(kinds.get(name).await.unwrap());
    *kind.pointer_mut(path).unwrap() = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let kind = serde_json::from_value(kind).unwrap();
    kinds.replace(name, &PostParams::default(), &kind).await.unwrap();
}

#[test]
fn an_object_that_cannot_be_decoded_is_told_and_holds_up_no_other() {
    run_without(&["infrastructure.cluster.x-k8s.io"], async |env| {
        loosen(env).await;
        let other = env.sibling().await;
        let bad = json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
            "metadata": {"name": "tenant"}, "spec": {"version": "v1.36.3", "rollout": {"after": "9999-12-31T23:59:59Z"}},
        });
        env.cluster(json!({})).await;
        env.wait("the schema to be loosened", async || {
            let params = PatchParams::apply("a-user").force();
            env.try_apply(&bad, &params).await.ok()
        })
        .await;
        let manager = Manager::start_with(
            env,
            Options {
                one_namespace: false,
                ..Options::default()
            },
        )
        .await;
        other.tenant().await;
        other
            .wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
            .await;
        let readiness = manager.readiness().await;
        assert!(readiness.starts_with("HTTP/1.1 200"), "{readiness}");
        let told = manager.log();
        let line = told.lines().find(|line| line.contains("cannot be decoded"));
        let line = line.unwrap_or_else(|| panic!("nothing is told:\n{told}"));
        assert!(
            line.contains(&env.namespace) && line.contains("NestedControlPlane"),
            "{line}"
        );
        let metrics = manager.metrics().await;
        assert!(
            metrics.contains("capn_undecodable_objects_total{kind=\"NestedControlPlane\"}"),
            "{metrics}"
        );
        // It is taken up again once it is corrected.
        env.merge::<NestedControlPlane>("tenant", &json!({"spec": {"rollout": Value::Null}}))
            .await;
        env.wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
            .await;
    });
}

#[test]
fn a_manager_that_cannot_list_is_not_ready_and_says_of_what() {
    run_without(&["controlplane.cluster.x-k8s.io"], async |env| {
        let manager = Manager::start(env).await;
        let readiness = env
            .wait("the manager not to be ready", async || {
                let readiness = manager.readiness().await;
                readiness.starts_with("HTTP/1.1 503").then_some(readiness)
            })
            .await;
        assert!(readiness.contains("not listed yet: NestedControlPlane"), "{readiness}");
        manager.assert_runs();
    });
}
