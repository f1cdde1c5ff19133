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
    run(async |world| {
        let running = running(world, json!({}), json!({})).await;
        let metrics = running.manager.metrics().await;
        for (kind, verb) in [
            ("Deployment", "apply"),
            ("Secret", "create"),
            ("NestedControlPlane", "patch"),
        ] {
            let call = format!("capn_calls_total{{kind=\"{kind}\",verb=\"{verb}\",result=\"ok\"}}");
            assert!(metrics.contains(&call), "{call} is not on /metrics");
        }
        let ncp = world.ncp().await;
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
            &world.get::<Deployment>("tenant-apiserver").await.unwrap().metadata,
            "Deployment",
        );
        owned(
            &world.get::<Deployment>("tenant-controllers").await.unwrap().metadata,
            "Deployment of the controllers",
        );
        owned(
            &world.get::<StatefulSet>("tenant-etcd").await.unwrap().metadata,
            "StatefulSet",
        );
        let (services, secrets) = (world.list::<Service>().await, world.list::<Secret>().await);
        services
            .iter()
            .for_each(|service| owned(&service.metadata, &service.name_any()));
        secrets
            .iter()
            .for_each(|secret| owned(&secret.metadata, &secret.name_any()));
        assert_eq!((services.len(), secrets.len()), (3, 12));
        assert_eq!(
            world.list::<PodDisruptionBudget>().await.len(),
            0,
            "one pod needs no budget"
        );
    });
}

#[test]
fn budgets_come_and_go_with_the_number_of_replicas() {
    run(async |world| {
        let _running = running(world, json!({}), json!({"replicas": 2})).await;
        for budget in ["tenant-apiserver", "tenant-controllers"] {
            world
                .wait_for::<PodDisruptionBudget>(budget, "to be there", |_| true)
                .await;
        }
        world
            .merge::<NestedControlPlane>("tenant", &json!({"spec": {"replicas": 1}}))
            .await;
        for budget in ["tenant-apiserver", "tenant-controllers"] {
            world.wait_gone::<PodDisruptionBudget>(budget).await;
        }
    });
}

#[test]
fn the_pods_are_admitted_where_pod_security_restricted_is_enforced() {
    run(async |world| {
        let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        let namespaces = Api::<Namespace>::all(world.client.clone());
        namespaces
            .patch(&world.namespace, &PatchParams::default(), &Patch::Merge(&labels))
            .await
            .unwrap();
        let extra = json!([{"name": "extra", "image": "registry.example.com/extra:v1"}]);
        let spec = json!({"replicas": 2, "podTemplate": {"containers": extra}});
        let _running = running(world, json!({}), spec).await;
        let mut templates = vec![
            world
                .get::<StatefulSet>("tenant-etcd")
                .await
                .unwrap()
                .spec
                .unwrap()
                .template,
        ];
        for name in ["tenant-apiserver", "tenant-controllers"] {
            templates.push(world.get::<Deployment>(name).await.unwrap().spec.unwrap().template);
        }
        for (name, template) in ["etcd", "api-server", "controllers"].into_iter().zip(templates) {
            let pod = pod_of(name, template);
            let admitted = world
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
    run(async |world| {
        let _running = running(world, json!({}), json!({})).await;
        let ncp = world.ncp().await;
        assert!(ncp.annotations().contains_key(BLOCK_MOVE_ANNOTATION));
        let held = |ncp: &NestedControlPlane| {
            ncp.annotations()
                .contains_key("controlplane.cluster.x-k8s.io/datastore-initialized")
        };
        world.wait_ncp("marked as holding data", held).await;
    });
}

#[test]
fn the_finalizers_and_annotations_of_others_stay() {
    run(async |world| {
        let running = running(world, json!({}), json!({})).await;
        let finalizers = [
            world.ncp().await.finalizers().to_vec(),
            vec!["example.com/theirs".into()],
        ]
        .concat();
        let theirs = json!({"metadata": {"finalizers": finalizers, "annotations": {"example.com/theirs": "yes"}}});
        world.merge::<NestedControlPlane>("tenant", &theirs).await;
        running.manager.look_again(world).await;
        let ncp = world.ncp().await;
        assert!(
            ncp.finalizers()
                .iter()
                .any(|finalizer| finalizer == "example.com/theirs")
        );
        assert_eq!(ncp.annotations()["example.com/theirs"], "yes");
        world.delete::<NestedControlPlane>("tenant").await;
        world
            .wait_ncp("ours to be gone", |ncp| ncp.finalizers() == ["example.com/theirs"])
            .await;
        world
            .merge::<NestedControlPlane>("tenant", &json!({"metadata": {"finalizers": null}}))
            .await;
        world.wait_gone::<NestedControlPlane>("tenant").await;
    });
}

#[test]
fn a_cluster_whose_name_is_too_long_is_told_how_long_it_may_be() {
    run(async |world| {
        let _manager = Manager::start(world).await;
        let name = "a".repeat(60);
        let cluster = world
            .apply(&json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": {"name": name},
                "spec": {"controlPlaneRef": {
                    "apiGroup": "controlplane.cluster.x-k8s.io", "kind": "NestedControlPlane", "name": "tenant"}},
            }))
            .await;
        world
            .apply(&json!({
                "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
                "metadata": {"name": "tenant", "ownerReferences": [{
                    "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": name,
                    "uid": cluster["metadata"]["uid"], "controller": true}]},
                "spec": {"version": "v1.36.3"},
            }))
            .await;
        let available = world.wait_condition("Available", "False").await;
        assert!(
            available
                .message
                .contains("is too long: its control plane needs a name of at most"),
            "{available:?}"
        );
        world.delete::<NestedControlPlane>("tenant").await;
        world.wait_gone::<NestedControlPlane>("tenant").await;
    });
}

#[test]
fn a_pod_that_does_not_serve_holds_up_no_drain() {
    run(async |world| {
        let _manager = Manager::start(world).await;
        world.cluster(json!({})).await;
        world
            .control_plane(json!({"datastore": {"etcd": {"replicas": 3}}}))
            .await;
        // Two of three members are broken: no more may be missing.
        let budget = world
            .wait_for::<PodDisruptionBudget>("tenant-etcd", "to be there", |_| true)
            .await;
        let status = json!({
            "observedGeneration": budget.metadata.generation, "expectedPods": 3, "desiredHealthy": 2, "currentHealthy": 1,
            "disruptionsAllowed": 0,
        });
        world.merge_status::<PodDisruptionBudget>("tenant-etcd", &status).await;
        place_etcd(world, 1).await;
        let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]});
        world.merge_status::<Pod>("tenant-etcd-1", &status).await;
        let pods = world.api::<Pod>();
        pods.evict("tenant-etcd-1", &EvictParams::default()).await.unwrap();
    });
}
