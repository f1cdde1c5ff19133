//! A pass over a world in which nothing has changed writes nothing.

use super::{
    NAME, bootstrap_data, cluster_initialized, cluster_with_endpoint, infra_machine, infrastructure, machine,
    machine_of, manager, options, run_instance, template, unchecked, wait_cluster, wait_ready, waiting_machine, worker,
    worker_ready,
};
use capn_api::{
    KubevirtMachine,
    cluster_api::{Cluster, Machine},
};
use capn_integration::{KubeVirt, Kubelet, Manager, Options, TenantApiServer, TestEnv, at_rest, run};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use serde_json::json;

/// Looks again a few times; nothing may be written.
async fn silent(env: &TestEnv, manager: &Manager) {
    at_rest(env, &[manager]).await;
    for pass in 1..=3 {
        let mark = env.mark();
        manager.look_again(env).await;
        assert_eq!(env.all_writes(&manager.user, mark), [], "pass {pass}");
    }
}

#[test]
fn a_second_pass_over_a_machine_that_runs_writes_nothing() {
    run(async |env| {
        let manager = manager(env).await;
        machine(env, unchecked(template())).await;
        run_instance(env).await;
        wait_ready(env, "Ready").await;
        env.merge_status::<Machine>(NAME, &json!({"nodeRef": {"name": NAME}}))
            .await;
        let registered = |object: &KubevirtMachine| object.status.as_ref().is_some_and(|status| status.nodeupdated);
        env.wait_for(NAME, "the Node to be known", registered).await;
        let version = async || env.get::<KubevirtMachine>(NAME).await.unwrap().resource_version();
        let before = version().await;
        let passes = manager.passes("KubevirtMachine").await;
        let mark = env.mark();
        env.merge::<Machine>(NAME, &json!({"metadata": {"labels": {"touched": "yes"}}}))
            .await;
        env.wait("another pass", async || {
            (manager.passes("KubevirtMachine").await > passes).then_some(())
        })
        .await;
        assert_eq!(env.writes(&manager.user, mark), []);
        assert_eq!(version().await, before);
    });
}

#[test]
fn a_second_pass_over_a_whole_worker_writes_nothing() {
    run(async |env| {
        let manager = manager(env).await;
        let worker = worker(env).await;
        worker_ready(env).await;
        at_rest(env, &[&manager]).await;
        let in_tenant = worker.tenant.objects();
        silent(env, &manager).await;
        assert_eq!(worker.tenant.objects(), in_tenant);
    });
}

#[test]
fn infrastructure_that_waits_for_its_endpoint_writes_nothing() {
    run(async |env| {
        let manager = manager(env).await;
        env.cluster(json!({})).await;
        infrastructure(env, json!({}), json!({})).await;
        wait_cluster(env, "WaitingForControlPlaneEndpoint").await;
        silent(env, &manager).await;
    });
}

#[test]
fn infrastructure_that_is_not_supported_is_said_so_once() {
    run(async |env| {
        let manager = manager(env).await;
        cluster_with_endpoint(env).await;
        let secret = json!({"infraClusterSecretRef": {"name": "elsewhere"}});
        infrastructure(env, json!({}), secret).await;
        wait_cluster(env, "NotSupported").await;
        silent(env, &manager).await;
    });
}

#[test]
fn a_machine_that_waits_for_bootstrap_data_writes_nothing() {
    run(async |env| {
        let manager = manager(env).await;
        waiting_machine(env, false).await;
        wait_ready(env, "WaitingForBootstrapData").await;
        silent(env, &manager).await;
    });
}

#[test]
fn a_machine_whose_bootstrap_secret_is_missing_says_so_once() {
    run(async |env| {
        let manager = manager(env).await;
        waiting_machine(env, true).await;
        wait_ready(env, "WaitingForBootstrapData").await;
        silent(env, &manager).await;
    });
}

#[test]
fn a_machine_that_waits_for_its_node_asks_and_writes_nothing() {
    run(async |env| {
        let manager = manager(env).await;
        let tenant = TenantApiServer::alone(env).await;
        machine(env, json!({"virtualMachineTemplate": {"spec": template()}})).await;
        run_instance(env).await;
        wait_ready(env, "WaitingForNode").await;
        silent(env, &manager).await;
        assert_eq!(tenant.objects().len(), 0);
    });
}

#[test]
fn idle_managers_write_nothing_but_their_leases() {
    run(async |env| {
        let nested = Manager::start_with(env, Options::default().candidate(env)).await;
        let kubevirt = Manager::start_with(env, options().candidate(env)).await;
        env.tenant().await;
        let _kubelet = Kubelet::start(env);
        let _kubevirt = KubeVirt::start(env);
        let tenant = TenantApiServer::start(env).await;
        tenant.register(NAME, json!({}));
        infrastructure(env, json!({}), json!({})).await;
        bootstrap_data(env).await;
        let owner = machine_of(env, true).await;
        infra_machine(
            env,
            Some(&owner),
            json!({"virtualMachineTemplate": {"spec": template()}}),
        )
        .await;
        // What Cluster API's core does.
        let published = env
            .wait_ncp("with an endpoint", |ncp| ncp.spec.control_plane_endpoint.is_some())
            .await;
        let endpoint = json!({"spec": {"controlPlaneEndpoint": published.spec.control_plane_endpoint}});
        env.merge::<Cluster>("tenant", &endpoint).await;
        cluster_initialized(env).await;
        env.wait_condition("Available", "True").await;
        worker_ready(env).await;
        at_rest(env, &[&nested, &kubevirt]).await;
        let in_tenant = tenant.objects();
        let mark = env.mark();
        for (manager, lease) in [(&nested, "capn"), (&kubevirt, "capk")] {
            let name = format!("controller-leader-election-{lease}");
            let renewed = async || {
                let lease = env.get::<Lease>(&name).await.expect("a leader has a lease");
                lease.spec.and_then(|spec| spec.renew_time)
            };
            let before = renewed().await;
            env.wait("the lease to be renewed", async || {
                manager.look_again(env).await;
                (renewed().await != before).then_some(())
            })
            .await;
            let mut writes = env.all_writes(&manager.user, mark);
            writes.retain(|write| write.name != name);
            assert_eq!(writes, []);
        }
        assert_eq!(tenant.objects(), in_tenant);
    });
}
