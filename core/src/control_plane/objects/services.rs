//! Services of API server and etcd.

use super::metadata;
use crate::control_plane::{
    desired::Tenant,
    names::{API_SERVER, API_SERVER_PORT, ETCD, ETCD_CLIENT_PORT, ETCD_PEER_PORT},
};
use capn_api::nested_control_plane::EndpointType;
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

/// The API server's. Until the control plane is initialized it leads to pods that are not ready
/// too: the client is refused until the API server listens, and nobody waits for a probe.
pub(super) fn api_server(tenant: &Tenant) -> Service {
    let endpoint = &tenant.endpoint;
    let balanced = endpoint.type_ == EndpointType::LoadBalancer;
    let mut metadata = metadata(
        tenant,
        tenant.names.api_server_service(),
        tenant.names.component(API_SERVER),
    );
    metadata.annotations = Some(endpoint.annotations.clone()).filter(|annotations| !annotations.is_empty());
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(format!("{:?}", endpoint.type_)),
            cluster_ip: endpoint.given.api_server.map(|address| address.to_string()),
            selector: Some(tenant.names.component(API_SERVER)),
            ports: Some(vec![ServicePort {
                node_port: endpoint.node_port.or(endpoint.given.node_port),
                ..port("https", endpoint.service_port, API_SERVER_PORT)
            }]),
            load_balancer_class: endpoint.load_balancer_class.clone().filter(|_| balanced),
            publish_not_ready_addresses: Some(!tenant.initialized),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// etcd's for the API server. It has an address of its own, because DNS servers remember for
/// seconds that a name does not exist yet.
pub(super) fn etcd(tenant: &Tenant) -> Service {
    Service {
        metadata: metadata(tenant, tenant.names.etcd(), tenant.names.component(ETCD)),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            cluster_ip: tenant.endpoint.given.etcd.map(|address| address.to_string()),
            selector: Some(tenant.names.component(ETCD)),
            ports: Some(vec![port("client", ETCD_CLIENT_PORT, ETCD_CLIENT_PORT)]),
            // A single member is worth trying before its probe; of several, a ready one is better.
            publish_not_ready_addresses: Some(tenant.etcd.replicas == 1),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Names of etcd's members for each other.
pub(super) fn etcd_peers(tenant: &Tenant) -> Service {
    Service {
        metadata: metadata(tenant, tenant.names.etcd_peers(), tenant.names.component(ETCD)),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            cluster_ip: Some("None".into()),
            selector: Some(tenant.names.component(ETCD)),
            ports: Some(vec![port("peer", ETCD_PEER_PORT, ETCD_PEER_PORT)]),
            publish_not_ready_addresses: Some(true),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn port(name: &str, port: i32, target: i32) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port,
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::Int(target)),
        ..ServicePort::default()
    }
}
