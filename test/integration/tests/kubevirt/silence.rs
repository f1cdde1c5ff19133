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
use capn_integration::{KubeVirt, Kubelet, Manager, Options, TenantApiServer, World, at_rest, run};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use serde_json::json;

/// Looks again a few times; nothing may be written.
async fn silent(world: &World, manager: &Manager) {
    at_rest(world, &[manager]).await;
    for pass in 1..=3 {
        let mark = world.mark();
        manager.look_again(world).await;
        assert_eq!(world.all_writes(&manager.user, mark), [], "pass {pass}");
    }
}

#[test]
fn a_second_pass_over_a_machine_that_runs_writes_nothing() {
    run(async |world| {
        let manager = manager(world).await;
        machine(world, unchecked(template())).await;
        run_instance(world).await;
        wait_ready(world, "Ready").await;
        world
            .merge_status::<Machine>(NAME, &json!({"nodeRef": {"name": NAME}}))
            .await;
        let registered = |object: &KubevirtMachine| object.status.as_ref().is_some_and(|status| status.nodeupdated);
        world.wait_for(NAME, "the Node to be known", registered).await;
        let version = async || world.get::<KubevirtMachine>(NAME).await.unwrap().resource_version();
        let before = version().await;
        let passes = manager.passes("KubevirtMachine").await;
        let mark = world.mark();
        world
            .merge::<Machine>(NAME, &json!({"metadata": {"labels": {"touched": "yes"}}}))
            .await;
        world
            .wait("another pass", async || {
                (manager.passes("KubevirtMachine").await > passes).then_some(())
            })
            .await;
        assert_eq!(world.writes(&manager.user, mark), []);
        assert_eq!(version().await, before);
    });
}

#[test]
fn a_second_pass_over_a_whole_worker_writes_nothing() {
    run(async |world| {
        let manager = manager(world).await;
        let worker = worker(world).await;
        worker_ready(world).await;
        at_rest(world, &[&manager]).await;
        let in_tenant = worker.tenant.objects();
        silent(world, &manager).await;
        assert_eq!(worker.tenant.objects(), in_tenant);
    });
}

#[test]
fn infrastructure_that_waits_for_its_endpoint_writes_nothing() {
    run(async |world| {
        let manager = manager(world).await;
        world.cluster(json!({})).await;
        infrastructure(world, json!({}), json!({})).await;
        wait_cluster(world, "WaitingForControlPlaneEndpoint").await;
        silent(world, &manager).await;
    });
}

#[test]
fn infrastructure_that_is_not_supported_is_said_so_once() {
    run(async |world| {
        let manager = manager(world).await;
        cluster_with_endpoint(world).await;
        let secret = json!({"infraClusterSecretRef": {"name": "elsewhere"}});
        infrastructure(world, json!({}), secret).await;
        wait_cluster(world, "NotSupported").await;
        silent(world, &manager).await;
    });
}

#[test]
fn a_machine_that_waits_for_bootstrap_data_writes_nothing() {
    run(async |world| {
        let manager = manager(world).await;
        waiting_machine(world, false).await;
        wait_ready(world, "WaitingForBootstrapData").await;
        silent(world, &manager).await;
    });
}

#[test]
fn a_machine_whose_bootstrap_secret_is_missing_says_so_once() {
    run(async |world| {
        let manager = manager(world).await;
        waiting_machine(world, true).await;
        wait_ready(world, "WaitingForBootstrapData").await;
        silent(world, &manager).await;
    });
}

#[test]
fn a_machine_that_waits_for_its_node_asks_and_writes_nothing() {
    run(async |world| {
        let manager = manager(world).await;
        let tenant = TenantApiServer::alone(world).await;
        machine(world, json!({"virtualMachineTemplate": {"spec": template()}})).await;
        run_instance(world).await;
        wait_ready(world, "WaitingForNode").await;
        silent(world, &manager).await;
        assert_eq!(tenant.objects().len(), 0);
    });
}

#[test]
fn idle_managers_write_nothing_but_their_leases() {
    run(async |world| {
        let nested = Manager::start_with(world, Options::default().candidate(world)).await;
        let kubevirt = Manager::start_with(world, options().candidate(world)).await;
        world.tenant().await;
        let _kubelet = Kubelet::start(world);
        let _kubevirt = KubeVirt::start(world);
        let tenant = TenantApiServer::start(world).await;
        tenant.register(NAME, json!({}));
        infrastructure(world, json!({}), json!({})).await;
        bootstrap_data(world).await;
        let owner = machine_of(world, true).await;
        infra_machine(
            world,
            Some(&owner),
            json!({"virtualMachineTemplate": {"spec": template()}}),
        )
        .await;
        // What Cluster API's core does.
        let published = world
            .wait_ncp("with an endpoint", |ncp| ncp.spec.control_plane_endpoint.is_some())
            .await;
        let endpoint = json!({"spec": {"controlPlaneEndpoint": published.spec.control_plane_endpoint}});
        world.merge::<Cluster>("tenant", &endpoint).await;
        cluster_initialized(world).await;
        world.wait_condition("Available", "True").await;
        worker_ready(world).await;
        at_rest(world, &[&nested, &kubevirt]).await;
        let in_tenant = tenant.objects();
        let mark = world.mark();
        for (manager, lease) in [(&nested, "capn"), (&kubevirt, "capk")] {
            let name = format!("controller-leader-election-{lease}");
            let renewed = async || {
                let lease = world.get::<Lease>(&name).await.expect("a leader has a lease");
                lease.spec.and_then(|spec| spec.renew_time)
            };
            let before = renewed().await;
            world
                .wait("the lease to be renewed", async || {
                    manager.look_again(world).await;
                    (renewed().await != before).then_some(())
                })
                .await;
            let mut writes = world.all_writes(&manager.user, mark);
            writes.retain(|write| write.name != name);
            assert_eq!(writes, []);
        }
        assert_eq!(tenant.objects(), in_tenant);
    });
}
