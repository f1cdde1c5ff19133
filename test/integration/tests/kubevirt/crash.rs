//! A manager that dies after any of its writes, and two that work at once, end in the same
//! objects, with one VM.

use super::{NAME, Worker, manager, options, worker, worker_ready};
use capn_api::{KubevirtCluster, KubevirtMachine};
use capn_integration::{
    Fault, FaultyProxy, Manager, Mark, Options, TestEnv, at_rest, difference, each_write, run, snapshot,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What the test itself brought, which stays.
const BROUGHT: [&str; 2] = ["Secret/tenant-kubeconfig", "Secret/tenant-md-0-abcde"];

/// The objects of a worker that nothing has disturbed.
pub(crate) async fn undisturbed(env: &TestEnv) -> BTreeMap<String, Value> {
    let maker = manager(env).await;
    let worker = worker(env).await;
    worker_ready(env).await;
    registered(&worker);
    let objects = at_rest(env, &[&maker]).await;
    assert!(objects.contains_key(&format!("VirtualMachine/{NAME}")));
    objects
}

pub(crate) fn registered(worker: &Worker) {
    let id = &worker.tenant.node(NAME).unwrap()["spec"]["providerID"];
    assert_eq!(*id, json!(format!("kubevirt://{NAME}")));
}

/// How many VMs these users made.
pub(crate) fn made(env: &TestEnv, users: &[&str], since: Mark) -> usize {
    let writes = users.iter().flat_map(|user| env.writes(user, since));
    let made = |write: &capn_integration::Write| {
        write.resource == "virtualmachines" && write.verb == "create" && write.code < 300
    };
    writes.filter(made).count()
}

/// Both objects are deleted, as core does once the Cluster is.
pub(crate) async fn delete(env: &TestEnv) {
    env.delete::<KubevirtMachine>(NAME).await;
    env.delete::<KubevirtCluster>("tenant").await;
}

pub(crate) async fn wait_gone(env: &TestEnv) {
    env.wait_gone::<KubevirtMachine>(NAME).await;
    env.wait_gone::<KubevirtCluster>("tenant").await;
}

/// Checks that only what the test brought is left.
pub(crate) async fn only_brought(env: &TestEnv, when: &str) {
    let left: Vec<_> = snapshot(env).await.into_keys().collect();
    assert_eq!(left, BROUGHT, "{when}");
}

async fn manager_crashing_after(env: &TestEnv, after: u32) -> (FaultyProxy, Manager) {
    let proxy = FaultyProxy::start(env, "kubevirt", "cut-off", after, Fault::Cut).await;
    let options = Options {
        port: Some(proxy.port),
        ..options()
    };
    let manager = Manager::start_with(env, options).await;
    (proxy, manager)
}

#[test]
fn a_worker_ends_in_the_same_objects_whichever_write_was_the_last_of_a_manager() {
    run(async |env| {
        let expected = undisturbed(env).await;
        each_write(env, async |env, after| {
            let mark = env.mark();
            let (proxy, first) = manager_crashing_after(env, after).await;
            let worker = worker(env).await;
            let ended = async {
                worker_ready(env).await;
                first.look_again(env).await;
            };
            // Whichever comes first: the cut, or an end without it.
            tokio::select! {
                () = env.wait("the cut", async || proxy.has_struck().then_some(())) => {}
                () = ended => {}
            }
            first.kill();
            let second = manager(env).await;
            worker_ready(env).await;
            let objects = at_rest(env, &[&second]).await;
            let difference = difference(&expected, &objects);
            assert!(difference.is_empty(), "after a crash at write {after}:\n{difference}");
            assert_eq!(
                made(env, &["cut-off", &second.user], mark),
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
    run(async |env| {
        each_write(env, async |env, after| {
            let maker = manager(env).await;
            let _worker = worker(env).await;
            worker_ready(env).await;
            maker.kill();
            // What a new manager writes before it knows of the deletion is no part of it.
            delete(env).await;
            let (proxy, first) = manager_crashing_after(env, after).await;
            tokio::select! {
                () = env.wait("the cut", async || proxy.has_struck().then_some(())) => {}
                () = wait_gone(env) => {}
            }
            first.kill();
            let _second = manager(env).await;
            wait_gone(env).await;
            only_brought(env, &format!("after a crash at write {after} of a deletion")).await;
            proxy.has_struck()
        })
        .await;
    });
}

#[test]
fn two_managers_at_once_end_in_the_same_objects_and_make_one_vm() {
    run(async |env| {
        let expected = undisturbed(env).await;
        for _ in 0..3 {
            let env = env.sibling().await;
            let mark = env.mark();
            let (one, two) = tokio::join!(manager(&env), manager(&env));
            let worker = worker(&env).await;
            worker_ready(&env).await;
            let objects = at_rest(&env, &[&one, &two]).await;
            let difference = difference(&expected, &objects);
            assert!(difference.is_empty(), "{difference}");
            assert_eq!(made(&env, &[&one.user, &two.user], mark), 1);
            registered(&worker);
        }
    });
}
