//! A manager that dies after any of its writes, and two that work at once, end in the same objects.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use capn_api::NestedControlPlane;
use capn_integration::{CuttingProxy, Kubelet, Manager, Options, TenantApiServer, World, difference, run, snapshot};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Worlds at the same time. Each has a manager and its players.
const PARALLEL: usize = 4;
/// More writes than any creation or deletion makes; one that needs more never comes to rest.
const MOST: u32 = 80;
/// Secrets whose loss would lock every worker out, or every pod.
const AUTHORITIES: [&str; 4] = ["tenant-ca", "tenant-etcd", "tenant-proxy", "tenant-sa"];

type Objects = BTreeMap<String, Value>;
type Authorities = BTreeMap<String, Value>;

async fn authorities(world: &World) -> Authorities {
    let mut found = Authorities::new();
    for name in AUTHORITIES {
        if let Some(secret) = world.get::<Secret>(name).await {
            found.insert(name.to_owned(), json!(secret.data));
        }
    }
    found
}

fn unchanged(before: &Authorities, after: &Authorities, when: &str) {
    for (name, data) in before {
        assert_eq!(after.get(name), Some(data), "{name} is another one {when}");
    }
}

/// Waits until the control plane is up and the manager has come to rest, and returns all objects.
async fn at_rest(world: &World, managers: &[&Manager]) -> Objects {
    let _tenant = TenantApiServer::start(world).await;
    let _kubelet = Kubelet::start(world);
    world.wait_condition("Available", "True").await;
    for _ in 0..10 {
        let mark = world.mark();
        for manager in managers {
            manager.look_again(world).await;
        }
        if managers
            .iter()
            .all(|manager| world.writes(&manager.user, mark).is_empty())
        {
            return snapshot(world).await;
        }
    }
    panic!("the managers do not come to rest");
}

/// Creates a control plane under a manager that dies after its n-th write, and ends it under one
/// that lives. Says whether the first one died.
async fn created(world: &World, after: u32) -> (Objects, bool) {
    let proxy = CuttingProxy::start(world, "cut-off", after).await;
    let first = Manager::start_with(
        world,
        Options {
            port: Some(proxy.port),
            ..Options::default()
        },
    )
    .await;
    world.tenant().await;
    let kubelet = Kubelet::start(world);
    let tenant = async {
        let _tenant = TenantApiServer::start(world).await;
        world.wait_condition("Available", "True").await;
        first.look_again(world).await;
    };
    // Whichever comes first: the cut, or an end without it.
    tokio::select! {
        () = world.wait("the cut", async || proxy.has_cut().then_some(())) => {}
        () = tenant => {}
    }
    first.kill();
    drop(kubelet);
    let cut = proxy.has_cut();
    let before = authorities(world).await;
    let second = Manager::start(world).await;
    let objects = at_rest(world, &[&second]).await;
    unchanged(
        &before,
        &authorities(world).await,
        &format!("after a crash at write {after}"),
    );
    (objects, cut)
}

/// Deletes a control plane under a manager that dies after its n-th write, and lets another end it.
async fn deleted(world: &World, after: u32) -> bool {
    let maker = Manager::start(world).await;
    world.tenant().await;
    let _kubelet = Kubelet::start(world);
    let tenant = TenantApiServer::start(world).await;
    world.wait_condition("Available", "True").await;
    maker.kill();
    drop(tenant);
    // What a new manager writes before it knows of the deletion is no part of it.
    world.delete::<NestedControlPlane>("tenant").await;
    let proxy = CuttingProxy::start(world, "cut-off", after).await;
    let first = Manager::start_with(
        world,
        Options {
            port: Some(proxy.port),
            ..Options::default()
        },
    )
    .await;
    tokio::select! {
        () = world.wait("the cut", async || proxy.has_cut().then_some(())) => {}
        () = world.wait_gone::<NestedControlPlane>("tenant") => {}
    }
    first.kill();
    let cut = proxy.has_cut();
    let _second = Manager::start(world).await;
    world.wait_gone::<NestedControlPlane>("tenant").await;
    let left = snapshot(world).await;
    assert!(
        left.is_empty(),
        "after a crash at write {after} of a deletion these are left: {:?}",
        left.keys()
    );
    cut
}

#[test]
fn a_creation_ends_in_the_same_objects_whichever_write_was_the_last_of_a_manager() {
    run(async |world| {
        let maker = Manager::start(world).await;
        world.tenant().await;
        let expected = at_rest(world, &[&maker]).await;
        assert!(!expected.is_empty());
        let runs = stream::iter(1..=MOST).map(async |after| {
            let world = world.beside().await;
            let (objects, cut) = created(&world, after).await;
            let difference = difference(&expected, &objects);
            assert!(difference.is_empty(), "after a crash at write {after}:\n{difference}");
            cut
        });
        uncut(runs.buffered(PARALLEL)).await;
    });
}

#[test]
fn a_deletion_leaves_nothing_whichever_write_was_the_last_of_a_manager() {
    run(async |world| {
        let runs = stream::iter(1..=MOST).map(async |after| {
            let world = world.beside().await;
            deleted(&world, after).await
        });
        uncut(runs.buffered(PARALLEL)).await;
    });
}

/// Goes on until a run needed no cut.
async fn uncut(runs: impl stream::Stream<Item = bool>) {
    let mut runs = std::pin::pin!(runs);
    let mut cuts = 0;
    while let Some(cut) = runs.next().await {
        if !cut {
            assert!(cuts > 0, "no run was cut off");
            println!("cut off after each of {cuts} writes");
            return;
        }
        cuts += 1;
    }
    panic!("more than {MOST} writes");
}

#[test]
fn two_managers_at_once_end_in_the_same_objects_with_one_set_of_authorities() {
    run(async |world| {
        let maker = Manager::start(world).await;
        world.tenant().await;
        let expected = at_rest(world, &[&maker]).await;
        for _ in 0..3 {
            let world = world.beside().await;
            let mark = world.mark();
            let (one, two) = tokio::join!(Manager::start(&world), Manager::start(&world));
            world.tenant().await;
            let objects = at_rest(&world, &[&one, &two]).await;
            let difference = difference(&expected, &objects);
            assert!(difference.is_empty(), "{difference}");
            let writes = [world.writes(&one.user, mark), world.writes(&two.user, mark)].concat();
            for name in AUTHORITIES {
                let of: Vec<_> = writes
                    .iter()
                    .filter(|w| w.resource == "secrets" && w.name == name && w.code < 300)
                    .collect();
                assert_eq!(of.len(), 1, "{name} was written more than once: {of:?}");
            }
        }
    });
}
