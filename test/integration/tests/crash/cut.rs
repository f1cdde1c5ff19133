//! A manager that dies after any of its writes, and two that work at once.

use super::{AUTHORITIES, Objects, abandoned, at_rest, authorities, unchanged, undisturbed, undisturbed_inside};
use capn_api::NestedControlPlane;
use capn_integration::{
    Fault, FaultyProxy, Kubelet, Manager, Mishap, Options, TenantApiServer, World, difference, each_write, run,
    snapshot,
};

/// A manager whose write number `after` is its last.
async fn mortal(world: &World, after: u32) -> (FaultyProxy, Manager) {
    let proxy = FaultyProxy::start(world, "nested", "cut-off", after, Fault::Cut).await;
    let options = Options {
        port: Some(proxy.port),
        ..Options::default()
    };
    let manager = Manager::start_with(world, options).await;
    (proxy, manager)
}

/// Creates a control plane under a manager that dies after its n-th write, and ends it under one
/// that lives. Says whether the first one died.
async fn created(world: &World, after: u32) -> (Objects, bool) {
    let (proxy, first) = mortal(world, after).await;
    world.tenant().await;
    let kubelet = Kubelet::start(world);
    let tenant = async {
        let _tenant = TenantApiServer::start(world).await;
        world.wait_up().await;
        first.look_again(world).await;
    };
    // Whichever comes first: the cut, or an end without it.
    tokio::select! {
        () = world.wait("the cut", async || proxy.has_struck().then_some(())) => {}
        () = tenant => {}
    }
    first.kill();
    drop(kubelet);
    let cut = proxy.has_struck();
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
    let _kubelet = abandoned(world).await;
    // What a new manager writes before it knows of the deletion is no part of it.
    world.delete::<NestedControlPlane>("tenant").await;
    let (proxy, first) = mortal(world, after).await;
    tokio::select! {
        () = world.wait("the cut", async || proxy.has_struck().then_some(())) => {}
        () = world.wait_gone::<NestedControlPlane>("tenant") => {}
    }
    first.kill();
    let cut = proxy.has_struck();
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
        let expected = undisturbed(world).await;
        each_write(world, async |world, after| {
            let (objects, cut) = created(world, after).await;
            let difference = difference(&expected, &objects);
            assert!(difference.is_empty(), "after a crash at write {after}:\n{difference}");
            cut
        })
        .await;
    });
}

#[test]
fn a_creation_ends_in_the_same_objects_whichever_write_inside_the_tenant_was_the_last_of_a_manager() {
    run(async |world| {
        let (expected, inside) = undisturbed_inside(world).await;
        each_write(world, async |world, after| {
            let first = Manager::start(world).await;
            world.tenant().await;
            let _kubelet = Kubelet::start(world);
            let tenant = TenantApiServer::start_with(world, Some((after, Mishap::Unanswered))).await;
            tokio::select! {
                () = world.wait("the last write", async || tenant.has_struck().then_some(())) => {}
                () = async {
                    world.wait_up().await;
                    first.look_again(world).await;
                } => {}
            }
            first.kill();
            let cut = tenant.has_struck();
            let second = Manager::start(world).await;
            world.wait_up().await;
            let objects = capn_integration::at_rest(world, &[&second]).await;
            let difference = difference(&expected, &objects);
            let when = format!("after a crash at write {after} inside the tenant");
            assert!(difference.is_empty(), "{when}:\n{difference}");
            assert_eq!(tenant.objects().into_keys().collect::<Vec<_>>(), inside, "{when}");
            cut
        })
        .await;
    });
}

#[test]
fn a_deletion_leaves_nothing_whichever_write_was_the_last_of_a_manager() {
    run(async |world| each_write(world, deleted).await);
}

#[test]
fn two_managers_at_once_end_in_the_same_objects_with_one_set_of_authorities() {
    run(async |world| {
        let expected = undisturbed(world).await;
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
