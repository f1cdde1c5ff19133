//! A pass over a world in which nothing has changed writes nothing.

use super::running;
use capn_integration::{Manager, Write, run};
use capn_integration::{World, snapshot};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{Secret, Service},
};
use kube::ResourceExt;
use serde_json::json;

/// Passes after which a control plane that is available must have come to rest.
const SETTLED: usize = 10;

/// Writes of one more pass.
async fn one_more_pass(world: &World, manager: &Manager) -> Vec<Write> {
    let mark = world.mark();
    manager.look_again(world).await;
    world.writes(&manager.user, mark)
}

/// Passes until one writes nothing.
async fn settle(world: &World, manager: &Manager) {
    let mut writes = Vec::new();
    for _ in 0..SETTLED {
        writes = one_more_pass(world, manager).await;
        if writes.is_empty() {
            return;
        }
    }
    panic!("pass number {SETTLED} over an unchanged world still writes: {writes:?}");
}

#[test]
fn a_second_pass_over_an_unchanged_world_writes_nothing() {
    run(async |world| {
        let running = running(world, json!({}), json!({"replicas": 2})).await;
        settle(world, &running.manager).await;
        let in_tenant = running.tenant.objects();
        for pass in 1..=3 {
            assert_eq!(one_more_pass(world, &running.manager).await, [], "pass {pass}");
        }
        assert_eq!(running.tenant.objects(), in_tenant);
    });
}

#[test]
fn a_control_plane_that_waits_for_its_pods_writes_nothing_either() {
    run(async |world| {
        let manager = Manager::start(world).await;
        world.tenant().await;
        world
            .wait_ncp("with an endpoint", |ncp| ncp.spec.control_plane_endpoint.is_some())
            .await;
        settle(world, &manager).await;
        assert_eq!(one_more_pass(world, &manager).await, []);
    });
}

#[test]
fn a_manager_that_starts_again_leaves_every_object_at_its_resource_version() {
    run(async |world| {
        let running = running(world, json!({}), json!({})).await;
        settle(world, &running.manager).await;
        let before = versions(world).await;
        running.manager.kill();
        let again = Manager::start(world).await;
        world
            .wait("its first pass", async || {
                (again.passes("NestedControlPlane").await > 0).then_some(())
            })
            .await;
        assert_eq!(versions(world).await, before);
    });
}

#[test]
fn what_others_add_to_our_objects_stays() {
    run(async |world| {
        let running = running(world, json!({}), json!({})).await;
        settle(world, &running.manager).await;
        let theirs =
            json!({"metadata": {"annotations": {"example.com/mine": "yes"}, "labels": {"example.com/mine": "yes"}}});
        world.merge::<Service>("tenant-apiserver", &theirs).await;
        world.merge::<Deployment>("tenant-apiserver", &theirs).await;
        world.merge::<Secret>("tenant-kubeconfig", &theirs).await;
        settle(world, &running.manager).await;
        assert_eq!(
            world.get::<Service>("tenant-apiserver").await.unwrap().labels()["example.com/mine"],
            "yes"
        );
        assert_eq!(
            world.get::<Deployment>("tenant-apiserver").await.unwrap().labels()["example.com/mine"],
            "yes"
        );
        assert_eq!(
            world.secret("tenant-kubeconfig").await.labels()["example.com/mine"],
            "yes"
        );
    });
}

#[test]
fn what_others_break_in_our_objects_is_mended() {
    run(async |world| {
        let running = running(world, json!({}), json!({})).await;
        settle(world, &running.manager).await;
        let before = snapshot(world).await;
        world
            .merge::<Deployment>("tenant-apiserver", &json!({"spec": {"replicas": 0}}))
            .await;
        world
            .merge::<StatefulSet>("tenant-etcd", &json!({"spec": {"replicas": 2}}))
            .await;
        world
            .merge::<Service>("tenant-etcd", &json!({"spec": {"publishNotReadyAddresses": false}}))
            .await;
        world.delete::<Service>("tenant-etcd-peer").await;
        world.delete::<Secret>("tenant-scheduler").await;
        world
            .merge::<Secret>("tenant-kubeconfig", &json!({"data": {"value": "bm9uc2Vuc2U="}}))
            .await;
        world
            .wait("everything as it was", async || {
                capn_integration::difference(&before, &snapshot(world).await)
                    .is_empty()
                    .then_some(())
            })
            .await;
        let kubeconfig = super::text(&world.secret("tenant-kubeconfig").await, "value");
        assert!(kubeconfig.contains("client-key-data"), "the kubeconfig was not mended");
    });
}

/// resourceVersions of all that the manager has made, and of the object itself.
async fn versions(world: &World) -> Vec<(String, Option<String>)> {
    let mut all = vec![("NestedControlPlane".to_owned(), world.ncp().await.resource_version())];
    fn add<K: kube::Resource>(all: &mut Vec<(String, Option<String>)>, objects: Vec<K>) {
        all.extend(
            objects
                .iter()
                .map(|object| (object.name_any(), object.resource_version())),
        );
    }
    add(&mut all, world.list::<Service>().await);
    add(&mut all, world.list::<Secret>().await);
    add(&mut all, world.list::<Deployment>().await);
    add(&mut all, world.list::<StatefulSet>().await);
    all
}
