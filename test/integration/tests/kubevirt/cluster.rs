//! Rules of docs/book/src/developer/providers/contracts/infra-cluster.md that can be seen without
//! VMs. Those of the CRDs themselves are in the tests of admission.

use super::{cluster_condition, cluster_provisioned, cluster_with_endpoint, infrastructure, manager, wait_cluster};
use capn_api::{KubevirtCluster, cluster_api::Cluster, kubevirt_cluster::FINALIZER};
use capn_integration::{TestEnv, run};
use kube::ResourceExt;
use serde_json::{Value, json};

/// MUST: `status.initialization.provisioned` reports that the infrastructure is provisioned. Who
/// is not responsible for the endpoint waits for the Cluster's.
#[test]
fn infrastructure_beside_a_nested_control_plane_is_provisioned_once_the_cluster_has_its_endpoint() {
    run(async |env| {
        let _manager = manager(env).await;
        env.cluster(json!({})).await;
        infrastructure(env, json!({}), json!({})).await;
        let waiting = wait_cluster(env, "WaitingForControlPlaneEndpoint").await;
        assert_eq!(cluster_provisioned(&waiting), None);
        let endpoint = json!({"spec": {"controlPlaneEndpoint": {"host": "192.0.2.1", "port": 6443}}});
        env.merge::<Cluster>("tenant", &endpoint).await;
        let object = wait_cluster(env, "Provisioned").await;
        let status = env.raw::<KubevirtCluster>("tenant").await["status"].take();
        assert_eq!(status["initialization"], json!({"provisioned": true}));
        assert!(object.status.unwrap().ready, "older readers look at this");
        assert_eq!(
            object.spec.control_plane_endpoint, None,
            "the control plane publishes the endpoint"
        );
    });
}

/// `status.initialization` orchestrates the first provisioning alone: it is never taken back.
#[test]
fn once_provisioned_infrastructure_never_says_that_it_is_not() {
    run(async |env| {
        let manager = manager(env).await;
        cluster_with_endpoint(env).await;
        infrastructure(env, json!({}), json!({})).await;
        wait_cluster(env, "Provisioned").await;
        env.merge::<Cluster>("tenant", &json!({"spec": {"controlPlaneEndpoint": null}}))
            .await;
        let object = wait_cluster(env, "WaitingForControlPlaneEndpoint").await;
        assert_eq!(cluster_provisioned(&object), Some(true));
        assert!(object.status.unwrap().ready);
        manager.assert_runs();
    });
}

/// SHOULD: `status.conditions`; Ready is mirrored in the Cluster.
#[test]
fn every_condition_of_infrastructure_has_a_reason_and_the_generation_that_it_speaks_of() {
    run(async |env| {
        let _manager = manager(env).await;
        cluster_with_endpoint(env).await;
        infrastructure(env, json!({}), json!({})).await;
        let object = wait_cluster(env, "Provisioned").await;
        let generation = object.metadata.generation;
        let conditions = object.status.unwrap().conditions;
        let types: Vec<_> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(types, ["Paused", "Ready"]);
        for condition in conditions {
            assert!(!condition.reason.is_empty(), "{condition:?}");
            assert_eq!(condition.observed_generation, generation, "{condition:?}");
        }
    });
}

/// "If the resource does not have a Cluster owner, exit the reconciliation."
#[test]
fn infrastructure_that_no_cluster_owns_waits_and_says_what_must_name_it() {
    run(async |env| {
        let _manager = manager(env).await;
        let ownerless = json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1", "kind": "KubevirtCluster",
            "metadata": {"name": "tenant"}, "spec": {},
        });
        env.apply(&ownerless).await;
        let waiting = wait_cluster(env, "WaitingForCluster").await;
        let message = cluster_condition(&waiting).unwrap().message;
        assert!(
            message.contains("spec.infrastructureRef of the Cluster must name it"),
            "{message}"
        );
        cluster_with_endpoint(env).await;
        infrastructure(env, json!({}), json!({})).await;
        wait_cluster(env, "Provisioned").await;
    });
}

