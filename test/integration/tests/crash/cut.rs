//! A manager that dies after any of its writes, and two that work at once.

use super::{AUTHORITIES, Objects, abandoned, at_rest, authorities, unchanged, undisturbed, undisturbed_inside};
use capn_api::NestedControlPlane;
use capn_integration::{
    Fault, FaultyProxy, Kubelet, Manager, Mishap, Options, TenantApiServer, TestEnv, difference, each_write, run,
    snapshot,
};

/// A manager whose write number `after` is its last.
async fn manager_crashing_after(env: &TestEnv, after: u32) -> (FaultyProxy, Manager) {
    let proxy = FaultyProxy::start(env, "nested", "cut-off", after, Fault::Cut).await;
    let options = Options {
        port: Some(proxy.port),
        ..Options::default()
    };
    let manager = Manager::start_with(env, options).await;
    (proxy, manager)
}

/// Creates a control plane under a manager that dies after its n-th write, and ends it under one
/// that lives. Says whether the first one died.
async fn created(env: &TestEnv, after: u32) -> (Objects, bool) {
    let (proxy, first) = manager_crashing_after(env, after).await;
    env.tenant().await;
    let kubelet = Kubelet::start(env);
    let tenant = async {
        let _tenant = TenantApiServer::start(env).await;
        env.wait_up().await;
        first.look_again(env).await;
    };
    // Whichever comes first: the cut, or an end without it.
    tokio::select! {
        () = env.wait("the cut", async || proxy.has_struck().then_some(())) => {}
        () = tenant => {}
    }
    first.kill();
    drop(kubelet);
    let cut = proxy.has_struck();
    let before = authorities(env).await;
    let second = Manager::start(env).await;
    let objects = at_rest(env, &[&second]).await;
    unchanged(
        &before,
        &authorities(env).await,
        &format!("after a crash at write {after}"),
    );
    (objects, cut)
}

/// Deletes a control plane under a manager that dies after its n-th write, and lets another end it.
async fn deleted(env: &TestEnv, after: u32) -> bool {
    let _kubelet = abandoned(env).await;
    // What a new manager writes before it knows of the deletion is no part of it.
    env.delete::<NestedControlPlane>("tenant").await;
    let (proxy, first) = manager_crashing_after(env, after).await;
    tokio::select! {
        () = env.wait("the cut", async || proxy.has_struck().then_some(())) => {}
        () = env.wait_gone::<NestedControlPlane>("tenant") => {}
    }
    first.kill();
    let cut = proxy.has_struck();
    let _second = Manager::start(env).await;
    env.wait_gone::<NestedControlPlane>("tenant").await;
    let left = snapshot(env).await;
    assert!(
        left.is_empty(),
        "after a crash at write {after} of a deletion these are left: {:?}",
        left.keys()
    );
    cut
}

#[test]
fn a_creation_ends_in_the_same_objects_whichever_write_was_the_last_of_a_manager() {
    run(async |env| {
        let expected = undisturbed(env).await;
        each_write(env, async |env, after| {
            let (objects, cut) = created(env, after).await;
            let difference = difference(&expected, &objects);
            assert!(difference.is_empty(), "after a crash at write {after}:\n{difference}");
            cut
        })
        .await;
    });
}

#[test]
fn a_creation_ends_in_the_same_objects_whichever_write_inside_the_tenant_was_the_last_of_a_manager() {
    run(async |env| {
        let (expected, inside) = undisturbed_inside(env).await;
        each_write(env, async |env, after| {
            let first = Manager::start(env).await;
            env.tenant().await;
            let _kubelet = Kubelet::start(env);
            let tenant = TenantApiServer::start_with(env, Some((after, Mishap::Unanswered))).await;
            tokio::select! {
                () = env.wait("the last write", async || tenant.has_struck().then_some(())) => {}
                () = async {
                    env.wait_up().await;
                    first.look_again(env).await;
                } => {}
            }
            first.kill();
            let cut = tenant.has_struck();
            let second = Manager::start(env).await;
            env.wait_up().await;
            let objects = capn_integration::at_rest(env, &[&second]).await;
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
    run(async |env| each_write(env, deleted).await);
}

#[test]
fn two_managers_at_once_end_in_the_same_objects_with_one_set_of_authorities() {
    run(async |env| {
        let expected = undisturbed(env).await;
        for _ in 0..3 {
            let env = env.sibling().await;
            let mark = env.mark();
            let (one, two) = tokio::join!(Manager::start(&env), Manager::start(&env));
            env.tenant().await;
            let objects = at_rest(&env, &[&one, &two]).await;
            let difference = difference(&expected, &objects);
            assert!(difference.is_empty(), "{difference}");
            let writes = [env.writes(&one.user, mark), env.writes(&two.user, mark)].concat();
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
