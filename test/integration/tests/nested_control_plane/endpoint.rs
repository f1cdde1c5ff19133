//! Where the API server is reached, by every way to publish it.

use super::{Running, running, text};
use capn_api::{NestedControlPlane, common::ApiEndpoint};
use capn_integration::{Manager, TestEnv, run};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::{Secret, Service},
};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

async fn published(env: &TestEnv) -> ApiEndpoint {
    let ncp = env
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

async fn service(env: &TestEnv) -> Service {
    env.wait_for::<Service>("tenant-apiserver", "to be there", |_| true)
        .await
}

#[test]
fn by_default_it_is_the_address_of_a_cluster_ip_service_at_port_6443() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        env.tenant().await;
        let address = service(env).await.spec.unwrap().cluster_ip.unwrap();
        assert_eq!(published(env).await, at(&address, 6443));
    });
}

#[test]
fn the_port_of_the_cluster_network_is_the_default_and_that_of_the_endpoint_wins() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        env.cluster(json!({"clusterNetwork": {"apiServerPort": 7443}})).await;
        env.control_plane(json!({})).await;
        assert_eq!(published(env).await.port, 7443);
        let other = env.sibling().await;
        let _manager = Manager::start(&other).await;
        other.cluster(json!({"clusterNetwork": {"apiServerPort": 7443}})).await;
        other.control_plane(json!({"endpoint": {"port": 8443}})).await;
        assert_eq!(published(&other).await.port, 8443);
    });
}

#[test]
fn a_node_port_is_published_with_the_host_that_a_user_wrote() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        env.cluster(json!({})).await;
        env.control_plane(json!({"endpoint": {"type": "NodePort", "host": "192.0.2.1"}}))
            .await;
        let port = service(env).await.spec.unwrap().ports.unwrap()[0].node_port.unwrap();
        assert_eq!(published(env).await, at("192.0.2.1", port));
    });
}

#[test]
fn a_load_balancer_is_waited_for_and_published_once_it_has_an_address() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        env.cluster(json!({})).await;
        let endpoint = json!({"type": "LoadBalancer", "annotations": {"example.com/a": "b"}, "loadBalancerClass": "example.com/c"});
        env.control_plane(json!({"endpoint": endpoint})).await;
        let available = env.wait_condition("Available", "False").await;
        let waits = async || {
            let ncp = env.ncp().await;
            let conditions = ncp.status.unwrap_or_default().conditions;
            conditions.into_iter().find(|c| c.reason == "WaitingForEndpoint")
        };
        let waiting = env.wait("it to say that it waits for an address", waits).await;
        assert!(
            waiting.message.contains("tenant-apiserver"),
            "{available:?} {waiting:?}"
        );
        assert_eq!(env.ncp().await.spec.control_plane_endpoint, None);
        let live = service(env).await;
        assert_eq!(live.metadata.annotations.unwrap()["example.com/a"], "b");
        assert_eq!(live.spec.unwrap().load_balancer_class.as_deref(), Some("example.com/c"));
        balance(env, json!({"hostname": "lb.example.com"})).await;
        assert_eq!(published(env).await, at("lb.example.com", 6443));
        env.wait_for::<Secret>("tenant-kubeconfig", "to name the load balancer", |secret| {
            text(secret, "value").contains("https://lb.example.com:6443")
        })
        .await;
    });
}

#[test]
fn a_load_balancer_that_changes_its_address_does_not_change_what_workers_hold() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.cluster(json!({})).await;
        env.control_plane(json!({"endpoint": {"type": "LoadBalancer"}})).await;
        service(env).await;
        balance(env, json!({"ip": "192.0.2.1"})).await;
        assert_eq!(published(env).await, at("192.0.2.1", 6443));
        balance(env, json!({"ip": "192.0.2.2"})).await;
        manager.look_again(env).await;
        assert_eq!(published(env).await, at("192.0.2.1", 6443));
    });
}

