//! The Service of the API server.

use super::metadata;
use crate::control_plane::{
    desired::DesiredControlPlane,
    names::{API_SERVER, API_SERVER_PORT},
};
use capn_api::nested_control_plane::EndpointType;
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

/// The API server's. Until the control plane is initialized it leads to pods that are not ready
/// too: the client is refused until the API server listens, and nobody waits for a probe.
pub fn api_server(desired: &DesiredControlPlane) -> Service {
    let endpoint = &desired.endpoint;
    let balanced = endpoint.type_ == EndpointType::LoadBalancer;
    let mut metadata = metadata(
        desired,
        desired.names.api_server_service(),
        desired.names.component(API_SERVER),
    );
    metadata.annotations = Some(endpoint.annotations.clone()).filter(|annotations| !annotations.is_empty());
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(format!("{:?}", endpoint.type_)),
            cluster_ip: endpoint.given.api_server.map(|address| address.to_string()),
            selector: Some(desired.names.component(API_SERVER)),
            ports: Some(vec![ServicePort {
                node_port: endpoint.node_port.or(endpoint.given.node_port),
                ..port("https", endpoint.service_port, API_SERVER_PORT)
            }]),
            load_balancer_class: endpoint.load_balancer_class.clone().filter(|_| balanced),
            publish_not_ready_addresses: Some(!desired.initialized),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// A port of a Service.
pub(crate) fn port(name: &str, port: i32, target: i32) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port,
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::Int(target)),
        ..ServicePort::default()
    }
}
