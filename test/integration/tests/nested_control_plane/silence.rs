//! A pass over a world in which nothing has changed writes nothing.

use super::running;
use capn_integration::{Manager, Write, run};
use capn_integration::{TestEnv, snapshot};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{Secret, Service},
};
use kube::ResourceExt;
use serde_json::json;

/// Passes after which a control plane that is available must have come to rest.
const SETTLED: usize = 10;

/// Writes of one more pass.
async fn one_more_pass(env: &TestEnv, manager: &Manager) -> Vec<Write> {
    let mark = env.mark();
    manager.look_again(env).await;
    env.writes(&manager.user, mark)
}

/// Passes until one writes nothing.
async fn settle(env: &TestEnv, manager: &Manager) {
    let mut writes = Vec::new();
    for _ in 0..SETTLED {
        writes = one_more_pass(env, manager).await;
        if writes.is_empty() {
            return;
        }
    }
    panic!("pass number {SETTLED} over an unchanged world still writes: {writes:?}");
}

#[test]
fn a_second_pass_over_an_unchanged_world_writes_nothing() {
    run(async |env| {
        let running = running(env, json!({}), json!({"replicas": 2})).await;
        settle(env, &running.manager).await;
        let in_tenant = running.tenant.objects();
        for pass in 1..=3 {
            assert_eq!(one_more_pass(env, &running.manager).await, [], "pass {pass}");
        }
        assert_eq!(running.tenant.objects(), in_tenant);
    });
}

#[test]
fn a_control_plane_that_waits_for_its_pods_writes_nothing_either() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.tenant().await;
        env.wait_ncp("with an endpoint", |ncp| ncp.spec.control_plane_endpoint.is_some())
            .await;
        settle(env, &manager).await;
        assert_eq!(one_more_pass(env, &manager).await, []);
    });
}

#[test]
fn a_manager_that_starts_again_leaves_every_object_at_its_resource_version() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        settle(env, &running.manager).await;
        let before = versions(env).await;
        running.manager.kill();
        let again = Manager::start(env).await;
        env.wait("its first pass", async || {
            (again.passes("NestedControlPlane").await > 0).then_some(())
        })
        .await;
        assert_eq!(versions(env).await, before);
    });
}

#[test]
fn what_others_add_to_our_objects_stays() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        settle(env, &running.manager).await;
        let theirs =
            json!({"metadata": {"annotations": {"example.com/mine": "yes"}, "labels": {"example.com/mine": "yes"}}});
        env.merge::<Service>("tenant-apiserver", &theirs).await;
        env.merge::<Deployment>("tenant-apiserver", &theirs).await;
        env.merge::<Secret>("tenant-kubeconfig", &theirs).await;
        settle(env, &running.manager).await;
        assert_eq!(
            env.get::<Service>("tenant-apiserver").await.unwrap().labels()["example.com/mine"],
            "yes"
        );
        assert_eq!(
            env.get::<Deployment>("tenant-apiserver").await.unwrap().labels()["example.com/mine"],
            "yes"
        );
        assert_eq!(
            env.secret("tenant-kubeconfig").await.labels()["example.com/mine"],
            "yes"
        );
    });
}

#[test]
fn what_others_break_in_our_objects_is_mended() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        settle(env, &running.manager).await;
        let before = snapshot(env).await;
        env.merge::<Deployment>("tenant-apiserver", &json!({"spec": {"replicas": 0}}))
            .await;
        env.merge::<StatefulSet>("tenant-etcd", &json!({"spec": {"replicas": 2}}))
            .await;
        env.merge::<Service>("tenant-etcd", &json!({"spec": {"publishNotReadyAddresses": false}}))
            .await;
        env.delete::<Service>("tenant-etcd-peer").await;
        env.delete::<Secret>("tenant-scheduler").await;
        env.merge::<Secret>("tenant-kubeconfig", &json!({"data": {"value": "bm9uc2Vuc2U="}}))
            .await;
        env.wait("everything as it was", async || {
            capn_integration::difference(&before, &snapshot(env).await)
                .is_empty()
                .then_some(())
        })
        .await;
        let kubeconfig = super::text(&env.secret("tenant-kubeconfig").await, "value");
        assert!(kubeconfig.contains("client-key-data"), "the kubeconfig was not mended");
    });
}

/// resourceVersions of all that the manager has made, and of the object itself.
async fn versions(env: &TestEnv) -> Vec<(String, Option<String>)> {
    let mut all = vec![("NestedControlPlane".to_owned(), env.ncp().await.resource_version())];
    fn add<K: kube::Resource>(all: &mut Vec<(String, Option<String>)>, objects: Vec<K>) {
        all.extend(
            objects
                .iter()
                .map(|object| (object.name_any(), object.resource_version())),
        );
    }
    add(&mut all, env.list::<Service>().await);
    add(&mut all, env.list::<Secret>().await);
    add(&mut all, env.list::<Deployment>().await);
    add(&mut all, env.list::<StatefulSet>().await);
    all
}