#[test]
fn the_endpoint_that_a_user_set_on_the_cluster_wins() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        env.cluster(json!({"controlPlaneEndpoint": {"host": "api.example.com", "port": 443}}))
            .await;
        env.control_plane(json!({})).await;
        assert_eq!(published(env).await, at("api.example.com", 443));
        let kubeconfig = env
            .wait_for::<Secret>("tenant-kubeconfig", "to be there", |_| true)
            .await;
        assert!(text(&kubeconfig, "value").contains("https://api.example.com:443"));
    });
}

#[test]
fn an_endpoint_inside_the_tenants_own_networks_is_refused_with_other_networks_to_choose() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        env.cluster(json!({"clusterNetwork": {"services": {"cidrBlocks": ["127.0.0.0/8"]}}}))
            .await;
        env.control_plane(json!({})).await;
        let available = env.wait_condition("Available", "False").await;
        let _ = available;
        let invalid = env
            .wait("it to be called invalid", async || {
                let conditions = env.ncp().await.status.unwrap_or_default().conditions;
                conditions
                    .into_iter()
                    .find(|c| c.type_ == "Available" && c.reason == "Invalid")
            })
            .await;
        assert!(
            invalid.message.contains("spec.clusterNetwork.services, such as"),
            "{invalid:?}"
        );
        assert_eq!(env.ncp().await.spec.control_plane_endpoint, None);
    });
}

/// Plays the management cluster's load balancer.
async fn balance(env: &TestEnv, ingress: Value) {
    let status = json!({"status": {"loadBalancer": {"ingress": [ingress]}}});
    let api = env.api::<Service>();
    api.patch_status("tenant-apiserver", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
}

#[test]
fn a_wrong_network_of_the_cluster_is_told_and_heals_when_mended() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        let networks = |pods: &str| json!({"clusterNetwork": {"pods": {"cidrBlocks": [pods]}, "services": {"cidrBlocks": ["10.95.0.0/16"]}}});
        env.cluster(networks("10.0.0.0/8")).await;
        env.control_plane(json!({})).await;
        let available = env.wait_condition("Available", "False").await;
        assert!(
            available.message.contains("overlap: use separate ranges"),
            "{available:?}"
        );
        env.cluster(networks("10.243.0.0/16")).await;
        assert!(published(env).await.is_valid());
        let _: NestedControlPlane = env.ncp().await;
    });
}

