//! MUST rules of docs/book/src/developer/providers/contracts/control-plane.md that can be seen
//! without nodes. Those of the CRDs themselves are in the tests of admission.

use super::{running, running_of, text};
use capn_api::{NestedControlPlane, cluster_api::CLUSTER_NAME_LABEL};
use capn_integration::{Manager, difference, run};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::Secret,
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn secret_type(secret: &Secret) -> &str {
    secret.type_.as_deref().unwrap_or_default()
}

#[test]
fn the_first_status_that_is_written_says_external_managed_control_plane_and_zeros() {
    run(async |env| {
        env.cluster(json!({})).await;
        let made = env.control_plane(json!({})).await;
        // As JSON: our types would read an absent number as zero.
        let gvk = GroupVersionKind::gvk("controlplane.cluster.x-k8s.io", "v1alpha1", "NestedControlPlane");
        let api =
            Api::<DynamicObject>::namespaced_with(env.client.clone(), &env.namespace, &ApiResource::from_gvk(&gvk));
        let since = made.resource_version().unwrap();
        let changes = api.watch(&WatchParams::default(), &since).await.unwrap().boxed();
        let _manager = Manager::start(env).await;
        let first = changes.try_filter_map(async |event| match event {
            WatchEvent::Modified(ncp) if ncp.data["status"].is_object() => Ok(Some(ncp)),
            _ => Ok(None),
        });
        let first = std::pin::pin!(first)
            .try_next()
            .await
            .unwrap()
            .expect("no status is written");
        let status = &first.data["status"];
        assert_eq!(status["externalManagedControlPlane"], json!(true), "{status}");
        assert_eq!(
            status["initialization"],
            json!({"controlPlaneInitialized": false}),
            "{status}"
        );
        for count in ["replicas", "readyReplicas", "availableReplicas", "upToDateReplicas"] {
            assert_eq!(status[count], json!(0), "{count} in {status}");
        }
        assert!(status["selector"].is_string(), "{status}");
        for condition in status["conditions"].as_array().unwrap() {
            let reason = condition["reason"].as_str().unwrap_or_default();
            assert!(!reason.is_empty(), "{condition}");
            assert_eq!(
                condition["observedGeneration"],
                json!(first.metadata.generation),
                "{condition}"
            );
        }
    });
}

#[test]
fn the_endpoint_surfaces_in_spec_control_plane_endpoint_before_any_pod_runs() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        env.tenant().await;
        let ncp = env
            .wait_ncp("with an endpoint", |ncp| ncp.spec.control_plane_endpoint.is_some())
            .await;
        assert!(ncp.spec.control_plane_endpoint.unwrap().is_valid());
    });
}

#[test]
fn the_kubeconfig_secret_has_name_type_label_and_key_of_the_contract() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        env.tenant().await;
        let secret = env
            .wait_for::<Secret>("tenant-kubeconfig", "to be there", |_| true)
            .await;
        assert_eq!(secret_type(&secret), "cluster.x-k8s.io/secret");
        assert_eq!(
            secret.labels().get(CLUSTER_NAME_LABEL).map(String::as_str),
            Some("tenant")
        );
        assert_eq!(secret.data.as_ref().unwrap().keys().collect::<Vec<_>>(), ["value"]);
        let config: Value = serde_saphyr::from_str(&text(&secret, "value")).unwrap();
        let ncp = env
            .wait_ncp("with an endpoint", |ncp| ncp.spec.control_plane_endpoint.is_some())
            .await;
        let server = format!("https://{}", ncp.spec.control_plane_endpoint.unwrap().authority());
        assert_eq!(config["clusters"][0]["cluster"]["server"], json!(server));
        assert_eq!(config["current-context"], config["contexts"][0]["name"]);
        let user = &config["users"][0]["user"];
        for field in ["client-certificate-data", "client-key-data"] {
            assert!(
                user[field].as_str().is_some_and(|data| !data.is_empty()),
                "{field} is missing"
            );
        }
        assert!(config["clusters"][0]["cluster"]["certificate-authority-data"].is_string());
    });
}

#[test]
fn the_certificates_are_secrets_with_names_type_and_label_of_the_contract() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        let ncp = env.tenant().await;
        for name in [
            "tenant-ca",
            "tenant-etcd",
            "tenant-etcd-peer",
            "tenant-proxy",
            "tenant-sa",
        ] {
            let secret = env.wait_for::<Secret>(name, "to be there", |_| true).await;
            assert_eq!(secret_type(&secret), "cluster.x-k8s.io/secret", "{name}");
            assert_eq!(
                secret.labels().get(CLUSTER_NAME_LABEL).map(String::as_str),
                Some("tenant"),
                "{name}"
            );
            assert_eq!(
                secret.data.as_ref().unwrap().keys().collect::<Vec<_>>(),
                ["tls.crt", "tls.key"],
                "{name}"
            );
            let owner = &secret.owner_references()[0];
            assert_eq!(
                (Some(&owner.uid), owner.controller),
                (ncp.metadata.uid.as_ref(), Some(true)),
                "{name}"
            );
            let kind = if name == "tenant-sa" {
                "PUBLIC KEY"
            } else {
                "CERTIFICATE"
            };
            assert!(
                text(&secret, "tls.crt").starts_with(&format!("-----BEGIN {kind}-----")),
                "{name}"
            );
        }
    });
}

