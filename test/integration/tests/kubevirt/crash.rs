//! A manager that dies after any of its writes, and two that work at once, end in the same
//! objects, with one VM.

use super::{NAME, Worker, manager, options, worker, worker_ready};
use capn_api::{KubevirtCluster, KubevirtMachine};
use capn_integration::{
    Fault, FaultyProxy, Manager, Mark, Options, World, at_rest, difference, each_write, run, snapshot,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What the test itself brought, which stays.
const BROUGHT: [&str; 2] = ["Secret/tenant-kubeconfig", "Secret/tenant-md-0-abcde"];

/// The objects of a worker that nothing has disturbed.
pub(crate) async fn undisturbed(world: &World) -> BTreeMap<String, Value> {
    let maker = manager(world).await;
    let worker = worker(world).await;
    worker_ready(world).await;
    registered(&worker);
    let objects = at_rest(world, &[&maker]).await;
    assert!(objects.contains_key(&format!("VirtualMachine/{NAME}")));
    objects
}

pub(crate) fn registered(worker: &Worker) {
    let id = &worker.tenant.node(NAME).unwrap()["spec"]["providerID"];
    assert_eq!(*id, json!(format!("kubevirt://{NAME}")));
}

/// How many VMs these users made.
pub(crate) fn made(world: &World, users: &[&str], since: Mark) -> usize {
    let writes = users.iter().flat_map(|user| world.writes(user, since));
    let made = |write: &capn_integration::Write| {
        write.resource == "virtualmachines" && write.verb == "create" && write.code < 300
    };
    writes.filter(made).count()
}

/// Both objects are deleted, as core does once the Cluster is.
pub(crate) async fn delete(world: &World) {
    world.delete::<KubevirtMachine>(NAME).await;
    world.delete::<KubevirtCluster>("tenant").await;
}

pub(crate) async fn wait_gone(world: &World) {
    world.wait_gone::<KubevirtMachine>(NAME).await;
    world.wait_gone::<KubevirtCluster>("tenant").await;
}

/// Checks that only what the test brought is left.
pub(crate) async fn only_brought(world: &World, when: &str) {
    let left: Vec<_> = snapshot(world).await.into_keys().collect();
    assert_eq!(left, BROUGHT, "{when}");
}

async fn mortal(world: &World, after: u32) -> (FaultyProxy, Manager) {
    let proxy = FaultyProxy::start(world, "kubevirt", "cut-off", after, Fault::Cut).await;
    let options = Options {
        port: Some(proxy.port),
        ..options()
    };
    let manager = Manager::start_with(world, options).await;
    (proxy, manager)
}

#[test]
fn a_worker_ends_in_the_same_objects_whichever_write_was_the_last_of_a_manager() {
    run(async |world| {
        let expected = undisturbed(world).await;
        each_write(world, async |world, after| {
            let mark = world.mark();
            let (proxy, first) = mortal(world, after).await;
            let worker = worker(world).await;
            let ended = async {
                worker_ready(world).await;
                first.look_again(world).await;
            };
            // Whichever comes first: the cut, or an end without it.
            tokio::select! {
                () = world.wait("the cut", async || proxy.has_struck().then_some(())) => {}
                () = ended => {}
            }
            first.kill();
            let second = manager(world).await;
            worker_ready(world).await;
            let objects = at_rest(world, &[&second]).await;
            let difference = difference(&expected, &objects);
            assert!(difference.is_empty(), "after a crash at write {after}:\n{difference}");
            assert_eq!(
                made(world, &["cut-off", &second.user], mark),
                1,
                "after a crash at write {after}"
            );
            registered(&worker);
            proxy.has_struck()
        })
        .await;
    });
}

#[test]
fn a_worker_that_is_deleted_leaves_nothing_whichever_write_was_the_last_of_a_manager() {
    run(async |world| {
        each_write(world, async |world, after| {
            let maker = manager(world).await;
            let _worker = worker(world).await;
            worker_ready(world).await;
            maker.kill();
            // What a new manager writes before it knows of the deletion is no part of it.
            delete(world).await;
            let (proxy, first) = mortal(world, after).await;
            tokio::select! {
                () = world.wait("the cut", async || proxy.has_struck().then_some(())) => {}
                () = wait_gone(world) => {}
            }
            first.kill();
            let _second = manager(world).await;
            wait_gone(world).await;
            only_brought(world, &format!("after a crash at write {after} of a deletion")).await;
            proxy.has_struck()
        })
        .await;
    });
}

#[test]
fn two_managers_at_once_end_in_the_same_objects_and_make_one_vm() {
    run(async |world| {
        let expected = undisturbed(world).await;
        for _ in 0..3 {
            let world = world.beside().await;
            let mark = world.mark();
            let (one, two) = tokio::join!(manager(&world), manager(&world));
            let worker = worker(&world).await;
            worker_ready(&world).await;
            let objects = at_rest(&world, &[&one, &two]).await;
            let difference = difference(&expected, &objects);
            assert!(difference.is_empty(), "{difference}");
            assert_eq!(made(&world, &[&one.user, &two.user], mark), 1);
            registered(&worker);
        }
    });
}
