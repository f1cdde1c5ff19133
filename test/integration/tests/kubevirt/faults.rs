//! One write that fails while the manager lives: refused for a moment, lost on its way, or landed
//! without an answer. The manager goes on, and nothing that it made is undone.

use super::{
    NAME, Worker,
    crash::{delete, made, only_brought, registered, undisturbed, wait_gone},
    machine, manager, options, run_instance, template, wait_ready, worker, worker_ready,
};
use capn_integration::{
    Fault, FaultyProxy, Manager, Mishap, Options, TenantApiServer, TestEnv, at_rest, difference, each_write, run,
};
use serde_json::json;

/// User that the faults befall.
const USER: &str = "manager-with-fault";

async fn manager_with_fault(env: &TestEnv, number: u32, fault: Fault) -> (FaultyProxy, Manager) {
    let proxy = FaultyProxy::start(env, "kubevirt", USER, number, fault).await;
    let options = Options {
        port: Some(proxy.port),
        user: Some(USER.into()),
        ..options()
    };
    let manager = Manager::start_with(env, options).await;
    (proxy, manager)
}

/// Creations in which one write after the other meets one of the faults, by turns.
fn creations(faults: &[Fault]) {
    run(async |env| {
        let expected = undisturbed(env).await;
        each_write(env, async |env, number| {
            let fault = faults[number as usize % faults.len()];
            let when = format!("when write {number} met {fault:?}");
            let (proxy, manager) = manager_with_fault(env, number, fault).await;
            let mark = env.mark();
            let worker: Worker = worker(env).await;
            worker_ready(env).await;
            let objects = at_rest(env, &[&manager]).await;
            manager.assert_runs();
            let difference = difference(&expected, &objects);
            assert!(difference.is_empty(), "{when}:\n{difference}");
            let writes = env.writes(USER, mark);
            let deleted: Vec<_> = writes.iter().filter(|w| w.verb.starts_with("delete")).collect();
            assert!(deleted.is_empty(), "{when} the manager deleted {deleted:?}");
            assert_eq!(made(env, &[USER], mark), 1, "{when}");
            registered(&worker);
            proxy.has_struck()
        })
        .await;
    });
}

/// Deletions in which one write after the other meets one of the faults, by turns.
fn deletions(faults: &[Fault]) {
    run(async |env| {
        each_write(env, async |env, number| {
            let maker = manager(env).await;
            let _worker = worker(env).await;
            worker_ready(env).await;
            maker.kill();
            delete(env).await;
            let fault = faults[number as usize % faults.len()];
            let (proxy, manager) = manager_with_fault(env, number, fault).await;
            wait_gone(env).await;
            manager.assert_runs();
            only_brought(env, &format!("when write {number} of a deletion met {fault:?}")).await;
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
    run(async |env| {
        for code in [500, 503, 429, 409] {
            let env = env.sibling().await;
            let manager = manager(&env).await;
            let tenant = TenantApiServer::alone_with(&env, Some((1, Mishap::Refused(code)))).await;
            tenant.register(NAME, json!({}));
            machine(&env, json!({"virtualMachineTemplate": {"spec": template()}})).await;
            run_instance(&env).await;
            wait_ready(&env, "Ready").await;
            assert!(tenant.has_struck(), "nothing was written with {code} to come");
            let id = &tenant.node(NAME).unwrap()["spec"]["providerID"];
            assert_eq!(*id, json!(format!("kubevirt://{NAME}")), "after {code}");
            manager.assert_runs();
        }
    });
}
