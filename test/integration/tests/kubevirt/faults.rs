//! One write that fails while the manager lives: refused for a moment, lost on its way, or landed
//! without an answer. The manager goes on, and nothing that it made is undone.

use super::{
    NAME, Worker,
    crash::{delete, made, only_brought, registered, undisturbed, wait_gone},
    machine, manager, options, run_instance, template, wait_ready, worker, worker_ready,
};
use capn_integration::{
    Fault, FaultyProxy, Manager, Mishap, Options, TenantApiServer, World, at_rest, difference, each_write, run,
};
use serde_json::json;

/// User that the faults befall.
const USER: &str = "unlucky";

async fn unlucky(world: &World, number: u32, fault: Fault) -> (FaultyProxy, Manager) {
    let proxy = FaultyProxy::start(world, "kubevirt", USER, number, fault).await;
    let options = Options {
        port: Some(proxy.port),
        user: Some(USER.into()),
        ..options()
    };
    let manager = Manager::start_with(world, options).await;
    (proxy, manager)
}

/// Creations in which one write after the other meets one of the faults, by turns.
fn creations(faults: &[Fault]) {
    run(async |world| {
        let expected = undisturbed(world).await;
        each_write(world, async |world, number| {
            let fault = faults[number as usize % faults.len()];
            let when = format!("when write {number} met {fault:?}");
            let (proxy, manager) = unlucky(world, number, fault).await;
            let mark = world.mark();
            let worker: Worker = worker(world).await;
            worker_ready(world).await;
            let objects = at_rest(world, &[&manager]).await;
            manager.assert_runs();
            let difference = difference(&expected, &objects);
            assert!(difference.is_empty(), "{when}:\n{difference}");
            let writes = world.writes(USER, mark);
            let deleted: Vec<_> = writes.iter().filter(|w| w.verb.starts_with("delete")).collect();
            assert!(deleted.is_empty(), "{when} the manager deleted {deleted:?}");
            assert_eq!(made(world, &[USER], mark), 1, "{when}");
            registered(&worker);
            proxy.has_struck()
        })
        .await;
    });
}

/// Deletions in which one write after the other meets one of the faults, by turns.
fn deletions(faults: &[Fault]) {
    run(async |world| {
        each_write(world, async |world, number| {
            let maker = manager(world).await;
            let _worker = worker(world).await;
            worker_ready(world).await;
            maker.kill();
            delete(world).await;
            let fault = faults[number as usize % faults.len()];
            let (proxy, manager) = unlucky(world, number, fault).await;
            wait_gone(world).await;
            manager.assert_runs();
            only_brought(world, &format!("when write {number} of a deletion met {fault:?}")).await;
            proxy.has_struck()
        })
        .await;
    });
}

#[test]
fn a_worker_ends_in_the_same_objects_whichever_write_was_refused_once() {
    creations(&[Fault::Status(500), Fault::Status(409)]);
}

#[test]
fn a_worker_ends_in_the_same_objects_whichever_write_came_too_early_once() {
    creations(&[Fault::Status(503), Fault::Status(429)]);
}

#[test]
fn a_worker_ends_in_the_same_objects_whichever_write_or_answer_was_lost_once() {
    creations(&[Fault::Lost, Fault::Unheard]);
}

#[test]
fn a_worker_ends_in_the_same_objects_whichever_answer_or_write_was_lost_once() {
    creations(&[Fault::Unheard, Fault::Lost]);
}

#[test]
fn a_worker_that_is_deleted_leaves_nothing_whichever_write_was_refused_once() {
    deletions(&[
        Fault::Status(500),
        Fault::Status(409),
        Fault::Status(503),
        Fault::Status(429),
    ]);
}

#[test]
fn a_worker_that_is_deleted_leaves_nothing_whichever_write_or_answer_was_lost_once() {
    deletions(&[Fault::Unheard, Fault::Lost]);
}

#[test]
fn a_node_that_cannot_be_written_to_once_gets_its_provider_id_later() {
    run(async |world| {
        for code in [500, 503, 429, 409] {
            let world = world.beside().await;
            let manager = manager(&world).await;
            let tenant = TenantApiServer::alone_with(&world, Some((1, Mishap::Refused(code)))).await;
            tenant.register(NAME, json!({}));
            machine(&world, json!({"virtualMachineTemplate": {"spec": template()}})).await;
            run_instance(&world).await;
            wait_ready(&world, "Ready").await;
            assert!(tenant.has_struck(), "nothing was written with {code} to come");
            let id = &tenant.node(NAME).unwrap()["spec"]["providerID"];
            assert_eq!(*id, json!(format!("kubevirt://{NAME}")), "after {code}");
            manager.assert_runs();
        }
    });
}
