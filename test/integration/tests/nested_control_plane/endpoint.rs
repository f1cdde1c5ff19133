//! Where the API server is reached, by every way to publish it.

use super::text;
use capn_api::{NestedControlPlane, common::ApiEndpoint};
use capn_integration::{Manager, World, run};
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

async fn published(world: &World) -> ApiEndpoint {
    let ncp = world
        .wait_ncp("with an endpoint", |ncp| ncp.spec.control_plane_endpoint.is_some())
        .await;
    ncp.spec.control_plane_endpoint.unwrap()
}

fn at(host: &str, port: i32) -> ApiEndpoint {
    ApiEndpoint {
        host: host.into(),
        port,
    }
}

async fn service(world: &World) -> Service {
    world
        .wait_for::<Service>("tenant-apiserver", "to be there", |_| true)
        .await
}

#[test]
fn by_default_it_is_the_address_of_a_cluster_ip_service_at_port_6443() {
    run(async |world| {
        let _manager = Manager::start(world).await;
        world.tenant().await;
        let address = service(world).await.spec.unwrap().cluster_ip.unwrap();
        assert_eq!(published(world).await, at(&address, 6443));
    });
}

#[test]
fn the_port_of_the_cluster_network_is_the_default_and_that_of_the_endpoint_wins() {
    run(async |world| {
        let _manager = Manager::start(world).await;
        world.cluster(json!({"clusterNetwork": {"apiServerPort": 7443}})).await;
        world.control_plane(json!({})).await;
        assert_eq!(published(world).await.port, 7443);
        let other = world.beside().await;
        let _manager = Manager::start(&other).await;
        other.cluster(json!({"clusterNetwork": {"apiServerPort": 7443}})).await;
        other.control_plane(json!({"endpoint": {"port": 8443}})).await;
        assert_eq!(published(&other).await.port, 8443);
    });
}

#[test]
fn a_node_port_is_published_with_the_host_that_a_person_wrote() {
    run(async |world| {
        let _manager = Manager::start(world).await;
        world.cluster(json!({})).await;
        world
            .control_plane(json!({"endpoint": {"type": "NodePort", "host": "192.0.2.1"}}))
            .await;
        let port = service(world).await.spec.unwrap().ports.unwrap()[0].node_port.unwrap();
        assert_eq!(published(world).await, at("192.0.2.1", port));
    });
}

#[test]
fn a_load_balancer_is_waited_for_and_published_once_it_has_an_address() {
    run(async |world| {
        let _manager = Manager::start(world).await;
        world.cluster(json!({})).await;
        let endpoint = json!({"type": "LoadBalancer", "annotations": {"example.com/a": "b"}, "loadBalancerClass": "example.com/c"});
        world.control_plane(json!({"endpoint": endpoint})).await;
        let available = world.wait_condition("Available", "False").await;
        let waits = async || {
            let ncp = world.ncp().await;
            let conditions = ncp.status.unwrap_or_default().conditions;
            conditions.into_iter().find(|c| c.reason == "WaitingForEndpoint")
        };
        let waiting = world.wait("it to say that it waits for an address", waits).await;
        assert!(
            waiting.message.contains("tenant-apiserver"),
            "{available:?} {waiting:?}"
        );
        assert_eq!(world.ncp().await.spec.control_plane_endpoint, None);
        let live = service(world).await;
        assert_eq!(live.metadata.annotations.unwrap()["example.com/a"], "b");
        assert_eq!(live.spec.unwrap().load_balancer_class.as_deref(), Some("example.com/c"));
        balance(world, json!({"hostname": "lb.example.com"})).await;
        assert_eq!(published(world).await, at("lb.example.com", 6443));
        world
            .wait_for::<Secret>("tenant-kubeconfig", "to name the load balancer", |secret| {
                text(secret, "value").contains("https://lb.example.com:6443")
            })
            .await;
    });
}

#[test]
fn a_load_balancer_that_changes_its_address_does_not_change_what_workers_hold() {
    run(async |world| {
        let manager = Manager::start(world).await;
        world.cluster(json!({})).await;
        world.control_plane(json!({"endpoint": {"type": "LoadBalancer"}})).await;
        service(world).await;
        balance(world, json!({"ip": "192.0.2.1"})).await;
        assert_eq!(published(world).await, at("192.0.2.1", 6443));
        balance(world, json!({"ip": "192.0.2.2"})).await;
        manager.look_again(world).await;
        assert_eq!(published(world).await, at("192.0.2.1", 6443));
    });
}

#[test]
fn the_endpoint_that_a_person_set_on_the_cluster_wins() {
    run(async |world| {
        let _manager = Manager::start(world).await;
        world
            .cluster(json!({"controlPlaneEndpoint": {"host": "api.example.com", "port": 443}}))
            .await;
        world.control_plane(json!({})).await;
        assert_eq!(published(world).await, at("api.example.com", 443));
        let kubeconfig = world
            .wait_for::<Secret>("tenant-kubeconfig", "to be there", |_| true)
            .await;
        assert!(text(&kubeconfig, "value").contains("https://api.example.com:443"));
    });
}

#[test]
fn an_endpoint_inside_the_tenants_own_networks_is_refused_with_other_networks_to_choose() {
    run(async |world| {
        let _manager = Manager::start(world).await;
        world
            .cluster(json!({"clusterNetwork": {"services": {"cidrBlocks": ["127.0.0.0/8"]}}}))
            .await;
        world.control_plane(json!({})).await;
        let available = world.wait_condition("Available", "False").await;
        let _ = available;
        let invalid = world
            .wait("it to be called invalid", async || {
                let conditions = world.ncp().await.status.unwrap_or_default().conditions;
                conditions
                    .into_iter()
                    .find(|c| c.type_ == "Available" && c.reason == "Invalid")
            })
            .await;
        assert!(
            invalid.message.contains("spec.clusterNetwork.services, such as"),
            "{invalid:?}"
        );
        assert_eq!(world.ncp().await.spec.control_plane_endpoint, None);
    });
}

/// Plays the management cluster's load balancer.
async fn balance(world: &World, ingress: Value) {
    let status = json!({"status": {"loadBalancer": {"ingress": [ingress]}}});
    let api = world.api::<Service>();
    api.patch_status("tenant-apiserver", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
}

#[test]
fn a_wrong_network_of_the_cluster_is_told_and_heals_when_mended() {
    run(async |world| {
        let _manager = Manager::start(world).await;
        let networks = |pods: &str| json!({"clusterNetwork": {"pods": {"cidrBlocks": [pods]}, "services": {"cidrBlocks": ["10.95.0.0/16"]}}});
        world.cluster(networks("10.0.0.0/8")).await;
        world.control_plane(json!({})).await;
        let available = world.wait_condition("Available", "False").await;
        assert!(
            available.message.contains("overlap: choose networks apart"),
            "{available:?}"
        );
        world.cluster(networks("10.243.0.0/16")).await;
        assert!(published(world).await.is_valid());
        let _: NestedControlPlane = world.ncp().await;
    });
}
