//! What is made in the management cluster for a tenant, as it can be seen without nodes.

use super::{place_etcd, pod_of, running};
use capn_api::{NestedControlPlane, cluster_api::BLOCK_MOVE_ANNOTATION};
use capn_integration::{Manager, run};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{Namespace, Pod, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, ResourceExt,
    api::{EvictParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

#[test]
fn version_alone_makes_a_whole_control_plane_that_its_object_owns() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        let metrics = running.manager.metrics().await;
        for (kind, verb) in [
            ("Deployment", "apply"),
            ("Secret", "create"),
            ("NestedControlPlane", "patch"),
        ] {
            let call = format!("capn_calls_total{{kind=\"{kind}\",verb=\"{verb}\",result=\"ok\"}}");
            assert!(metrics.contains(&call), "{call} is not on /metrics");
        }
        let ncp = env.ncp().await;
        let owned = |meta: &kube::core::ObjectMeta, what: &str| {
            let owners = meta.owner_references.clone().unwrap_or_default();
            assert_eq!(owners.len(), 1, "{what}");
            assert_eq!(
                (Some(&owners[0].uid), owners[0].controller),
                (ncp.metadata.uid.as_ref(), Some(true)),
                "{what}"
            );
            let labels = meta.labels.clone().unwrap_or_default();
            assert_eq!(labels["cluster.x-k8s.io/cluster-name"], "tenant", "{what}");
        };
        owned(
            &env.get::<Deployment>("tenant-apiserver").await.unwrap().metadata,
            "Deployment",
        );
        owned(
            &env.get::<Deployment>("tenant-controllers").await.unwrap().metadata,
            "Deployment of the controllers",
        );
        owned(
            &env.get::<StatefulSet>("tenant-etcd").await.unwrap().metadata,
            "StatefulSet",
        );
        let (services, secrets) = (env.list::<Service>().await, env.list::<Secret>().await);
        services
            .iter()
            .for_each(|service| owned(&service.metadata, &service.name_any()));
        secrets
            .iter()
            .for_each(|secret| owned(&secret.metadata, &secret.name_any()));
        assert_eq!((services.len(), secrets.len()), (3, 12));
        assert_eq!(
            env.list::<PodDisruptionBudget>().await.len(),
            0,
            "one pod needs no budget"
        );
    });
}

#[test]
fn budgets_come_and_go_with_the_number_of_replicas() {
    run(async |env| {
        let _running = running(env, json!({}), json!({"replicas": 2})).await;
        for budget in ["tenant-apiserver", "tenant-controllers"] {
            env.wait_for::<PodDisruptionBudget>(budget, "to be there", |_| true)
                .await;
        }
        env.merge::<NestedControlPlane>("tenant", &json!({"spec": {"replicas": 1}}))
            .await;
        for budget in ["tenant-apiserver", "tenant-controllers"] {
            env.wait_gone::<PodDisruptionBudget>(budget).await;
        }
    });
}

#[test]
fn the_pods_are_admitted_where_pod_security_restricted_is_enforced() {
    run(async |env| {
        let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        let namespaces = Api::<Namespace>::all(env.client.clone());
        namespaces
            .patch(&env.namespace, &PatchParams::default(), &Patch::Merge(&labels))
            .await
            .unwrap();
        let extra = json!([{"name": "extra", "image": "registry.example.com/extra:v1"}]);
        let spec = json!({"replicas": 2, "podTemplate": {"containers": extra}});
        let _running = running(env, json!({}), spec).await;
        let mut templates = vec![
            env.get::<StatefulSet>("tenant-etcd")
                .await
                .unwrap()
                .spec
                .unwrap()
                .template,
        ];
        for name in ["tenant-apiserver", "tenant-controllers"] {
            templates.push(env.get::<Deployment>(name).await.unwrap().spec.unwrap().template);
        }
        for (name, template) in ["etcd", "api-server", "controllers"].into_iter().zip(templates) {
            let pod = pod_of(name, template);
            let admitted = env
                .api::<Pod>()
                .create(
                    &PostParams {
                        dry_run: true,
                        ..PostParams::default()
                    },
                    &pod,
                )
                .await;
            assert!(admitted.is_ok(), "{name}: {admitted:?}");
        }
    });
}

#[test]
fn a_control_plane_with_its_own_etcd_blocks_clusterctl_move() {
    run(async |env| {
        let _running = running(env, json!({}), json!({})).await;
        let ncp = env.ncp().await;
        assert!(ncp.annotations().contains_key(BLOCK_MOVE_ANNOTATION));
        let held = |ncp: &NestedControlPlane| {
            ncp.annotations()
                .contains_key("controlplane.cluster.x-k8s.io/datastore-initialized")
        };
        env.wait_ncp("marked as holding data", held).await;
    });
}

#[test]
fn the_finalizers_and_annotations_of_others_stay() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        let finalizers = [env.ncp().await.finalizers().to_vec(), vec!["example.com/theirs".into()]].concat();
        let theirs = json!({"metadata": {"finalizers": finalizers, "annotations": {"example.com/theirs": "yes"}}});
        env.merge::<NestedControlPlane>("tenant", &theirs).await;
        running.manager.look_again(env).await;
        let ncp = env.ncp().await;
        assert!(
            ncp.finalizers()
                .iter()
                .any(|finalizer| finalizer == "example.com/theirs")
        );
        assert_eq!(ncp.annotations()["example.com/theirs"], "yes");
        env.delete::<NestedControlPlane>("tenant").await;
        env.wait_ncp("ours to be gone", |ncp| ncp.finalizers() == ["example.com/theirs"])
            .await;
        env.merge::<NestedControlPlane>("tenant", &json!({"metadata": {"finalizers": null}}))
            .await;
        env.wait_gone::<NestedControlPlane>("tenant").await;
    });
}

#[test]
fn a_cluster_whose_name_is_too_long_is_told_how_long_it_may_be() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        let name = "a".repeat(60);
        let cluster = env
            .apply(&json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": {"name": name},
                "spec": {"controlPlaneRef": {
                    "apiGroup": "controlplane.cluster.x-k8s.io", "kind": "NestedControlPlane", "name": "tenant"}},
            }))
            .await;
        env.apply(&json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
            "metadata": {"name": "tenant", "ownerReferences": [{
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": name,
                "uid": cluster["metadata"]["uid"], "controller": true}]},
            "spec": {"version": "v1.36.3"},
        }))
        .await;
        let available = env.wait_condition("Available", "False").await;
        assert!(
            available
                .message
                .contains("is too long: its control plane needs a name of at most"),
            "{available:?}"
        );
        env.delete::<NestedControlPlane>("tenant").await;
        env.wait_gone::<NestedControlPlane>("tenant").await;
    });
}

#[test]
fn a_pod_that_does_not_serve_holds_up_no_drain() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        env.cluster(json!({})).await;
        env.control_plane(json!({"datastore": {"etcd": {"replicas": 3}}})).await;
        // Two of three members are broken: no more may be missing.
        let budget = env
            .wait_for::<PodDisruptionBudget>("tenant-etcd", "to be there", |_| true)
            .await;
        let status = json!({
            "observedGeneration": budget.metadata.generation, "expectedPods": 3, "desiredHealthy": 2, "currentHealthy": 1,
            "disruptionsAllowed": 0,
        });
        env.merge_status::<PodDisruptionBudget>("tenant-etcd", &status).await;
        place_etcd(env, 1).await;
        let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]});
        env.merge_status::<Pod>("tenant-etcd-1", &status).await;
        let pods = env.api::<Pod>();
        pods.evict("tenant-etcd-1", &EvictParams::default()).await.unwrap();
    });
}