#[test]
fn the_addresses_of_a_load_balancer_are_a_set() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.cluster(json!({})).await;
        env.control_plane(json!({"endpoint": {"type": "LoadBalancer"}})).await;
        service(env).await;
        let balance = async |ingress: Value| {
            let status = json!({"loadBalancer": {"ingress": ingress}});
            env.merge_status::<Service>("tenant-apiserver", &status).await;
        };
        balance(json!([{"ip": "192.0.2.2"}, {"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}])).await;
        assert_eq!(published(env).await, at("192.0.2.1", 6443));
        let issued = async || text(&env.secret("tenant-apiserver").await, "apiserver.crt");
        env.wait_for::<Secret>("tenant-apiserver", "to be there", |_| true)
            .await;
        let before = issued().await;
        balance(json!([{"hostname": "lb.example.com"}, {"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}])).await;
        manager.look_again(env).await;
        assert_eq!(issued().await, before, "another order says nothing else");
    });
}

/// Waits until what the Services have is stored.
async fn stored(env: &TestEnv) {
    env.wait("what its Services have to be stored", async || {
        (env.list::<ControllerRevision>().await.len() == 1).then_some(())
    })
    .await;
}

fn cluster_ip(service: &Service) -> String {
    json!(service)["spec"]["clusterIP"].as_str().unwrap().to_owned()
}

/// Deletes a Service and returns the one that comes in its place.
async fn made_again(env: &TestEnv, name: &str) -> Service {
    let before = env.get::<Service>(name).await.unwrap();
    env.delete::<Service>(name).await;
    env.wait_for::<Service>(name, "to be made again", |again| again.uid() != before.uid())
        .await
}

#[test]
fn a_service_that_is_deleted_comes_back_with_its_address_and_port() {
    run(async |env| {
        let endpoint = json!({"endpoint": {"type": "NodePort", "host": "192.0.2.1"}});
        let running = running(env, json!({}), endpoint).await;
        stored(env).await;
        let pods = async || {
            env.get::<Deployment>("tenant-apiserver")
                .await
                .unwrap()
                .metadata
                .generation
        };
        let generation = pods().await;
        for name in ["tenant-apiserver", "tenant-etcd"] {
            let before = env.get::<Service>(name).await.unwrap();
            let after = made_again(env, name).await;
            assert_eq!(cluster_ip(&after), cluster_ip(&before));
            let ports = |service: &Service| json!(service)["spec"]["ports"].clone();
            assert_eq!(ports(&after), ports(&before));
        }
        running.manager.look_again(env).await;
        assert_eq!(pods().await, generation, "no pod is restarted");
        env.wait_condition("Available", "True").await;
    });
}

/// Waits until it says that its endpoint is lost.
async fn endpoint_lost(env: &TestEnv, words: &[&str]) {
    let lost = async || {
        let conditions = env.ncp().await.status.unwrap_or_default().conditions;
        conditions.into_iter().find(|c| c.reason == "EndpointLost")
    };
    let lost = env.wait("it to say that its endpoint is lost", lost).await;
    assert_eq!(json!(lost.status), json!("False"), "nobody can reach it");
    for word in words {
        assert!(lost.message.contains(word), "{word:?} is not in {}", lost.message);
    }
}

/// A control plane without its manager and its Service, and the address that this had.
async fn without_service(env: &TestEnv) -> (Running, Service) {
    let running = running(env, json!({}), json!({})).await;
    stored(env).await;
    running.manager.kill();
    let before = service(env).await;
    env.delete::<Service>("tenant-apiserver").await;
    (running, before)
}

async fn create(env: &TestEnv, service: Value) {
    let service: Service = serde_json::from_value(service).unwrap();
    env.api::<Service>()
        .create(&PostParams::default(), &service)
        .await
        .unwrap();
}

#[test]
fn an_address_that_another_service_took_is_told_and_taken_back_once_it_is_free() {
    run(async |env| {
        let (_running, before) = without_service(env).await;
        let address = cluster_ip(&before);
        create(
            env,
            json!({"metadata": {"name": "thief"}, "spec": {"clusterIP": address, "ports": [{"port": 1}]}}),
        )
        .await;
        let _manager = Manager::start(env).await;
        endpoint_lost(env, &[&address, "tenant-apiserver", "already allocated"]).await;
        assert!(env.get::<Service>("tenant-apiserver").await.is_none());
        env.delete::<Secret>("tenant-scheduler").await;
        env.wait_for::<Secret>("tenant-scheduler", "to be issued again", |_| true)
            .await;
        env.delete::<Service>("thief").await;
        assert_eq!(cluster_ip(&service(env).await), address);
        env.wait_condition("Available", "True").await;
    });
}

#[test]
fn a_service_with_another_address_than_workers_hold_is_told() {
    run(async |env| {
        let (_running, before) = without_service(env).await;
        let address = cluster_ip(&before);
        let mut other = json!(before);
        for field in ["resourceVersion", "uid", "managedFields", "creationTimestamp"] {
            other["metadata"].as_object_mut().unwrap().remove(field);
        }
        for field in ["clusterIP", "clusterIPs"] {
            other["spec"].as_object_mut().unwrap().remove(field);
        }
        create(env, other).await;
        let _manager = Manager::start(env).await;
        endpoint_lost(env, &[&address, "delete the Service"]).await;
        let again = made_again(env, "tenant-apiserver").await;
        assert_eq!(cluster_ip(&again), address);
        env.wait_condition("Available", "True").await;
    });
}