#[test]
fn a_control_plane_is_initialized_only_once_a_tenant_holds_what_workers_join_by() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.tenant().await;
        let kubelet = capn_integration::Kubelet::start(env);
        // The pods are ready, but nobody answers at the tenant's address.
        env.wait_ncp("with a ready pod", |ncp| {
            ncp.status.as_ref().is_some_and(|s| s.ready_replicas == 1)
        })
        .await;
        let initialized = |ncp: &NestedControlPlane| {
            ncp.status
                .as_ref()
                .and_then(|s| s.initialization.as_ref())
                .is_some_and(|i| i.control_plane_initialized)
        };
        manager.look_again(env).await;
        assert!(
            !initialized(&env.ncp().await),
            "initialized although the tenant cannot be reached"
        );
        drop(kubelet);
        let running = running_of(env, manager).await;
        let ncp = env.ncp().await;
        assert!(initialized(&ncp));
        assert!(
            ncp.spec
                .control_plane_endpoint
                .is_some_and(|endpoint| endpoint.is_valid())
        );
        let objects = running.tenant.objects();
        for name in [
            "/api/v1/namespaces/kube-public/configmaps/cluster-info",
            "/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
            "/api/v1/namespaces/kube-system/configmaps/kubelet-config",
        ] {
            assert!(
                objects.contains_key(name),
                "{name} is not in the tenant: {:?}",
                objects.keys()
            );
        }
    });
}

#[test]
fn once_initialized_a_control_plane_never_says_that_it_is_not() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        drop(running.tenant);
        drop(running._kubelet);
        let gone = json!({"status": {"readyReplicas": 0, "availableReplicas": 0}});
        let api = env.api::<Deployment>();
        api.patch_status("tenant-apiserver", &PatchParams::default(), &Patch::Merge(&gone))
            .await
            .unwrap();
        env.wait_condition("Available", "False").await;
        let initialization = env.ncp().await.status.unwrap().initialization.unwrap();
        assert!(initialization.control_plane_initialized);
    });
}

#[test]
fn the_versions_that_pods_serve_are_reported_with_the_v_and_their_replicas() {
    run(async |env| {
        let _running = running(env, json!({}), json!({"version": "1.36.3", "replicas": 2})).await;
        let ncp = env
            .wait_ncp("two replicas that serve", |ncp| {
                ncp.status
                    .as_ref()
                    .and_then(|s| s.versions.first())
                    .is_some_and(|version| version.replicas == 2)
            })
            .await;
        let status = ncp.status.unwrap();
        assert_eq!(status.version.as_deref(), Some("v1.36.3"));
        assert_eq!(status.versions.len(), 1);
        assert_eq!(status.versions[0].version, "v1.36.3");
        let counts = [
            status.replicas,
            status.ready_replicas,
            status.available_replicas,
            status.up_to_date_replicas,
        ];
        assert_eq!(counts, [2, 2, 2, 2]);
    });
}

/// MUST: `status.replicas`, `readyReplicas`, `availableReplicas` and `upToDateReplicas`.
#[test]
fn each_count_of_replicas_is_its_own() {
    run(async |env| {
        let running = running(env, json!({}), json!({"replicas": 4})).await;
        drop(running._kubelet);
        let counts = json!({"replicas": 4, "updatedReplicas": 3, "readyReplicas": 2, "availableReplicas": 1});
        env.merge_status::<Deployment>("tenant-apiserver", &counts).await;
        let expected = json!({"replicas": 4, "upToDateReplicas": 3, "readyReplicas": 2, "availableReplicas": 1});
        env.wait("these counts", async || {
            let status = env.raw::<NestedControlPlane>("tenant").await["status"].take();
            let same = expected
                .as_object()
                .unwrap()
                .iter()
                .all(|(name, count)| status[name] == *count);
            same.then_some(())
        })
        .await;
    });
}

#[test]
fn no_version_is_reported_before_a_pod_serves() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.tenant().await;
        env.wait_ncp("with an endpoint", |ncp| ncp.spec.control_plane_endpoint.is_some())
            .await;
        manager.look_again(env).await;
        let status = env
            .wait_ncp("with a status", |ncp| ncp.status.is_some())
            .await
            .status
            .unwrap();
        assert_eq!((status.version, status.versions), (None, vec![]));
    });
}

