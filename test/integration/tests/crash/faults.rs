//! One write that fails while the manager lives: refused for a moment, lost on its way, or landed
//! without an answer. The manager goes on, and nothing that it made is undone.

use super::{AUTHORITIES, abandoned, at_rest, undisturbed, undisturbed_inside};
use capn_api::NestedControlPlane;
use capn_integration::{
    Fault, FaultyProxy, Kubelet, Manager, Mishap, Options, TenantApiServer, TestEnv, difference, each_write, run,
    snapshot,
};

/// Each is met by every sixth write; creations are told twice, from another start each time.
const FAULTS: [Fault; 6] = [
    Fault::Status(500),
    Fault::Unheard,
    Fault::Status(409),
    Fault::Lost,
    Fault::Status(503),
    Fault::Status(429),
];

fn fault(number: u32, shift: usize) -> Fault {
    FAULTS[(number as usize + shift) % FAULTS.len()]
}

/// A manager whose write number `number` meets the fault.
async fn manager_with_fault(env: &TestEnv, number: u32, fault: Fault) -> (FaultyProxy, Manager) {
    let user = "manager-with-fault";
    let proxy = FaultyProxy::start(env, "nested", user, number, fault).await;
    let options = Options {
        port: Some(proxy.port),
        user: Some(user.into()),
        ..Options::default()
    };
    let manager = Manager::start_with(env, options).await;
    (proxy, manager)
}

/// Creations in which one write after the other fails.
fn creations(shift: usize) {
    run(async |env| {
        let expected = undisturbed(env).await;
        each_write(env, async |env, number| {
            let fault = fault(number, shift);
            let when = format!("when write {number} met {fault:?}");
            let (proxy, manager) = manager_with_fault(env, number, fault).await;
            let mark = env.mark();
            env.tenant().await;
            let objects = at_rest(env, &[&manager]).await;
            manager.assert_runs();
            let difference = difference(&expected, &objects);
            assert!(difference.is_empty(), "{when}:\n{difference}");
            let writes = env.writes(&manager.user, mark);
            let deleted: Vec<_> = writes.iter().filter(|w| w.verb.starts_with("delete")).collect();
            assert!(deleted.is_empty(), "{when} the manager deleted {deleted:?}");
            let restarted = env.deleted_by_players(mark);
            assert!(
                restarted.is_empty(),
                "{when} other pods were asked for, so these went: {restarted:?}"
            );
            // A creation replaces nothing; nothing else may touch them.
            let touched: Vec<_> = writes
                .iter()
                .filter(|w| w.resource == "secrets" && AUTHORITIES.contains(&w.name.as_str()) && w.verb != "create")
                .collect();
            assert!(touched.is_empty(), "{when} authorities were written to: {touched:?}");
            proxy.has_struck()
        })
        .await;
    });
}

#[test]
fn a_creation_ends_in_the_same_objects_whichever_write_failed_once() {
    creations(0);
}

#[test]
fn a_creation_ends_in_the_same_objects_whichever_write_failed_once_in_another_way() {
    creations(3);
}

#[test]
fn a_deletion_leaves_nothing_whichever_write_failed_once() {
    run(async |env| {
        each_write(env, async |env, number| {
            let _kubelet = abandoned(env).await;
            env.delete::<NestedControlPlane>("tenant").await;
            let fault = fault(number, 0);
            let (proxy, manager) = manager_with_fault(env, number, fault).await;
            env.wait_gone::<NestedControlPlane>("tenant").await;
            manager.assert_runs();
            let left = snapshot(env).await;
            assert!(
                left.is_empty(),
                "when write {number} of a deletion met {fault:?} these are left: {:?}",
                left.keys()
            );
            proxy.has_struck()
        })
        .await;
    });
}

#[test]
fn a_creation_ends_in_the_same_objects_whichever_write_inside_the_tenant_failed_once() {
    run(async |env| {
        let (expected, inside) = undisturbed_inside(env).await;
        each_write(env, async |env, number| {
            let code = [500, 503, 429, 409][number as usize % 4];
            let manager = Manager::start(env).await;
            let mark = env.mark();
            env.tenant().await;
            let _kubelet = Kubelet::start(env);
            let tenant = TenantApiServer::start_with(env, Some((number, Mishap::Refused(code)))).await;
            env.wait_up().await;
            let objects = capn_integration::at_rest(env, &[&manager]).await;
            let difference = difference(&expected, &objects);
            assert!(
                difference.is_empty(),
                "when write {number} inside the tenant met {code}:\n{difference}"
            );
            assert_eq!(tenant.objects().into_keys().collect::<Vec<_>>(), inside);
            assert_eq!(env.deleted_by_players(mark), Vec::<String>::new());
            tenant.has_struck()
        })
        .await;
    });
}