/// Checks that something is not supported, in the condition and in an event, until it is changed.
async fn not_supported(env: &TestEnv, words: &[&str]) {
    let object = wait_cluster(env, "NotSupported").await;
    let message = cluster_condition(&object).unwrap().message;
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message}");
    }
    env.wait_warning::<KubevirtCluster>("tenant", "NotSupported", words)
        .await;
}

#[test]
fn control_planes_in_vms_are_said_to_be_not_supported() {
    run(async |env| {
        let _manager = manager(env).await;
        let kubeadm =
            json!({"apiGroup": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane", "name": "tenant"});
        env.cluster(json!({"controlPlaneRef": kubeadm})).await;
        infrastructure(env, json!({}), json!({})).await;
        not_supported(env, &["use a NestedControlPlane"]).await;
    });
}

#[test]
fn vms_in_another_cluster_are_said_to_be_not_supported_and_their_secret_can_be_removed() {
    run(async |env| {
        let _manager = manager(env).await;
        cluster_with_endpoint(env).await;
        let secret = json!({"infraClusterSecretRef": {"name": "elsewhere", "namespace": "default"}});
        infrastructure(env, json!({}), secret).await;
        not_supported(env, &["spec.infraClusterSecretRef", "Remove the field"]).await;
        env.merge::<KubevirtCluster>("tenant", &json!({"spec": {"infraClusterSecretRef": null}}))
            .await;
        wait_cluster(env, "Provisioned").await;
    });
}

/// SHOULD: what others manage is left alone. We add the contract's newer field, which those who
/// follow the older contract do not know.
#[test]
fn infrastructure_that_others_manage_is_left_alone_but_for_the_newer_field() {
    run(async |env| {
        let manager = manager(env).await;
        cluster_with_endpoint(env).await;
        let mark = env.mark();
        let theirs = json!({"annotations": {"cluster.x-k8s.io/managed-by": "others"}});
        infrastructure(env, theirs, json!({})).await;
        manager.look_again(env).await;
        assert_eq!(env.writes(&manager.user, mark), [], "others have not provisioned it");
        env.merge_status::<KubevirtCluster>("tenant", &json!({"ready": true}))
            .await;
        let mirrored = |object: &KubevirtCluster| cluster_provisioned(object) == Some(true);
        let object = env.wait_for("tenant", "to mirror ready", mirrored).await;
        assert_eq!(object.status.unwrap().conditions, []);
    });
}

/// Deletes infrastructure that the Go provider took hold of.
async fn deleted(env: &TestEnv, finalizers: Value) {
    cluster_with_endpoint(env).await;
    infrastructure(env, json!({"finalizers": finalizers}), json!({})).await;
    wait_cluster(env, "Provisioned").await;
    env.delete::<KubevirtCluster>("tenant").await;
}

#[test]
fn infrastructure_that_is_deleted_loses_the_finalizer_that_the_go_provider_set() {
    run(async |env| {
        let _manager = manager(env).await;
        deleted(env, json!([FINALIZER, "example.com/theirs"])).await;
        let ours_gone = |object: &KubevirtCluster| object.finalizers() == ["example.com/theirs"];
        env.wait_for("tenant", "to keep the finalizer of others alone", ours_gone)
            .await;
        env.merge::<KubevirtCluster>("tenant", &json!({"metadata": {"finalizers": null}}))
            .await;
        env.wait_gone::<KubevirtCluster>("tenant").await;
    });
}

#[test]
fn infrastructure_goes_when_its_cluster_is_gone_already() {
    run(async |env| {
        cluster_with_endpoint(env).await;
        infrastructure(env, json!({"finalizers": [FINALIZER]}), json!({})).await;
        env.delete::<Cluster>("tenant").await;
        env.wait_gone::<Cluster>("tenant").await;
        env.delete::<KubevirtCluster>("tenant").await;
        let _manager = manager(env).await;
        env.wait_gone::<KubevirtCluster>("tenant").await;
    });
}