#[test]
fn the_scale_subresource_reads_and_sets_the_replicas() {
    run(async |env| {
        let _running = running(env, json!({}), json!({})).await;
        let api = env.api::<NestedControlPlane>();
        let before = api.get_scale("tenant").await.unwrap();
        let before = serde_json::to_value(&before).unwrap();
        assert_eq!(
            (&before["spec"]["replicas"], &before["status"]["replicas"]),
            (&json!(1), &json!(1))
        );
        let selector = before["status"]["selector"].as_str().unwrap();
        let pods = env.api::<k8s_openapi::api::core::v1::Pod>();
        let list = kube::api::ListParams::default().labels(selector);
        assert_eq!(pods.list(&list).await.unwrap().items.len(), 1, "{selector}");
        let two = json!({"spec": {"replicas": 2}});
        api.patch_scale("tenant", &PatchParams::default(), &Patch::Merge(&two))
            .await
            .unwrap();
        env.wait_ncp("two replicas", |ncp| {
            ncp.status.as_ref().is_some_and(|status| status.ready_replicas == 2)
        })
        .await;
        let two = async || (pods.list(&list).await.unwrap().items.len() == 2).then_some(());
        env.wait("two pods of the selector", two).await;
    });
}

#[test]
fn scaling_replaces_no_pod_that_runs() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        let template = async || {
            json!(
                env.get::<Deployment>("tenant-apiserver")
                    .await
                    .unwrap()
                    .spec
                    .unwrap()
                    .template
            )
        };
        let before = template().await;
        for replicas in [2, 3, 1] {
            env.merge::<NestedControlPlane>("tenant", &json!({"spec": {"replicas": replicas}}))
                .await;
            env.wait_for::<Deployment>("tenant-apiserver", "the new number of replicas", |deployment| {
                deployment
                    .spec
                    .as_ref()
                    .is_some_and(|spec| spec.replicas == Some(replicas))
            })
            .await;
            let change = difference(&one("template", &before), &one("template", &template().await));
            assert_eq!(change, "", "with {replicas} replicas");
        }
        running.manager.assert_runs();
    });
}

fn one(name: &str, value: &Value) -> BTreeMap<String, Value> {
    BTreeMap::from([(name.to_owned(), value.clone())])
}

#[test]
fn a_rollout_time_that_has_come_replaces_the_pods_and_one_in_the_future_does_not() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        let template = async || {
            let deployment: Deployment = env.get("tenant-apiserver").await.unwrap();
            json!(deployment.spec.unwrap().template)
        };
        let before = template().await;
        let after = |time: &str| json!({"spec": {"rollout": {"after": time}}});
        let ncp: NestedControlPlane = env.merge("tenant", &after("2124-01-01T00:00:00Z")).await;
        let seen = ncp.metadata.generation;
        env.wait_ncp("its new spec seen", |ncp| {
            ncp.status.as_ref().is_some_and(|s| s.observed_generation >= seen)
        })
        .await;
        let change = difference(&one("template", &before), &one("template", &template().await));
        assert_eq!(change, "", "the pods are replaced a century too early");
        let soon = Timestamp::now() + SignedDuration::from_secs(10);
        env.merge::<NestedControlPlane>("tenant", &after(&soon.to_string()))
            .await;
        running.manager.look_again(env).await;
        let still = template().await;
        if Timestamp::now() < soon {
            let change = difference(&one("template", &before), &one("template", &still));
            assert_eq!(change, "", "the pods are replaced seconds too early");
        }
        // Nobody touches it: the manager itself has to remember.
        env.wait("the pods to be replaced", async || {
            (template().await != before).then_some(())
        })
        .await;
    });
}

#[test]
fn a_control_plane_that_no_cluster_owns_waits_and_makes_nothing() {
    run(async |env| {
        let manager = Manager::start(env).await;
        let mark = env.mark();
        env.apply(&json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
            "metadata": {"name": "tenant"}, "spec": {"version": "v1.36.3"},
        }))
        .await;
        let available = env.wait_condition("Available", "False").await;
        assert!(
            available
                .message
                .contains("spec.controlPlaneRef of the Cluster must name it"),
            "{available:?}"
        );
        let others: Vec<_> = env
            .writes(&manager.user, mark)
            .into_iter()
            .filter(|write| write.resource != "nestedcontrolplanes/status")
            .collect();
        assert!(others.is_empty(), "{others:?}");
        // Core sets the owner later; the Cluster may come later still.
        env.cluster(json!({})).await;
        env.control_plane(json!({})).await;
        env.wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
            .await;
    });
}
